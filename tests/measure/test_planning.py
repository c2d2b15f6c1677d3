"""What a plan can show is what the intervals will show."""

from __future__ import annotations

import numpy as np
import pytest

from simulated import wins
from tutelage.measure.planning import (
    Spread,
    prompts_to_tell,
    seeds_to_tell,
    smallest_planned,
    smallest_shown,
    t_quantile,
)
from tutelage.measure.power import minimum_detectable_effect, prompts_needed
from tutelage.measure.runs import mean_of


@pytest.mark.parametrize(
    ("freedom", "chance", "expected"),
    [(1, 0.975, 12.7062), (2, 0.975, 4.3027), (4, 0.975, 2.7764), (5, 0.9975, 4.7733), (30, 0.975, 2.0423)],
)
def test_students_t_is_as_in_the_tables(freedom: int, chance: float, expected: float) -> None:
    assert t_quantile(chance, freedom) == pytest.approx(expected, abs=1e-4)
    assert t_quantile(0.975, 1000) == pytest.approx(1.96, abs=0.001)


def test_with_one_seed_a_plan_is_the_power_of_a_test_over_prompts() -> None:
    planned = smallest_planned(805, 1, deviation=50, correlation=0.5, seed_deviation=9)
    assert planned == pytest.approx(minimum_detectable_effect(805, 50))
    assert prompts_to_tell(3, Spread(0, 2500, 0), 1) == prompts_needed(3, 50)


def test_more_of_anything_shows_less_and_more_comparisons_ask_more() -> None:
    plan = {"deviation": 45.0, "correlation": 0.3, "seed_deviation": 2.0}
    usual = smallest_planned(500, 3, **plan)
    assert smallest_planned(800, 3, **plan) < usual
    assert smallest_planned(500, 5, **plan) < usual < smallest_planned(500, 2, **plan)
    assert smallest_planned(500, 3, num_comparisons=4, **plan) > usual
    assert smallest_planned(500, 3, **plan | {"seed_deviation": 4.0}) > usual


def test_what_would_tell_is_the_first_number_that_does() -> None:
    spread = Spread(seed=4, prompt=800, noise=1500)
    prompts = prompts_to_tell(8, spread, 3)
    seeds = seeds_to_tell(4, spread, 500)
    assert prompts is not None
    assert seeds is not None
    assert smallest_shown(spread, prompts, 3) <= 8 < smallest_shown(spread, prompts - 1, 3)
    assert smallest_shown(spread, 500, seeds) <= 4 < smallest_shown(spread, 500, seeds - 1)
    assert prompts_to_tell(3, spread, 3) is None
    assert seeds_to_tell(0.5, spread, 500) is None


def test_a_difference_of_the_planned_size_is_found_about_8_times_in_10() -> None:
    """150 studies: three standard errors are 10 points; the plan is a rough one."""
    generator = np.random.default_rng(8)
    spread = mean_of(np.subtract(*wins(generator, (0.5, 0.5), 60, 2000, 1.0)), num_draws=10).spread
    effect = smallest_shown(spread, 400, 4)
    found = 0
    for study in range(150):
        one, other = wins(generator, (0.5 + effect / 100, 0.5), 4, 400, 1.0)
        found += mean_of(one - other, seed=study, num_draws=500).p_value < 0.05
    assert 0.68 <= found / 150 <= 0.95
