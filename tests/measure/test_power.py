"""How small a difference can n prompts show? What is claimed is what a simulation finds."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest

from tutelage.cli import main
from tutelage.errors import DataError
from tutelage.measure.paired import permutation_test
from tutelage.measure.power import PowerConfig, minimum_detectable_effect, prompts_needed, spreads, text, tree


def test_the_effect_worked_out_by_hand() -> None:
    """(1.95996 + 0.84162) * 50 / sqrt(805) = 4.937."""
    assert minimum_detectable_effect(805, 50) == pytest.approx(4.937, abs=1e-3)
    assert minimum_detectable_effect(805, 50, alpha=0.05 / 3) > minimum_detectable_effect(805, 50)


@pytest.mark.parametrize("effect", [0.5, 1, 3, 10, 50])
def test_as_many_prompts_as_are_needed_show_the_effect_and_one_less_does_not(effect: float) -> None:
    needed = prompts_needed(effect, 50)
    assert minimum_detectable_effect(needed, 50) <= effect + 1e-9
    assert needed == 2 or minimum_detectable_effect(needed - 1, 50) > effect


def test_the_power_that_is_claimed_is_the_power_there_is() -> None:
    """Two policies at .5 and .5 + the effect: 300 studies; 3 standard errors are 7 points."""
    num, draw = 300, random.Random(0)
    effect = minimum_detectable_effect(num, 50 * math.sqrt(2)) / 100
    found = 0
    for study in range(300):
        scores = {
            name: {str(i): float(draw.random() < rate) for i in range(num)}
            for name, rate in (("one", 0.5 + effect / 2), ("two", 0.5 - effect / 2))
        }
        found += _p_value(scores, study) < 0.05
    assert 0.73 <= found / 300 <= 0.88


def _p_value(scores: dict[str, dict[str, float]], seed: int) -> float:
    return permutation_test([scores["one"][i] - scores["two"][i] for i in scores["one"]], num_draws=400, seed=seed)


def test_correlated_scores_need_fewer_prompts() -> None:
    loose, tight = (tree(PowerConfig(effect=3, correlation=c))["a difference of two policies"] for c in (0.0, 0.5))
    assert tight["prompts_needed"] == pytest.approx(loose["prompts_needed"] / 2, abs=2)


def pilot(path: Path, seed: int, num: int = 60) -> Path:
    draw = random.Random(seed)
    row = {"output_1": "a", "output_2": "b", "generator_1": "base", "generator_2": f"m{seed}", "annotator": "j"}
    rows = [row | {"instruction": f"Q{i}", "preference": draw.choice([1, 2])} for i in range(num)]
    path.write_text(json.dumps(rows))
    return path


def test_pilot_files_take_the_place_of_the_worst_case(tmp_path: Path) -> None:
    one, two = pilot(tmp_path / "one.json", 1), pilot(tmp_path / "two.json", 2)
    (deviation, where) = spreads(PowerConfig(pilot=(one,)))["a win rate against 50 %"]
    assert deviation == pytest.approx(50, abs=2)
    assert where == str(one)
    (deviation, _) = spreads(PowerConfig(pilot=(one, two)))["a difference of two policies"]
    assert deviation == pytest.approx(70, abs=12)


def test_pilots_that_hold_too_little_are_one_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="3 usable rows; a spread needs ten at least"):
        spreads(PowerConfig(pilot=(pilot(tmp_path / "few.json", 1, num=3),)))


def test_rows_of_a_pilot_that_repeat_or_say_nothing_are_counted(tmp_path: Path) -> None:
    path = pilot(tmp_path / "one.json", 1)
    found = json.loads(path.read_text())
    turned = [
        {**row, "preference": 3 - row["preference"]} for row in found
    ]  # averaged: a tie on every prompt but one
    path.write_text(json.dumps([*found, *turned[1:], {**found[0], "instruction": "new", "preference": None}]))
    (deviation, where) = spreads(PowerConfig(pilot=(path,)))["a win rate against 50 %"]
    assert deviation == pytest.approx(50 / math.sqrt(60), abs=0.1)
    assert "; 1 rows without a preference left out; 59 rows repeat an instruction, their scores averaged" in where


def test_the_table_marks_the_number_asked_for() -> None:
    said = text(PowerConfig(n=300, effect=5, num_comparisons=2))
    assert "     300 prompts show   8.9  <-" in said
    assert "a difference of 5 points needs 951 prompts" in said
    assert "(2 comparisons: 0.025 each)" in said


def test_the_command_prints_a_table_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["power", "n=805", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["a win rate against 50 %"]["minimum_detectable_effect"] == pytest.approx(4.937, abs=1e-3)
    assert main(["power", "n=1"]) == 2
    assert "greater than or equal to 2" in capsys.readouterr().err
    assert main(["power", "power=0.01"]) == 2
    assert "expected more than alpha (0.05)" in capsys.readouterr().err
    assert main(["power", "alpha=0.9"]) == 2
    assert "expected more than alpha (0.9)" in capsys.readouterr().err
