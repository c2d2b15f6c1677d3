"""Win rates at equal length that can still be compared prompt by prompt: a line where AlpacaEval 2 has a logit.

Within one judge, over all arms and training runs of a study,

    score_{run, prompt} = alpha_run + delta_prompt + gamma tanh(d_{run, prompt}) + rest

with d = (characters of the policy's completion - of the baseline's) / their standard deviation. The shape of length
is that of Dubois et al. 2024, "Length-Controlled AlpacaEval"; nothing else is. It is not AlpacaEval 2's model: that
has a logit and a difficulty fitted to its own 805 instructions, and is in `tutelage winrate`. Here alpha and delta
are means, so any prompts will do, and what is left, score - gamma tanh(d), is paired by prompt like the score itself.

gamma is taken from differences on one prompt between runs. Where longer completions are longer because they say
more, it takes that merit away too: length-controlled rates stand beside raw ones, not in their place.

Imports numpy; import this module where it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import DataError
from tutelage.measure.estimate import Estimate, cannot_tell, wald
from tutelage.measure.runs import Scores

Array = NDArray[np.float64]
Lengths = Mapping[int, Mapping[str, float]]
"""Of one arm, by seed and prompt id: characters of its completion minus those of the baseline's."""
UNIT = "percentage points"
MIN_PROMPTS = 10
"""Below, errors that are clustered by prompt are far too small."""
_SWEEPS, _CLOSE = 1000, 1e-12


@dataclass(frozen=True)
class LengthControl:
    """What length does in the eyes of one judge, and the scores without it."""

    slope: Estimate
    """gamma: points that a win rate gains as tanh(d) goes from 0 to 1; its error is clustered by prompt."""
    scores: dict[str, dict[int, dict[str, float]]]
    """By arm, seed and prompt: score - gamma tanh(d) - (mean tanh(d) of the arm) psi_prompt. The mean of psi is 0; it
    is what a prompt has done to gamma (its influence function), so that whoever redraws prompts redraws gamma with
    them, in rates and in differences alike. Empty where gamma cannot be told."""
    unit: float
    """The standard deviation of d, characters."""


def control_length(scores: Mapping[str, Scores], lengths: Mapping[str, Lengths]) -> LengthControl:
    """Fit gamma over all runs of all arms and return the scores without the part of length.

    Least squares by two-way demeaning (Frisch, Waugh and Lovell); prompts that some runs lack are no obstacle. With u
    the sum over a prompt's runs of demeaned tanh(d) times residual, and A the sum of squares of demeaned tanh(d),
    psi = (number of prompts) u / A and Var(gamma) = sum u^2 / A^2, times G / (G - 1) for G prompts (Liang and Zeger
    1986).

    Args:
        scores: by arm, from 0 to 1.
        lengths: by arm, for every score; characters of the policy's completion minus the baseline's.

    Raises:
        DataError: a score has no length.
    """
    runs = [(arm, seed) for arm in scores for seed in sorted(scores[arm])]
    prompts = sorted(set().union(*(scores[arm][seed] for arm, seed in runs))) if runs else []
    place = {prompt: column for column, prompt in enumerate(prompts)}
    shape = (len(runs), len(prompts))
    y, d, there = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for row, (arm, seed) in enumerate(runs):
        for prompt, score in scores[arm][seed].items():
            y[row, place[prompt]], there[row, place[prompt]] = score, 1.0
            d[row, place[prompt]] = _length_of(lengths, arm, seed, prompt)
    unit = float(d[there > 0].std()) if there.any() else 0.0
    x = np.tanh(d / unit) * there if unit else np.zeros(shape)
    within = _demeaned(x, there)
    squares = float((within**2).sum())
    why = _why_none(len(prompts), squares, float((x**2).sum()))
    if why:
        return LengthControl(cannot_tell(why, UNIT, len(prompts)), {}, unit)
    slope = float((within * y).sum()) / squares
    moved = (within * (_demeaned(y, there) - slope * within)).sum(0)  # u, by prompt
    error = float(np.sqrt((moved**2).sum() * len(prompts) / (len(prompts) - 1))) / squares
    influence = len(prompts) * moved / squares
    means = {arm: _mean(x, there, [row for row, run in enumerate(runs) if run[0] == arm]) for arm in scores}
    left: dict[str, dict[int, dict[str, float]]] = {arm: {} for arm in scores}
    for row, (arm, seed) in enumerate(runs):
        values = y[row] - slope * x[row] - means[arm] * influence
        left[arm][seed] = {prompt: float(values[place[prompt]]) for prompt in scores[arm][seed]}
    return LengthControl(wald(100 * slope, 100 * error, len(prompts), UNIT), left, unit)


def _length_of(lengths: Mapping[str, Lengths], arm: str, seed: int, prompt: str) -> float:
    try:
        return lengths[arm][seed][prompt]
    except KeyError:
        raise DataError(f"{arm}, seed {seed}: the score on prompt {prompt} has no length beside it") from None


def _why_none(num_prompts: int, squares: float, total: float) -> str:
    if num_prompts < MIN_PROMPTS:
        return f"a slope of length needs {MIN_PROMPTS} prompts"
    if squares <= 1e-9 * max(total, 1.0):
        return "on no prompt do the runs differ in length by more or less than they do elsewhere"
    return ""


def _mean(x: Array, there: Array, rows: list[int]) -> float:
    return float(x[rows].sum() / max(there[rows].sum(), 1.0))


def _demeaned(values: Array, there: Array) -> Array:
    """Return `values` less the means of their rows and columns, fitted together; 0 where nothing is there."""
    left = values * there
    of_rows, of_columns = (np.maximum(there.sum(axis, keepdims=True), 1.0) for axis in (1, 0))
    for _ in range(_SWEEPS):  # one sweep is exact if nothing is missing
        before = left
        left = left - there * left.sum(1, keepdims=True) / of_rows
        left = left - there * left.sum(0, keepdims=True) / of_columns
        if np.abs(left - before).max(initial=0.0) < _CLOSE:
            break
    return left
