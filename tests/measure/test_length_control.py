"""The length-controlled win rate: its prediction and its fit, on data whose answer is known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from statistics import stdev

import numpy as np
import pytest

from annotated import NUM, difficulties, difficulty_file, gamed_file, judged, table, weight_file
from tutelage.errors import DataError
from tutelage.measure.length_control import (
    Gamed,
    LengthModel,
    difficulties_of,
    fit_length_control,
    predicted_win_rate,
    read_difficulties,
    read_gamed,
    read_weights,
)
from tutelage.measure.logistic import log_loss

HARD = np.array(difficulties())
HEAD = ["model", "index", "preference", "std_delta_len", "instruction_difficulty", "not_gamed_baseline"]


def test_a_prediction_worked_out_by_hand() -> None:
    """sigmoid(log 3) = 3/4 on the easy instruction, sigmoid(log 3 - log 9) = 1/4 on the hard one."""
    model = LengthModel(length=-2.0, difficulty=-math.log(9), policy=math.log(3))
    assert predicted_win_rate(np.array([0.0, 1.0]), model) == pytest.approx(50)
    assert predicted_win_rate(np.array([0.0, 0.0]), model) == pytest.approx(75)


def test_two_policies_are_compared_by_the_difference_of_their_coefficients() -> None:
    first, second = LengthModel(-1, 0.9, -0.5), LengthModel(-2, 0.4, -1.5)
    ours = predicted_win_rate(HARD, first, second)
    assert ours == pytest.approx(predicted_win_rate(HARD, LengthModel(0, 0.5, 1.0)))
    assert ours + predicted_win_rate(HARD, second, first) == pytest.approx(100)
    assert predicted_win_rate(HARD, first, first) == 50


@pytest.fixture
def gamed(tmp_path: Path) -> Gamed:
    return read_gamed(gamed_file(tmp_path / "df_gamed.csv"), NUM)


def test_long_completions_that_win_for_their_length_lose_by_length_control(gamed: Gamed) -> None:
    rows = judged()
    found = fit_length_control(rows, HARD, gamed)
    raw = 100 * sum(a.score or 0 for a in rows) / NUM
    assert found.model.length < -0.3
    assert found.win_rate < raw - 3
    assert found.win_rate == pytest.approx(predicted_win_rate(HARD, found.model))
    assert found.standard_error is not None
    assert 0.3 < found.standard_error < 20


def test_the_fit_is_the_best_of_its_penalised_likelihood(gamed: Gamed) -> None:
    """Spelled out with alpaca_eval's features and weights; every step aside makes it worse."""
    rows = judged()
    found = fit_length_control(rows, HARD, gamed)
    lengths = [len(a.output_1) - len(a.output_2) for a in rows]
    x = [[math.tanh(d / stdev(lengths)), c, 1.0] for d, c in zip(lengths, HARD, strict=True)]
    x += [[math.tanh(d), c, 0.0] for d, c in zip(gamed.delta, gamed.difficulty, strict=True)]
    y = np.array([a.score for a in rows] + list(gamed.label), dtype=float)
    weight = np.array([1.0] * NUM + [0.1] * 2 * NUM)
    assert found.strength is not None

    def loss(w: np.ndarray) -> float:
        return float(np.abs(w).sum() + found.strength * (weight @ log_loss(np.array(x) @ w, y)))

    best = np.array([found.model.length, found.model.difficulty, found.model.policy])
    steps = 1e-3 * np.random.default_rng(0).normal(size=(50, 3))
    assert all(loss(best) < loss(best + step) for step in steps)


def test_the_penalty_is_one_of_ten_and_weak_where_there_is_much_to_learn(gamed: Gamed) -> None:
    found = fit_length_control(judged(), HARD, gamed)
    assert found.strength in [pytest.approx(10 ** (-4 + 8 * i / 9)) for i in range(10)]
    assert found.strength > 0.1


def test_missing_labels_are_left_out_of_the_fit_and_predicted_all_the_same(gamed: Gamed) -> None:
    rows = [replace(a, preference=None) if i % 10 == 0 else a for i, a in enumerate(judged())]
    found = fit_length_control(rows, HARD, gamed)
    assert found.win_rate == pytest.approx(predicted_win_rate(HARD, found.model))
    flipped = [replace(a, output_2=a.output_2[::-1]) if a.score is None else a for a in rows]
    assert fit_length_control(flipped, HARD, gamed) == found


