"""Bars with their lines, whatever the names and numbers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tutelage.findings import Span
from tutelage.report.figures.bars import Panel, Row, bars
from tutelage.report.figures.style import colours_of, styled

Bar = tuple[str, float, float, str]
"""Name, rate, half the length of its line, family."""
BARS: list[Bar] = [
    ("SFT weak 10%", 40.0, 4.0, "weak"),
    ("SFT weak 10% + DPO", 60.0, 4.0, "weak"),
    ("SFT strong 10%", 80.0, 0.0, "strong"),
]


@pytest.fixture
def drawn() -> Callable[[list[Bar]], Any]:
    """Return a function that draws and gives back the axes."""
    pytest.importorskip("matplotlib")

    def draw(given: list[Bar]) -> Any:
        colours = colours_of(family for *_, family in given)
        rows = tuple(Row(name, Span(value=x, low=x - d, high=x + d), colours[of]) for name, x, d, of in given)
        with styled():
            figure = bars([Panel("", (("", rows),))], "title", "win rate", "note")
            figure.draw_without_rendering()
        return figure.axes[0]

    return draw


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


def test_matplotlib_comes_only_with_a_picture() -> None:
    code = "import sys, tutelage.report.figures; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
