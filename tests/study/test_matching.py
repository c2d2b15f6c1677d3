"""Two arms at equal cost: where the scaling curve reaches, and what is said where it does not."""

from __future__ import annotations

import math

import pytest

from tutelage.findings import Cost
from tutelage.study.matching import Point, matched


def cost(prompts: float = 0, dollars: float | None = 0.0, tokens: float = 0) -> Cost:
    return Cost(
        taught=prompts, labelled=0, teacher_dollars=dollars, critic_dollars=0.0, judge_dollars=0.0, tokens=tokens,
        seconds=1, device_hours=0,
    )  # fmt: skip


def scores(win_rate: float, num: int = 200) -> dict[int, dict[str, float]]:
    """Two runs with this win rate; the same prompts are won in both."""
    return {seed: {f"p{i}": float(i < win_rate * num) for i in range(num)} for seed in (0, 1)}


COSTS = {"small": cost(10, 1.0, 100), "large": cost(100, 10.0, 1000), "fed": cost(100, math.sqrt(10), 50)}
SCORES = {"small": scores(0.4), "large": scores(0.6), "fed": scores(0.7)}
CURVE = [Point(n, f, COSTS[n], SCORES[n]) for n, f in (("small", 0.1), ("large", 1.0))]


def test_half_way_in_the_logarithm_of_the_cost_is_half_way_in_the_score() -> None:
    found = matched("dollars", "fed", "large", CURVE, COSTS, SCORES)
    assert found.fraction == pytest.approx(math.sqrt(0.1))
    assert found.difference.value == pytest.approx(70 - 50)
    low, high = found.difference.low, found.difference.high
    assert low is not None
    assert high is not None
    assert low < 20 < high
    assert (found.first_at, found.second_at) == (math.sqrt(10), 10.0)


def test_the_order_of_the_arms_turns_the_sign_and_no_more() -> None:
    one, other = (matched("dollars", *names, CURVE, COSTS, SCORES) for names in (("fed", "large"), ("large", "fed")))
    assert one.difference.value == pytest.approx(-(other.difference.value or 0))
    assert one.fraction == other.fraction


def test_arms_that_cost_the_same_are_compared_as_measured() -> None:
    found = matched("prompts", "fed", "small", CURVE, COSTS, SCORES)
    assert found.fraction == 1.0
    assert found.difference.value == pytest.approx(10)
    assert "large cost the same" in found.difference.note


def test_beyond_the_curve_nothing_is_said_but_how_far_it_would_have_to_reach() -> None:
    found = matched("tokens", "fed", "large", CURVE, COSTS, SCORES)
    assert found.difference.value is None
    assert "below small" in found.difference.note
    dear = COSTS | {"fed": cost(100, 40.0, 50)}
    found = matched("dollars", "fed", "large", CURVE, dear, SCORES)
    assert found.difference.value is None
    assert found.fraction == pytest.approx(4.0)
    assert found.difference.note == "SFT alone would take 4.0 times the prompts there are"


def test_unknown_prices_and_costs_of_nothing_make_no_match() -> None:
    unknown = COSTS | {"fed": cost(100, None)}
    assert matched("dollars", "fed", "large", CURVE, unknown, SCORES).difference.note == "dollars unknown"
    free = COSTS | {"fed": cost(100, 0.0)}
    assert "no dollars were spent" in matched("dollars", "fed", "large", CURVE, free, SCORES).difference.note
