"""Certainty against accuracy, on margins whose truth is known."""

from __future__ import annotations

import math
import random

import pytest

from tutelage.measure.calibration import calibration


def test_a_model_that_knows_nothing_has_log_2_and_a_quarter() -> None:
    found = calibration([0.0] * 10)
    assert found["log_loss"] == pytest.approx(math.log(2))
    assert found["brier"] == 0.25
    assert found["expected_error"] == 0
    assert found["bins"] == [{"certainty": 0.5, "accuracy": 0.5, "pairs": 10}]


def drawn(scale: float) -> list[float]:
    """Margins of a model that says `scale` times the truth."""
    rng = random.Random(0)
    found = []
    for _ in range(20_000):
        true = rng.uniform(-3, 3)
        right = rng.random() < 1 / (1 + math.exp(-true))
        found.append(scale * true if right else -scale * true)
    return found


def test_scores_that_are_true_are_calibrated_and_exaggerated_ones_are_not() -> None:
    honest, bold = calibration(drawn(1.0)), calibration(drawn(3.0))
    assert honest["expected_error"] < 0.01
    assert bold["expected_error"] > 0.1
    assert bold["log_loss"] > honest["log_loss"] > 0.3
    assert all(b["certainty"] > b["accuracy"] for b in bold["bins"][2:])


def test_every_pair_is_in_one_bin() -> None:
    margins = [-800.0, -1.0, 0.3, 5.0, 800.0]
    found = calibration(margins, num_bins=4)
    assert sum(b["pairs"] for b in found["bins"]) == len(margins)
    assert found["log_loss"] == pytest.approx((800 + math.log1p(math.e) + 0.5543552 + 0.0067153) / 5, rel=1e-6)
