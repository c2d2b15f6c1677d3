"""Words and recipes -> settings: what they mean, and that every mistake is one clear ConfigError."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tutelage import stages
from tutelage.config import (
    Group,
    build,
    fields_of,
    group_of,
    load_yaml,
    merge_words,
    nearest,
    runtime_keys,
    split_word,
)
from tutelage.errors import ConfigError, TutelageError
from tutelage.pipeline import Recipe
from tutelage.stages.dpo import Loss
from tutelage.store import flatten

INPUTS: dict[str, list[str]] = {
    "import": ["rows=r.jsonl"],
    "split": ["prompts=p.jsonl"],
    "teach": ["completions=c.jsonl"],
    "sft": ["model=m", "completions=c.jsonl"],
    "sample": ["model=m", "prompts=p.jsonl"],
    "label": ["completions=c.jsonl", "critic=miniature_critic"],
    "panel": ["verdicts=[v,w]"],
    "prefer": ["verdicts=v"],
    "dpo": ["model=m", "preferences=p"],
    "reward": ["model=m", "preferences=p"],
    "evaluate": ["model=m", "baseline=b.jsonl", "judge=miniature_critic"],
    "audit": ["pairs=p.jsonl", "critic=miniature_critic"],
}
RECIPE = """\
model: miniature
prompts: p.jsonl
evaluation: {baseline: b.jsonl}
teach: {teacher: miniature_weak}
label: {critic: {preset: openai, model: gpt}}
evaluate: {judge: miniature_critic}
"""


def settings_of(stage: str, *words: str) -> Any:
    return stages.get(stage).configure([*INPUTS[stage], *words])[0]


def inputs_of(stage: str, *words: str) -> Any:
    return stages.get(stage).configure([*INPUTS[stage], *words])[1]


def refused(stage: str, *words: str) -> str:
    with pytest.raises(ConfigError) as caught:
        settings_of(stage, *words)
    return str(caught.value)


def recipe(tmp_path: Path, text: str, *words: str) -> Recipe:
    (tmp_path / "recipe.yaml").write_text(text, "utf-8")
    return Recipe.load(tmp_path / "recipe.yaml", words)


# ---- words ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("seed=1", "seed", "1"),
        ("system=a=b=c", "system", "a=b=c"),
        ("system=", "system", ""),
        ("teacher=null", "teacher", None),
        ("system=Null", "system", "Null"),
        ("share=[0,0.1]", "share", [0, 0.1]),
        ("share=[0, 1e-6]", "share", [0, 1e-6]),
        ("model={path: a, revision: null}", "model", {"path": "a", "revision": None}),
        ("x={a: '${b}', c: ['???']}", "x", {"a": "${b}", "c": ["???"]}),
        ("loss.beta=0.1", "loss.beta", "0.1"),
        ("seed=007", "seed", "007"),
        ("system= two  words ", "system", " two  words "),
        ("prompts=dir/with=sign.jsonl", "prompts", "dir/with=sign.jsonl"),
    ],
)
def test_a_word_is_a_key_and_a_value(word: str, key: str, value: Any) -> None:
    assert split_word(word) == (key, value)


@pytest.mark.parametrize(
    "word", ["seed", "", "=1", "...=1", ".a=1", "a.=1", "a..b=1", "[=1", "seed[0]=1", "${x}=1", "--seed=1", "a b=1"]
)
def test_what_is_no_word_is_refused_with_an_example(word: str) -> None:
    with pytest.raises(ConfigError, match="not of the form key=value, for example seed=1"):
        split_word(word)


@pytest.mark.parametrize(
    "word", ["share=[1,2", "share=[${x}]", "x={a: b", "x={a: 1, a: 2}", "x=[!!python/name:os.system x]"]
)
def test_a_list_or_mapping_that_cannot_be_read_is_one_line(word: str) -> None:
    with pytest.raises(ConfigError, match="as a list or mapping") as caught:
        split_word(word)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused() -> None:
    """How Python passes on arguments that are not UTF-8; a record could not hold them."""
    with pytest.raises(ConfigError, match=r"system: .* is not UTF-8"):
        split_word("system=\udcff")


@settings(deadline=None)  # how long it takes says how busy the machine is
@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda t: t[0] not in "[{" and t != "null")
)
def test_a_text_setting_holds_exactly_what_was_typed(text: str) -> None:
    assert settings_of("teach", f"system={text}").system == text


@settings(deadline=None)
@given(st.text(max_size=40))
def test_no_word_whatever_ends_in_anything_but_settings_or_a_config_error(word: str) -> None:
    for shape in (word, f"{word}=1", f"seed={word}", f"teacher={word}", f"share=[{word}]", f"teacher={{{word}}}"):
        try:
            settings_of("teach", shape)
        except ConfigError:
            continue


@pytest.mark.parametrize("text", ["${oc.env:HOME}", "${x", "$${x}", "???", "a ${b} c", r"\${x}", "{instruction}"])
def test_nothing_in_a_value_is_evaluated(text: str, tmp_path: Path) -> None:
    assert settings_of("teach", f"system=-{text}").system == f"-{text}"
    in_file = recipe(tmp_path, RECIPE.replace("miniature_weak}", f"miniature_weak, system: '{text}'}}"))
    assert in_file.teach.system == text
    assert recipe(tmp_path, RECIPE, f"teach.system=-{text}").teach.system == f"-{text}"
    preset = recipe(tmp_path, RECIPE.replace("model: gpt", f"model: '{text}'"))
    assert preset.label.critic.model == text


# ---- values -----------------------------------------------------------------------------------------


def test_numbers_truth_values_and_null_are_what_their_field_says() -> None:
    config = settings_of("teach", "temperature=1e-6", "max_tokens=007", "seed=1e0"[:6])
    assert (config.temperature, config.max_tokens) == (1e-6, 7)
    assert inputs_of("teach", "completions.author=007").completions.author == "007"
    config = settings_of("label", "critic.sends_temperature=false", "temperature=null", "critic.max_retries=0")
    assert (config.critic.sends_temperature, config.temperature, config.critic.max_retries) == (False, None, 0)
    assert settings_of("sft", "share=[0,0.1]").share == (0.0, 0.1)


@pytest.mark.parametrize(
    ("stage", "word", "says"),
    [
        ("teach", "seed=", "seed: found ''"),
        ("teach", "seed=1e-6", "seed: found '1e-6': should be a valid integer"),
        ("teach", "seed=1.5", "seed: found '1.5'"),
        ("teach", "seed=-1", "greater than or equal to 0"),
        ("teach", "seed=null", "seed: found None"),
        ("teach", "seed=[1]", r"seed: found \[1\]"),
        ("teach", "temperature=hot", "should be a valid number"),
        ("teach", "temperature=nan", "finite number"),
        ("sft", "lr=inf", "finite number"),
        ("sft", "lr=0", "greater than 0"),
        ("sft", "optimizer=adam", "'rmsprop' or 'adamw'"),
        ("sft", "share=[0]", r"share: found \[0\]: too few values \(part of the prompts"),
        ("sft", "share=[0,1,2]", "share: found"),
        ("sft", "share=[0,a]", "share: found 'a'"),
        ("sft", "share=0,1", "share: found '0,1'"),
        ("label", "critic.sends_temperature=maybe", "boolean"),
        ("teach", "label=a b", "label: found 'a b'"),
        ("teach", "label=../../etc", "label: found"),
        ("teach", "completions=", "completions.path: found ''"),
        ("teach", "completions={path: [1]}", r"completions.path: found \[1\]"),
    ],
)
def test_a_wrong_type_or_value_says_what_was_found_and_what_it_should_be(stage: str, word: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        settings_of(stage, word)


def test_a_whole_file_given_by_mistake_is_not_printed_whole() -> None:
    assert len(refused("teach", "seed=" + "x" * 100_000)) < 500
    assert len(refused("teach", "x" * 100_000)) < 500
    assert len(refused("teach", "teacher=" + "x" * 100_000)) < 700


# ---- keys -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "word", "nearest_key"),
    [
        ("teach", "temprature=1", "temperature"),
        ("teach", "teacher.modle=x", "teacher.model"),
        ("teach", "prompt=p.jsonl", "prompts"),
        ("dpo", "beta=0.1", "loss.beta"),
        ("dpo", "loss.bta=0.1", "loss.beta"),
        ("dpo", "preference=p", "preferences"),
        ("evaluate", "judge.temprature=0", "judging.temperature"),
    ],
)
def test_a_typo_is_answered_with_the_nearest_key(stage: str, word: str, nearest_key: str) -> None:
    words = ["teacher=openai", "teacher.model=m"] if stage == "teach" else []
    assert f"{word.partition('=')[0]}: unknown key; did you mean {nearest_key}?" in refused(stage, *words, word)


def test_all_problems_are_told_at_once() -> None:
    said = refused("sft", "lr=fast", "epochs=0", "batchsize=3")
    assert "3 problem(s)" in said
    assert [line.split(":")[0].strip() for line in said.splitlines()[1:]] == ["lr", "epochs", "batchsize"]


def test_nothing_is_near_to_nothing() -> None:
    assert nearest("zzz", ["seed", "lr"]) == ""
    assert nearest("", ["seed"]) == ""


def test_a_single_setting_is_no_group() -> None:
    assert "seed.x: unknown key; seed is a single setting" in refused("teach", "seed.x=1", "seed=3")
    assert "completions.path.x" in refused("teach", "completions.path.x=1")


def test_a_missing_setting_is_named_with_its_meaning() -> None:
    with pytest.raises(ConfigError, match=r"preferences: required, but not given; give preferences=\.\.\."):
        stages.get("dpo").configure(["model=m"])
    with pytest.raises(ConfigError, match=r"judge: required.*\(the model that decides.*\).*judge=PRESET \(anthropic"):
        stages.get("evaluate").configure(["model=m", "baseline=b"])


def test_a_recipe_names_the_critic_that_its_road_asks(tmp_path: Path) -> None:
    """In a recipe nothing else can decide, so that it is missed before anything is trained."""
    with pytest.raises(ConfigError, match=r"label\.critic: required.*label\.critic=PRESET \(anthropic"):
        recipe(tmp_path, RECIPE.replace("critic: {preset: openai, model: gpt}", "order: random"))


def test_a_word_for_a_group_that_is_not_there_says_how_to_get_one() -> None:
    said = refused("teach", "teacher.model=x")
    assert "teacher.provider: required" in said
    assert "or choose teacher=PRESET (anthropic" in said


def test_a_key_given_twice_has_its_last_value() -> None:
    assert settings_of("teach", "seed=1", "seed=2").seed == 2
    assert settings_of("dpo", "loss=dpo", "loss=ipo").loss.name == "ipo"


# ---- groups and presets -----------------------------------------------------------------------------


def test_a_preset_is_chosen_by_name_and_changed_word_by_word_in_any_order() -> None:
    words = ["teacher=local", "teacher.model=qwen", "teacher.base_url=http://localhost:1/v1", "teacher.max_retries=2"]
    made = {settings_of("teach", *order).teacher for order in itertools.permutations(words)}
    (teacher,) = made
    assert (teacher.model, teacher.base_url, teacher.max_retries) == ("qwen", "http://localhost:1/v1", 2)
    assert teacher.provider == "openai"


def test_dotted_words_lie_over_presets_in_any_order_in_a_recipe_too(tmp_path: Path) -> None:
    words = ["dpo.loss=ipo", "dpo.loss.beta=0.3", "label.critic=miniature_critic_noisy", "label.critic.max_retries=1"]
    for order in itertools.permutations(words):
        made = recipe(tmp_path, RECIPE, *order)
        assert made.dpo.loss == Loss(name="ipo", beta=0.3)
        assert (made.label.critic.model, made.label.critic.max_retries) == ("critic_noisy", 1)


def test_a_recipe_names_presets_as_text_or_beside_other_settings(tmp_path: Path) -> None:
    made = recipe(tmp_path, RECIPE)
    assert made.teach.teacher is not None
    assert made.teach.teacher.model == "weak"
    assert (made.label.critic.model, made.label.critic.api_key_env) == ("gpt", "OPENAI_API_KEY")
    assert made.model.path == "miniature"
    changed = recipe(tmp_path, RECIPE, "label.critic.model=gpt-5", "dpo.loss.beta=0.2")
    assert (changed.label.critic.model, changed.label.critic.api_key_env) == ("gpt-5", "OPENAI_API_KEY")
    assert changed.dpo.loss == Loss(beta=0.2)


def test_choosing_a_preset_anew_leaves_nothing_of_the_old_one(tmp_path: Path) -> None:
    made = recipe(tmp_path, RECIPE, "label.critic=miniature_critic")
    assert made.label.critic.api_key_env is None


def test_a_smaller_group_lies_over_the_larger_one_around_it_in_any_order(tmp_path: Path) -> None:
    words = ["label={critic: miniature_critic, order: random}", "label.critic=miniature_critic_noisy"]
    for order in itertools.permutations(words):
        made = recipe(tmp_path, RECIPE, *order).label
        assert (made.critic.model, made.order) == ("critic_noisy", "random")


def test_question_marks_beside_a_preset_are_a_value(tmp_path: Path) -> None:
    """To OmegaConf they are a hole, which the preset's own value would fill."""
    assert settings_of("teach", "teacher={preset: miniature_weak, model: '???'}").teacher.model == "???"


