"""Sentences say what the numbers say and no more: for planted gain, no gain, harm, and what nobody can tell."""

from __future__ import annotations

import numpy as np
import pytest

from simulated import wins
from tutelage.findings import ComparisonFound, Span
from tutelage.measure.runs import Array, Mean, decide, mean_of
from tutelage.study.words import (
    Asked,
    all_length_controlled,
    headline,
    matched_clause,
    number,
    sentence,
    signed,
    what_would_tell,
)

ASKED = Asked("feedback from C", "SFT on T alone")
OWN = Asked("SFT on C's own completions", "SFT on T alone")
NOTHING = Span(value=None)


def comparison(found: Mean, controlled: Span = NOTHING, margin: float = 2, others: int = 0) -> ComparisonFound:
    """Return what a study would write; `others` comparisons of no difference are made with it."""
    nothing = mean_of(np.array([[1.0, -1.0] * 100]), num_draws=200)
    decision = decide([found, *[nothing] * others], margin)[0]
    return ComparisonFound(
        first="dpo",
        second="sft",
        judge="j",
        question=ASKED.question,
        difference=Span(value=found.value, low=found.low, high=found.high, num=found.num_prompts),
        length_controlled=controlled,
        p_value=found.p_value,
        adjusted_p_value=decision.adjusted_p_value,
        num_prompts=found.num_prompts,
        num_seeds=found.num_seeds,
        seed_deviation=found.seed_deviation,
        prompt_deviation=found.prompt_deviation,
        outcome=decision.outcome,
        needed_prompts=decision.needed_prompts,
        needed_seeds=decision.needed_seeds,
        says="",
    )


def planted(first: float, second: float, seeds: int = 3, prompts: int = 500, deviation: float = 0.5) -> Mean:
    one, other = wins(np.random.default_rng(5), (first, second), seeds, prompts, deviation)
    return mean_of(one - other, num_draws=1000)


def of(low: float, value: float, high: float, outcome: str, **changes: object) -> ComparisonFound:
    """Return a comparison with these very numbers."""
    fields: dict[str, object] = {
        "difference": Span(value=value, low=low, high=high, num=805),
        "outcome": outcome,
        "num_seeds": 3,
        "num_prompts": 805,
        "needed_prompts": None,
        "needed_seeds": None,
    }
    return comparison(mean_of(np.zeros((1, 30)))).model_copy(update=fields | changes)


# ---- outcomes ----------------------------------------------------------------------------------------


def test_a_planted_gain_is_said_with_its_interval() -> None:
    found = comparison(planted(0.7, 0.5))
    said = sentence(found, ASKED, 2)
    assert said == (
        f"Feedback from C adds {found.difference.value:.1f} points (95 % CI {found.difference.low:.1f} to "
        f"{found.difference.high:.1f}) over SFT on T alone."
    )


def test_a_planted_harm_is_said_to_do_worse() -> None:
    said = sentence(comparison(planted(0.5, 0.7)), ASKED, 2)
    assert said.startswith("Feedback from C does worse than SFT on T alone: -")
    assert "(95 % CI -" in said
    assert "adds" not in said


def test_a_planted_nothing_on_many_prompts_excludes_the_margin_and_no_more() -> None:
    said = sentence(comparison(planted(0.5, 0.5, prompts=4000), margin=5), ASKED, 5)
    assert said.startswith("Feedback from C brings no gain of 5 points or more over SFT on T alone: ")


def test_what_cannot_be_told_says_what_would_tell() -> None:
    said = sentence(comparison(planted(0.57, 0.5, prompts=150)), ASKED, 2)
    assert said.startswith("Whether feedback from C adds anything over SFT on T alone cannot be told: +")
    assert "To tell a difference of this size takes about " in said


def test_one_seed_speaks_for_one_training_run() -> None:
    gain = sentence(comparison(planted(0.7, 0.5, seeds=1)), ASKED, 2)
    assert gain.startswith("For this one training run, feedback from C adds ")
    luck = sentence(comparison(planted(0.54, 0.5, 1, 100)), ASKED, 2)
    assert "how far other training runs would fall, one seed cannot say" in luck


def test_what_holm_takes_away_is_said_to_be_taken_by_holm() -> None:
    found = mean_of(np.array([[1.0] * 65 + [-1.0] * 40 + [0.0] * 395]))
    assert "adds 5.0 points" in sentence(comparison(found), ASKED, 2)
    said = sentence(comparison(found, others=9), ASKED, 2)
    assert said.startswith("For this one training run, whether feedback from C adds anything")
    assert "Its own interval leaves out 0 (p = 0.0" in said
    assert "after Holm's correction p = 0." in said


def test_a_harm_that_holm_takes_away_is_no_gain_and_says_that_it_may_harm() -> None:
    said = sentence(of(-4.0, -2.0, -0.1, "no gain", p_value=0.03, adjusted_p_value=0.2), ASKED, 2)
    assert said.startswith("Feedback from C brings no gain of 2 points or more over SFT on T alone: -2.0 points")
    assert "It may do harm" in said


def test_a_gain_below_the_margin_says_so() -> None:
    assert sentence(of(0.2, 0.8, 1.5, "gain"), ASKED, 2).endswith("alone, less than the 2 points asked for.")


