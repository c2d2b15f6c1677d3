"""Two scores of a reward model -> a verdict. Pure: who scored, and how, is not known here."""

from __future__ import annotations

import math

from tutelage.records import Outcome, Pair, Verdict


def verdict_of_scores(pair: Pair, left: float | None, right: float | None, critic: str) -> Verdict:
    """Return what the scores of a pair's two completions say of it.

    The larger score wins and equal ones are a TIE. A completion without a score (None), or with one that is
    not finite, makes the verdict INVALID. The probability that the left one is better is
    sigmoid(left - right): the model of Bradley and Terry 1952 (Biometrika 39), by which reward models are
    trained (Ouyang et al. 2022, arXiv 2203.02155, equation 1).
    """
    outcome: Outcome = "INVALID"
    probability = None
    if left is not None and right is not None and math.isfinite(left) and math.isfinite(right):
        outcome = "LEFT" if left > right else "RIGHT" if left < right else "TIE"
        probability = sigmoid(left - right)
    return Verdict(
        pair=pair,
        orders=("left_alone", "right_alone"),
        outcome=outcome,
        critic=critic,
        replies=(repr(left), repr(right)),
        probability=probability,
    )


def sigmoid(x: float) -> float:
    """Return 1 / (1 + exp(-x)), for any size of `x`."""
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    small = math.exp(x)
    return small / (1 + small)
