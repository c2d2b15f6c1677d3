"""Win rates against numbers worked out by hand."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import CriticError, DataError
from tutelage.measure.win_rate import mean_and_error, paired_difference, scores, win_rate
from tutelage.records import Completion, Outcome, Pair, Prompt, Verdict


def verdict(prompt: str, outcome: Outcome, index: int = 0) -> Verdict:
    prompt_id = Prompt.of(prompt).id
    left = Completion(prompt_id=prompt_id, author="policy", text=f"left {index}")
    right = Completion(prompt_id=prompt_id, author="baseline", text=f"right {index}")
    return Verdict(
        pair=Pair(left=left, right=right), orders=("left_first",), outcome=outcome, critic="j", replies=("r",)
    )


def verdicts(*outcomes: Outcome) -> list[Verdict]:
    return [verdict(f"Say {i}.", outcome) for i, outcome in enumerate(outcomes)]


def test_a_win_rate_worked_out_by_hand() -> None:
    """Scores 1 1 1 0 .5: mean .7; squared distances .09 .09 .09 .49 .04 = .8; sqrt(.8 / 4 / 5) = .2."""
    rate = win_rate(verdicts("LEFT", "LEFT", "LEFT", "RIGHT", "TIE", "INVALID"), "policy", "baseline", "judge")
    assert rate.rate == pytest.approx(70)
    assert rate.standard_error == pytest.approx(20)
    assert (rate.wins, rate.losses, rate.ties, rate.invalid) == (3, 1, 1, 1)
    assert (rate.policy, rate.baseline, rate.judge) == ("policy", "baseline", "judge")


def test_wins_and_losses_without_ties_have_the_binomial_error_with_n_minus_one() -> None:
    rate = win_rate(verdicts(*["LEFT"] * 30, *["RIGHT"] * 70), "p", "b", "j")
    assert rate.rate == pytest.approx(30)
    assert rate.standard_error == pytest.approx(100 * math.sqrt(0.3 * 0.7 / 99))


def test_ties_are_half_a_win_each() -> None:
    assert win_rate(verdicts("TIE", "TIE"), "p", "b", "j").rate == 50
    assert win_rate(verdicts("TIE", "TIE"), "p", "b", "j").standard_error == 0


def test_invalid_verdicts_are_nobodys_win_and_nobodys_loss() -> None:
    with_them = win_rate(verdicts("LEFT", "RIGHT", "LEFT", "INVALID", "INVALID"), "p", "b", "j")
    without = win_rate(verdicts("LEFT", "RIGHT", "LEFT"), "p", "b", "j")
    assert with_them.model_copy(update={"invalid": 0}) == without
    assert with_them.invalid == 2


def test_a_single_prompt_has_a_rate_and_no_error() -> None:
    rate = win_rate(verdicts("LEFT"), "p", "b", "j")
    assert (rate.rate, rate.standard_error) == (100, None)


@pytest.mark.parametrize("outcomes", [(), ("INVALID", "INVALID")])
def test_no_readable_verdict_is_an_error_and_not_a_rate(outcomes: tuple[Outcome, ...]) -> None:
    with pytest.raises(CriticError, match=f"none of {len(outcomes)} replies"):
        win_rate(verdicts(*outcomes), "p", "b", "judge")


def test_several_verdicts_on_one_prompt_count_as_one_prompt() -> None:
    """Otherwise a prompt judged often would make the error look small."""
    twice = [verdict("a", "LEFT", 0), verdict("a", "RIGHT", 1), verdict("b", "LEFT"), verdict("a", "INVALID", 2)]
    assert list(scores(twice).values()) == [0.5, 1.0]
    rate = win_rate(twice, "p", "b", "j")
    assert rate.rate == pytest.approx(75)
    assert rate.standard_error == pytest.approx(25)
    assert (rate.wins, rate.losses, rate.invalid) == (2, 1, 1)


@given(st.lists(st.sampled_from(["LEFT", "RIGHT", "TIE"]), min_size=2, max_size=60))
def test_swapping_policy_and_baseline_mirrors_the_rate(outcomes: list[Outcome]) -> None:
    mirror: dict[Outcome, Outcome] = {"LEFT": "RIGHT", "RIGHT": "LEFT", "TIE": "TIE"}
    here = win_rate(verdicts(*outcomes), "p", "b", "j")
    there = win_rate(verdicts(*(mirror[o] for o in outcomes)), "b", "p", "j")
    assert here.rate + there.rate == pytest.approx(100)
    assert here.standard_error == pytest.approx(there.standard_error)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50))
def test_mean_and_error_are_those_of_the_statistics_module(values: list[float]) -> None:
    mean, error = mean_and_error(values)
    assert mean == pytest.approx(statistics.fmean(values), abs=1e-6)
    assert error == pytest.approx(statistics.stdev(values) / math.sqrt(len(values)), abs=1e-6)


# ---- two policies on the same prompts ---------------------------------------------------------------


def test_a_paired_difference_worked_out_by_hand() -> None:
    """Differences 1 0 .5 -.5 over a b c d: mean .25; squares .5625 .0625 .0625 .5625; sqrt(1.25 / 3 / 4)."""
    first = {"a": 1.0, "b": 1.0, "c": 0.5, "d": 0.0, "only here": 1.0}
    second = {"d": 0.5, "c": 0.0, "b": 1.0, "a": 0.0, "only there": 0.0}
    difference, error, num = paired_difference(first, second)
    assert num == 4
    assert difference == pytest.approx(25)
    assert error == pytest.approx(100 * math.sqrt(1.25 / 12))
    back = paired_difference(second, first)
    assert back == pytest.approx((-difference, error, num))


def test_pairing_takes_out_what_the_prompts_have_in_common() -> None:
    first = {str(i): float(i % 2) for i in range(100)}
    difference, error, _ = paired_difference(first, {k: v - 0.01 for k, v in first.items()})
    assert difference == pytest.approx(1)
    assert error == pytest.approx(0, abs=1e-9)


def test_one_prompt_in_common_has_no_error() -> None:
    difference, error, num = paired_difference({"a": 1.0}, {"a": 0.0})
    assert (difference, num) == (100, 1)
    assert math.isnan(error)


def test_nothing_in_common_is_an_error() -> None:
    with pytest.raises(DataError, match="no prompt is in both"):
        paired_difference({"a": 1.0}, {"b": 1.0})