def test_the_baseline_against_itself_is_at_50(gamed: Gamed) -> None:
    rows = [replace(a, generator_2="base", output_2=a.output_1, preference=1.5) for a in judged()]
    found = fit_length_control(rows, HARD, gamed)
    assert (found.win_rate, found.standard_error, found.strength) == (50, None, None)


def test_lengths_that_do_not_vary_have_no_influence_to_estimate(gamed: Gamed) -> None:
    rows = [replace(a, output_1="one", output_2="three") for a in judged()]
    with pytest.raises(DataError, match="differ by the same length"):
        fit_length_control(rows, HARD, gamed)


def test_no_label_is_nothing_to_fit(gamed: Gamed) -> None:
    with pytest.raises(DataError, match="nothing to fit"):
        fit_length_control([replace(a, preference=None) for a in judged()], HARD, gamed)


# ---- files -------------------------------------------------------------------------------------------


def test_files_are_read_as_alpaca_eval_writes_them(tmp_path: Path, gamed: Gamed) -> None:
    assert read_difficulties(difficulty_file(tmp_path / "d.csv"), NUM) == pytest.approx(HARD)
    assert read_weights(weight_file(tmp_path / "w.csv", base=(0, 0, 0), mine=(-1.5, 0.9, "-0.5000"))) == {
        "base": LengthModel(),
        "mine": LengthModel(-1.5, 0.9, -0.5),
    }
    assert len(gamed.label) == 2 * NUM
    assert difficulties_of(gamed, Path("g.csv"), NUM) == pytest.approx(HARD)


def test_gamed_rows_without_a_preference_are_counted(tmp_path: Path) -> None:
    path = table(tmp_path / "g.csv", HEAD, [["v", 0, 0.5, 1, 0, False], ["v", 1, "", 1, 0, False]])
    found = read_gamed(path)
    assert (found.label.tolist(), found.num_missing) == ([0.5], 1)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([["v", 0, 1.5, 1, 0, False]], "line 2: a preference of 1.5; expected the probability"),
        ([["v", 0, 0.5, 1, 0, True]], "line 2: not_gamed_baseline is not False"),
        ([["v", 805, 0.5, 1, 0, False]], "line 2: 'index' is 805; expected a place from 0 to 804"),
        ([["v", 0.5, 0.5, 1, 0, False]], "line 2: 'index' is 0.5; expected a place"),
        ([["v", 0, 0.5, "", 0, False]], "line 2: no value for 'std_delta_len'; expected a number"),
        ([["v", 0, 0.5, "long", 0, False]], "line 2: 'std_delta_len' is 'long'; expected a number"),
        ([["v", 0, 0.5, "inf", 0, False]], "line 2: 'std_delta_len' is 'inf'; expected a number"),
        ([["v", 0, "", 1, 0, False]], "no row has a preference"),
        ([["v", 0]], "line 2: 2 cells; expected 6"),
        ([], "holds no rows"),
    ],
)
def test_damaged_gamed_rows_are_refused_by_line(tmp_path: Path, rows: list[list[object]], says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_gamed(table(tmp_path / "g.csv", HEAD, rows))


def test_a_difficulty_that_is_missing_or_doubled_is_named(tmp_path: Path) -> None:
    head = ["", "instruction_difficulty"]
    with pytest.raises(DataError, match=r"for 2 of the 3 AlpacaEval instructions; .* missing is number 1"):
        read_difficulties(table(tmp_path / "d.csv", head, [[0, 1.0], [2, 1.0]]), 3)
    with pytest.raises(DataError, match="line 3: place 0 is there a second time"):
        read_difficulties(table(tmp_path / "d.csv", head, [[0, 1.0], [0, 1.0]]), 3)


def test_a_table_without_the_column_says_which_it_has(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 1: no column 'np.tanh.*\(found: 'index', 'instruction_difficulty'\)"):
        read_weights(difficulty_file(tmp_path / "d.csv"))


def test_weights_that_name_a_policy_twice_are_refused(tmp_path: Path) -> None:
    path = weight_file(tmp_path / "w.csv", mine=(0, 0, 0))
    path.write_text(path.read_text() + "mine,1,1,1\n")
    with pytest.raises(DataError, match="line 3: 'mine' is there a second time"):
        read_weights(path)
