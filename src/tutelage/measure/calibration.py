"""How far a reward model's scores can be taken as probabilities, on pairs that it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any


def calibration(margins: Sequence[float], num_bins: int = 10) -> dict[str, Any]:
    """Compare what Bradley-Terry makes of score margins with how often they are right.

    A model that scores the completions of a pair r apart is sure of the higher one with sigmoid(|r|), from 0.5.

    Args:
        margins: of each pair the score of the chosen completion minus that of the rejected one; not empty.
        num_bins: of that certainty, equally wide from 0.5 to 1.

    Returns:
        log_loss: mean of -log sigmoid(margin), log 2 for a model that knows nothing; brier: mean of
        (1 - sigmoid(margin))^2, 0.25 for such a model; expected_error: the mean over pairs of how far a bin's
        certainty is from its accuracy (Guo et al. 2017, arXiv 1706.04599, equation 3); bins: of each that is not
        empty, the mean certainty, the accuracy (a tie is half right) and the number of pairs.
    """
    bins: list[list[tuple[float, float]]] = [[] for _ in range(num_bins)]
    for margin in margins:
        certainty = _sigmoid(abs(margin))
        right = 0.5 if margin == 0 else float(margin > 0)
        bins[min(int((certainty - 0.5) * 2 * num_bins), num_bins - 1)].append((certainty, right))
    filled = [
        {
            "certainty": sum(c for c, _ in each) / len(each),
            "accuracy": sum(r for _, r in each) / len(each),
            "pairs": len(each),
        }
        for each in bins
        if each
    ]
    return {
        "log_loss": sum(_softplus(-m) for m in margins) / len(margins),
        "brier": sum((1 - _sigmoid(m)) ** 2 for m in margins) / len(margins),
        "expected_error": sum(b["pairs"] * abs(b["certainty"] - b["accuracy"]) for b in filled) / len(margins),
        "bins": filled,
    }


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
