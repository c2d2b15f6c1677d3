"""The verdict of a study: no number twice, what it rests on, and the same on a terminal as in study.json."""

from __future__ import annotations

from pathlib import Path

from made_findings import findings

from small_study import RECIPE
from tutelage.findings import Findings, Span
from tutelage.study.questions import Question
from tutelage.study.recipe import StudyRecipe
from tutelage.study.scores import Judgement
from tutelage.study.terminal import text
from tutelage.study.verdict import verdict, warnings
from tutelage.study.words import Asked

FED, ALONE, OWN, START = "weak-10+critic-a", "weak-100", "strong-100", "weak-10"
ASKED = [
    Question(FED, ALONE, Asked("feedback from C", "SFT on T alone")),
    Question(OWN, ALONE, Asked("SFT on C's own completions (strong)", "SFT on T alone")),
    Question(OWN, FED, Asked("SFT on C's own completions (strong)", "SFT on 10 % of T + feedback from C")),
    Question(FED, START, Asked("feedback from C", "its start, SFT on 10 % of T")),
]


def found(cost_the_same: bool) -> Findings:
    """Return findings with the comparisons that the paper makes, the third at `prompts` as measured or not."""
    made, values = findings(), (16.3, 36.1, 19.8, 21.7)
    one = made.comparisons[0]
    at = one.matched[0]
    compared = []
    for question, value in zip(ASKED, values, strict=True):
        span = Span(value=value, low=value - 4, high=value + 4)
        even = Span(value=value - 2, low=value - 6, high=value + 2)
        matched = span if cost_the_same else Span(value=value - 1, low=value - 5, high=value + 3)
        compared.append(
            one.model_copy(
                update={
                    "first": question.first,
                    "second": question.second,
                    "outcome": "gain",
                    "difference": span,
                    "length_controlled": even,
                    "matched": (at.model_copy(update={"difference": matched}),),
                    "says": f"{question.asked.question}: {value}.",
                }
            )
        )
    return made.model_copy(update={"comparisons": tuple(compared)})


def test_arms_that_cost_the_same_are_compared_in_one_sentence_and_not_in_two() -> None:
    assert verdict(found(cost_the_same=True), ASKED) == (
        "Feedback from C adds 16.3 points (95 % CI 12.3 to 20.3) over SFT on T alone; SFT on C's own completions "
        "(strong) adds 36.1 points (32.1 to 40.1); at equal prompts, the latter is 19.8 points ahead of the former "
        "(15.8 to 23.8).",
        "At equal length, these differences are +14.3 points (95 % CI 10.3 to 18.3), +34.1 points (30.1 to 38.1) and "
        "+17.8 points (13.8 to 21.8).",
        "Feedback from C over its start, SFT on 10 % of T: 21.7.",
    )


def test_where_they_do_not_cost_the_same_the_comparison_as_measured_has_a_sentence_of_its_own() -> None:
    said = verdict(found(cost_the_same=False), ASKED)
    assert said[0].endswith("at equal prompts, the latter is 18.8 points ahead of the former (14.8 to 22.8).")
    assert said[1].count("points") == 2
    assert said[2] == "SFT on C's own completions (strong) over SFT on 10 % of T + feedback from C: 19.8."


def test_without_the_critics_own_completions_feedback_and_sft_alone_are_compared_at_equal_cost() -> None:
    """Else `match` would be a setting that nothing reads."""
    for same, clause in (
        (True, ""),
        (False, " At equal prompts, the former is 15.3 points ahead of the latter (95 % CI 11.3 to 19.3)."),
    ):
        made = found(cost_the_same=same)
        kept = tuple(c for c in made.comparisons if (c.first, c.second) in ((FED, ALONE), (FED, START)))
        said = verdict(made.model_copy(update={"comparisons": kept}), ASKED)
        assert said == (
            f"Feedback from C over SFT on T alone: 16.3.{clause}",
            "Feedback from C over its start, SFT on 10 % of T: 21.7.",
        )


def test_prompts_that_the_opponent_did_not_complete_are_told_apart_from_what_a_run_lacks(tmp_path: Path) -> None:
    said = Judgement("j", lengths={"a": {0: {"p": 1.0, "q": 0.0}, 1: {"p": 1.0}}}, missing={"a": 2 + 3})
    assert said.num_unpaired == 2
    made, path = findings(), tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(folder=tmp_path))
    recipe = StudyRecipe.load(path)
    several = {
        arm.name: tuple(r.model_copy(update={"num_invalid": 0, "num_missing": 8 * len(r.by_seed)}) for r in arm.rates)
        for arm in made.arms
    }
    lacking = made.model_copy(
        update={"arms": tuple(arm.model_copy(update={"rates": several[arm.name]}) for arm in made.arms)}
    )
    held_against = " ".join(warnings(lacking, recipe, [], num_unpaired=8))
    assert "8 prompts to evaluate on could not be judged at all" in held_against
    assert "unreadable or missing" not in held_against


def test_arms_that_turned_out_as_one_are_named(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(folder=tmp_path))
    made, recipe = findings(), StudyRecipe.load(path)
    one, other = made.arms[:2]
    drawn = {arm.name: {seed: {"draw": f"{arm.name}-{seed}"} for seed in arm.seeds} for arm in made.arms}
    for same in (False, True):
        drawn[other.name] = drawn[one.name] if same else drawn[other.name]
        arms = tuple(arm.model_copy(update={"runs": drawn[arm.name]}) for arm in made.arms)
        said = warnings(made.model_copy(update={"arms": arms}), recipe, [], num_unpaired=0)
        assert any(f"{one.name} and {other.name} have the very same completions" in each for each in said) == same


def test_the_terminal_says_what_points_are_and_keeps_to_the_width_of_a_screen() -> None:
    made = findings()
    shown = text(made, [])
    assert (
        "(Points are percentage points of the win rate against teacher-3.5, drawn anew. Judge: judge-a; 3 " in shown
    )
    assert "seed 0  seed 1  seed 2" in shown
    assert max(map(len, shown.splitlines())) <= 110
    assert all(" ".join(sentence.split()) in " ".join(shown.split()) for sentence in (*made.verdict, *made.warnings))
