"""AlpacaEval's figures against numbers worked out by hand, and what counts as AlpacaEval at all."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotated import annotation, judged, known
from tutelage.errors import DataError
from tutelage.measure.alpaca_eval import (
    Coverage,
    bounds,
    coverage,
    dataset_of,
    in_order,
    instruction_key,
    is_switched,
    metrics,
    metrics_by_dataset,
    position_of,
    preference_of_logprobs,
    the_805,
)

PREFERENCES = st.lists(st.none() | st.sampled_from([1.0, 1.5, 2.0]) | st.floats(1, 2), min_size=1, max_size=30)


def test_figures_worked_out_by_hand() -> None:
    """Scores 1 .25 0 .5 1: mean .55; squared distances .2025 .09 .3025 .0025 .2025 = .8; sqrt(.8 / 4 / 5) = .2."""
    preferences = [2, 1.25, 1, 1.5, 2, None]
    found = metrics([annotation(i, p, output_2="y" * (10 + i)) for i, p in enumerate(preferences)])
    assert found.win_rate == pytest.approx(55)
    assert found.standard_error == pytest.approx(20)
    assert (found.n_wins, found.n_wins_base, found.n_draws) == (2, 2, 1)
    assert (found.n_total, found.num_missing) == (5, 1)
    assert found.discrete_win_rate == pytest.approx(50)
    assert found.avg_length == 12  # (10 + ... + 15) / 6 = 12.5, of the missing row too


def test_a_preference_hardly_above_a_tie_is_a_whole_win_when_rounded() -> None:
    found = metrics([annotation(0, 1.5000001), annotation(1, 1.4999999), annotation(2, 1.5)])
    assert (found.n_wins, found.n_wins_base, found.n_draws, found.discrete_win_rate) == (1, 1, 1, 50)


def test_one_preference_has_no_standard_error() -> None:
    assert metrics([annotation(0, 2.0)]).standard_error is None


def test_no_preference_at_all_is_no_win_rate() -> None:
    with pytest.raises(DataError, match="none of 2 annotations holds a preference"):
        metrics([annotation(0, None), annotation(1, None)])


@given(PREFERENCES)
def test_what_one_side_wins_the_other_loses(preferences: list[float | None]) -> None:
    if all(p is None for p in preferences):
        return
    ours = metrics([annotation(i, p) for i, p in enumerate(preferences)])
    theirs = metrics([annotation(i, None if p is None else 3 - p) for i, p in enumerate(preferences)])
    assert ours.win_rate + theirs.win_rate == pytest.approx(100)
    assert ours.discrete_win_rate + theirs.discrete_win_rate == pytest.approx(100)
    assert ours.n_wins + ours.n_wins_base + ours.n_draws == ours.n_total
    assert ours.n_total + ours.num_missing == len(preferences)


@given(PREFERENCES, st.lists(st.sampled_from([1.0, 2.0]), min_size=30, max_size=30))
def test_the_bounds_hold_whatever_the_missing_preferences_turn_out_to_be(
    preferences: list[float | None], truth: list[float]
) -> None:
    if all(p is None for p in preferences):
        return
    rows = [annotation(i, p) for i, p in enumerate(preferences)]
    low, high = bounds(metrics(rows), coverage(rows, known(len(rows))))
    filled = [annotation(i, t if p is None else p) for i, (p, t) in enumerate(zip(preferences, truth, strict=False))]
    assert low - 1e-9 <= metrics(filled).win_rate <= high + 1e-9


# ---- which instructions ------------------------------------------------------------------------------


def test_the_805_instructions_are_different_and_of_five_datasets() -> None:
    places = [place for place, _ in the_805().values()]
    assert places == list(range(805))
    assert Counter(dataset for _, dataset in the_805().values()) == {
        "selfinstruct": 252,
        "oasst": 188,
        "koala": 156,
        "helpful_base": 129,
        "vicuna": 80,
    }
    assert all(len(key) == 12 and set(key) <= set("0123456789abcdef") for key in the_805())


def test_an_instruction_is_known_by_its_exact_text() -> None:
    assert instruction_key("é") == "4a99557e4033"  # printf é | sha256sum
    assert position_of("Question 3?", known()) == 3
    assert dataset_of("Question 3?", known()) == "odd"
    assert position_of("Question 3? ", known()) is None
    assert position_of("no instruction of AlpacaEval \ud800") is None
    assert dataset_of("no instruction of AlpacaEval") is None


def test_all_instructions_once_in_any_order_are_alpaca_eval() -> None:
    rows = judged()
    found = coverage(rows[::-1], known())
    assert found.is_complete
    assert str(found) == "all 60 AlpacaEval instructions, each once"
    assert in_order(rows[::-1], known()) == rows


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (judged()[:27], "27 of 60: not an AlpacaEval win rate (absent: 33)"),
        (judged() + judged()[:2], "60 of 60: not an AlpacaEval win rate (rows that repeat one: 2)"),
        (
            [*judged()[1:], annotation(99)],
            "59 of 60: not an AlpacaEval win rate (absent: 1, rows of other instructions: 1)",
        ),
    ],
)
def test_anything_else_is_not_and_says_why(rows: list[Any], says: str) -> None:
    found = coverage(rows, known())
    assert not found.is_complete
    assert str(found) == says
    with pytest.raises(DataError, match="not an AlpacaEval win rate"):
        in_order(rows, known())


def test_absent_instructions_widen_the_bounds() -> None:
    """3 wins of 4, 6 of 10 absent: from 3/10 to 9/10."""
    rows = [annotation(i, 2.0 if i else 1.0) for i in range(4)]
    assert bounds(metrics(rows), coverage(rows, known(10))) == pytest.approx((30, 90))


def test_rows_of_other_instructions_do_not_owe_alpaca_evals() -> None:
    rows = [annotation(100, 2.0), annotation(101, None)]
    assert bounds(metrics(rows), coverage(rows, known(10))) == pytest.approx((50, 100))


def test_the_805_with_one_missing_label_are_complete_but_not_exact() -> None:
    covered = Coverage(num_wanted=805, num_rows=805, num_present=805, num_repeated=0, num_foreign=0)
    rows = [annotation(i, None if i == 0 else 2.0) for i in range(805)]
    assert bounds(metrics(rows), covered) == pytest.approx((100 * 804 / 805, 100))


def test_a_row_says_its_dataset_or_it_is_looked_up() -> None:
    rows = [annotation(0, 2.0), annotation(1, 1.0), annotation(2, None, dataset="own"), annotation(99, 1.5)]
    found = metrics_by_dataset(rows, known())
    assert {name: m and m.win_rate for name, m in found.items()} == {
        "even": 100,
        "odd": 0,
        "own": None,
        "unknown": 50,
    }


# ---- log-probabilities -------------------------------------------------------------------------------


def reply(**logprobs: float) -> dict[str, Any]:
    tokens = [{"token": token, "logprob": value} for token, value in logprobs.items()]
    return {"logprobs": {"content": [{"token": "m", "top_logprobs": tokens}]}}


STRAIGHT = next(f"Question {i}?" for i in range(100) if not is_switched(f"Question {i}?"))
SWITCHED = next(f"Question {i}?" for i in range(100) if is_switched(f"Question {i}?"))


def test_the_preference_is_the_share_of_one_token_in_two() -> None:
    """p(m) = .6 / (.6 + .2) = .75 of what the two have together."""
    raw = reply(m=math.log(0.6), M=math.log(0.2), The=math.log(0.2))
    assert preference_of_logprobs(annotation(instruction=STRAIGHT, raw=raw)) == pytest.approx(1.25)
    assert preference_of_logprobs(annotation(instruction=SWITCHED, raw=raw)) == pytest.approx(1.75)


@pytest.mark.parametrize(("logprobs", "preference"), [({"m": -800.0}, 1.0), ({"M": -800.0, " m": -0.1}, 2.0)])
def test_a_token_that_is_not_among_the_alternatives_has_no_share(
    logprobs: dict[str, float], preference: float
) -> None:
    assert preference_of_logprobs(annotation(instruction=STRAIGHT, raw=reply(**logprobs))) == preference


@pytest.mark.parametrize("raw", [None, "m", {}, reply(The=-0.1), {"logprobs": None}, {"logprobs": {"content": []}}])
def test_a_reply_without_the_two_tokens_has_no_preference(raw: object) -> None:
    assert preference_of_logprobs(annotation(raw=raw)) is None


def test_the_seed_and_the_instruction_decide_who_is_shown_first() -> None:
    shown = [is_switched(f"Question {i}?") for i in range(400)]
    assert 150 < sum(shown) < 250
    assert shown != [is_switched(f"Question {i}?", seed=1) for i in range(400)]
