"""What all figures share: the colours, which a page can exchange for its own, and text that is only text."""

from __future__ import annotations

import contextlib
import math
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tutelage.disk import visible
from tutelage.extras import require
from tutelage.findings import Feedback, Span

Figure = Any
"""matplotlib.figure.Figure; matplotlib is imported when something is drawn, not before."""
Axes = Any
"""matplotlib.axes.Axes."""

PAGE, INK, SOFT, LINE, CARD = "#ffffff", "#1b222b", "#5a6573", "#d9dee5", "#f5f7f9"
A, B, C, D = "#1f6fb2", "#c8741a", "#8a93a0", "#3f8a5f"
VARIABLES = {PAGE: "page", INK: "ink", SOFT: "soft", LINE: "line", CARD: "card", A: "a", B: "b", C: "c", D: "d"}
"""Colour in a file -> the variable of a page that replaces it, so that one drawing suits light and dark."""
COLOURS = (A, B, D, C)
"""Of teachers or students, in the order in which they come up. Blue and orange differ for every eye."""
HATCHES: dict[Feedback, str] = {"none": "", "dpo": "////", "best_of_n": "||||", "shuffled": "xxxx"}
MARKERS: dict[Feedback, str] = {"none": "o", "dpo": "D", "best_of_n": "s", "shuffled": "X"}
FEEDBACK: dict[Feedback, str] = {
    "none": "SFT alone",
    "dpo": "feedback (DPO)",
    "best_of_n": "best of n",
    "shuffled": "DPO on random labels",
}

_STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,  # a name may hold a dollar sign
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.labelsize": 9,
    "axes.titlesize": 9.5,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.color": LINE,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 9,
    "hatch.linewidth": 0.9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": PAGE,
    "axes.facecolor": PAGE,
    "savefig.facecolor": PAGE,
    "svg.fonttype": "none",
    "svg.hashsalt": "tutelage",
}


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Draw and save in our style, whatever the user's matplotlibrc says.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require("plot", "a picture")
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        # A name may be in a script that the font lacks: an SVG has it all the same, a PNG shows boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def new_figure(width: float, height: float, title: str, alt: str, note: str = "", key: Sequence[Any] = ()) -> Figure:
    """Return an empty figure: `width` and `height` inches for what is drawn, and above and below room for words.

    Args:
        title: stands on top.
        alt: what the figure shows, for those who do not see it; ends up in the SVG.
        note: how to read it; stands below, wrapped to the width.
        key: artists with labels, for a legend between title and picture.
    """
    from matplotlib.figure import Figure as Drawing
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    title = wrapped(title, int(width * 9), 2)
    note = wrapped(note, int(width * 13.5), 7) if note else ""
    columns = max(int(width / (0.65 + 0.068 * max([len(artist.get_label()) for artist in key], default=0))), 1)
    # Letters have a size in points, so the bands for words are inches, however high the figure is.
    top = 0.18 + 0.21 * (title.count("\n") + 1)
    band = top + (0.1 + 0.22 * math.ceil(len(key) / columns) if key else 0)
    bottom = 0.12 + 0.18 * (note.count("\n") + 1) if note else 0.0
    total = height + band + bottom
    engine = ConstrainedLayoutEngine(
        w_pad=0.06, h_pad=0.04, wspace=0.03, hspace=0.04, rect=(0, bottom / total, 1, height / total)
    )
    figure = Drawing(figsize=(width, total), layout=engine)
    look: dict[str, Any] = {"ha": "left", "va": "top", "in_layout": False}
    figure.text(0.1 / width, 1 - 0.12 / total, title, fontsize=11.5, fontweight="bold", **look)
    if key:
        legend = figure.legend(
            handles=key,
            loc="upper left",
            bbox_to_anchor=(0.1 / width, 1 - top / total),
            ncols=min(columns, len(key)),
            handleheight=1.1,
            borderaxespad=0,
            borderpad=0,
            columnspacing=1.6,
        )
        legend.set_in_layout(False)
    if note:
        figure.text(0.1 / width, bottom / total, note, fontsize=8.8, color=SOFT, linespacing=1.4, **look)
    figure.set_label(visible(alt))
    return figure


def wrapped(text: str, width: int, num_lines: int = 3) -> str:
    """Return any text as at most `num_lines` lines of `width` characters in which nothing acts and nothing hides."""
    lines = [line.rstrip() for line in textwrap.wrap(visible(text), width)] or [" "]
    if len(lines) > num_lines:
        rest = " ".join(lines[num_lines - 1 :])
        lines[num_lines - 1 :] = [rest[: width - 1].rstrip() + "…"]
    return "\n".join(lines)


def colours_of(names: Iterable[str]) -> dict[str, str]:
    """Give every name a colour, in the order in which they come up."""
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(dict.fromkeys(names))}


def ends(span: Span) -> tuple[float, float]:
    """Return how far the interval reaches; the value itself where there is none."""
    value = span.value or 0.0
    return (value if span.low is None else span.low, value if span.high is None else span.high)


def whisker(axes: Axes, span: Span, place: float, *, upright: bool = False, **look: Any) -> None:
    """Draw the interval of `span` as a line; nothing where there is none.

    Args:
        upright: along y at x = place, not along x at y = place.
    """
    if span.low is None or span.high is None:
        return
    draw = axes.vlines if upright else axes.hlines
    draw(place, span.low, span.high, **{"color": INK, "linewidth": 1.3, "zorder": 3} | look)


def shifted(axes: Axes, points: float) -> Any:
    """Return the transform of data that is drawn `points` to the right, so that marks at one place do not hide."""
    from matplotlib.transforms import ScaledTranslation

    return axes.transData + ScaledTranslation(points / 72, 0, axes.figure.dpi_scale_trans)
