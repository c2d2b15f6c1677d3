"""Published rows are read, ours is written in their columns, and a comparison that does not hold says so."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from annotated import annotation, table
from tutelage.errors import DataError
from tutelage.measure.alpaca_eval import metrics
from tutelage.measure.leaderboard import (
    COLUMNS,
    Entry,
    placed,
    read_leaderboard,
    why_not_comparable,
    write_leaderboard,
)
from tutelage.measure.leaderboard import table as lines_of

HEAD = ["", "win_rate", "standard_error", "mode", "avg_length", "length_controlled_winrate"]
ROWS = [
    ["base", 50.0, 0.0, "minimal", 300, ""],
    ["good", 70.5, 1.5, "verified", 1200.0, 40.0],
    ["poor", 20, 1.0, "community", 100, 45],
]


def board(tmp_path: Path, name: str = "judge_leaderboard.csv") -> Path:
    return table(tmp_path / name, HEAD, ROWS)


def test_published_rows_are_read_with_their_judge_and_baseline(tmp_path: Path) -> None:
    found = read_leaderboard(board(tmp_path))
    assert (found.annotator, found.baseline) == ("judge", "base")
    assert found.entries[1] == Entry("good", 70.5, 1.5, 1200, 40.0)
    assert found.entries[0].length_controlled is None


def test_a_file_of_another_name_does_not_say_its_judge(tmp_path: Path) -> None:
    assert read_leaderboard(board(tmp_path, "leaderboard.csv")).annotator is None


def test_a_row_without_a_win_rate_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2: no value for 'win_rate'"):
        read_leaderboard(table(tmp_path / "b.csv", HEAD, [["x", "", 1, "m", 3, ""]]))


def test_what_is_written_has_alpaca_evals_columns_and_is_read_again(tmp_path: Path) -> None:
    ours = metrics([annotation(0, 2.0), annotation(1, 1.0), annotation(2, None)])
    better = metrics([annotation(0, 2.0)])
    path = tmp_path / "new" / "leaderboard.csv"
    write_leaderboard(path, {"ours": ours, "better": better}, {"ours": 42.5})
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    assert list(rows[0]) == ["", *COLUMNS]
    assert [row[""] for row in rows] == ["better", "ours"]
    assert (rows[0]["standard_error"], rows[1]["n_total"], rows[1]["mode"]) == ("", "2", "community")
    assert rows[1]["lc_standard_error"] == ""
    found = read_leaderboard(path).entries[1]
    assert found == Entry("ours", 50, pytest.approx(ours.standard_error), ours.avg_length, 42.5)


def test_an_empty_leaderboard_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs a row"):
        write_leaderboard(tmp_path / "b.csv", {})


def test_our_row_stands_where_its_win_rate_puts_it(tmp_path: Path) -> None:
    rows = placed(read_leaderboard(board(tmp_path)), Entry("good", 60.0))
    assert [(e.win_rate, own) for e, own in rows] == [(70.5, False), (60, True), (50, False), (20, False)]


def test_with_length_control_that_decides_and_rows_without_it_come_last(tmp_path: Path) -> None:
    rows = placed(read_leaderboard(board(tmp_path)), Entry("ours", 60.0, length_controlled=42.0))
    assert [e.name for e, _ in rows] == ["poor", "ours", "good", "base"]


@pytest.mark.parametrize(
    ("judge", "baseline", "complete", "reasons"),
    [
        ("judge", "base", True, []),
        ("other", "base", True, ["the judge is other, theirs is judge"]),
        ("judge", "gpt", True, ["the baseline is gpt, theirs is base"]),
        ("judge", "base", False, ["the rows are not AlpacaEval's 805"]),
        ("other", "gpt", True, ["the judge is other, theirs is judge", "the baseline is gpt, theirs is base"]),
    ],
)
def test_every_difference_that_forbids_a_comparison_is_named(
    tmp_path: Path, judge: str, baseline: str, complete: bool, reasons: list[str]
) -> None:
    assert why_not_comparable(read_leaderboard(board(tmp_path)), judge, baseline, complete) == reasons


def test_what_a_leaderboard_does_not_say_is_a_reason_too(tmp_path: Path) -> None:
    path = table(tmp_path / "leaderboard.csv", HEAD, ROWS[1:])
    reasons = why_not_comparable(read_leaderboard(path), "judge", "base", True)
    assert len(reasons) == 2
    assert "does not say who judged" in reasons[0]
    assert "no row says what their baseline is" in reasons[1]


def test_a_hostile_name_cannot_move_the_cursor() -> None:
    lines = lines_of([(Entry("a\x1b[2Jb", 50.0), True), (Entry("plain", 40.0, 1.0, 10, 3.0), False)])
    assert all(line.isprintable() for line in lines)
    assert lines[1].startswith("-> a\\x1b[2Jb")