def test_a_preset_may_be_named_by_its_own_word() -> None:
    assert settings_of("dpo", "loss.preset=ipo").loss.name == "ipo"


@pytest.mark.parametrize(
    ("stage", "words", "says"),
    [
        (
            "teach",
            ["teacher=opnai"],
            r"teacher: no preset 'opnai'; did you mean teacher=openai\? \(there are: anthropic",
        ),
        ("teach", ["teacher={preset: opnai}"], "no preset 'opnai'"),
        ("teach", ["teacher={preset: [1]}"], r"no preset \[1\]"),
        ("teach", ["teacher={preset: null}"], "no preset None"),
        ("teach", ["teacher="], "no preset ''"),
        ("teach", ["teacher=../api/openai"], "no preset"),
        ("teach", ["teacher=[1]"], r"teacher: found \[1\]; expected a preset \(anthropic"),
        ("teach", ["teacher=[1]", "teacher.model=x"], r"teacher: found \[1\]"),
        ("teach", ["completions={preset: x}"], "completions: no preset 'x'"),
        ("dpo", ["loss=null"], "loss: found None: expected a preset"),
        ("dpo", ["loss={beta: 0.1, preset: dop}"], "did you mean loss=dpo"),
    ],
)
def test_a_group_that_cannot_be_is_one_config_error(stage: str, words: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        settings_of(stage, *words)


def test_an_optional_group_can_be_taken_away(tmp_path: Path) -> None:
    assert settings_of("teach", "teacher=null").teacher is None
    assert recipe(tmp_path, RECIPE, "teach.teacher=null").teach.teacher is None
    given_again = settings_of("teach", "teacher=null", "teacher.provider=miniature", "teacher.model=weak")
    assert given_again.teacher.model == "weak"


def test_a_plain_value_stands_for_the_path() -> None:
    inputs = inputs_of("teach", "completions=a.jsonl", "completions.completion_field=output")
    assert (inputs.completions.path, inputs.completions.completion_field) == ("a.jsonl", "output")
    assert inputs_of("sft", "model=007").model.path == "007"


def test_every_preset_of_the_package_is_valid_settings() -> None:
    for name in ("dpo", "ipo", "simpo", "orpo", "kto"):
        assert isinstance(settings_of("dpo", f"loss={name}").loss, Loss)
    for name in ("openai", "anthropic", "local"):
        assert settings_of("label", f"critic={name}", "critic.model=m").critic.model == "m"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["loss.gamma=2"], "gamma is read by simpo; sigmoid does not read it: leave it out"),
        (["loss.name=ipo", "loss.label_noise=0.1"], "label_noise is read by cdpo, rdpo, robust; ipo does not"),
        (["loss.name=ipo", "loss.importance_correction=true"], "read by sigmoid, cdpo, rdpo, robust; ipo does not"),
        (["loss=simpo", "loss.reference_free=true"], "reference_free is read by .*; simpo does not read it"),
        (["loss=orpo", "loss.beta=0.1"], "beta is read by .*; orpo does not read it"),
        (["loss=kto", "loss.sft_reg=1", "loss.odds_weight=1"], "sft_reg is .*; kto .*; odds_weight is read by orpo"),
        (["loss.name=simpo", "loss.gamma=-1"], "loss.gamma"),
    ],
)
def test_a_loss_refuses_settings_it_does_not_read(words: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        settings_of("dpo", *words)


def test_a_loss_has_its_own_beta_unless_it_is_given_one() -> None:
    """DPO's beta would make the rewards of SimPO forty times too small."""
    names = ("sigmoid", "ipo", "simpo", "kto")
    assert [settings_of("dpo", f"loss.name={n}").loss.beta for n in names] == [0.05, 0.05, 2.0, 0.1]
    assert settings_of("dpo", "loss.name=simpo", "loss.beta=0.05").loss.beta == 0.05
    for name in ("simpo", "orpo", "kto"):
        assert settings_of("dpo", f"loss={name}") == settings_of("dpo", f"loss.name={name}")


def test_the_defaults_of_a_group_do_not_depend_on_where_it_stands() -> None:
    """`loss.beta=1` keeps the other defaults of Loss: a field's own default group must not differ from them."""
    for cls in (Recipe, *(part for s in stages.WHAT for part in (stages.get(s).config, stages.get(s).inputs))):
        for name, field in cls.model_fields.items():
            default = field.get_default(call_default_factory=True)
            if isinstance(default, Group):
                assert default == type(default)(), f"{cls.__name__}.{name}"


# ---- recipes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a\n- b\n", "found a list"),
        ("a: [1\n", "not readable as YAML"),
        ("a: 1\na: 2\n", "duplicate key a"),
        ("a: !!python/object/apply:os.system [ls]\n", "not readable as YAML"),
        ("null: 1\n", "not readable as YAML"),
        ("\tmodel: x\n", "not readable as YAML"),
        ("true: 1\n", "found True as a key"),
        ("", "model: required"),
        ("model\n", r"model: found None: expected (a preset \(.*\) or )?a path or its settings"),
        (RECIPE + "dpo: {loss: {betta: 1}}\n", r"dpo.loss.betta: unknown key; did you mean dpo.loss.beta\?"),
        (RECIPE + "dpo: 3\n", "dpo: found 3: expected its settings"),
        (RECIPE + "dpo: ipo\n", "dpo: no preset 'ipo'"),
        (RECIPE + "dpo.loss.beta: 0.1\n", "nested under its name"),
        (RECIPE + "dpo: {loss.beta: 0.1}\n", "nested under its name"),
        (RECIPE.replace("p.jsonl", "[1, 2]"), r"prompts: found \[1, 2\]"),
        (RECIPE + "name: 2024-01-01 10:00\n", "name: found"),
    ],
)
def test_a_recipe_that_cannot_be_is_one_config_error_that_names_it(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        recipe(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'recipe.yaml'}: ") or "no preset" in says


def test_a_recipe_is_divided_by_a_split_or_by_shares_and_not_by_both(tmp_path: Path) -> None:
    assert recipe(tmp_path, RECIPE).split is None
    divided = recipe(tmp_path, RECIPE, "split.sft=0.2", "split.preference=0.7", "split.evaluation=805").split
    assert divided is not None
    assert (divided.sft, divided.preference, divided.validation, divided.evaluation) == (0.2, 0.7, 0.0, 805)
    assert recipe(tmp_path, RECIPE + "split: {}\n").split is not None
    with pytest.raises(
        ConfigError, match=r"split says which prompts are for what, and so does sft\.share, sample\.sh"
    ):
        recipe(tmp_path, RECIPE + "split: {}\n", "sft.share=[0,0.1]", "sample.share=[0.1,1]")
    with pytest.raises(ConfigError, match=r"and so does teach\.share; leave one out"):
        recipe(tmp_path, RECIPE + "split: {}\n", "teach.share=[0,0.1]")
    with pytest.raises(ConfigError, match=r"split\.sft: found 0; a road needs prompts for sft and for preferences"):
        recipe(tmp_path, RECIPE, "split.sft=0")
    with pytest.raises(ConfigError, match=r"split\.label: a recipe has one for all stages; give name instead"):
        recipe(tmp_path, RECIPE, "split.label=mine")


def test_a_recipe_that_is_no_text_or_not_there_is_one_config_error(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("name: größer".encode("latin-1"))
    for path, says in (
        (tmp_path / "no.yaml", "no such file"),
        (tmp_path, "cannot be read"),
        (tmp_path / "latin.yaml", "not UTF-8"),
    ):
        with pytest.raises(ConfigError, match=says):
            load_yaml(path)


def test_a_recipe_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_bytes(b"\xef\xbb\xbfname: mine\r\n")
    assert load_yaml(tmp_path / "recipe.yaml") == {"name": "mine"}


def test_numbers_in_a_recipe_are_numbers_and_dates_stay_text(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("lr: 1e-6\nname: 2024-01-01\n")
    assert load_yaml(tmp_path / "recipe.yaml") == {"lr": 1e-6, "name": "2024-01-01"}


@given(st.text(max_size=60))
def test_no_text_whatever_as_a_recipe_ends_in_anything_but_a_config_error(text: str) -> None:
    for tree in ({"name": text}, {"teach": text}, {text: text}, {"dpo": {text: {}}}, {"model": [text]}):
        with pytest.raises(ConfigError):  # at the least, the road's inputs are missing
            build(Recipe, merge_words(Recipe, tree, []), "recipe")


# ---- identity: everything, minus what is marked -------------------------------------------------------

# What may stay out of a fingerprint. A new runtime field has to be written down here, with a second look.
RUNTIME = {
    "label",
    "artifacts",
    "mode",
    "poll_seconds",
    "budget.usd",
    "budget.tokens",
    "max_consecutive_failures",
    "micro_batch_tokens",
    "scoring.micro_batch_tokens",
    "save_every_seconds",
    "checkpoint_every",
    "keep_checkpoints",
    "rows",
    "activation_checkpointing",
    "compile",
    "devices",
    "shard_over",
    "trackers",
    "project",
    *(
        f"{who}.{what}"
        for who in ("teacher", "critic", "judge")
        for what in (
            "api_key_env",
            "replicas",
            "timeout_seconds",
            "deadline_seconds",
            "max_concurrency",
            "requests_per_minute",
            "tokens_per_minute",
            "max_batch_requests",
            "max_retries",
            "price.input",
            "price.output",
            "price.cached_input",
        )
    ),
}


@pytest.mark.parametrize("stage", stages.WHAT)
def test_every_setting_is_in_the_fingerprint_but_those_marked_as_runtime(stage: str) -> None:
    config = stages.get(stage).config
    assert runtime_keys(config) <= RUNTIME
    words = {"teach": ["teacher=miniature_weak"]}.get(stage, [])
    in_identity = set(flatten(settings_of(stage, *words).identity()))
    assert in_identity == {key for key, _ in fields_of(config)} - runtime_keys(config)


# For any one setting, at least one of these is valid and not its default.
OTHER_VALUES = [
    "0.25",
    "0.5",
    "0.75",
    "7",
    "false",
    "[0.25,0.5]",
    "http://localhost:9/v1",
    "[http://localhost:9/v1]",
    "[filtered]",
    "batch",
    "azure",
    "SOME_KEY",
    "2023-06-01",
    "max_completion_tokens",
    "openai",
    "other",
    "ipo",
    "example_sum",
    "padded",
    "full",
    "best",
    "random",
    "first",
    "true",
    "best_vs_worst",
    "length",
    "mean_probability",
    "probability",
    "invalid",
    "adamw",
    "cosine",
    "bfloat16",
    "skip",
    "all",
    "remove",
    "start",
    "1024",
    "[tensorboard]",
]


READ_BY = {
    "loss.label_noise": "cdpo",
    "loss.gamma": "simpo",
    "loss.odds_weight": "orpo",
    "loss.desirable_weight": "kto",
    "loss.undesirable_weight": "kto",
}
"""The loss that reads a setting, where it is not the default one."""


@pytest.mark.parametrize("stage", stages.WHAT)
def test_changing_any_one_setting_changes_the_fingerprint_unless_it_is_runtime(stage: str, tmp_path: Path) -> None:
    template = tmp_path / "other.txt"
    template.write_text("[user]\n{instruction}{first}{second}{fence}")
    config = stages.get(stage).config
    endpoint = {"teach": "teacher", "label": "critic", "evaluate": "judge", "audit": "critic"}.get(stage)
    words = ["miniature_weak", "base_url=http://localhost:8/v1", "price.input=1", "price.output=1"]
    words = [f"{endpoint}{'.' if '=' in word else '='}{word}" for word in words] if endpoint else []
    words += ["truncation=original", "lora=4"] if stage in ("sft", "dpo", "reward") else []  # each reads its group
    words += ["held_out=0.1"] if stage in ("sft", "dpo") else []  # what the other settings of evaluation need
    tried = 0
    for key, field in fields_of(config):
        given = [*words, f"loss.name={READ_BY[key]}"] if stage == "dpo" and key in READ_BY else words
        before = settings_of(stage, *given)
        for other in (*OTHER_VALUES, template):
            try:
                after = settings_of(stage, *given, f"{key}={other}")
            except ConfigError:
                continue
            if after != before:
                tried += 1
                same = flatten(after.identity()) == flatten(before.identity())
                assert same == (key in runtime_keys(config)), f"{stage}: {key}={other} ({field.description})"
                break
        else:
            pytest.fail(f"{stage}: no other value found for {key}")
    assert tried == len(list(fields_of(config)))


@pytest.mark.parametrize("stage", stages.WHAT)
def test_settings_and_inputs_of_a_stage_do_not_share_a_name(stage: str) -> None:
    """Both are words of one command and keys of one fingerprint."""
    made = stages.get(stage)
    assert not made.config.model_fields.keys() & made.inputs.model_fields.keys()
    assert "stage" not in {*made.config.model_fields, *made.inputs.model_fields}


@pytest.mark.parametrize("stage", stages.WHAT)
def test_every_setting_says_what_it_means(stage: str) -> None:
    made = stages.get(stage)
    for cls in (made.config, made.inputs):
        assert [key for key, field in fields_of(cls) if not field.description] == []


def test_settings_are_frozen_and_refuse_unknown_names() -> None:
    loss = Loss()
    with pytest.raises(ValidationError):
        loss.beta = 1.0  # type: ignore[misc]
    with pytest.raises(ValidationError, match="betta"):
        Loss(betta=1.0)  # type: ignore[call-arg]
    assert group_of(stages.get("dpo").config.model_fields["loss"]) is Loss


def test_a_folder_may_begin_with_the_home_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert settings_of("label", "critic=miniature_critic", "artifacts=~/a").artifacts == tmp_path / "a"
    assert settings_of("label", "critic=miniature_critic", "artifacts=~nobody-here/a").artifacts == Path(
        "~nobody-here/a"
    )
    lines = "model: m\nprompts: p\nevaluation: {baseline: b}\nlabel: {critic: miniature_critic}\nartifacts: ~/a"
    (tmp_path / "r.yaml").write_text(f"{lines}\nevaluate: {{judge: miniature_critic}}")
    assert Recipe.load(tmp_path / "r.yaml").artifacts == tmp_path / "a"


def test_a_key_that_is_itself_a_secret_by_mistake_is_not_shown() -> None:
    with pytest.raises(TutelageError) as caught:
        settings_of("label", "critic=openai", "critic.model=m", "critic.api_key_env=sk-secret-123")
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["\ufdd0", "\ufdd0\ufdd0", "$\ufdd0{x}", "${x}", "?\ufdd0??", "\ufdd0${\ufdd0}???"])
def test_the_mark_that_guards_a_text_may_be_in_the_text_itself(text: str) -> None:
    assert settings_of("teach", "teacher=miniature_weak", f"system={text}").system == text
