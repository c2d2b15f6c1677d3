"""What a critic's feedback gains in whose eyes, as a table whose cells are the darker the more it is."""

from __future__ import annotations

from typing import Any

from tutelage.findings import Findings, MatrixCell
from tutelage.report.figures.style import INK, LINE, SOFT, A, Axes, B, Figure, new_figure, wrapped
from tutelage.report.study_words import interval, points

_NOTE = (
    "Win rate with the feedback minus that of the same arm without it, points, with 95 % intervals. "
    "Own taste: how much more this judge sees than the others see on average. "
)
_FRAMED = "Framed: critic and judge are related, so a gain may be a taste that they share."


def matrix(findings: Findings) -> Figure | None:
    """Draw gains by critic (rows) and judge (columns); related ones are framed and named."""
    cells = {(cell.critic, cell.judge): cell for cell in findings.matrix}
    if not cells:
        return None
    critics = list(dict.fromkeys(critic for critic, _ in cells))
    judges = [judge for judge in findings.judges if any(j == judge for _, j in cells)]
    said = [
        f"{c.critic} judge {c.judge}: {points(c.gain.value, signed=True)}" + (f" ({c.related})" if c.related else "")
        for c in cells.values()
        if c.gain.value is not None
    ]
    figure = new_figure(
        max(1.9 + 1.75 * len(judges), 6.2),
        0.8 + 0.98 * len(critics),
        "What feedback gains, by critic and by judge",
        "Gains in points. " + "; ".join(said[:12]),
        _NOTE + _FRAMED * any(cell.related for cell in cells.values()),
    )
    axes = figure.subplots()
    most = max([abs(c.gain.value) for c in cells.values() if c.gain.value is not None] + [1.0])
    for row, critic in enumerate(critics):
        for column, judge in enumerate(judges):
            if found := cells.get((critic, judge)):
                _cell(axes, found, column, row, most)
            else:
                axes.text(column, row, "not asked", ha="center", va="center", color=SOFT, fontsize=8)
    axes.set_xticks(range(len(judges)), [wrapped(f"judge: {judge}", 26, 2) for judge in judges])
    axes.set_yticks(range(len(critics)), [wrapped(f"feedback from {critic}", 22, 3) for critic in critics])
    axes.tick_params(left=False, bottom=False, labeltop=True, labelbottom=False, labelcolor=INK, labelsize=9)
    axes.set_xlim(-0.55, len(judges) - 0.45)
    axes.set_ylim(len(critics) - 0.45, -0.55)
    axes.spines[:].set_visible(False)
    return figure


def _cell(axes: Axes, cell: MatrixCell, column: int, row: int, most: float) -> None:
    from matplotlib.patches import Rectangle

    gain = cell.gain.value
    # The page shines through, so that one colour suits a light and a dark one, and ink stays readable on it.
    depth = 0.0 if gain is None else 0.06 + 0.44 * abs(gain) / most
    place = (column - 0.47, row - 0.44)
    axes.add_patch(Rectangle(place, 0.94, 0.88, facecolor=A if (gain or 0) >= 0 else B, alpha=depth, linewidth=0))
    frame: dict[str, Any] = (
        {"edgecolor": INK, "linewidth": 2.0} if cell.related else {"edgecolor": LINE, "linewidth": 0.8}
    )
    axes.add_patch(Rectangle(place, 0.94, 0.88, fill=False, **frame))
    if gain is None:
        axes.text(column, row, wrapped(cell.gain.note or "unknown", 22, 2), ha="center", va="center", fontsize=8)
        return
    lines = [f"({interval(cell.gain)})" if interval(cell.gain) else ""]
    if cell.excess.value is not None:
        lines.append(f"own taste {points(cell.excess.value, signed=True)}")
    lines.append(cell.related)
    axes.text(column, row - 0.22, points(gain, signed=True), ha="center", va="center", fontsize=12, fontweight="bold")
    axes.text(
        column, row - 0.06, "\n".join(filter(None, lines)), ha="center", va="top", fontsize=7.8, linespacing=1.35
    )
