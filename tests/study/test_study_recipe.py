"""A study's recipe: what is wrong with it is said before anything is trained or paid for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from small_study import RECIPE
from tutelage.errors import ConfigError
from tutelage.inputs import Model
from tutelage.study.commands import graph_of
from tutelage.study.design import default_arms, ways
from tutelage.study.judges import of_teachers
from tutelage.study.plan import plan
from tutelage.study.questions import questions
from tutelage.study.recipe import Arm, StudyRecipe

ARMS = """
  sft-weak-20: {teacher: weak, fraction: 0.2}
  dpo-weak: {teacher: weak, fraction: 0.2, feedback: dpo}
"""


def loaded(folder: Path, *words: str, arms: str = ARMS, **changed: str) -> StudyRecipe:
    lines = RECIPE.format(folder=folder).split("arms:\n")[0].splitlines()
    rest = RECIPE.format(folder=folder).split("best_of_n}\n")[1].splitlines()
    kept = [line for line in [*lines, *rest] if line.partition(":")[0] not in changed]
    path = folder / "recipe.yaml"
    path.write_text("\n".join([*kept, *(f"{key}: {value}" for key, value in changed.items()), "arms:", arms]))
    return StudyRecipe.load(path, words)


def refused(folder: Path, *words: str, arms: str = ARMS, **changed: str) -> str:
    with pytest.raises(ConfigError) as caught:
        ways(loaded(folder, *words, arms=arms, **changed))
    assert "\n\n" not in str(caught.value)
    return str(caught.value)


def test_an_arm_without_its_teacher_or_critic_names_what_there_is(tmp_path: Path) -> None:
    said = refused(tmp_path, arms="  one: {teacher: strong}")
    assert "arms.one.teacher: found 'strong'; expected a name under teachers (weak)" in said
    said = refused(tmp_path, arms="  one: {teacher: weak, fraction: 0.1, feedback: dpo, critic: nobody}")
    assert "arms.one.critic: found 'nobody'; expected a name under critics (critic)" in said
    said = refused(tmp_path, critics="{}")
    assert "arms.dpo-weak.critic: required, but not given" in said


def test_two_arms_that_are_the_same_are_refused_by_both_names(tmp_path: Path) -> None:
    twice = ARMS + "  again: {teacher: weak, fraction: 0.2, feedback: dpo, critic: critic, dpo: {epochs: 1}}\n"
    assert "arms dpo-weak and again are the same" in refused(tmp_path, arms=twice)
    differ = ARMS + "  again: {teacher: weak, fraction: 0.2, feedback: dpo, dpo: {epochs: 2}}\n"
    assert [way.name for way in ways(loaded(tmp_path, arms=differ))] == ["sft-weak-20", "dpo-weak", "again"]


def test_arms_or_judges_that_differ_in_speed_alone_are_the_same(tmp_path: Path) -> None:
    faster = ARMS + "  faster: {teacher: weak, fraction: 0.2, feedback: dpo, dpo: {devices: 2}}\n"
    assert "arms dpo-weak and faster are the same" in refused(tmp_path, arms=faster)
    critics = "{critic: miniature_critic, quick: {preset: miniature_critic, timeout_seconds: 9}}"
    arms = (
        "  one: {teacher: weak, fraction: 0.2, feedback: dpo, critic: critic}\n"
        "  two: {teacher: weak, fraction: 0.2, feedback: dpo, critic: quick}\n"
    )
    assert "arms one and two are the same" in refused(tmp_path, critics=critics, arms=arms)
    judges = "{judge: miniature_critic_unbiased, again: {preset: miniature_critic_unbiased, timeout_seconds: 9}}"
    assert "judges.again: the same as judges.judge" in refused(tmp_path, judges=judges)


def test_a_judge_that_is_the_critic_is_refused_until_it_is_allowed(tmp_path: Path) -> None:
    said = refused(tmp_path, "judges.judge=miniature_critic")
    assert "judges.judge is the model that gives the feedback (critic)" in said
    assert "allow_self_judging" in said
    assert len(ways(loaded(tmp_path, "judges.judge=miniature_critic", "allow_self_judging=true"))) == 2


def test_a_judge_that_is_the_teacher_who_judges_its_own_student_is_refused_too(tmp_path: Path) -> None:
    own = ARMS + "  own: {teacher: weak, fraction: 0.2, feedback: dpo, critic: teacher}\n"
    assert len(ways(loaded(tmp_path, arms=own))) == 3
    assert "judges.judge is the model" in refused(tmp_path, "judges.judge=miniature_weak", arms=own)


def test_a_setting_that_no_arm_reads_is_refused(tmp_path: Path) -> None:
    said = refused(tmp_path, arms="  one: {teacher: weak, dpo: {epochs: 3}, critic: critic}")
    assert "arms.one: critic, dpo: read by arms with feedback" in said
    said = refused(tmp_path, arms="  one: {teacher: weak, feedback: dpo}")
    assert "arms.one: fraction 1 leaves no prompt for feedback" in said
    said = refused(tmp_path, arms="  one: {teacher: weak, sft: {epoch: 3}}")
    assert "arms.one.sft" in said
    assert "did you mean epochs?" in said


def test_what_the_study_sets_is_refused_in_a_stage_with_what_to_give_instead(tmp_path: Path) -> None:
    for word, instead in (
        ("sft.seed=1", "seeds"),
        ("sft.share=[0,0.1]", "fraction"),
        ("label.critic=openai", "critics"),
    ):
        with pytest.raises(ConfigError, match=instead):
            loaded(tmp_path, word, *(["label.critic.model=x"] if "openai" in word else []))


def test_what_the_study_sets_is_refused_in_an_arm_too(tmp_path: Path) -> None:
    begin = "  one: {teacher: weak, fraction: 0.2, feedback: dpo, "
    for setting, instead in (
        ("sft: {share: [0, 0.5]}", "one.sft.share: set by the study; give fraction"),
        ("label: {critic: {preset: openai, model: m}}", "one.label.critic: set by the study; give critics"),
        ("prefer: {shuffled: true}", "one.prefer.shuffled: set by the study; give feedback: shuffled"),
        ("axes: {dpo.seed: [1, 2]}", "dpo.seed: set by the study; give seeds"),
    ):
        assert instead in refused(tmp_path, arms=f"{begin}{setting}}}")
    second = "  one: {teacher: weak, fraction: 0.2, feedback: best_of_n, dpo: {share: [0, 1]}}"
    assert "one.dpo.share: set by the study" in refused(tmp_path, arms=second)
    assert ways(loaded(tmp_path, arms=f"{begin}sample: {{share: [0, 1]}}}}"))[0].sample.share == (0, 1)
    with pytest.raises(ConfigError, match=r"evaluate.judging.seed: set by the study; give seeds"):
        loaded(tmp_path, "evaluate.judging.seed=4")


def test_seeds_prompts_and_opponent_are_given_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"seeds: found -1; expected numbers from 0"):
        loaded(tmp_path, "seeds=[0,-1]")
    with pytest.raises(ConfigError, match="has one of them twice"):
        loaded(tmp_path, "seeds=[1,1]")
    with pytest.raises(ConfigError, match=r"give prompts .* or miniature"):
        loaded(tmp_path, "prompts=p.jsonl")
    with pytest.raises(ConfigError, match=r"give baseline .* or teacher"):
        loaded(tmp_path, "evaluation.baseline=b.jsonl")
    with pytest.raises(ConfigError, match=r"evaluation.teacher: found 'w'; expected a name under teachers"):
        loaded(tmp_path, "evaluation.teacher=w")


def test_words_reach_entries_by_their_names_and_a_mistyped_one_is_told_its_nearest(tmp_path: Path) -> None:
    recipe = loaded(tmp_path, "arms.dpo-weak.fraction=0.3", "judges.judge.timeout_seconds=7", "judges.other=openai",
                    "judges.other.model=m")  # fmt: skip
    assert recipe.arms["dpo-weak"].fraction == 0.3
    assert recipe.judges["judge"].timeout_seconds == 7
    assert recipe.judges["other"].model == "m"
    with pytest.raises(ConfigError, match=r"arms\.dpo-weak\.fractoin: unknown key"):
        loaded(tmp_path, "arms.dpo-weak.fractoin=0.3")


def test_axes_make_one_arm_for_each_combination(tmp_path: Path) -> None:
    arms = (
        "  a: {teacher: weak, fraction: 0.2, feedback: dpo, axes: {dpo.loss.beta: [0.05, 0.1], fraction: [0.1, 0.2]}}"
    )
    found = ways(loaded(tmp_path, arms=arms))
    assert [way.name for way in found] == [
        "a-beta-0.05-fraction-0.1",
        "a-beta-0.05-fraction-0.2",
        "a-beta-0.1-fraction-0.1",
        "a-beta-0.1-fraction-0.2",
    ]
    assert [(way.dpo.loss.beta, way.arm.fraction) for way in found] == [
        (0.05, 0.1),
        (0.05, 0.2),
        (0.1, 0.1),
        (0.1, 0.2),
    ]
    assert "unknown key 'dpoo.loss'" in refused(tmp_path, arms="  a: {teacher: weak, axes: {dpoo.loss: [1]}}")
    assert "axes.fraction: has no value" in refused(tmp_path, arms="  a: {teacher: weak, axes: {fraction: []}}")
    assert "unknown key 'axes.sft'" in refused(tmp_path, arms="  a: {teacher: weak, axes: {axes.sft: [1]}}")
    said = refused(tmp_path, arms="  a: {teacher: weak, axes: {teacher.name: [x]}}")
    assert "teacher is no group of settings" in said


def test_a_teacher_is_its_endpoint_where_it_is_said_like_a_critic(tmp_path: Path) -> None:
    mine = "{preset: local, model: m, timeout_seconds: 9}"
    short = loaded(tmp_path, teachers=f"{{weak: {mine}}}").teachers["weak"]
    assert short == loaded(tmp_path, teachers=f"{{weak: {{endpoint: {mine}}}}}").teachers["weak"]
    with pytest.raises(ConfigError, match=r"teachers\.weak\.endpont: unknown key"):
        loaded(tmp_path, teachers="{weak: {endpont: openai}}")


def test_without_arms_the_papers_comparison_and_its_controls_are_made(tmp_path: Path) -> None:
    recipe = loaded(tmp_path, teachers="{weak: miniature_weak, strong: miniature_strong}", arms="  {}")
    recipe = recipe.model_copy(update={"arms": {}})
    assert list(default_arms(recipe)) == [
        "sft-weak-20", "sft-weak-100", "dpo-weak", "sft-strong-20", "sft-strong-100", "dpo-strong",
        "best-of-n-weak", "shuffled-weak", "own-weak",
    ]  # fmt: skip
    assert len(ways(recipe)) == 9
    two = recipe.model_copy(
        update={"models": {"a": Model(path="x"), "b": Model(path="y")}, "sft_small": {"epochs": 9}}
    )
    found = {way.name: way for way in ways(two)}
    assert len(found) == 18
    assert {way.sft.epochs for name, way in found.items() if "-100-" not in name} == {9}
    assert {way.model.path for name, way in found.items() if name.endswith("-b")} == {"y"}


def test_pairs_with_the_teachers_completions_are_named_in_what_is_asked(tmp_path: Path) -> None:
    """SFT on what was chosen then learns the teacher's own completions as well, and DPO what may be SFT's gain."""
    recipe = loaded(tmp_path)
    small: dict[str, Any] = {"teacher": "weak", "fraction": 0.2}
    fed = {name: Arm(**small, feedback=name, pairs="teacher") for name in ("dpo", "best_of_n", "shuffled")}
    recipe = recipe.model_copy(update={"arms": {"sft": Arm(**small), **fed}})
    found = ways(recipe)
    said = {(q.first, q.second): q.asked.question for q in questions(recipe, found)}
    of_pairs = "pairs with weak's completions"
    assert said["dpo", "sft"] == f"Feedback from critic on {of_pairs} over its start, SFT on 20 % of weak"
    assert said["best_of_n", "sft"].startswith(f"SFT on what critic chose from {of_pairs} over ")
    assert said["shuffled", "sft"].startswith(f"DPO on random labels of {of_pairs} over ")
    assert [way.changed for way in found] == [{}, *[{"pairs": "teacher"}] * 3]


def test_the_comparisons_are_those_that_the_paper_asks(tmp_path: Path) -> None:
    recipe = loaded(
        tmp_path, "own_completions={critic: strong}", teachers="{weak: miniature_weak, strong: miniature_strong}"
    ).model_copy(update={"arms": {}})
    asked = questions(recipe, ways(recipe))
    said = {(q.first, q.second): q.asked.question for q in asked}
    assert said["dpo-weak", "sft-weak-100"] == "Feedback from critic over SFT on weak alone"
    assert said["sft-strong-100", "sft-weak-100"] == "SFT on critic's own completions (strong) over SFT on weak alone"
    assert ("sft-strong-100", "dpo-weak") in said
    assert said["dpo-weak", "sft-weak-20"] == "Feedback from critic over its start, SFT on 20 % of weak"
    assert {("dpo-weak", "shuffled-weak"), ("dpo-weak", "best-of-n-weak"), ("shuffled-weak", "sft-weak-20")} <= set(
        said
    )
    assert len(said) == len(asked)


def test_arms_are_compared_with_what_differs_from_them_in_one_thing(tmp_path: Path) -> None:
    arms = """
  start: {teacher: weak, fraction: 0.2, axes: {sft.lr: [1e-3, 1e-4]}}
  all: {teacher: weak, axes: {sft.lr: [1e-3, 1e-4]}}
  dpo: {teacher: weak, fraction: 0.2, feedback: dpo, axes: {sft.lr: [1e-3, 1e-4], dpo.loss.beta: [0.1, 0.2]}}
  shuffled: {teacher: weak, fraction: 0.2, feedback: shuffled}
  else: {teacher: weak, fraction: 0.2, feedback: best_of_n, pairs: teacher}
