"""The research code's complete example at tiny size: its recipe, on files as it wrote them, with a real Mistral."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dpo_rlaif_files import NUM, NUM_EVALUATED, make_evaluators, make_place, prefers_the_longer
from stub_server import StubServer
from tutelage.data.split import InPart
from tutelage.errors import ConfigError, DataError
from tutelage.estimate import of_road
from tutelage.pipeline import Recipe, run
from tutelage.records import Completion, Verdict
from tutelage.store import Artifact
from tutelage.study.design import ways
from tutelage.study.recipe import StudyRecipe

RECIPES = Path(__file__).parents[2] / "recipes"
ROADS = sorted(path.name for path in RECIPES.glob("*.yaml") if not path.name.startswith("study_"))
MODELS = ("label.critic", "evaluate.judge")


@pytest.fixture
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with what the example downloads, and in it."""
    make_place(tmp_path)
    make_evaluators(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "a key")


def tiny_example(server: StubServer, *more: str) -> Recipe:
    """The recipe, with no more changed than size and place demand."""
    asked = [f"{who}.{key}" for who in MODELS for key in ("model=stub", f"base_url={server.openai_url}")]
    size = [f"{stage}.{key}" for stage in ("sft", "dpo") for key in ("devices=1", "epochs=1")]
    size += ["sample.max_tokens=16", "evaluate.drawing.max_tokens=16"]
    return Recipe.load(RECIPES / "sharegpt_mistral7b.yaml", [*asked, *size, *more])


def made(stage: str) -> Artifact:
    (path,) = Path("artifacts", stage).iterdir()
    return Artifact.open(path)


@pytest.mark.usefixtures("_place")
def test_the_complete_example_runs_from_sharegpt_to_alpaca_eval_and_asks_what_was_estimated() -> None:
    with StubServer(prefers_the_longer) as server:
        example = tiny_example(server)
        labelling, *evaluating = (each.requests for each in of_road(example)[1:])
        road = run(example)
        num = len(server.requests)
        assert labelling < num <= labelling + sum(evaluating)  # a policy that wrote the same is not judged twice
        run(example)
        assert len(server.requests) == num, "the second run asked again"
    parts = {row.prompt_id: row.part for row in made("0-split").rows("parts.jsonl", InPart)}
    assert len(parts) == NUM, (
        "a conversation with </s>, one that begins with gpt, or an evaluated prompt is in a part"
    )
    taught = list(made("1-teach").rows("completions.jsonl", Completion))
    assert {c.author for c in taught} == {"chatgpt"}
    assert {c.prompt_id for c in taught} == {name for name, part in parts.items() if part == "sft"}
    student = made("2-sft")
    verdicts = list(made("4-label").rows("verdicts.jsonl", Verdict))
    authors = {(v.pair.left.author, v.pair.right.author) for v in verdicts}
    assert authors == {(f"sft-{student.record.fingerprint[:8]}", "chatgpt")}
    assert {v.pair.prompt_id for v in verdicts} == {name for name, part in parts.items() if part == "preference"}
    assert len(verdicts) == labelling == NUM - len(taught)
    assert made("6-dpo").record.inputs["model"].artifact == student.record.fingerprint
    for evaluation in (road.before, road.after):
        rate = evaluation.record.win_rate
        assert rate is not None
        assert (rate.baseline, rate.wins + rate.losses + rate.ties) == ("text_davinci_003", NUM_EVALUATED)
        assert {"annotations.json", "leaderboard.csv"} <= {path.name for path in evaluation.path.iterdir()}


@pytest.mark.usefixtures("_place")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], r"others\.json: holds no usable completion \(asked for: part=preference\)"),
        (["split=null", "leakage.action=allow"], r"others\.json: against has a completion for none of the prompts"),
        (["against.path=nowhere.json"], r"nowhere\.json: no such file"),
    ],
)
def test_unusable_completions_to_judge_against_are_refused_before_training(words: list[str], said: str) -> None:
    Path("others.json").write_text(json.dumps({"another prompt": ["a completion"]}))
    others = ["against.path=others.json", "against.format=completions"]
    with StubServer(prefers_the_longer) as server, pytest.raises(DataError, match=said):
        run(tiny_example(server, *others, *words))
    assert not Path("artifacts", "2-sft").exists()


@pytest.mark.parametrize("name", ROADS)
def test_a_recipe_lacks_nothing_but_the_names_of_todays_models(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_evaluators(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="2 problem") as found:
        Recipe.load(RECIPES / name)
    assert all(f"{who}.model: required" in str(found.value) for who in MODELS)
    recipe = Recipe.load(RECIPES / name, [f"{who}.model=NAME" for who in MODELS])
    assert recipe.name == Path(name).stem.replace("_", "-")


def test_the_study_lacks_nothing_but_the_names_of_todays_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_evaluators(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    path = RECIPES / "study_sharegpt_mistral7b.yaml"
    models = ["teachers.gpt4.endpoint", "critics.gpt4", "critics.chatgpt", "judges.gpt4", "judges.claude"]
    with pytest.raises(ConfigError) as found:
        StudyRecipe.load(path)
    assert all(f"{model}.model: required" in str(found.value) for model in models)
    recipe = StudyRecipe.load(path, [f"{model}.model=NAME-{model}" for model in models])
    feedback = [way.arm.feedback for way in ways(recipe)]
    assert sorted(feedback) == ["best_of_n", *["dpo"] * 3, *["none"] * 4, "shuffled"]
