"""Two ways to train, several training runs of each, the same prompts: is the difference more than luck?

One function on a matrix of values by seed and prompt, `mean_of`, gives a mean with its interval; a win rate, a
difference of two arms, or any sum of arms with weights is such a matrix (`combine`). What is said holds for other
prompts of the same kind and for other training runs. With one seed it holds for that run only, and the interval is
the one of `measure.paired`: a bootstrap over prompts.

The model is value_sp = mu + a_s + b_p + e_sp, seeds and prompts crossed, with the usual mean squares MS_A (seeds) and
MS_E (rest). A draw of the mean is the sum of two parts:

- prompts, redrawn with replacement (Efron 1979), each with the average of its seeds: this covers b and e;
- seeds, drawn from Student's t with S - 1 degrees of freedom, times sqrt(max(0, MS_A - k MS_E) / (S P)) with
  k = (S - 1) / (S + 1). Each draw is taken with both signs, so that swapping two arms mirrors the interval.

Why seeds are not redrawn: two or three of them, drawn with replacement, have a variance that is too small by
(S - 1) / S, and no tails (Hesterberg 2015), so that the plain bootstrap over both ("pigeonhole", Owen 2007) is too
narrow where runs differ by several points; where they do not, it is too wide, for it counts the noise twice. Why not
all of MS_E is taken off, which would free MS_A of the noise exactly: with two or three seeds MS_A is often small by
luck; the difference is then cut at 0, and the spread between runs denied. To draw both mean squares from their
scaled chi-square distributions (the fiducial interval, Hannig, Iyer and Patterson 2006) errs to the other side, and
is wider. k was chosen by simulation: `benchmarks/measure/study_coverage.py` prints coverage and width of all of
these. No method makes two seeds tell much: Student's t for them is 12.7 standard errors wide to either side, 4.3 for
three, 2.8 for five.

Imports numpy; import this module where it is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import DataError
from tutelage.measure.paired import ALPHA, NUM_DRAWS, holm, redrawn_means
from tutelage.measure.planning import NEAR_ZERO, Spread, noise_taken, prompts_to_tell, seeds_to_tell

Array = NDArray[np.float64]
Scores = Mapping[int, Mapping[str, float]]
"""Of one arm: by seed and prompt id, from 0 (a loss against the common baseline) to 1 (a win)."""
Outcome = Literal["gain", "harm", "no gain", "cannot tell"]
FEW = 10
"""Where fewer prompts differ from all others than this, redrawing prompts does not find what it has not seen."""
_SAME = 1e-9


@dataclass(frozen=True)
class Values:
    """A matrix of values on the seeds that all arms have, and the prompts that all of these runs have."""

    matrix: Array
    """(seeds, prompts)"""
    seeds: tuple[int, ...]
    prompts: tuple[str, ...]
    num_seeds_left_out: int
    """Seeds that only some of the arms have."""
    num_prompts_left_out: int
    """Prompts that only some of the runs have."""

    @property
    def by_seed(self) -> dict[int, float]:
        """The mean of each run, times 100."""
        return {seed: 100 * float(row.mean()) for seed, row in zip(self.seeds, self.matrix, strict=True)}


def combine(parts: Sequence[tuple[float, Scores]]) -> Values:
    """Return sum_k weight_k scores_k, run by run and prompt by prompt.

    An arm alone is `[(1, arm)]`, a difference `[(1, first), (-1, second)]`, and a difference from a place between two
    arms `[(1, first), (w - 1, one), (-w, other)]`.

    Raises:
        DataError: the arms have no seed in common, or their runs no prompt.
    """
    arms = [arm for _, arm in parts]
    every = set().union(*arms)
    seeds = sorted(seed for seed in every if all(seed in arm for arm in arms))
    if not seeds:
        found = "; ".join(", ".join(map(str, sorted(arm))) or "none" for arm in arms)
        raise DataError(f"the arms have no seed in common (found: {found}); train them with the same seeds")
    runs = [arm[seed] for arm in arms for seed in seeds]
    seen = set().union(*runs)
    prompts = sorted(prompt for prompt in seen if all(prompt in run for run in runs))
    if not prompts:
        raise DataError(f"no prompt has a score in all {len(runs)} runs, of {len(seen)} that some have")
    matrix = np.zeros((len(seeds), len(prompts)))
    for weight, arm in parts:
        matrix += weight * np.array([[arm[seed][prompt] for prompt in prompts] for seed in seeds])
    return Values(matrix, tuple(seeds), tuple(prompts), len(every) - len(seeds), len(seen) - len(prompts))


@dataclass(frozen=True)
class Mean:
    """The mean of a matrix of values with its 95 % interval, in percentage points."""

    value: float
    low: float
    high: float
    p_value: float
    """Of "it is 0", two-sided, from the same draws as the interval."""
    num_seeds: int
    num_prompts: int
    seed_deviation: float | None
    """Standard deviation between training runs, freed of the noise of prompts; None with one seed."""
    prompt_deviation: float
    """Between prompts, seeds averaged."""
    spread: Spread


def mean_of(
    values: Values | Array, lowest: float = -1.0, highest: float = 1.0, seed: int = 0, num_draws: int = NUM_DRAWS
) -> Mean:
    """Return the mean of values by seed and prompt, and how far other seeds and prompts may fall from it.

    The interval and the p value are read from draws of the mean; the head of this file says how these are made. Where
    fewer than ten prompts differ from the most common value, the interval is widened to what the unseen ones may be:
    the exact binomial bound for the share of prompts that differ.

    Args:
        values: (seeds, prompts), or with the names of both.
        lowest, highest: beyond them the mean cannot lie: 0 and 1 for a rate, -1 and 1 for a difference of two.
        seed: of the draws.

    Raises:
        DataError: there is no value, or one that is no number.
    """
    matrix = values.matrix if isinstance(values, Values) else np.asarray(values, dtype=float)
    if matrix.ndim != 2 or not matrix.size or not np.isfinite(matrix).all():
        raise DataError(f"expected numbers by seed and prompt, found an array of shape {matrix.shape} or no number")
    num_seeds, num_prompts = matrix.shape
    of_prompts = matrix.mean(0)
    middle = float(of_prompts.mean())
    draws = np.asarray(redrawn_means(of_prompts.tolist(), num_draws, seed))
    spread, of_seeds = _spread(matrix)
    if num_seeds > 1:
        generator = np.random.default_rng((seed, num_seeds))
        apart = of_seeds * generator.standard_t(num_seeds - 1, num_draws)
        draws = np.concatenate([draws + apart, draws - apart])
    low, high = (float(end) for end in np.quantile(draws, [0.025, 0.975]))
    usual, num_unusual = _most_common(of_prompts)
    p_value = _p_value(draws, of_prompts)
    if num_unusual < FEW:
        most = _upper_bound(num_unusual, num_prompts)
        low = min(low, usual - most * (usual - lowest))
        high = max(high, usual + most * (highest - usual))
        p_value = 1.0 if low <= 0 <= high else p_value
    return Mean(
        value=100 * middle,
        low=100 * max(low, lowest),
        high=100 * min(high, highest),
        p_value=p_value,
        num_seeds=num_seeds,
        num_prompts=num_prompts,
        seed_deviation=math.sqrt(spread.seed) if num_seeds > 1 else None,
        prompt_deviation=100 * float(of_prompts.std(ddof=1)) if num_prompts > 1 else 0.0,
        spread=spread,
    )


def _spread(matrix: Array) -> tuple[Spread, float]:
    """Return the variance components (squared points), and the scale of the draws of seeds (units of `matrix`)."""
    num_seeds, num_prompts = matrix.shape
    of_seeds, of_prompts, middle = matrix.mean(1), matrix.mean(0), matrix.mean()
    ms_prompts = num_seeds * float(of_prompts.var(ddof=1)) if num_prompts > 1 else 0.0
    if num_seeds == 1:
        return Spread(0.0, 1e4 * ms_prompts, 0.0), 0.0
    ms_seeds = num_prompts * float(of_seeds.var(ddof=1))
    rest = float(((matrix - of_seeds[:, None] - of_prompts + middle) ** 2).sum())
    noise = rest / ((num_seeds - 1) * max(num_prompts - 1, 1))
    scale = math.sqrt(max(0.0, ms_seeds - noise_taken(num_seeds) * noise) / matrix.size)
    between = max(0.0, ms_seeds - noise) / num_prompts
    return Spread(1e4 * between, 1e4 * max(0.0, ms_prompts - noise) / num_seeds, 1e4 * noise), scale


def _p_value(draws: Array, of_prompts: Array) -> float:
    """Return twice the smaller share of draws on one side of 0, (1 + hits) / (1 + draws), never 0.

    Nor can it be below 2 / 2^n for n prompts with a difference: that is the least a test of their signs can give.
    """
    hits = min(int((draws <= _SAME).sum()), int((draws >= -_SAME).sum()))
    differing = int((np.abs(of_prompts) > _SAME).sum())
    return min(1.0, max(2 * (1 + hits) / (1 + len(draws)), 2.0 ** (1 - differing)))


def _most_common(of_prompts: Array) -> tuple[float, int]:
    """Return the value that most prompts have (of several, their mean), and how many prompts have another one."""
    found, counts = np.unique(np.round(of_prompts, 9), return_counts=True)
    return float(found[counts == counts.max()].mean()), len(of_prompts) - int(counts.max())


def _upper_bound(num: int, of: int) -> float:
    """Return the upper end of the exact 95 % interval of a share seen `num` times `of` (Clopper and Pearson 1934)."""
    if num >= of:
        return 1.0
    low, high = num / of, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        tail = math.fsum(math.comb(of, k) * middle**k * (1 - middle) ** (of - k) for k in range(num + 1))
        low, high = (middle, high) if tail > 0.025 else (low, middle)
    return high


# ---- several at once ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Decision:
    """What a difference amounts to, among all the comparisons made with it."""

    adjusted_p_value: float
    """After Holm (1979)."""
    outcome: Outcome
    needed_prompts: int | None
    """About so many would tell a difference of the size seen, with the seeds there are and chance .8; None: it is
    told, or near 0, or no number of prompts alone would."""
    needed_seeds: int | None
    """The same for seeds, with the prompts there are; None also if there is one seed, which knows no spread."""


def decide(differences: Sequence[Mean], margin: float) -> list[Decision]:
    """Return what each of the differences, all the comparisons asked at once, amounts to.

    gain, harm: p is below .05 after Holm, and the interval above or below 0. no gain: no harm, and the whole interval
    lies below `margin`, so that a gain of so much is excluded. Else nobody can tell. The interval is not adjusted for
    the number of comparisons.

    Args:
        margin: the smallest difference of interest, points, above 0.
    """
    adjusted = holm([found.p_value for found in differences])
    decided = []
    for found, p_value in zip(differences, adjusted, strict=True):
        outcome = _outcome(found, p_value, margin)
        prompts = seeds = None
        if outcome == "cannot tell" and abs(found.value) >= NEAR_ZERO and found.num_prompts > 1:
            prompts, seeds = _needed(found, ALPHA / len(differences))
        decided.append(Decision(p_value, outcome, prompts, seeds))
    return decided


def _outcome(found: Mean, p_value: float, margin: float) -> Outcome:
    if p_value < ALPHA and (found.low > 0 or found.high < 0):
        return "gain" if found.low > 0 else "harm"
    return "no gain" if found.high < margin else "cannot tell"


def _needed(found: Mean, alpha: float) -> tuple[int | None, int | None]:
    """Return the prompts and the seeds that would tell; more than there are, for what there is did not."""
    effect = abs(found.value)
    prompts = prompts_to_tell(effect, found.spread, found.num_seeds, alpha)
    seeds = seeds_to_tell(effect, found.spread, found.num_prompts, alpha) if found.num_seeds > 1 else None
    return (
        None if prompts is None else max(prompts, found.num_prompts + 1),
        None if seeds is None else max(seeds, found.num_seeds + 1),
    )
