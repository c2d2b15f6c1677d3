"""The verdict's picture: every difference with its interval, raw and at equal length, against zero and the margin."""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.findings import ComparisonFound, Findings, Outcome
from tutelage.report.figures.style import (
    CARD,
    INK,
    LINE,
    PAGE,
    SOFT,
    Axes,
    B,
    C,
    D,
    Figure,
    ends,
    new_figure,
    whisker,
    wrapped,
)
from tutelage.report.study_words import interval, points

_COLOURS: dict[Outcome, str] = {"gain": D, "harm": B, "no gain": C, "cannot tell": C}
_NOTE = (
    "Filled: the difference as judged; hollow, below it: at equal length. Lines: 95 % intervals. "
    "Band: {margin:g} points either way, the smallest gain of interest. {runs}"
)
_TALL = 0.52
"""Inches a comparison takes whose question has three lines or less."""
_LINE, _MOST = 0.165, 8
"""Inches of a further line, and the most lines that a question has."""
_NUMBERS = 146
"""Points that a difference and its interval take in bold, at their longest."""


def differences(findings: Findings) -> Figure | None:
    """Draw all comparisons, one panel for each judge that made any."""
    asked = [(judge, [c for c in findings.comparisons if c.judge == judge]) for judge in findings.judges]
    panels = [(judge, found) for judge, found in asked if found]
    if not panels:
        return None
    several = "Intervals hold for other prompts of the same kind and for other training runs."
    note = _NOTE.format(margin=findings.margin, runs=several if len(findings.seeds) > 1 else "One training run each.")
    lines = _lines(findings.comparisons)
    tall = _TALL + _LINE * (lines - 3)
    height = sum(0.75 + tall * len(found) for _, found in panels)
    figure = new_figure(9.0, height, "What each comparison found", _alt(panels[0][1]), note)
    shares = [len(found) for _, found in panels]
    all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=shares)[:, 0]
    reach = _reach([c for _, found in panels for c in found], findings.margin)
    for axes, (judge, found) in zip(all_axes, panels, strict=True):
        axes.set_title(wrapped(f"judge: {judge}", 80, 1))
        axes.set_xlim(*reach)
        _panel(axes, found, findings.margin, lines)
    all_axes[-1].set_xlabel("difference in win rate (points): the first arm minus the second")
    return figure


def _lines(found: Sequence[ComparisonFound]) -> int:
    """Return how many lines questions need so that no two read the same: with long names, cut ones do."""
    asked = {c.question for c in found}
    enough = (lines for lines in range(3, _MOST) if len({_asked(q, lines) for q in asked}) == len(asked))
    return next(enough, _MOST)


def _asked(question: str, lines: int) -> str:
    return wrapped(question, 34, lines)


def _panel(axes: Axes, found: Sequence[ComparisonFound], margin: float, lines: int) -> None:
    axes.axvspan(-margin, margin, color=CARD, zorder=0)
    axes.axvline(0, color=SOFT, linewidth=0.9, zorder=1)
    for place, comparison in enumerate(found):
        _row(axes, comparison, place)
    axes.set_yticks(range(len(found)), [_asked(c.question, lines) for c in found])
    axes.tick_params(left=False, bottom=False)
    axes.set_ylim(len(found) - 0.45, -0.55)
    axes.spines[["left", "bottom"]].set_visible(False)
    for place in range(1, len(found)):
        axes.axhline(place - 0.5, color=LINE, linewidth=0.7)


def _row(axes: Axes, comparison: ComparisonFound, place: float) -> None:
    """One comparison: two marks, and at the right its numbers and its outcome in words."""
    colour = _COLOURS[comparison.outcome]
    raw, even = comparison.difference, comparison.length_controlled
    side = axes.get_yaxis_transform()
    for span, y, look in (
        (raw, place - 0.14, {"marker": "o", "markersize": 7.5, "markerfacecolor": colour}),
        (even, place + 0.2, {"marker": "D", "markersize": 5.2, "markerfacecolor": PAGE}),
    ):
        if span.value is None:
            continue
        whisker(axes, span, y, color=colour, linewidth=2.2 if span is raw else 1.2)
        axes.plot([span.value], [y], linestyle="", markeredgecolor=colour, markeredgewidth=1.4, zorder=4, **look)
    said = (
        wrapped(raw.note or "unknown", 24, 1)
        if raw.value is None
        else f"{points(raw.value, signed=True)}  ({interval(raw)})"
    )
    axes.text(1.02, place - 0.14, said, transform=side, va="center", fontweight="bold", fontsize=9)
    outcome = {"color": _ink(comparison), "fontsize": 9, "va": "center", "annotation_clip": False}
    axes.annotate(comparison.outcome, (1.02, place - 0.14), (_NUMBERS, 0), side, "offset points", **outcome)
    at_length = (
        wrapped(f"at equal length: {even.note or 'unknown'}", 42, 1)
        if even.value is None
        else f"{points(even.value, signed=True)}  ({interval(even)}) at equal length"
    )
    axes.text(1.02, place + 0.2, at_length, transform=side, va="center", color=SOFT, fontsize=8)


def _ink(comparison: ComparisonFound) -> str:
    """Grey is too light for letters."""
    return {"gain": D, "harm": B}.get(comparison.outcome, INK)


def _reach(found: Sequence[ComparisonFound], margin: float) -> tuple[float, float]:
    """From the lowest end to the highest, with zero and the margin inside."""
    spans = [s for c in found for s in (c.difference, c.length_controlled) if s.value is not None]
    low = min([ends(s)[0] for s in spans] + [-2 * margin, -1.0])
    high = max([ends(s)[1] for s in spans] + [2 * margin, 1.0])
    air = 0.04 * (high - low)
    return low - air, high + air


def _alt(found: Sequence[ComparisonFound]) -> str:
    said = [
        f"{c.question}: {points(c.difference.value, signed=True)} points ({interval(c.difference)}), {c.outcome}"
        for c in found
        if c.difference.value is not None
    ]
    more = f"; and {len(said) - 8} more" if len(said) > 8 else ""
    return "Differences with their 95 % intervals. " + "; ".join(said[:8]) + more