def test_at_equal_length_a_gain_can_be_gone() -> None:
    lost = sentence(of(1.2, 4.1, 7.0, "gain", length_controlled=Span(value=1.0, low=-2, high=4)), ASKED, 2)
    assert lost.endswith(
        "At equal length the difference is +1.0 points (95 % CI -2.0 to 4.0): without the part of length it cannot "
        "be told from none."
    )
    kept = sentence(of(1.2, 4.1, 7.0, "gain", length_controlled=Span(value=3.0, low=1, high=5)), ASKED, 2)
    assert kept.endswith("At equal length the difference is +3.0 points (95 % CI 1.0 to 5.0).")


@pytest.mark.parametrize(
    ("prompts", "seeds", "num_seeds", "said"),
    [
        (4210, 9, 3, "takes about 4,300 prompts with these 3 seeds, or about 9 seeds with these 805 prompts."),
        (4210, None, 3, "takes about 4,300 prompts with these 3 seeds; more seeds alone would not do."),
        (None, 9, 3, "takes about 9 seeds with these 805 prompts; more prompts alone would not do."),
        (None, None, 3, ", neither more prompts nor more seeds alone are enough within reach."),
        (None, None, 1, ", no number of prompts within reach is enough."),
    ],
)
def test_every_way_to_tell_has_its_words(prompts: int | None, seeds: int | None, num_seeds: int, said: str) -> None:
    found = of(-1, 1.2, 3.4, "cannot tell", needed_prompts=prompts, needed_seeds=seeds, num_seeds=num_seeds)
    assert what_would_tell(found) == f"To tell a difference of this size{'' if said[0] == ',' else ' '}{said}"


def test_near_zero_nobody_is_sent_for_more_prompts() -> None:
    assert what_would_tell(of(-3, 0.04, 3, "cannot tell")) == ""


@pytest.mark.parametrize("seed", range(12))
def test_no_sentence_claims_a_gain_that_the_outcome_does_not(seed: int) -> None:
    values: Array = np.subtract(*wins(np.random.default_rng(seed), (0.5, 0.48 + 0.01 * seed), 3, 150, 1.5))
    found = comparison(mean_of(values, num_draws=500))
    said = sentence(found, ASKED, 2)
    assert (" adds " in said and "whether" not in said.lower()) == (found.outcome == "gain")
    assert ("does worse" in said) == (found.outcome == "harm")
    assert ("brings no gain" in said) == (found.outcome == "no gain")
    assert ("cannot be told:" in said) == (found.outcome == "cannot tell")


# ---- several at once ---------------------------------------------------------------------------------


def test_the_headline_joins_what_was_found_and_names_the_second_arm_once() -> None:
    matched = matched_clause("dollars", Span(value=-3.04, low=-6.0, high=-0.2), Asked("feedback from C", "SFT on C"))
    said = headline(
        [(of(1.2, 4.1, 7.0, "gain"), ASKED), (of(8.0, 11.3, 14.2, "gain"), OWN)], margin=2, matched=[matched]
    )
    assert said == (
        "Feedback from C adds 4.1 points (95 % CI 1.2 to 7.0) over SFT on T alone; SFT on C's own completions adds "
        "11.3 points (8.0 to 14.2); at equal dollars, feedback from C is behind SFT on C: -3.0 points (-6.0 to -0.2)."
    )


def test_the_headline_keeps_every_clause_to_its_outcome() -> None:
    said = headline(
        [(of(-1.0, 1.1, 3.2, "cannot tell", num_seeds=1), ASKED), (of(-9.0, -6.0, -3.0, "harm", num_seeds=1), OWN)], 2
    )
    assert said == (
        "For this one training run, whether feedback from C adds anything over SFT on T alone cannot be told: +1.1 "
        "points (95 % CI -1.0 to 3.2); SFT on C's own completions does worse: -6.0 points (-9.0 to -3.0)."
    )


def test_several_differences_at_equal_length_are_one_sentence_that_names_what_is_gone() -> None:
    kept, gone = Span(value=3.0, low=1, high=5), Span(value=0.4, low=-2, high=3)
    both = [of(1.2, 4.1, 7.0, "gain", length_controlled=kept), of(8.0, 11.3, 14.2, "gain", length_controlled=gone)]
    assert all_length_controlled(both) == (
        "At equal length, these differences are +3.0 points (95 % CI 1.0 to 5.0) and +0.4 points (-2.0 to 3.0): "
        "without the part of length, +0.4 points cannot be told from none."
    )
    assert all_length_controlled(both[:1]) == "At equal length, this difference is +3.0 points (95 % CI 1.0 to 5.0)."
    assert all_length_controlled([*both, of(1.2, 4.1, 7.0, "gain")]) == ""


def test_a_matched_comparison_says_only_what_its_interval_does() -> None:
    even = matched_clause("tokens", Span(value=1.0, low=-2.0, high=4.0), ASKED)
    assert even == (
        "at equal training tokens, feedback from C and SFT on T alone cannot be told apart: +1.0 points "
        "(95 % CI -2.0 to 4.0)"
    )
    ahead = matched_clause("prompts", Span(value=3.0, low=2.0, high=4.0), ASKED)
    assert ahead == "at equal prompts, feedback from C is 3.0 points ahead of SFT on T alone (95 % CI 2.0 to 4.0)"
    none = matched_clause("dollars", Span(value=None, note="the price of C is unknown"), ASKED)
    assert none == "at equal dollars, nothing can be said (the price of C is unknown)"


def test_numbers_do_not_round_to_a_zero_that_they_are_not() -> None:
    assert [number(v) for v in (4.14, 0.03, -0.004, 0.0, -0.0)] == ["4.1", "0.03", "-0.004", "0.0", "0.0"]
    assert [signed(v) for v in (1.0, -1.0, 0.0)] == ["+1.0", "-1.0", "0.0"]
