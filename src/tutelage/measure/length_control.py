"""Length-controlled win rate, as AlpacaEval 2 defines it: what it would be if both texts were equally long.

Dubois et al. 2024, "Length-Controlled AlpacaEval", section 3; here `length_controlled_v1` of alpaca_eval 0.6.6:

    P(policy wins on instruction i) = sigmoid(length tanh(d_i) + difficulty c_i + policy g)

without an intercept. d = (characters of the baseline's completion - of the policy's) / their standard deviation,
c the instruction's difficulty, g = 1. The fit is held in place by rows of two policies that were told to be
verbose or concise (g = 0, weight 0.1 each). The prediction sets d to 0.

Imports numpy; import this module where it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tutelage.errors import DataError
from tutelage.measure.alpaca_eval import NUM_INSTRUCTIONS
from tutelage.measure.annotations import Annotation
from tutelage.measure.logistic import Array, fit_logistic, log_loss, sigmoid
from tutelage.measure.tables import number, optional_number, read_table

_COLUMNS = ("np.tanh(std_delta_len)", "instruction_difficulty", "not_gamed_baseline.astype(float)")
_GAMED_COLUMNS = ("index", "preference", "std_delta_len", "instruction_difficulty")
_GAMED_WEIGHT = 0.1
_STRENGTHS = np.logspace(-4, 4, 10)  # scikit-learn's C: the smaller, the stronger the penalty
_NUM_FOLDS, _NUM_REDRAWN = 5, 200


@dataclass(frozen=True)
class LengthModel:
    """The three coefficients of a policy against the baseline that all of its file share."""

    length: float = 0.0
    difficulty: float = 0.0
    policy: float = 0.0


@dataclass(frozen=True)
class Gamed:
    """The rows of the verbose and the concise policy (df_gamed.csv); each array is (M,)."""

    position: Array
    """Of the instruction, from 0, in AlpacaEval's order."""
    label: Array
    """The policy's probability to win, in [0, 1]."""
    delta: Array
    """Difference of the lengths over its standard deviation."""
    difficulty: Array
    num_missing: int
    """Rows left out because they have no preference."""


@dataclass(frozen=True)
class LengthControlled:
    """A fitted length-controlled win rate, in percent."""

    win_rate: float
    standard_error: float | None
    """Percentage points: the spread over redrawn sets of instructions, each fitted anew with the same C and the
    same unit of length. None if the policy is the baseline."""
    model: LengthModel
    strength: float | None
    """C, the inverse of the penalty, as cross-validation chose it."""
    difficulty_spread: float
    """What alpaca_eval calls lc_standard_error: the standard error of the mean of the predictions, as if
    the fit were known. It shows how much difficulties vary and says nothing of the sampling error."""


# ---- files -------------------------------------------------------------------------------------------


def read_weights(path: Path) -> dict[str, LengthModel]:
    """Read the coefficients that alpaca_eval saves (weights/<annotator>/<glm>/baseline_<name>.csv), by policy.

    Raises:
        DataError: the file is damaged, lacks a column, or names a policy twice.
    """
    models: dict[str, LengthModel] = {}
    for where, row in read_table(path, *_COLUMNS):
        name = next(iter(row.values()))
        if name in models:
            raise DataError(f"{where}: {name!r} is there a second time; one row a policy is expected")
        models[name] = LengthModel(*(number(where, row, column) for column in _COLUMNS))
    return models


def read_difficulties(path: Path, num: int = NUM_INSTRUCTIONS) -> Array:
    """Read instruction_difficulty.csv: (num,), in AlpacaEval's order; the first column is the place in it.

    Raises:
        DataError: the file is damaged, or a place is missing, unknown, or there twice.
    """
    found: dict[int, float] = {}
    for where, row in read_table(path, "instruction_difficulty"):
        place = _place(where, row, next(iter(row)), num)
        if place in found:
            raise DataError(f"{where}: place {place} is there a second time")
        found[place] = number(where, row, "instruction_difficulty")
    return _all_places(path, found, num)


def read_gamed(path: Path, num: int = NUM_INSTRUCTIONS) -> Gamed:
    """Read df_gamed.csv, which alpaca_eval keeps at the Hugging Face Hub (dataset tatsu-lab/alpaca_eval).

    Raises:
        DataError: the file is damaged, or a value is none that it may be.
    """
    rows: list[tuple[float, ...]] = []
    num_missing = 0
    for where, row in read_table(path, *_GAMED_COLUMNS):
        label = optional_number(where, row, "preference")
        if label is not None and not 0 <= label <= 1:
            raise DataError(f"{where}: a preference of {label}; expected the probability of a win, from 0 to 1")
        if row.get("not_gamed_baseline", "False").strip() not in ("False", "0", "0.0"):
            raise DataError(f"{where}: not_gamed_baseline is not False; expected rows of gamed policies only")
        if label is None:
            num_missing += 1
            continue
        delta, difficulty = number(where, row, "std_delta_len"), number(where, row, "instruction_difficulty")
        rows.append((_place(where, row, "index", num), label, delta, difficulty))
    if not rows:
        raise DataError(f"{path}: no row has a preference")
    position, labels, deltas, difficulties = np.array(rows, dtype=np.float64).T
    return Gamed(position, labels, deltas, difficulties, num_missing)


