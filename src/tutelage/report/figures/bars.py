"""Bars with error bars, as in the paper's Figure 2, but lying: names of any length stay readable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tutelage.findings import ArmFound, Feedback, Findings, Span
from tutelage.report.figures.style import (
    FEEDBACK,
    HATCHES,
    INK,
    PAGE,
    SOFT,
    Axes,
    Figure,
    colours_of,
    ends,
    new_figure,
    whisker,
    wrapped,
)

TALL = 0.58
"""Of the space of a row, what its bar takes."""


@dataclass(frozen=True)
class Row:
    """One bar. With a `start`, it is full up to there, and hatched in what the feedback added."""

    name: str
    rate: Span
    colour: str
    feedback: Feedback = "none"
    start: float | None = None
    seeds: tuple[float, ...] = ()


Group = tuple[str, tuple[Row, ...]]
"""A heading (or none), and the rows below it."""


@dataclass(frozen=True)
class Panel:
    """Bars below each other."""

    title: str
    groups: tuple[Group, ...]

    @property
    def names(self) -> list[list[str]]:
        """What stands at the left."""
        return [[group, *(row.name for row in rows)] for group, rows in self.groups]

    @property
    def tall(self) -> float:
        """How many rows it takes, headings among them."""
        return sum(len(rows) + bool(name) for name, rows in self.groups) + 0.5 * max(len(self.groups) - 1, 0)


def bars(panels: Sequence[Panel], title: str, x_label: str, note: str, key: Sequence[tuple[str, str]] = ()) -> Figure:
    """Draw panels beside each other; those with the same rows share their names.

    Args:
        key: name and colour of the families, where there are several.
    """
    shared = all(panel.names == panels[0].names for panel in panels)
    tall = max([panel.tall for panel in panels], default=0)
    width = 2.2 + 3.1 * len(panels) if shared else 5.2 * len(panels)
    kinds = dict.fromkeys(r.feedback for p in panels for _, rows in p.groups for r in rows if r.feedback != "none")
    handles = _key(key, list(kinds))
    figure = new_figure(max(width, 6.5), 0.85 + 0.3 * max(tall, 2), title, _alt(panels, title), note, handles)
    all_axes = figure.subplots(1, len(panels), sharey=shared, sharex=True, squeeze=False)[0]
    for axes, panel in zip(all_axes, panels, strict=True):
        _panel(axes, panel, tall)
        axes.set_xlabel(x_label)
    return figure


def _panel(axes: Axes, panel: Panel, tall: float) -> None:
    place, places, names, furthest = 0.0, [], [], 100.0
    for name, rows in panel.groups:
        place += 0.5 if place else 0.0
        if name:
            axes.text(0, place + 0.1, " " + wrapped(name, 60, 1), va="center", fontweight="bold", fontsize=9)
            place += 1
        for row in rows:
            furthest = max(furthest, _row(axes, row, place))
            places.append(place)
            names.append(wrapped(row.name, 32, 2))
            place += 1
    axes.axvline(50, color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=2.5)
    axes.set_yticks(places, names)
    axes.tick_params(left=False, bottom=False)
    axes.set_xlim(0, furthest)
    axes.set_xticks(range(0, 101, 25))
    axes.set_ylim(max(tall, 1) - 0.4, -0.6)  # a bar is as thick in a panel with few
    axes.grid(axis="x")
    axes.spines["bottom"].set_visible(False)
    axes.set_title(wrapped(panel.title, 40, 2))


def _row(axes: Axes, row: Row, place: float) -> float:
    """Draw one bar and return how far to the right it reaches with its number."""
    value = row.rate.value
    if value is None:
        axes.text(1.5, place, wrapped(row.rate.note or "no finished run", 44, 1), va="center", color=SOFT, fontsize=8)
        return 0.0
    solid = value if row.feedback == "none" else 0.0 if row.start is None else min(row.start, value)
    axes.barh(place, solid, height=TALL, color=row.colour, zorder=2)
    if row.feedback != "none":
        look = {"height": TALL, "facecolor": PAGE, "edgecolor": row.colour, "linewidth": 1, "zorder": 2}
        axes.barh(place, value - solid, left=solid, hatch=HATCHES[row.feedback], **look)
        if row.start is not None and row.start > value:  # what the feedback took away
            axes.barh(place, row.start - value, left=value, linestyle=":", **look)
    whisker(axes, row.rate, place)
    axes.plot(
        row.seeds,
        [place + 0.2] * len(row.seeds),
        "o",
        markersize=3.4,
        markerfacecolor=INK,
        markeredgecolor=PAGE,
        markeredgewidth=0.6,
        zorder=4,
    )
    right = max([ends(row.rate)[1], value, row.start or 0.0, *row.seeds])
    halo = {"facecolor": PAGE, "edgecolor": "none", "pad": 0.8}
    axes.text(right + 1.5, place, f"{value:.1f}", va="center", fontsize=9, zorder=5, bbox=halo)
    return right + 11


def _key(families: Sequence[tuple[str, str]], kinds: Sequence[Feedback]) -> list[Any]:
    from matplotlib.patches import Patch

    hatched = [Patch(facecolor=PAGE, edgecolor=SOFT, hatch=HATCHES[kind], label=FEEDBACK[kind]) for kind in kinds]
    return [Patch(facecolor=colour, label=wrapped(name, 48, 1)) for name, colour in families] + hatched


def _alt(panels: Sequence[Panel], title: str) -> str:
    said = [
        f"{row.name} {row.rate.value:.1f}"
        for _, rows in (panels[0].groups if panels else ())
        for row in rows
        if row.rate.value is not None
    ]
    more = f", and {len(said) - 12} more" if len(said) > 12 else ""
    return f"{title}. {', '.join(said[:12])}{more}" if said else title


def win_rates(findings: Findings) -> Figure | None:
    """Draw every arm's win rate, grouped by student, one panel for each judge."""
    if not any(arm.rates for arm in findings.arms):
        return None
    panels = [Panel(f"judge: {judge}", win_rate_groups(findings, judge)) for judge in findings.judges]
    return bars(panels, "Win rates", "win rate (%)", reading(findings), teacher_key(findings))


