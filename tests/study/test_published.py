"""The paper's results: the numbers are the published ones, and a study stands beside them, never mixed with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_findings import findings, hostile

from tutelage.cli import main
from tutelage.errors import StudyError
from tutelage.study import published as module
from tutelage.study.published import DEVIATIONS, WARNING, PaperConfig, paper, published

pytest.importorskip("matplotlib")

# As the paper's Figures 2, 3 and 5 show them, to two digits: SFT on GPT-3.5 100 %, 10 %, 10 % + RLAIF, SFT on GPT-4.
FIGURE_2 = {
    "DeepSeek 7B": (44.75, 41.25, 57.50, 55.50),
    "Yi 6B": (50.75, 49.00, 59.62, 62.25),
    "LLaMA 7B": (47.06, 42.56, 47.63, 57.44),
    "LLaMA2 13B": (61.62, 58.50, 65.06, 70.06),
    "Mistral 7B": (56.81, 55.13, 71.13, 75.31),
    "Mixtral 8x7B": (70.19, 70.12, 72.75, 77.75),
}
FIGURE_3 = (0.38, 40.19, 42.56, 42.94, 47.06, 47.06)
FIGURE_5 = {"LLaMA 7B": (51.81, 52.88, 57.44), "Yi 6B": (59.25, 61.25, 62.25), "Mistral 7B": (72.38, 77.88, 75.31)}
NAMES = ["figure_2", "figure_3", "figure_4", "figure_5", "figure_appendix"]


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, dict[str, Any]]:
    """The paper with a study beside it: the folder, what was said, and the figures."""
    folder = tmp_path_factory.mktemp("paper")
    findings().save(folder / "study")
    drawn: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        save = module.save

        def kept(figure: Any, name: str, out: Path) -> str:
            drawn[name] = figure
            return save(figure, name, out)

        patch.setattr(module, "save", kept)
        said = paper(PaperConfig(out=folder / "out", study=folder / "study"))
    return folder / "out", said, drawn


def rates(name: str, group: str) -> tuple[float, ...]:
    return tuple(rate for rate, _ in published().figures[name].numbers[group])


def test_the_numbers_are_the_published_ones() -> None:
    figures = published().figures
    assert list(figures) == NAMES
    assert {g: rates("figure_2", g) for g in figures["figure_2"].numbers} == {
        g: pytest.approx(expected, abs=0.006) for g, expected in FIGURE_2.items()
    }
    assert rates("figure_3", "judged by GPT-4") == pytest.approx(FIGURE_3, abs=0.006)
    assert [row.fraction for row in figures["figure_3"].rows] == [0, 0.05, 0.1, 0.25, 0.5, 1]
    assert {g: rates("figure_5", g) for g in figures["figure_5"].numbers} == {
        g: pytest.approx(expected, abs=0.006) for g, expected in FIGURE_5.items()
    }


def test_numbers_that_two_figures_share_are_the_same_and_every_one_has_an_error_and_a_source() -> None:
    figures = published().figures
    strong = {group: row[-1] for group, row in figures["figure_2"].numbers.items()}
    assert {g: r[-1][0] for g, r in figures["figure_5"].numbers.items()} == {g: strong[g][0] for g in FIGURE_5}
    claude = figures["figure_3"].numbers["judged by Claude"]
    assert [claude[2][0], claude[5][0]] == pytest.approx(
        [figures["figure_4"].numbers["LLaMA 7B"][1][0], figures["figure_4"].numbers["LLaMA 7B"][0][0]]
    )
    for figure in figures.values():
        assert "figures/fig" in figure.source
        assert all(len(row) == len(figure.rows) for row in figure.numbers.values())
        assert {row.start for row in figure.rows} - {None} <= {row.name for row in figure.rows}
        # An AlpacaEval run has 805 prompts; the standard error of a share of them is at most 1.77.
        assert all(0 < error < 1.8 for row in figure.numbers.values() for _, error in row)
    assert "2402.12366" in published().cite


def test_every_figure_and_its_numbers_are_written(beside: tuple[Path, str, dict[str, Any]]) -> None:
    folder, said, _ = beside
    assert {path.name for path in folder.iterdir()} == {
        "published.json",
        *(f"{name}.{end}" for name in NAMES for end in ("png", "svg")),
    }
    numbers = json.loads((folder / "published.json").read_text("utf-8"))
    assert numbers["published"]["figures"]["figure_2"]["numbers"]["DeepSeek 7B"][0] == [44.75, 1.76]
    assert numbers["study"]["rates"]["weak-100"]["value"] == 48.6
    assert numbers["study"]["warning"] == WARNING
    assert said.endswith(WARNING)
    assert said.count("beside it miniature") == len(NAMES)


def test_published_and_yours_stand_in_panels_of_their_own(beside: tuple[Path, str, dict[str, Any]]) -> None:
    _, _, drawn = beside
    for name, figure in drawn.items():
        titles = [axes.get_title(loc="left") for axes in figure.axes]
        assert titles[0].startswith("published; judge: "), name
        assert titles[1] == "yours: miniature; judge: judge-a"
        note = " ".join(figure.texts[-1].get_text().split())
        assert WARNING in note
        assert "Sharma et al. 2024, arXiv 2402.12366" in note
    theirs, ours = drawn["figure_2"].axes
    shown = [float(text.get_text()) for text in theirs.texts if text.get_text()[0].isdigit()]
    assert shown == pytest.approx([r for g in FIGURE_2.values() for r in (g[0], g[2], g[3])], abs=0.06)
    starts = [p.get_x() for p in theirs.patches if p.get_hatch()]
    assert starts == pytest.approx([g[1] for g in FIGURE_2.values()], abs=0.006)
    assert "48.6" in [text.get_text() for text in ours.texts]


def test_intervals_are_as_wide_as_the_published_errors_say(beside: tuple[Path, str, dict[str, Any]]) -> None:
    theirs = beside[2]["figure_4"].axes[0]
    ends = [tuple(path.vertices[:, 0]) for one in theirs.collections for path in one.get_paths()]
    row = published().figures["figure_4"].numbers["LLaMA 7B"]
    assert ends[:3] == [
        pytest.approx((rate - DEVIATIONS * error, rate + DEVIATIONS * error)) for rate, error in (row[0], *row[2:])
    ]
    base = published().figures["figure_3"].rates("judged by GPT-4")["base"]
    assert base.low == 0  # a share is never below it


def test_a_study_without_the_kind_is_said_and_the_paper_is_drawn_alone(tmp_path: Path) -> None:
    found = hostile()
    plain = tuple(arm for arm in found.arms if arm.feedback == "none")
    found.model_copy(update={"curves": (), "arms": plain, "name": "$x$ \x1b"}).save(tmp_path / "study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "save", lambda figure, name, out: out.mkdir(exist_ok=True))
        said = paper(PaperConfig(out=tmp_path / "out", study=tmp_path / "study"))
    assert said.count("$x$ \\x1b has nothing of the kind") == 3
    assert said.count("beside it $x$ \\x1b") == 2


def test_the_command_takes_words_and_says_what_is_wrong_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StudyError, match=r"study\.json: no such file"):
        paper(PaperConfig(out=tmp_path / "out", study=tmp_path))
    assert main(["study", "paper", f"out={tmp_path}", "stduy=x"]) == 2
    assert "did you mean study" in capsys.readouterr().err