"""
    recipe = loaded(tmp_path, arms=arms)
    asked = questions(recipe, ways(recipe))
    assert {(q.first, q.second) for q in asked} == {
        *((f"dpo-lr-{lr}-beta-{b}", f"{other}-lr-{lr}") for lr in ("0.001", "0.0001") for b in ("0.1", "0.2")
          for other in ("start", "all")),
        ("dpo-lr-0.001-beta-0.1", "shuffled"),
        ("shuffled", "start-lr-0.001"),
        ("else", "start-lr-0.001"),
    }  # fmt: skip


def test_no_two_comparisons_read_the_same(tmp_path: Path) -> None:
    again = ARMS + "  gentle: {teacher: weak, fraction: 0.2, feedback: dpo, dpo: {lr: 1e-6}}\n"
    recipe = loaded(tmp_path, arms=again)
    assert [q.asked.question for q in questions(recipe, ways(recipe))] == [
        "Feedback from critic (dpo-weak) over its start, SFT on 20 % of weak",
        "Feedback from critic (gentle) over its start, SFT on 20 % of weak",
    ]


def test_comparisons_of_the_recipe_name_arms_that_exist(tmp_path: Path) -> None:
    recipe = loaded(tmp_path, "comparisons=[[dpo-weak, sft-weak-02]]")
    with pytest.raises(ConfigError, match=r"no arm is called 'sft-weak-02'; did you mean sft-weak-20\?"):
        questions(recipe, ways(recipe))
    recipe = loaded(tmp_path, "comparisons=[[dpo-weak, dpo-weak]]")
    with pytest.raises(ConfigError, match="with itself"):
        questions(recipe, ways(recipe))
    recipe = loaded(tmp_path, "comparisons=[[dpo-weak, sft-weak-20], [sft-weak-20, dpo-weak]]")
    with pytest.raises(ConfigError, match="dpo-weak and sft-weak-20 are compared twice"):
        questions(recipe, ways(recipe))


def test_pairs_with_the_teacher_ask_the_teacher_about_the_other_prompts_too(tmp_path: Path) -> None:
    arms = (
        ARMS + "  against: {teacher: weak, fraction: 0.2, feedback: dpo, pairs: teacher, sample: {num_samples: 1}}\n"
    )
    recipe = loaded(tmp_path, arms=arms)
    _, graph = graph_of(recipe)
    run = graph.runs["against", 0]
    assert run["teach:rest"].config.share == (0.2, 1.0)  # type: ignore[attr-defined]
    assert run["label"].needs["against"][1] is run["teach:rest"]
    assert run["sft"].key == graph.runs["sft-weak-20", 0]["sft"].key
    said = plan(graph)
    assert "teach weak" in said
    assert "pairs: read by arms with feedback" in refused(tmp_path, arms="  one: {teacher: weak, pairs: teacher}")


@pytest.mark.parametrize("page", ["README.md", "docs/study.md"])
def test_the_recipes_of_the_pages_load(page: str, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / page).read_text()
    blocks = [block.partition("```")[0] for block in text.split("```yaml\n")[1:]]
    whole, *arms = [block for block in blocks if "seeds:" in block or "judges:" in block or block.startswith("arms:")]
    names = iter(range(10))
    whole = re.sub(r"\b(OTHER-)?NAME\b", lambda _: f"model-{next(names)}", whole)
    path = tmp_path / "recipe.yaml"
    for block in (whole, *(whole + more for more in arms)):
        path.write_text(block)
        recipe = StudyRecipe.load(path)
        assert len(ways(recipe)) == (8 if recipe.arms else 9)
        assert questions(recipe, ways(recipe))


def test_a_judge_that_taught_an_arm_or_is_of_its_teachers_family_is_named(tmp_path: Path) -> None:
    teachers = (
        "{weak: {preset: openai, model: gpt-3.5-turbo}, strong: {completions: {path: g.json, author: gpt-4}}, "
        "mine: {preset: local, model: llama-3}}"
    )
    arms = "\n".join(f"  {name}: {{teacher: {name}}}" for name in ("weak", "strong", "mine"))
    judges = "{judge: {preset: openai, model: gpt-4}, other: {preset: anthropic, model: claude-3}}"
    recipe = loaded(tmp_path, teachers=teachers, judges=judges, arms=arms, evaluation="{baseline: b.jsonl}")
    assert of_teachers(recipe, ways(recipe)) == [
        "judge judge and teacher weak are of one family (openai): the judge may like the teacher's words in the arms "
        "it taught",
        "judge judge is teacher strong: it may like its own words in the arms it taught",
    ]
