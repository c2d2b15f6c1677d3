"""How small a difference can so many prompts and training runs show? Before anything is run, or after a first look.

A difference d of two arms on prompt p in the run of seed s is taken apart into mu + a_s + b_p + e_sp. What a plan can
show is told by the interval that `measure.runs` will draw: the seeds enter with Student's t for one degree of freedom
fewer than there are seeds, so that two seeds show little, whatever the prompts. With one seed all is as in
`measure.power`, and what is said holds for that one run. numpy is not needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

from tutelage.measure.paired import ALPHA
from tutelage.measure.power import minimum_detectable_effect

POWER = 0.8
MOST_PROMPTS, MOST_SEEDS = 100_000, 100
"""Above these, more of one thing is no advice that anybody can follow."""
NEAR_ZERO = 0.05
"""Points. What it would take to tell so small a difference from none helps nobody."""
_NORMAL_FROM = 200
"""Degrees of freedom from which Student's t is the normal distribution, to three digits."""


@dataclass(frozen=True)
class Spread:
    """The variances of a, b and e in the model above, squared points."""

    seed: float
    """Between training runs; 0 where there is one run, which says nothing of others."""
    prompt: float
    """Between prompts, the same in every run. With one seed, `noise` is in here."""
    noise: float
    """What is left: of one prompt in one run."""


def noise_taken(num_seeds: int) -> float:
    """Return which part of the noise `measure.runs` takes off the spread of seeds; see `measure.runs.mean_of`."""
    return (num_seeds - 1) / (num_seeds + 1)


def smallest_shown(
    spread: Spread, num_prompts: int, num_seeds: int, alpha: float = ALPHA, power: float = POWER
) -> float:
    """Return the smallest true difference that is told with chance `power`, in points; approximate.

    Half the interval at `alpha` (the quantiles of the prompts' normal and the seeds' t, added in squares), and the
    normal quantile of `power` times the standard error.
    """
    if num_seeds == 1:
        return minimum_detectable_effect(num_prompts, math.sqrt(spread.prompt + spread.noise), alpha, power)
    normal = NormalDist()
    of_prompts = (spread.prompt + spread.noise / num_seeds) / num_prompts
    of_seeds = (spread.seed + (1 - noise_taken(num_seeds)) * spread.noise / num_prompts) / num_seeds
    t = t_quantile(1 - alpha / 2, num_seeds - 1)
    half = math.sqrt(normal.inv_cdf(1 - alpha / 2) ** 2 * of_prompts + t**2 * of_seeds)
    return half + normal.inv_cdf(power) * math.sqrt(spread.seed / num_seeds + of_prompts)


def smallest_planned(
    num_prompts: int,
    num_seeds: int,
    *,
    deviation: float,
    correlation: float,
    seed_deviation: float,
    num_comparisons: int = 1,
    power: float = POWER,
) -> float:
    """Return the smallest true difference that a plan shows with chance `power`, in points.

    How much of the spread over prompts comes back in every run is not known before there are runs; the least
    favourable share is taken. With m comparisons, alpha is divided by m: Holm's rule is never stricter than that.

    Args:
        deviation: of one arm's score on one prompt in one run, points; `measure.power.WORST` at most.
        correlation: between the two arms' scores on the same prompts.
        seed_deviation: of the difference between training runs, points; it does not count if there is one.
    """
    each = 2 * deviation**2 * (1 - correlation)
    return max(
        smallest_shown(
            Spread(seed_deviation**2, share * each, (1 - share) * each),
            num_prompts,
            num_seeds,
            ALPHA / num_comparisons,
            power,
        )
        for share in (place / 10 for place in range(11))
    )


def prompts_to_tell(effect: float, spread: Spread, num_seeds: int, alpha: float = ALPHA) -> int | None:
    """Return about how many prompts show `effect` (points) with the seeds there are; None: no number in reach."""
    return _first(lambda num: smallest_shown(spread, num, num_seeds, alpha) <= effect, MOST_PROMPTS)


def seeds_to_tell(effect: float, spread: Spread, num_prompts: int, alpha: float = ALPHA) -> int | None:
    """Return about how many seeds show `effect` (points) with the prompts there are; None: no number in reach."""
    return _first(lambda num: smallest_shown(spread, num_prompts, num, alpha) <= effect, MOST_SEEDS)


def _first(is_enough: Callable[[int], bool], most: int) -> int | None:
    """Return the smallest number from 2 to `most` that is enough, if more is never worse."""
    low, high = 1, most
    if not is_enough(most):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


@cache
def t_quantile(chance: float, freedom: int) -> float:
    """Return the quantile of Student's t with a whole number of degrees of freedom, for `chance` above one half.

    Bisection of the closed form of its distribution (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4).
    """
    if freedom >= _NORMAL_FROM:
        return NormalDist().inv_cdf(chance)
    low, high = 0.0, math.pi / 2  # the angle whose tangent is t / sqrt(freedom)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if 0.5 + _within(middle, freedom) / 2 < chance else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def _within(angle: float, freedom: int) -> float:
    """Return the chance that |t| is below sqrt(freedom) tan(angle)."""
    cosine, sine = math.cos(angle), math.sin(angle)
    term = sine * cosine if freedom % 2 else sine
    total = 0.0
    for step in range(2 + freedom % 2, freedom + 1, 2):
        total += term
        term *= cosine**2 * (step - 1) / step
    return (2 / math.pi) * (angle + total) if freedom % 2 else total
