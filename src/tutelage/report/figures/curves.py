"""SFT scaling curves, as in the paper's Figure 3, against prompts, dollars and tokens: how matching is read."""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from tutelage.findings import Feedback, Findings, Rule, Span
from tutelage.report.figures.style import (
    FEEDBACK,
    LINE,
    MARKERS,
    PAGE,
    SOFT,
    Axes,
    Figure,
    colours_of,
    ends,
    new_figure,
    shifted,
    whisker,
    wrapped,
)

RULES: dict[Rule, str] = {
    "prompts": "prompts taught or labelled",
    "dollars": "dollars for teacher and critic",
    "tokens": "tokens trained on",
}
_WORD = 0.31
"""Inches that the words of a tick take."""
_LINES = ("-", "--", ":", "-.")


@dataclass(frozen=True)
class Mark:
    """Something at a place: an arm with feedback, or a point of a line."""

    x: float
    rate: Span


@dataclass(frozen=True)
class Series:
    """Marks of one kind: a line of SFT alone, or one arm with feedback."""

    name: str
    colour: str
    marks: tuple[Mark, ...]
    feedback: Feedback = "none"
    line: str = "-"


@dataclass(frozen=True)
class Plot:
    """One panel: what lies along x, where it has marks, and the series."""

    x_label: str
    series: tuple[Series, ...]
    ticks: tuple[tuple[float, str], ...] = ()
    """Where, and what it says; none: as matplotlib likes it."""
    title: str = ""

    @property
    def has_curve(self) -> bool:
        """Whether there is more than arms with feedback."""
        return any(series.feedback == "none" for series in self.series)

    @property
    def has_width(self) -> bool:
        """Whether anything is away from zero: in a world without prices, no dollars are spent."""
        return any(mark.x > 0 for series in self.series for mark in series.marks)


def curves(rows: Sequence[Sequence[Plot]], title: str, note: str, is_shared: bool = True) -> Figure:
    """Draw panels in rows; each row has its names at the right, at the height of the marks they belong to.

    Args:
        is_shared: the panels of a row show the same series, so one set of names is enough.
    """
    columns = max(len(row) for row in rows)
    wide = 1.9 if is_shared else 2.8  # inches, about what is left for a panel
    width = 2.2 + 2.25 * columns if is_shared else 4.6 * columns
    key = _key({s.feedback for row in rows for plot in row for s in plot.series})
    most = max(len({s.name for plot in row for s in plot.series}) for row in rows)
    tall = max(3.1, 0.21 * most + 1)  # for all the names
    figure = new_figure(max(width, 5.6), tall * len(rows), title, _alt(rows, title), note, key)
    grid = figure.subplots(len(rows), columns, sharey="row" if is_shared else False, squeeze=False)
    for axes_row, row in zip(grid, rows, strict=True):
        limits = _limits([mark.rate for plot in row for series in plot.series for mark in series.marks])
        for axes in axes_row[len(row) :]:
            axes.set_axis_off()
        for number, (axes, plot) in enumerate(zip(axes_row, row, strict=False)):
            _plot(axes, plot, wide)
            axes.set_ylim(*limits)
            if number == 0 or not is_shared:
                axes.set_ylabel("win rate (%)")
            if not is_shared or number == len(row) - 1:
                seen = {s.name: s for p in (row if is_shared else [plot]) for s in p.series}
                _names(axes, list(seen.values()), limits, wide, tall)
    return figure


def _key(kinds: Set[Feedback]) -> list[Any]:
    """The marks' meanings, once there is more than SFT alone."""
    from matplotlib.lines import Line2D

    if kinds <= {"none"}:
        return []
    look: dict[str, Any] = {"color": SOFT, "markeredgewidth": 1.4, "markersize": 6}
    full: dict[str, Any] = {"linestyle": "-"}
    hollow: dict[str, Any] = {"linestyle": "", "markerfacecolor": PAGE}
    return [
        Line2D([], [], marker=MARKERS[k], label=FEEDBACK[k], **look, **(full if k == "none" else hollow))
        for k in MARKERS
        if k in kinds
    ]


