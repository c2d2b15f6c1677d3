"""Is one policy better than another? Planted answers come back, and luck is called luck."""

from __future__ import annotations

import math
import random
import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import DataError
from tutelage.measure.paired import (
    against_even,
    bootstrap_interval,
    compare,
    even_in_words,
    holm,
    in_words,
    permutation_test,
)


def planted(num: int, first: float, second: float, seed: int = 0) -> dict[str, dict[str, float]]:
    """Two policies that win each prompt with these chances."""
    draw = random.Random(seed)
    return {
        name: {f"p{i}": float(draw.random() < rate) for i in range(num)}
        for name, rate in (("one", first), ("two", second))
    }


# ---- the tests themselves ---------------------------------------------------------------------------


def test_a_small_permutation_test_counts_every_pattern_of_signs() -> None:
    differences = [0.5, 0.25, -0.5, 1.0, 0.75]
    sums = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in product((1, -1), repeat=5)]
    expected = sum(s >= abs(sum(differences)) - 1e-12 for s in sums) / len(sums)
    assert permutation_test(differences) == pytest.approx(expected)


def test_prompts_on_which_nothing_differs_change_no_p_value() -> None:
    differences = [1.0] * 6 + [-1.0]
    assert permutation_test(differences) == pytest.approx(16 / 128)
    assert permutation_test(differences + [0.0] * 500) == pytest.approx(16 / 128)


def test_no_difference_at_all_has_a_p_value_of_one() -> None:
    assert permutation_test([0.0] * 50) == 1.0
    assert permutation_test([]) == 1.0


def test_the_sampled_test_is_seeded_never_zero_and_near_the_exact_one() -> None:
    draw = random.Random(1)
    few = [draw.choice([1.0, -1.0, 0.5]) for _ in range(15)]
    sums = [abs(sum(s * d for s, d in zip(signs, few, strict=True))) for signs in product((1, -1), repeat=15)]
    exact = sum(s >= abs(sum(few)) for s in sums) / len(sums)
    assert permutation_test(few, num_draws=20_000) == pytest.approx(exact, abs=0.02)
    assert permutation_test([1.0] * 40) == 1 / 10_001
    assert permutation_test(few, seed=3) == permutation_test(few, seed=3)


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]), min_size=1, max_size=12))
def test_a_p_value_is_a_probability_and_does_not_care_who_is_first(differences: list[float]) -> None:
    p_value = permutation_test(differences)
    assert 0 < p_value <= 1
    assert permutation_test([-d for d in differences]) == pytest.approx(p_value)


def test_the_permutation_test_holds_its_level() -> None:
    """Under no difference, 5 % of p values are below .05: here 400 studies, 3 standard errors are 3.3 points."""
    draw = random.Random(0)
    below = sum(
        permutation_test([draw.choice([-1.0, 0.0, 1.0]) for _ in range(60)], num_draws=400) < 0.05 for _ in range(400)
    )
    assert 5 <= below <= 33


def test_the_bootstrap_interval_holds_the_mean_about_95_times_in_100() -> None:
    draw = random.Random(0)
    held = 0
    for study in range(300):
        values = [float(draw.random() < 0.3) for _ in range(200)]
        low, high = bootstrap_interval(values, num_draws=500, seed=study)
        held += low <= 0.3 <= high
    assert 273 <= held <= 297


def test_the_bootstrap_is_seeded_and_one_prompt_bounds_nothing() -> None:
    assert bootstrap_interval([1.0, 0.0, 1.0], seed=2) == bootstrap_interval([1.0, 0.0, 1.0], seed=2)
    assert bootstrap_interval([1.0]) == (-math.inf, math.inf)


def test_holm_worked_out_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_value_or_changes_their_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(a >= p for a, p in zip(adjusted, p_values, strict=True))
    pairs = sorted(zip(p_values, adjusted, strict=True))
    assert [a for _, a in pairs] == sorted(a for _, a in pairs)


# ---- comparisons and their sentences ----------------------------------------------------------------


def test_a_planted_gain_is_found_and_said() -> None:
    (found,) = compare(planted(400, 0.6, 0.4))
    assert found.difference == pytest.approx(20, abs=7)
    assert found.interval[0] < 20 < found.interval[1]
    assert in_words(found).startswith("one is better than two by ")


def test_a_planted_loss_is_said_as_one() -> None:
    (found,) = compare(planted(400, 0.4, 0.6))
    assert in_words(found).startswith("one is worse than two by ")


def test_no_planted_difference_is_called_luck_with_what_it_would_take() -> None:
    (found,) = compare(planted(200, 0.5, 0.47, seed=4))
    said = in_words(found)
    assert said.startswith("Cannot tell one from two: ")
    assert "to tell a difference of that size takes about " in said


def test_alike_on_every_prompt_is_no_difference() -> None:
    same = {f"p{i}": float(i % 2) for i in range(20)}
    (found,) = compare({"one": same, "two": dict(same)})
    assert (
        in_words(found) == "No difference between one and two: the two were judged alike on every prompt, 20 of them."
    )


