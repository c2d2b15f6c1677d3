"""Studies whose truth is known: wins and losses of two arms, with training runs that differ by a planted spread."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from tutelage.measure.runs import Array, Scores

NORMAL = NormalDist()


def wins(
    generator: np.random.Generator, rates: tuple[float, float], num_seeds: int, num_prompts: int, deviation: float
) -> Array:
    """Return 0 or 1 by arm, seed and prompt. Half of what makes a prompt hard is the same for both arms.

    Args:
        deviation: of the runs of one arm, points.
    """
    own = np.array(rates)[:, None] + deviation / 100 * generator.standard_normal((2, num_seeds))
    hard = generator.standard_normal((1, 1, num_prompts)) + generator.standard_normal((2, num_seeds, num_prompts))
    edges = [[[NORMAL.inv_cdf(float(np.clip(1 - rate, 0.01, 0.99)))] for rate in row] for row in own]
    won: Array = np.asarray(hard / 2**0.5 > np.array(edges), dtype=float)
    return won


def as_scores(matrix: Array) -> Scores:
    """Return the scores of one arm by seed and prompt id."""
    return {seed: {f"p{i:04}": float(v) for i, v in enumerate(row)} for seed, row in enumerate(matrix)}
