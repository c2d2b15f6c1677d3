"""Two scores are a verdict by the larger one; a score that is none is INVALID and never a tie."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.critic.scores import sigmoid, verdict_of_scores
from tutelage.records import Completion, Pair, Prompt

PROMPT = Prompt.of("Q")
PAIR = Pair(
    left=Completion(prompt_id=PROMPT.id, author="a", text="x"),
    right=Completion(prompt_id=PROMPT.id, author="b", text="y"),
)
finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite, finite)
def test_the_larger_score_wins_and_the_probability_says_so(left: float, right: float) -> None:
    verdict = verdict_of_scores(PAIR, left, right, "r")
    assert verdict.outcome == ("LEFT" if left > right else "RIGHT" if right > left else "TIE")
    assert verdict.probability is not None
    assert (verdict.probability > 0.5) <= (left > right)
    assert (verdict.probability < 0.5) <= (left < right)
    swapped = verdict_of_scores(PAIR, right, left, "r").probability
    assert swapped == pytest.approx(1 - verdict.probability)


def test_the_probability_is_that_of_bradley_and_terry() -> None:
    verdict = verdict_of_scores(PAIR, 1.5, 0.25, "r")
    assert verdict.probability == pytest.approx(math.exp(1.5) / (math.exp(1.5) + math.exp(0.25)))
    assert (verdict.orders, verdict.replies) == (("left_alone", "right_alone"), ("1.5", "0.25"))
    assert (verdict.critic, verdict.usage.requests) == ("r", 0)


def test_equal_scores_are_a_tie() -> None:
    verdict = verdict_of_scores(PAIR, -2.0, -2.0, "r")
    assert (verdict.outcome, verdict.probability) == ("TIE", 0.5)


@pytest.mark.parametrize("wrong", [None, math.nan, math.inf, -math.inf])
def test_a_score_that_is_none_makes_the_pair_invalid_on_either_side(wrong: float | None) -> None:
    for left, right in ((wrong, 1.0), (1.0, wrong), (wrong, wrong)):
        verdict = verdict_of_scores(PAIR, left, right, "r")
        assert (verdict.outcome, verdict.probability) == ("INVALID", None)
        assert verdict.replies == (repr(left), repr(right))


def test_no_difference_is_too_large_for_a_probability() -> None:
    assert (sigmoid(1e308), sigmoid(-1e308), sigmoid(0.0)) == (1.0, 0.0, 0.5)
