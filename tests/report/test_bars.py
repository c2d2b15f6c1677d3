"""The demo's picture: a file of the right kind, whatever the names and numbers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tutelage import extras
from tutelage.errors import MissingExtraError, StoreError
from tutelage.report.figures.bars import Bar, draw_bars

BARS: list[Bar] = [
    ("SFT weak 10%", 40.0, 2.0, "weak"),
    ("SFT weak 10% + DPO", 60.0, 2.0, "weak"),
    ("SFT strong 10%", 80.0, 0.0, "strong"),
]


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Bar]], Any]:
    """Return a function that draws and gives back the axes that were saved."""
    figure = pytest.importorskip("matplotlib.figure")
    saved: list[Any] = []
    real = figure.Figure.savefig
    monkeypatch.setattr(figure.Figure, "savefig", lambda f, *a, **k: (saved.append(f), real(f, *a, **k)))

    def draw(bars: list[Bar]) -> Any:
        draw_bars(bars, "title", "win rate", "note", tmp_path / "bars.svg")
        return saved[-1].axes[0]

    return draw


def test_the_file_is_a_picture_and_its_folder_is_made(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "bars.png"
    draw_bars(BARS, "title", "win rate", "note", path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_lengths_and_error_bars_are_the_numbers_given(drawn: Callable[[list[Bar]], Any]) -> None:
    axes = drawn(BARS)
    assert [patch.get_width() for patch in axes.patches] == [40, 60, 80]
    lines = [tuple(path.vertices[:, 0]) for c in axes.collections for path in c.get_paths()]
    assert lines == [(36, 44), (56, 64), (80, 80)]
    assert [t.get_text() for t in axes.texts] == ["40.0", "60.0", "80.0"]
    assert axes.get_xlim() == (0, 100)


def test_one_family_has_one_colour(drawn: Callable[[list[Bar]], Any]) -> None:
    colours = [patch.get_facecolor() for patch in drawn(BARS).patches]
    assert colours[0] == colours[1] != colours[2]


def test_a_bar_near_the_end_keeps_its_number_inside(drawn: Callable[[list[Bar]], Any]) -> None:
    axes = drawn([("all", 100.0, 1.0, "x")])
    box = axes.texts[0].get_window_extent()
    assert box.x1 < axes.get_window_extent().x1


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("$\\foo$", "$\\foo$"),
        ("a$b$c", "a$b$c"),
        ("", " "),
        ("x" * 60, "x" * 32 + "\n" + "x" * 28),
        ("x" * 200, "x" * 32 + "\n" + "x" * 31 + "…"),
        ("größer", "größer"),
        ("<b>&amp;", "<b>&amp;"),
        ("a\nb\x1b", "a\\nb\\x1b"),
    ],
)
def test_a_name_is_text_whatever_it_holds(drawn: Callable[[list[Bar]], Any], name: str, shown: str) -> None:
    assert drawn([(name, 50.0, 1.0, name)]).get_yticklabels()[0].get_text() == shown


def test_many_families_and_no_bars_at_all_are_drawn(drawn: Callable[[list[Bar]], Any]) -> None:
    assert len(drawn([(str(i), 50.0, 1.0, str(i)) for i in range(9)]).patches) == 9
    assert len(drawn([]).patches) == 0


def test_a_target_that_cannot_be_written_is_one_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        draw_bars(BARS, "title", "win rate", "note", tmp_path / "file" / "bars.png")


def test_without_matplotlib_one_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"a picture needs matplotlib.*pip install 'tutelage\[plot\]'"):
        draw_bars(BARS, "title", "win rate", "note", tmp_path / "bars.png")


def test_matplotlib_comes_only_with_a_picture() -> None:
    code = "import sys, tutelage.report.figures; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
