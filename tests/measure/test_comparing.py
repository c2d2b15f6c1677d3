"""`tutelage compare`: files and artifacts on the same prompts; what makes a comparison doubtful is said."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tutelage.cli import main
from tutelage.errors import ConfigError, DataError
from tutelage.measure.comparing import CompareConfig, compare_files


def rows(name: str, rate: float, num: int = 200, **fields: Any) -> list[dict[str, Any]]:
    draw = random.Random(f"{name}{rate}")
    row = {
        "output_1": "a",
        "output_2": "b",
        "generator_1": "base",
        "generator_2": name,
        "annotator": "judge",
    } | fields
    return [row | {"instruction": f"Q{i}", "preference": 2 if draw.random() < rate else 1} for i in range(num)]


def write(path: Path, found: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = json.dumps(found).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def test_a_file_a_packed_file_and_an_artifact_are_compared_on_their_common_prompts(tmp_path: Path) -> None:
    one = write(tmp_path / "one.json", rows("weak", 0.3))
    two = write(tmp_path / "two.json.gz", rows("strong", 0.7))
    write(tmp_path / "evaluate" / "annotations.json", rows("middle", 0.5, num=150))
    found = compare_files([one, two, tmp_path / "evaluate"], CompareConfig())
    assert [arm.name for arm in found.arms] == ["weak", "strong", "middle"]
    assert [c.num_prompts for c in found.comparisons] == [200, 150, 150]
    said = found.text()
    assert "weak is worse than strong by " in said
    assert "Not compared: 50 prompts only weak has, 0 only middle." in said
    assert "after Holm's correction over 3 comparisons" in said


def test_another_judge_or_baseline_is_warned_of(tmp_path: Path) -> None:
    one = write(tmp_path / "one.json", rows("me", 0.3))
    two = write(tmp_path / "two.json", rows("you", 0.3, annotator="other", generator_1="davinci"))
    found = compare_files([one, two], CompareConfig())
    assert [w.split(" differ")[0] for w in found.warnings] == ["warning: the baselines", "warning: the judges"]


def test_missing_preferences_and_repeated_instructions_are_counted(tmp_path: Path) -> None:
    some = rows("me", 0.5)
    some[0]["preference"] = None
    one = write(tmp_path / "one.json", [*some, some[1]])
    found = compare_files([one, write(tmp_path / "two.json", rows("you", 0.5))], CompareConfig())
    assert (found.arms[0].num_missing, found.arms[0].num_repeated, len(found.arms[0].scores)) == (1, 1, 199)
    assert any("1 rows repeat an instruction" in w for w in found.warnings)


def test_two_evaluations_of_one_policy_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    one, two = (write(tmp_path / f"{n}.json", rows("me", 0.5)) for n in ("one", "two"))
    found = compare_files([one, two], CompareConfig())
    assert [arm.name for arm in found.arms] == [f"me ({one})", f"me ({two})"]
    assert "judged alike on every prompt" in found.text()


def test_what_cannot_be_compared_is_one_error(tmp_path: Path) -> None:
    one = write(tmp_path / "one.json", rows("me", 0.5))
    with pytest.raises(ConfigError, match="two policies at least"):
        compare_files([one], CompareConfig())
    with pytest.raises(ConfigError, match=r"one\.json is given twice"):
        compare_files([one, one], CompareConfig())
    with pytest.raises(DataError, match="none of 1 rows has a preference"):
        compare_files(
            [one, write(tmp_path / "two.json", [rows("you", 0.5)[0] | {"preference": None}])], CompareConfig()
        )
    with pytest.raises(DataError, match="no such file"):
        compare_files([one, tmp_path / "nowhere.json"], CompareConfig())


def test_the_command_takes_paths_and_settings_in_any_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = write(tmp_path / "a=b.json", rows("me", 0.3)), write(tmp_path / "two.json", rows("you", 0.7))
    assert main(["compare", str(one), "against=you", str(two), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(c["first"], c["second"]) for c in found["comparisons"]] == [("me", "you")]
    assert found["comparisons"][0]["says"].startswith("me is worse than you")
    assert main(["compare", str(one), str(two), "against=nobody"]) == 2
    assert "found 'nobody'; expected one of me, you" in capsys.readouterr().err
    assert main(["compare", str(one), str(two), "agianst=me"]) == 2
    assert "agianst: unknown key; did you mean against?" in capsys.readouterr().err


def test_names_from_a_file_cannot_move_the_cursor(tmp_path: Path) -> None:
    one = write(tmp_path / "one.json", rows("me\x1b[2J", 0.3))
    found = compare_files([one, write(tmp_path / "two.json", rows("you", 0.7))], CompareConfig())
    assert "\x1b" not in found.text()
