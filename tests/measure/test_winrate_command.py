"""`tutelage winrate`: what it prints, and one clear error for everything that cannot be read."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from annotated import (
    annotation,
    difficulties,
    difficulty_file,
    gamed_file,
    judged,
    known,
    row,
    table,
    weight_file,
    written,
)
from tutelage.cli import main
from tutelage.errors import ConfigError, DataError
from tutelage.measure.annotations import Annotation, write_annotations
from tutelage.measure.commands import Report, WinrateConfig, winrate

KEYS = {
    "generator_1",
    "generator_2",
    "annotator",
    "win_rate",
    "standard_error",
    "n_wins",
    "n_wins_base",
    "n_draws",
    "n_total",
    "num_missing",
    "discrete_win_rate",
    "avg_length",
    "coverage",
    "bounds",
    "per_dataset",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_annotations(tmp_path / "annotations.json", judged())
    return tmp_path / "annotations.json"


def report(path: Path, **settings: Path) -> Report:
    return winrate(path, WinrateConfig(**settings), known())


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["winrate", *words]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert "Traceback" not in shown.err
    return shown.err


def test_the_text_says_rate_counts_coverage_and_bounds(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [annotation(i, p, dataset="koala") for i, p in enumerate([2, 2, 1, 1.5, None])]
    write_annotations(path, rows)
    assert main(["winrate", str(path)]) == 0
    text = capsys.readouterr().out
    assert "mine against base, judged by judge" in text
    assert "62.50 % ± 23.94" in text
    assert "2/1/1 of 4; 1 missing" in text
    assert "0 of 805: not an AlpacaEval win rate (absent: 805, rows of other instructions: 5)" in text
    assert "50.00 % to 70.00 %" in text
    assert any(line.split() == ["koala", "62.50", "23.94", "4", "1", "12"] for line in text.splitlines())


def test_json_is_one_object_with_the_same_figures(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_annotations(path, [annotation(0, 2.0), annotation(1, 1.0), annotation(2, None)])
    assert main(["winrate", "--json", str(path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found.keys() == KEYS
    assert (found["win_rate"], found["n_total"], found["num_missing"]) == (50, 2, 1)
    assert found["standard_error"] == pytest.approx(50)
    assert found["bounds"] == pytest.approx([100 / 3, 200 / 3])
    assert (found["coverage"]["num_foreign"], found["coverage"]["is_complete"]) == (3, False)
    assert found["per_dataset"]["unknown"]["win_rate"] == 50


def test_only_winrate_knows_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--json"]) == 2
    assert "--json: there are no options but" in capsys.readouterr().err


def test_help_lists_the_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["winrate", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"{name}=" in text for name in WinrateConfig.model_fields)


def test_a_path_may_hold_an_equals_sign(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "annotations_ref=GPT35t"
    folder.mkdir()
    assert main(["winrate", str(written(folder / "annotations.json", [row()]))]) == 0
    assert "0.00 %" in capsys.readouterr().out


def test_a_hostile_name_is_shown_without_its_control_characters(path: Path) -> None:
    write_annotations(path, [annotation(generator_2="a\x1b[2J\nb", dataset="\x07")])
    assert all(line.isprintable() for line in report(path).text().split("\n"))


# ---- length control ----------------------------------------------------------------------------------


def test_weights_predict_the_policys_rate_against_the_files_baseline(path: Path, tmp_path: Path) -> None:
    hard = difficulty_file(tmp_path / "d.csv")
    weights = weight_file(tmp_path / "w.csv", base=(0, 0, 0), mine=(-1, 0.0, 0.0), other=(-1, 0.0, 2.0))
    assert report(path, weights=weights, difficulties=hard).as_json()["length_controlled_winrate"] == 50
    write_annotations(path, [Annotation(**(asdict(a) | {"generator_1": "other"})) for a in judged()])
    found = report(path, weights=weights, difficulties=hard)
    assert found.length_controlled == pytest.approx(100 / (1 + 2.718281828**2))
    assert f"length-controlled    {found.length_controlled:.2f} % (predicted from w.csv" in found.text()


def test_the_baseline_may_be_named_by_the_weights_file_alone(path: Path, tmp_path: Path) -> None:
    weights = weight_file(tmp_path / "baseline_base.csv", mine=(-1, 0.0, 0.0))
    hard = difficulty_file(tmp_path / "d.csv")
    assert report(path, weights=weights, difficulties=hard).length_controlled == 50
    with pytest.raises(DataError, match="has no row for the baseline 'base'"):
        report(path, weights=weights.rename(tmp_path / "w.csv"), difficulties=hard)


def test_a_policy_can_be_given_the_name_that_the_weights_have_for_it(path: Path, tmp_path: Path) -> None:
    weights = weight_file(tmp_path / "w.csv", base=(0, 0, 0), published=(-1, 0.0, 0.0))
    found = report(path, weights=weights, difficulties=difficulty_file(tmp_path / "d.csv"), policy="published")
    assert (found.policy, found.length_controlled) == ("published", 50)


def test_a_policy_without_weights_is_an_error_that_names_the_nearest(path: Path, tmp_path: Path) -> None:
    weights = weight_file(tmp_path / "w.csv", base=(0, 0, 0), mine2=(0, 0, 0))
    with pytest.raises(DataError, match=r"no row for the policy 'mine' \(it has 2; the nearest is 'mine2'\)"):
        report(path, weights=weights, difficulties=difficulty_file(tmp_path / "d.csv"))


def test_gamed_rows_fit_it_with_their_own_difficulties_or_given_ones(path: Path, tmp_path: Path) -> None:
    gamed = gamed_file(tmp_path / "df_gamed.csv")
    own = report(path, gamed=gamed)
    assert own == report(path, gamed=gamed, difficulties=difficulty_file(tmp_path / "d.csv"))
    easy = table(
        tmp_path / "easy.csv", ["", "instruction_difficulty"], [[i, -d] for i, d in enumerate(difficulties())]
    )
    assert own.length_controlled != report(path, gamed=gamed, difficulties=easy).length_controlled
    found = own.as_json()
    assert found.keys() == KEYS | {"length_controlled_winrate", "length_control"}
    assert {"standard_error", "coefficients", "C", "difficulty_spread"} < found["length_control"].keys()
    assert f"± {found['length_control']['standard_error']:.2f} (fitted" in own.text()


def test_rows_in_another_order_have_the_same_figures(path: Path, tmp_path: Path) -> None:
    gamed = gamed_file(tmp_path / "df_gamed.csv")
    before = report(path, gamed=gamed)
    write_annotations(path, judged()[::-1])
    assert report(path, gamed=gamed) == before


@pytest.mark.parametrize("rows", [judged()[:20], judged() + judged()[:1]])
def test_length_control_is_not_defined_for_some_of_the_instructions(
    path: Path, tmp_path: Path, rows: list[Annotation]
) -> None:
    write_annotations(path, rows)
    found = report(path, gamed=gamed_file(tmp_path / "df_gamed.csv"))
    assert found.as_json()["length_controlled_winrate"] is None
    assert "length-controlled    not defined: " in found.text()


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("weights", "gamed"), "not both"),
        (("weights",), "weights= needs difficulties="),
        (("difficulties",), "read with weights= or gamed= only"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(path: Path, names: tuple[str, ...], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        report(path, **{name: path for name in names})


# ---- leaderboard -------------------------------------------------------------------------------------


def test_our_row_stands_among_the_published_with_a_warning_if_it_cannot(path: Path, tmp_path: Path) -> None:
    rows: list[list[Any]] = [["base", 50, 0], ["good", 99, 1]]
    board = table(tmp_path / "judge_leaderboard.csv", ["", "win_rate", "standard_error"], rows)
    found = report(path, leaderboard=board)
    assert found.warning is None
    assert "judge and baseline have the names of the published ones" in found.text()
    shown = found.as_json()["leaderboard"]
    assert (shown["rows"][0]["name"], shown["rows"][0]["own"]) == ("good", False)
    assert len(shown["rows"]) == 3
    other = report(path, leaderboard=board.rename(tmp_path / "gpt4_leaderboard.csv"))
    assert "warning: not comparable with the published rows: the judge is judge, theirs is gpt4" in other.text()
    assert other.as_json()["leaderboard"]["warning"] == other.warning


# ---- bad input ---------------------------------------------------------------------------------------


def test_no_path_is_asked_for(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "the first word is the path" in refused([], capsys)
    assert "the first word is the path" in refused(["weights=w.csv", str(path)], capsys)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"{}", "holds no rows; expected alpaca_eval's annotations"),
        (b"[1]", "row 1: expected an object"),
        (b"[]", "holds no rows"),
        (b"[{", "line 1: not JSON"),
        (b"\xff\xfe", "line 1: not UTF-8"),
        (json.dumps([row(preference=3)]).encode(), "row 1: a preference of '3'"),
        (json.dumps([row(preference=None)]).encode(), "none of 1 annotations holds a preference"),
    ],
)
def test_a_file_that_is_no_annotations_is_one_error(
    path: Path, content: bytes, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_bytes(content)
    error = refused([str(path)], capsys)
    assert str(path) in error
    assert says in error


@pytest.mark.parametrize("word", ["leaderboard=DIR", "gamed=DIR", "weights=DIR", "leaderboard=DIR/none.csv", "hello"])
def test_other_files_that_cannot_be_read_are_one_error(
    path: Path, tmp_path: Path, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    word = word.replace("DIR", str(tmp_path))
    extra = [f"difficulties={difficulty_file(tmp_path / 'd.csv', 805)}"] if word.startswith("weights") else []
    assert refused([str(path), word, *extra], capsys).count("\n") == 1


def test_a_mistyped_setting_is_offered_the_right_one(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean weights?" in refused([str(path), "weigths=w.csv"], capsys)


def test_a_folder_without_annotations_is_no_artifact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "annotations.json: no such file" in refused([str(tmp_path)], capsys)


def test_an_artifacts_folder_is_as_good_as_the_file_in_it(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.rename(path.with_name("annotations.json"))
    assert main(["winrate", str(path.parent), "--json"]) == 0
    of_folder = capsys.readouterr().out
    assert main(["winrate", str(path.with_name("annotations.json")), "--json"]) == 0
    assert capsys.readouterr().out == of_folder
