"""Planted taste for length goes away at equal length, and what is no length stays."""

from __future__ import annotations

import numpy as np
import pytest

from tutelage.errors import DataError
from tutelage.measure.length_linear import LengthControl, Lengths, control_length
from tutelage.measure.runs import Mean, Scores, combine, mean_of

NAMES = ("long", "short")
Arms = tuple[dict[str, Scores], dict[str, Lengths]]


def planted(quality: float, slope: float, num_prompts: int = 400, num_seeds: int = 2, seed: int = 0) -> Arms:
    """Two arms, one longer by about 100 characters; `slope` is what tanh of length adds to the chance to win."""
    generator = np.random.default_rng(seed)
    scores: dict[str, Scores] = {}
    lengths: dict[str, Lengths] = {}
    hard = generator.uniform(-0.15, 0.15, num_prompts)
    for name, longer in zip(NAMES, (100.0, 0.0), strict=True):
        characters = longer + 120 * generator.standard_normal((num_seeds, num_prompts))
        chance = 0.45 + hard + slope * np.tanh(characters / 130) + quality * (name == "long")
        won = generator.random((num_seeds, num_prompts)) < chance
        scores[name] = {s: {f"p{i}": float(w) for i, w in enumerate(row)} for s, row in enumerate(won)}
        lengths[name] = {s: {f"p{i}": float(c) for i, c in enumerate(row)} for s, row in enumerate(characters)}
    return scores, lengths


def difference(scores: dict[str, Scores] | dict[str, dict[int, dict[str, float]]], num_draws: int = 2000) -> Mean:
    # one seed: the planted runs do not differ, and two seeds would be asked how far they know that
    first, second = ({0: scores[name][0]} for name in NAMES)
    return mean_of(combine([(1, first), (-1, second)]), num_draws=num_draws)


def test_a_gain_that_is_length_alone_is_raw_and_not_length_controlled() -> None:
    scores, lengths = planted(quality=0.0, slope=0.25)
    found = control_length(scores, lengths)
    assert difference(scores).low > 0
    left = difference(found.scores)
    assert left.low < 0 < left.high
    assert found.slope.low is not None
    assert found.slope.high is not None
    assert found.slope.low < 25 < found.slope.high


def test_without_a_taste_for_length_both_say_the_same() -> None:
    scores, lengths = planted(quality=0.2, slope=0.0)
    raw, left = difference(scores), difference(control_length(scores, lengths).scores)
    assert raw.low > 0
    assert left.low > 0
    assert left.value == pytest.approx(raw.value, abs=4)


def test_length_controlled_intervals_hold_the_truth_because_the_slope_is_redrawn_with_the_prompts() -> None:
    """100 studies of a planted quality of 5 points; three standard errors are 6.5."""
    held = 0
    for study in range(100):
        found = control_length(*planted(0.05, 0.2, num_prompts=150, seed=study))
        left = difference(found.scores, num_draws=500)
        held += left.low <= 5 <= left.high
    assert held >= 88


def test_a_single_arms_rate_moves_by_the_slope_times_its_length() -> None:
    scores, lengths = planted(0.1, 0.2)
    found = control_length(scores, lengths)
    raw, left = (mean_of(combine([(1, arms["long"])]), 0, 1).value for arms in (scores, found.scores))
    slope = found.slope.value
    assert slope is not None
    tanh = np.tanh([[c / found.unit for c in run.values()] for run in lengths["long"].values()]).mean()
    assert left == pytest.approx(raw - slope * float(tanh))


def test_the_slope_is_that_of_least_squares_also_where_prompts_are_missing() -> None:
    scores, lengths = planted(0.1, 0.2, num_prompts=30)
    scores["long"] = {
        s: {p: v for p, v in run.items() if p not in ("p3", f"p{4 + s}")} for s, run in scores["long"].items()
    }
    found = control_length(scores, lengths)
    runs = [(arm, s) for arm in NAMES for s in (0, 1)]
    rows, won = [], []
    for place, (arm, s) in enumerate(runs):
        for prompt, score in scores[arm][s].items():
            row = np.zeros(1 + 4 + 30)
            row[0], row[1 + place], row[5 + int(prompt[1:])] = np.tanh(lengths[arm][s][prompt] / found.unit), 1, 1
            rows.append(row)
            won.append(score)
    expected = np.linalg.lstsq(np.array(rows), np.array(won), rcond=None)[0][0]
    assert found.slope.value == pytest.approx(100 * float(expected), abs=1e-6)


def nothing_told(found: LengthControl) -> str:
    assert found.slope.value is None
    assert found.scores == {}
    return found.slope.note


def test_what_cannot_be_told_has_its_reason() -> None:
    scores, lengths = planted(0.1, 0.2, num_prompts=5)
    assert "needs 10 prompts" in nothing_told(control_length(scores, lengths))
    scores, lengths = planted(0.1, 0.2)
    same = {arm: {s: dict.fromkeys(run, 7.0) for s, run in runs.items()} for arm, runs in lengths.items()}
    assert "differ in length" in nothing_told(control_length(scores, same))
    one = {"long": {0: scores["long"][0]}}
    assert "differ in length" in nothing_told(control_length(one, lengths))
    assert nothing_told(control_length({}, {}))


def test_a_score_without_a_length_is_an_error_that_names_it() -> None:
    scores, lengths = planted(0.1, 0.2, num_prompts=12)
    short = {s: {p: v for p, v in run.items() if p != "p3"} for s, run in lengths["short"].items()}
    with pytest.raises(DataError, match="short, seed 0: the score on prompt p3 has no length"):
        control_length(scores, {**lengths, "short": short})
