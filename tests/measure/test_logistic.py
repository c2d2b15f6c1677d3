"""The optimum is one that can be worked out by hand, or is checked by its own conditions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.errors import DataError
from tutelage.measure.logistic import fit_logistic, log_loss, sigmoid


def rows(seed: int, num: int = 80, num_features: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(num, num_features)) * draw.uniform(0.1, 5, num_features)
    return x, draw.random(num), draw.uniform(0, 3, num)


def test_a_constant_alone_gives_the_log_odds() -> None:
    """3 of 4 labels are 1: log 3; its variance is 1 / (4 * 3/4 * 1/4) = 4/3."""
    fit = fit_logistic(np.ones((4, 1)), np.array([1.0, 1.0, 1.0, 0.0]))
    assert fit.coefficients == pytest.approx([np.log(3)])
    assert fit.covariance == pytest.approx(np.array([[4 / 3]]))


def test_a_penalised_constant_solves_its_equation() -> None:
    """4 (p - 3/4) + 1 = 0: p = 1/2, so a penalty of 1 just reaches 0; one of .4 leaves p = .65."""
    x, y = np.ones((4, 1)), np.full(4, 0.75)
    assert fit_logistic(x, y, l1=1.0).coefficients == pytest.approx([0], abs=1e-9)
    assert fit_logistic(x, y, l1=0.4).coefficients == pytest.approx([np.log(0.65 / 0.35)])


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 1e-4, 0.1, 1.0, 10.0, 1e3]))
@settings(max_examples=60, deadline=None)
def test_at_the_optimum_no_direction_leads_down(seed: int, l1: float) -> None:
    x, y, s = rows(seed)
    w = fit_logistic(x, y, s, l1=l1).coefficients
    slope = x.T @ (s * (sigmoid(x @ w) - y))
    tolerance = 1e-6 * float(np.max(s @ np.abs(x)))
    for j in range(3):
        if w[j] == 0:
            assert abs(slope[j]) <= l1 + tolerance
        else:
            assert slope[j] + l1 * np.sign(w[j]) == pytest.approx(0, abs=tolerance)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.5]))
@settings(max_examples=30, deadline=None)
def test_a_soft_label_is_two_rows_that_share_its_weight(seed: int, l1: float) -> None:
    x, y, s = rows(seed)
    soft = fit_logistic(x, y, s, l1=l1)
    ones, zeros = np.ones(len(y)), np.zeros(len(y))
    hard = fit_logistic(np.r_[x, x], np.r_[ones, zeros], np.r_[s * y, s * (1 - y)], l1=l1)
    assert hard.coefficients == pytest.approx(soft.coefficients, abs=1e-6)


def test_the_covariance_agrees_with_the_spread_over_drawn_labels() -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(400, 2))
    p = sigmoid(x @ np.array([1.0, -0.5]))
    fits = [fit_logistic(x, (draw.random(400) < p).astype(float)) for _ in range(300)]
    spread = np.cov(np.array([f.coefficients for f in fits]).T)
    assert np.mean([f.covariance for f in fits], axis=0) == pytest.approx(spread, rel=0.3, abs=0.002)


def test_a_weight_counts_rows() -> None:
    x, y, _ = rows(3, 20)
    twice = fit_logistic(np.r_[x, x], np.r_[y, y])
    weighted = fit_logistic(x, y, np.full(20, 2.0))
    assert weighted.coefficients == pytest.approx(twice.coefficients)
    assert weighted.covariance == pytest.approx(twice.covariance)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.array([[1.0], [2.0], [-1.0]]), np.array([1.0, 1.0, 0.0])),
        (np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]]), np.array([0.2, 0.7, 0.4])),
        (np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]), np.array([0.2, 0.7, 0.4])),
    ],
    ids=["separated", "collinear", "zero"],
)
def test_rows_that_determine_no_coefficients_are_refused_without_a_penalty(x: np.ndarray, y: np.ndarray) -> None:
    with pytest.raises(DataError, match="determine no"):
        fit_logistic(x, y)
    assert np.isfinite(fit_logistic(x, y, l1=0.1).coefficients).all()


def test_a_feature_that_the_penalty_leaves_out_has_no_variance() -> None:
    x, y, s = rows(1)
    fit = fit_logistic(x, y, s, l1=1e3)
    assert (fit.coefficients == 0).all()
    assert np.isnan(fit.covariance).all()


@pytest.mark.parametrize(
    ("x", "y", "s"),
    [
        (np.ones((2, 1)), np.ones(3), np.ones(3)),
        (np.ones(3), np.ones(3), np.ones(3)),
        (np.ones((3, 1)), np.full(3, 2.0), np.ones(3)),
        (np.ones((3, 1)), np.ones(3), -np.ones(3)),
        (np.full((3, 1), np.nan), np.ones(3), np.ones(3)),
        (np.ones((0, 2)), np.ones(0), np.ones(0)),
    ],
)
def test_arrays_that_cannot_be_meant_are_refused(x: np.ndarray, y: np.ndarray, s: np.ndarray) -> None:
    with pytest.raises(DataError, match="logistic regression: "):
        fit_logistic(x, y, s)


def test_margins_of_any_size_overflow_nothing() -> None:
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert sigmoid(np.array([-1e4, 0, 1e4])) == pytest.approx([0, 0.5, 1])
        assert log_loss(np.array([-1e4, 1e4]), np.array([1.0, 1.0])) == pytest.approx([1e4, 0])