def _plot(axes: Axes, plot: Plot, wide: float) -> None:
    axes.axhline(50, color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.grid(axis="y")
    for series in plot.series:
        if series.feedback == "none":
            _line(axes, series)
    arms = sorted((s for s in plot.series if s.feedback != "none"), key=lambda s: s.marks[0].x)
    for _, close in groupby(arms, key=lambda s: s.marks[0].x):
        beside = list(close)
        for number, series in enumerate(beside):
            _arm(axes, series, min(7.0, 42 / len(beside)) * (number - (len(beside) - 1) / 2))
    _lay_out_x(axes, plot, wide)
    axes.set_xlabel(plot.x_label)
    axes.set_title(wrapped(plot.title, 44, 2) if plot.title else "")


def _lay_out_x(axes: Axes, plot: Plot, wide: float) -> None:
    """A logarithmic x if the places lie far apart; zero, if it is one of them, stands left of the least."""
    places = sorted({mark.x for series in plot.series for mark in series.marks})
    positive = [x for x in places if x > 0] or [1.0]
    low, high = positive[0], positive[-1]
    far = high > 3 * low
    if not far:
        air = 0.25 * (high - places[0]) + 0.02 * high
        axes.set_xlim(places[0] - air, high + air)
    elif 0 in places:
        axes.set_xscale("symlog", linthresh=low, linscale=0.6)
        axes.set_xlim(-0.4 * low, high * (high / low) ** 0.14)
    else:
        axes.set_xscale("log")
        axes.set_xlim(low / (high / low) ** 0.14, high * (high / low) ** 0.2)
    at = list(plot.ticks) or [(x, _short(x)) for x in (_round(low, high) if far else _even(places[0], high))]
    axes.set_xticks([], [])
    axes.minorticks_off()
    kept = _apart(axes, at, _WORD / wide)
    axes.set_xticks([x for x, _ in kept], [said for _, said in kept])


def _apart(axes: Axes, ticks: Sequence[tuple[float, str]], least: float) -> list[tuple[float, str]]:
    """Return the ticks, from the last one back, whose words do not touch."""
    kept: list[tuple[float, str]] = []
    left = math.inf
    to_axes = axes.transScale + axes.transLimits
    for x, said in sorted(ticks, reverse=True):
        place = float(to_axes.transform((x, 50.0))[0])
        if place <= left - least:
            kept.append((x, said))
            left = place
    return kept[::-1]


def _round(low: float, high: float) -> list[float]:
    """Return 1, 2, 5, 10, ... between `low` and `high`; of many, every other one or fewer."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if last - first <= 2 else (1, 3) if last - first <= 3 else (1,)
    return [
        step * 10.0**power for power in range(first, last + 1) for step in steps if low <= step * 10**power <= high
    ]


def _even(low: float, high: float) -> list[float]:
    from matplotlib.ticker import MaxNLocator

    return [float(x) for x in MaxNLocator(3).tick_values(low, high) if low <= x <= high]


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _line(axes: Axes, series: Series) -> None:
    known = [mark for mark in series.marks if mark.rate.value is not None]
    for mark in known:
        whisker(axes, mark.rate, mark.x, upright=True, color=series.colour, linewidth=1.1)
    look = {"marker": "o", "markersize": 5.5, "markeredgecolor": PAGE, "zorder": 4, "linestyle": series.line}
    axes.plot([m.x for m in known], [m.rate.value for m in known], color=series.colour, linewidth=2, **look)


def _arm(axes: Axes, series: Series, aside: float) -> None:
    mark, place = series.marks[0], shifted(axes, aside)
    if mark.rate.value is None:
        return
    both: dict[str, Any] = {"transform": place, "clip_on": False}
    whisker(axes, mark.rate, mark.x, upright=True, color=series.colour, linewidth=1.1, **both)
    look = {"markersize": 6.5, "markerfacecolor": PAGE, "markeredgecolor": series.colour, "markeredgewidth": 1.6}
    axes.plot([mark.x], [mark.rate.value], MARKERS[series.feedback], zorder=5, **look, **both)


def _limits(rates: Sequence[Span]) -> tuple[float, float]:
    known = [ends(rate) for rate in rates if rate.value is not None]
    low, high = min([low for low, _ in known] + [50.0]), max([high for _, high in known] + [50.0])
    air = 0.06 * (high - low) + 1
    return low - air, high + air


def _names(axes: Axes, series: Sequence[Series], limits: tuple[float, float], wide: float, tall: float) -> None:
    """Write the names at the right, apart from each other, with a thin line to the height that each belongs to."""
    last = sorted(_ended(series), key=lambda found: found[0])
    heights = spread([height for height, _ in last], 0.21 / tall * (limits[1] - limits[0]), *limits)
    side, point = axes.get_yaxis_transform(), 1 / (72 * wide)
    for (height, one), said in zip(last, heights, strict=True):
        axes.plot([1, 1 + 8 * point], [height, said], transform=side, color=LINE, linewidth=1, clip_on=False)
        face = one.colour if one.feedback == "none" else PAGE
        look = {"markersize": 5, "markerfacecolor": face, "color": one.colour, "clip_on": False}
        axes.plot([1 + 13 * point], [said], MARKERS[one.feedback], transform=side, **look)
        axes.text(1 + 20 * point, said, wrapped(one.name, 30, 1), transform=side, va="center", fontsize=8.5)


def _ended(series: Sequence[Series]) -> list[tuple[float, Series]]:
    """Return the series with the height of their last mark, where it is known."""
    return [(s.marks[-1].rate.value, s) for s in series if s.marks and s.marks[-1].rate.value is not None]


def spread(heights: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """Return places for labels near `heights` (ascending), at least `apart` from each other and not above `high`."""
    placed: list[float] = []
    for height in heights:
        placed.append(max([height, low] + [p + apart for p in placed[-1:]]))
    ceiling = high
    for i in reversed(range(len(placed))):
        placed[i] = min(placed[i], ceiling)
        ceiling = placed[i] - apart
    return placed


def _alt(rows: Sequence[Sequence[Plot]], title: str) -> str:
    said = []
    for series in rows[0][0].series if rows and rows[0] else ():
        rates = [f"{mark.rate.value:.1f}" for mark in series.marks if mark.rate.value is not None]
        said.append(f"{series.name}: {', '.join(rates)}")
    return f"{title}, win rates. " + "; ".join(said[:12])


# ---- a study's ---------------------------------------------------------------------------------------

_NOTE = (
    "Lines: SFT alone on a part of a teacher's completions. Upright lines: 95 % intervals. "
    "Each arm has the same height in every panel. Costs that lie far apart are on a logarithmic scale. "
)
_ARMS = "Open marks: arms with feedback, at all they learnt from; those at one place are drawn beside each other. "


def scaling(findings: Findings) -> Figure | None:
    """Draw the scaling curves and the arms with feedback: a row for each judge, a panel for each rule."""
    if not any(len(curve.points) > 1 for curve in findings.curves):
        return None
    rows = []
    for judge in findings.judges:
        plots = [plot for rule in RULES if (plot := plot_of(findings, judge, rule)).has_curve and plot.has_width]
        if plots:
            rows.append([replace(plots[0], title=f"judge: {judge}"), *plots[1:]])
    if not rows:
        return None
    title = "SFT scaling, and the arms with feedback beside it"
    fed = any(series.feedback != "none" for row in rows for plot in row for series in plot.series)
    return curves(rows, title, _NOTE + _ARMS * fed + " ".join(_left_out(findings, findings.judges[0])))


def _left_out(findings: Findings, judge: str) -> list[str]:
    """Say what is not drawn, and why."""
    plots = {rule: plot_of(findings, judge, rule) for rule in RULES}
    names = list(dict.fromkeys(series.name for plot in plots.values() for series in plot.series))
    said = []
    for rule, plot in plots.items():
        gone = [name for name in names if name not in {series.name for series in plot.series}]
        if gone and plot.has_curve:
            said.append(f"Not against {rule}, as they are unknown: {', '.join(gone)}.")
        elif not plot.has_curve:
            said.append(f"Nothing is drawn against {rule}, which are unknown.")
        elif not plot.has_width:
            said.append(f"Nothing is drawn against {rule}, of which none were spent.")
    return said


def plot_of(findings: Findings, judge: str, rule: Rule) -> Plot:
    """Return the curves that are known against `rule`, and the arms with feedback, in the eyes of one judge."""
    colours = colours_of(arm.teacher for arm in findings.arms)
    models = list(dict.fromkeys(arm.model for arm in findings.arms))
    series, ticks = [], dict[float, str]()
    for curve in findings.curves:
        points = sorted(curve.points, key=lambda p: p.fraction)
        places = [p.at.get(rule) for p in points]
        known = [
            (x, p.rates[judge], p.fraction)
            for x, p in zip(places, points, strict=True)
            if x is not None and judge in p.rates
        ]
        if None in places or not known:
            continue
        among = f", {curve.model}" if len(models) > 1 else ""
        line = _LINES[models.index(curve.model) % len(_LINES)] if curve.model in models else "-"
        points_of = tuple(Mark(x, rate) for x, rate, _ in known)
        series.append(
            Series(f"SFT on {curve.teacher}{among}", colours.get(curve.teacher, SOFT), points_of, line=line)
        )
        if rule == "prompts":
            ticks |= {x: f"{x:,.0f}\n{fraction * 100:g} %" for x, _, fraction in known}
    for arm in findings.arms:
        rate, x = arm.rate_by(judge), arm.cost.of(rule) if arm.cost else None
        if arm.feedback != "none" and rate is not None and x is not None:
            series.append(Series(arm.name, colours[arm.teacher], (Mark(x, rate.rate),), arm.feedback))
    return Plot(RULES[rule], tuple(series), tuple(sorted(ticks.items())))