@pytest.mark.parametrize("num", [6, 20])
def test_winning_every_prompt_is_better_though_nothing_varies(num: int) -> None:
    every = [f"p{i}" for i in range(num)]
    (found,) = compare({"one": dict.fromkeys(every, 1.0), "two": dict.fromkeys(every, 0.0)})
    assert found.p_value == pytest.approx(2 / 2**6 if num == 6 else 1 / 10_001)
    assert in_words(found).startswith(f"one is better than two by 100.0 points on each of {num} prompts (p ")
    assert "interval" not in in_words(found)
    assert found.correlation is None


def test_winning_all_of_five_prompts_is_too_few_to_tell() -> None:
    """The smallest p value of five prompts is 2 / 2**5 = .0625."""
    every = [f"p{i}" for i in range(5)]
    (found,) = compare({"one": dict.fromkeys(every, 0.0), "two": dict.fromkeys(every, 1.0)})
    assert in_words(found) == (
        "Cannot tell one from two: the difference is -100.0 points on each of 5 prompts, "
        "and so few cannot show it (p = 0.062)."
    )


def test_a_single_prompt_says_nothing_of_others() -> None:
    (found,) = compare({"one": {"p": 1.0}, "two": {"p": 0.0}})
    assert found.standard_error is None
    assert "one prompt says nothing of others" in in_words(found)


def test_what_holm_takes_away_needs_more_prompts_than_there_are() -> None:
    """Six policies, fifteen comparisons: p = .004 alone would do, and is not enough among fifteen."""
    draw = random.Random(2)
    six = {f"m{k}": {f"p{i}": float(draw.random() < 0.5 + 0.02 * k) for i in range(300)} for k in range(6)}
    lost = [c for c in compare(six) if c.p_value < 0.005 and c.adjusted_p_value >= 0.05]
    assert lost
    for found in lost:
        needed = re.search(r"with 15 comparisons takes about ([\d,]+) prompts", in_words(found))
        assert needed is not None
        assert int(needed[1].replace(",", "")) > found.num_prompts


def test_prompts_that_only_one_policy_has_are_counted_and_left_out() -> None:
    (found,) = compare({"one": {"a": 1.0, "b": 0.0, "c": 1.0}, "two": {"b": 0.5, "c": 0.5, "d": 1.0, "e": 1.0}})
    assert (found.num_prompts, found.num_only_first, found.num_only_second) == (2, 1, 2)
    assert found.difference == 0


def test_every_two_are_compared_or_each_with_one() -> None:
    three = planted(60, 0.5, 0.5) | {"three": planted(60, 0.5, 0.5, seed=9)["one"]}
    assert [(c.first, c.second) for c in compare(three)] == [("one", "two"), ("one", "three"), ("two", "three")]
    assert [(c.first, c.second) for c in compare(three, against="two")] == [("one", "two"), ("three", "two")]
    with pytest.raises(DataError, match="found 'four'; expected one of one, two, three"):
        compare(three, against="four")


def test_many_comparisons_are_corrected_together() -> None:
    three = planted(60, 0.5, 0.5) | {"three": planted(60, 0.5, 0.5, seed=9)["one"]}
    found = compare(three)
    assert [c.adjusted_p_value for c in found] == holm([c.p_value for c in found])


def test_policies_without_a_common_prompt_cannot_be_compared() -> None:
    with pytest.raises(DataError, match="one and two have no prompt in common"):
        compare({"one": {"a": 1.0}, "two": {"b": 1.0}})


def test_the_order_of_the_rows_changes_nothing() -> None:
    both = planted(300, 0.55, 0.5)
    turned = {name: dict(reversed(scores.items())) for name, scores in both.items()}
    assert compare(both) == compare(turned)


# ---- one policy against its baseline ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "says"),
    [(0.6, "j prefers me to you"), (0.4, "j prefers you to me"), (0.5, "j prefers neither me nor you")],
)
def test_who_is_preferred_is_said_only_if_it_can_be(rate: float, says: str) -> None:
    scores = planted(400, rate, 0.0, seed=3)["one"]
    found = against_even(scores)
    assert even_in_words(found, "me", "you", "j").startswith(says)
    assert found.rate == pytest.approx(100 * sum(scores.values()) / 400)
    assert found.interval[0] < found.rate < found.interval[1]


def test_one_prompt_prefers_nobody() -> None:
    assert "One prompt says nothing" in even_in_words(against_even({"p": 1.0}), "me", "you", "j")


def test_a_rate_that_never_varies_has_no_interval() -> None:
    every = [f"p{i}" for i in range(20)]
    said = even_in_words(against_even(dict.fromkeys(every, 1.0)), "me", "you", "j")
    assert (
        said == "j prefers me to you (win rate of me 100.0 %, the same score on every prompt, p < 0.001, 20 prompts)."
    )
    said = even_in_words(against_even(dict.fromkeys(every, 0.5)), "me", "you", "j")
    assert said.startswith("j prefers neither me nor you")


def test_no_score_is_one_error() -> None:
    with pytest.raises(DataError, match="no prompt has a score"):
        against_even({})