def win_rate_groups(findings: Findings, judge: str) -> tuple[Group, ...]:
    """Return all arms in the eyes of one judge; several students are a group each."""
    models = dict.fromkeys(arm.model for arm in findings.arms)
    return tuple(
        (
            model if len(models) > 1 else "",
            tuple(row_of(findings, arm, judge) for arm in findings.arms if arm.model == model),
        )
        for model in models
    )


def strong_teacher(findings: Findings) -> Figure | None:
    """Draw what feedback adds to SFT on a part of a strong teacher, beside SFT on all of it: the paper's Figure 5."""
    panels = [Panel(f"judge: {judge}", strong_groups(findings, judge)) for judge in findings.judges]
    if not any(panel.groups for panel in panels):
        return None
    title = "Feedback on a part, or the same teacher's completions for all"
    return bars(panels, title, "win rate (%)", reading(findings))


def strong_groups(findings: Findings, judge: str) -> tuple[Group, ...]:
    """Return for each student and strong teacher the arms with feedback that have a start, and SFT alone on the most.

    Of several teachers the first of the recipe is the weakest, and no strong one.
    """
    teachers = list(findings.recipe.get("teachers", dict.fromkeys(arm.teacher for arm in findings.arms)))
    weakest = teachers[0] if len(teachers) > 1 else None
    groups = []
    for model, teacher in dict.fromkeys((arm.model, arm.teacher) for arm in findings.arms if arm.teacher != weakest):
        mine = [arm for arm in findings.arms if (arm.model, arm.teacher) == (model, teacher) and arm.rates]
        known = {arm.name for arm in mine}
        fed = [arm for arm in mine if arm.feedback == "dpo" and arm.start in known]
        least = max((arm.fraction for arm in fed), default=1.0)
        alone = [arm for arm in mine if arm.feedback == "none" and arm.fraction > least]
        if fed and alone:
            several = len({arm.model for arm in findings.arms}) > 1
            heading = f"{model}, taught by {teacher}" if several else f"taught by {teacher}"
            shown = [*fed, max(alone, key=lambda arm: arm.fraction)]
            groups.append((heading, tuple(row_of(findings, arm, judge) for arm in shown)))
    return tuple(groups)


def row_of(findings: Findings, arm: ArmFound, judge: str) -> Row:
    """Return the bar of an arm in the eyes of one judge, in the colour of its teacher."""
    before = next((other for other in findings.arms if other.name == arm.start), None)
    rate, start = arm.rate_by(judge), before.rate_by(judge) if before else None
    return Row(
        name=arm.name,
        rate=rate.rate if rate else Span(value=None, note="no finished run"),
        colour=colours_of(other.teacher for other in findings.arms)[arm.teacher],
        feedback=arm.feedback,
        start=start.rate.value if start else None,
        seeds=tuple(rate.by_seed.values()) if rate and len(rate.by_seed) > 1 else (),
    )


def reading(findings: Findings) -> str:
    """Return how to read bars of win rates."""
    fed = any(arm.feedback != "none" for arm in findings.arms)
    return (
        f"Bars: share of prompts won against {findings.baseline}; a tie is half a win; at 50 the two are level. "
        + "Hatched: what training on feedback added to SFT; dotted: what it took away. " * fed
        + "Lines: 95 % intervals. "
        + ("Dots: single training runs." if len(findings.seeds) > 1 else "One training run for each arm.")
    )


def teacher_key(findings: Findings) -> list[tuple[str, str]]:
    """Return what the colours mean; one colour needs no words."""
    models = {arm.teacher: arm.teacher_model for arm in findings.arms}
    colours = colours_of(arm.teacher for arm in findings.arms)
    if len(colours) == 1:
        return []
    return [
        (f"taught by {name}" + (f" ({models[name]})" if models[name] != name else ""), colour)
        for name, colour in colours.items()
    ]