def difficulties_of(gamed: Gamed, path: Path, num: int = NUM_INSTRUCTIONS) -> Array:
    """Return the difficulties that the gamed rows of a file hold: (num,), of each place the first.

    Raises:
        DataError: a place has no row.
    """
    found: dict[int, float] = {}
    for place, value in zip(gamed.position, gamed.difficulty, strict=True):
        found.setdefault(int(place), float(value))
    return _all_places(path, found, num)


def _place(where: str, row: dict[str, str], column: str, num: int) -> int:
    value = number(where, row, column)
    if value != int(value) or not 0 <= value < num:
        raise DataError(
            f"{where}: {column or 'the first column'!r} is {value:g}; expected a place from 0 to {num - 1}"
        )
    return int(value)


def _all_places(path: Path, found: dict[int, float], num: int) -> Array:
    absent = sorted(set(range(num)) - found.keys())
    if absent:
        raise DataError(
            f"{path}: has difficulties for {len(found)} of the {num} AlpacaEval instructions; "
            f"the first that is missing is number {absent[0]}"
        )
    return np.array([found[place] for place in range(num)])


# ---- prediction --------------------------------------------------------------------------------------


def predicted_win_rate(difficulties: Array, model: LengthModel, against: LengthModel | None = None) -> float:
    """Return the length-controlled win rate in percent, against the baseline of the weights or another policy.

    Args:
        difficulties: (I,), one for each instruction
        against: None for the baseline, whose coefficients are 0
    """
    other = against or LengthModel()
    margins = model.policy - other.policy + (model.difficulty - other.difficulty) * difficulties
    return float(100 * np.mean(sigmoid(margins)))


# ---- fit ---------------------------------------------------------------------------------------------


def fit_length_control(rows: Sequence[Annotation], difficulties: Array, gamed: Gamed) -> LengthControlled:
    """Fit the model and return the win rate that it predicts at equal lengths.

    Missing preferences are left out of the fit and predicted like the others, as in alpaca_eval.

    Args:
        rows: one for each of the I instructions, in AlpacaEval's order: `in_order` sorts them
        difficulties: (I,)
        gamed: its positions are below I

    Raises:
        DataError: no preference is there, or all lengths differ by the same.
    """
    if all(a.generator_1 == a.generator_2 for a in rows):
        return LengthControlled(50.0, None, LengthModel(), None, 0.0)
    judged = np.array([a.score is not None for a in rows])
    if not judged.any():
        raise DataError("no annotation holds a preference; there is nothing to fit")
    delta = np.array([len(a.output_1) - len(a.output_2) for a in rows], dtype=np.float64)
    unit = delta.std(ddof=1)
    if unit == 0:
        raise DataError("all pairs of completions differ by the same length; its influence cannot be estimated")
    label = np.array([a.score or 0.0 for a in rows])
    place = np.concatenate([gamed.position, np.flatnonzero(judged)]).astype(np.int64)
    x = np.concatenate(
        [
            np.stack([np.tanh(gamed.delta), gamed.difficulty, np.zeros(len(gamed.label))], axis=1),
            np.stack([np.tanh(delta / unit), difficulties, np.ones(len(rows))], axis=1)[judged],
        ]
    )
    y = np.concatenate([gamed.label, label[judged]])
    weights = np.where(x[:, 2] == 1, 1.0, _GAMED_WEIGHT)
    strength = _chosen_strength(x, y, weights)
    coefficients = fit_logistic(x, y, weights, l1=1 / strength).coefficients
    predicted = sigmoid(coefficients[2] + coefficients[1] * difficulties)
    return LengthControlled(
        win_rate=float(100 * predicted.mean()),
        standard_error=_redrawn_error(x, y, weights, place, difficulties, strength),
        model=LengthModel(*map(float, coefficients)),
        strength=strength,
        difficulty_spread=float(100 * predicted.std(ddof=1) / np.sqrt(len(rows))),
    )


def _chosen_strength(x: Array, y: Array, weights: Array) -> float:
    """Return the C with the least weighted log loss on rows left out, the mean over five folds.

    The folds are scikit-learn's GroupKFold's for groups of one size: dealt out in turn, from the last row on.
    Of equally good values the smallest is taken.
    """
    fold = (len(y) - 1 - np.arange(len(y))) % _NUM_FOLDS
    losses = np.zeros(len(_STRENGTHS))
    for number_ in range(_NUM_FOLDS):
        out, kept = fold == number_, fold != number_
        for i, strength in enumerate(_STRENGTHS):
            w = fit_logistic(x[kept], y[kept], weights[kept], l1=1 / strength).coefficients
            losses[i] += np.mean(weights[out] * log_loss(x[out] @ w, y[out]))
    return float(_STRENGTHS[np.argmin(losses)])


def _redrawn_error(x: Array, y: Array, weights: Array, place: Array, difficulties: Array, strength: float) -> float:
    """Return the standard deviation of the win rate, in points, over sets of instructions drawn with replacement.

    An instruction comes with all its rows, the gamed ones too.
    """
    random, num = np.random.default_rng(0), len(difficulties)
    rates = []
    for _ in range(_NUM_REDRAWN):
        times = np.bincount(random.integers(0, num, num), minlength=num)
        w = fit_logistic(x, y, weights * times[place], l1=1 / strength).coefficients
        rates.append(100 * np.average(sigmoid(w[2] + w[1] * difficulties), weights=times))
    return float(np.std(rates, ddof=1))
