"""Bars with error bars, as in the paper's Figure 2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tutelage.disk import disk_errors
from tutelage.extras import require

Bar = tuple[str, float, float, str]
"""Name, height, standard error, family (bars of one family share a colour)."""

_COLOURS = ("#7a8ca3", "#c8862a", "#3b7a57", "#8c4a6f")


def draw_bars(bars: Sequence[Bar], title: str, y_label: str, note: str, path: Path) -> None:
    """Write a picture (PNG or SVG by `path`'s ending).

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require("plot", "a picture")
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    families = list(dict.fromkeys(family for *_, family in bars))
    figure = Figure(figsize=(8.5, 4.8), layout="constrained")
    axes = figure.add_subplot()
    for place, (_, height, error, family) in enumerate(bars):
        colour = _COLOURS[families.index(family) % len(_COLOURS)]
        axes.bar(place, height, width=0.72, color=colour, yerr=2 * error, capsize=4, ecolor="#222222")
        axes.text(place, height + 2 * error + 1.2, f"{height:.1f}", ha="center", va="bottom", fontsize=10)
    axes.axhline(50, color="#555555", linewidth=0.8, linestyle="--")
    axes.set_xticks(range(len(bars)), [name.replace(" + ", "\n+ ") for name, *_ in bars], fontsize=9)
    axes.set_ylim(0, max([100, *(height + 2 * error + 7 for _, height, error, _ in bars)]))  # room for the numbers
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel(y_label)
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel(note, fontsize=8, color="#444444")
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a name may hold a dollar sign
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
