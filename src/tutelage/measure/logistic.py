"""Logistic regression without an intercept, for a handful of features: exact, with an L1 penalty if wanted.

Imports numpy; import this module where it is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tutelage.errors import DataError

Array = NDArray[np.float64]
_STEPS, _SWEEPS, _HALVINGS = 200, 1000, 60


@dataclass(frozen=True)
class Fit:
    """A fitted model: P(label = 1 | x) = sigmoid(x · coefficients)."""

    coefficients: Array
    """(K,)"""
    covariance: Array
    """(K, K): the inverse of the weighted Fisher information, not counting the penalty. It is an estimate of
    the sampling covariance for independent rows with weights that count rows. NaN in the rows and columns of
    the coefficients that an L1 penalty has set to 0, and where it is not determined."""


def sigmoid(margins: Array) -> Array:
    """Return 1 / (1 + exp(-margins)) without overflow."""
    p: Array = 0.5 * (1 + np.tanh(0.5 * margins))
    return p


def log_loss(margins: Array, labels: Array) -> Array:
    """Return -(y log p + (1 - y) log (1 - p)) for each row, p = sigmoid(margins), y in [0, 1]."""
    loss: Array = np.logaddexp(0, margins) - labels * margins
    return loss


def fit_logistic(features: Array, labels: Array, weights: Array | None = None, l1: float = 0.0) -> Fit:
    """Minimise sum_i weights_i logloss_i(w) + l1 |w|_1 over w, with proximal Newton steps.

    A label between 0 and 1 stands for two rows, of label 1 and 0, that share its weight. scikit-learn's C is
    1 / l1. A constant is a feature like any other: pass a column of ones, which is then penalised too.

    Args:
        features: (N, K)
        labels: (N,) in [0, 1]
        weights: (N,), not negative; None: 1 each
        l1: strength of the penalty; 0 for maximum likelihood

    Raises:
        DataError: the arrays do not fit, hold a value that is not allowed, or determine no finite optimum
            (features that separate the labels or depend on each other linearly, without a penalty).
    """
    x, y = np.asarray(features, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    s = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=np.float64)
    _check(x, y, s, l1)
    w = np.zeros(x.shape[1])
    # what a gradient can be known to: rounding grows with the sums it is made of
    scale = float(np.max(s @ np.abs(x))) + l1
    for _ in range(_STEPS):
        p = sigmoid(x @ w)
        gradient = x.T @ (s * (p - y))
        hessian = (x.T * (s * p * (1 - p))) @ x
        step = _step(gradient, hessian, w, l1)
        if step is None:
            break
        slope = float(np.max(np.abs(_steepest(gradient, w, l1))))
        # features that separate the labels have no slope far out, but each step there is as long as the last
        if slope <= 1e-10 * scale and np.max(np.abs(step)) <= 1e-6 * (1 + np.max(np.abs(w))):
            return Fit(w, _covariance(hessian, w, l1))
        moved = _line_search(x, y, s, w, step, l1)
        if moved is None and slope <= 1e-7 * scale:  # as low as floating point can see
            return Fit(w, _covariance(hessian, w, l1))
        if moved is None:
            break
        w = moved
    raise DataError(
        f"logistic regression: {len(y)} rows determine no {x.shape[1]} finite coefficients; a feature is 0 "
        "throughout, or depends on others linearly, or some mixture of features tells the labels apart without error"
    )


def _check(x: Array, y: Array, s: Array, l1: float) -> None:
    if x.ndim != 2 or y.shape != (len(x),) or s.shape != (len(x),) or not x.size:
        raise DataError(
            f"logistic regression: features {x.shape}, labels {y.shape} and weights {s.shape} do not fit; "
            "expected (N, K), (N,) and (N,)"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all() and np.isfinite(s).all()):
        raise DataError("logistic regression: a feature, label or weight is not a finite number")
    if y.min() < 0 or y.max() > 1 or s.min() < 0 or not l1 >= 0:
        raise DataError(
            "logistic regression: labels must lie in [0, 1]; weights and the penalty must not be negative"
        )


def _steepest(gradient: Array, w: Array, l1: float) -> Array:
    """Return the subgradient of smallest size; it is 0 at the optimum."""
    at_zero = np.sign(gradient) * np.maximum(np.abs(gradient) - l1, 0)
    return np.where(w != 0, gradient + l1 * np.sign(w), at_zero)


def _step(gradient: Array, hessian: Array, w: Array, l1: float) -> Array | None:
    """Return the step to the minimum of the quadratic model with the penalty, or None if there is not one."""
    if l1 == 0:
        return None if _singular(hessian) else np.asarray(-np.linalg.solve(hessian, gradient), dtype=np.float64)
    # a saturated feature has no curvature left; a trace of ridge bends the path there, not the optimum
    h = hessian + 1e-12 * (1 + np.trace(hessian)) * np.eye(len(w))
    step = _step_of_same_signs(gradient, h, w, l1)
    return _step_by_coordinates(gradient, h, w, l1) if step is None else step


def _step_of_same_signs(gradient: Array, h: Array, w: Array, l1: float) -> Array | None:
    """Return the step if it changes no coefficient's sign, from or to 0 neither: mostly so near the optimum."""
    kept = np.flatnonzero(w)
    step = np.zeros_like(w)
    if kept.size:
        step[kept] = -np.linalg.solve(h[np.ix_(kept, kept)], gradient[kept] + l1 * np.sign(w[kept]))
    slope = np.abs(gradient + h @ step)
    stays = np.all(np.sign(w + step) == np.sign(w)) and np.all(slope[w == 0] <= l1)
    return step if stays else None


def _step_by_coordinates(gradient: Array, h: Array, w: Array, l1: float) -> Array:
    step = np.zeros_like(w)
    for _ in range(_SWEEPS):
        largest = 0.0
        for j in range(len(w)):
            slope = gradient[j] + h[j] @ step - h[j, j] * step[j]
            centre = w[j] - slope / h[j, j]
            new = np.sign(centre) * max(abs(centre) - l1 / h[j, j], 0.0) - w[j]
            largest = max(largest, abs(new - step[j]))
            step[j] = new
        if largest <= 1e-10 * (1 + np.max(np.abs(w))):  # the signs are right by then; the next step is exact
            break
    return step


def _line_search(x: Array, y: Array, s: Array, w: Array, step: Array, l1: float) -> Array | None:
    """Return the first of w + step, w + step/2, ... that lowers the objective, or None."""

    def objective(at: Array) -> float:
        return float(s @ log_loss(x @ at, y) + l1 * np.abs(at).sum())

    before, size = objective(w), 1.0
    for _ in range(_HALVINGS):
        moved = w + size * step
        if objective(moved) < before:
            return moved
        size /= 2
    return None


def _singular(hessian: Array) -> bool:
    scale = np.sqrt(np.maximum(np.diag(hessian), 1e-300))
    return bool(np.linalg.cond(hessian / np.outer(scale, scale)) > 1e13)


def _covariance(hessian: Array, w: Array, l1: float) -> Array:
    covariance = np.full_like(hessian, np.nan)
    kept = np.flatnonzero(w) if l1 > 0 else np.arange(len(w))
    block = hessian[np.ix_(kept, kept)]
    if kept.size and not _singular(block):
        covariance[np.ix_(kept, kept)] = np.linalg.inv(block)
    return covariance
