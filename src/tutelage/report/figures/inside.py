"""What happened inside the arms with feedback: training curves, lengths, and accuracy by the critic's confidence."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tutelage.findings import Findings, Span, TrainingCurve, Why
from tutelage.report.figures.style import (
    INK,
    PAGE,
    SOFT,
    A,
    Axes,
    B,
    D,
    Figure,
    new_figure,
    whisker,
    wrapped,
)
from tutelage.report.study_words import points

MOST_POINTS = 4000
"""Of all lines of one figure: more are not seen in small panels, and a page has to load them."""
_PANELS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    ("log-probability", (("logps/chosen", "chosen", D), ("logps/rejected", "rejected", B))),
    ("KL from the reference", (("kl/reference_to_policy", "", A),)),
    ("accuracy of the reward", (("rewards/accuracies", "", A),)),
    ("margin of the reward", (("rewards/margins", "", A),)),
)
"""Title, and the lines: name in metrics.jsonl, what it is called, colour."""


def training(findings: Findings) -> Figure | None:
    """Draw what DPO logged: a row of small panels for each arm with feedback."""
    shown = [why for why in findings.why if any(curve.steps for curve in why.curves)]
    logged = {name for why in shown for curve in why.curves for name in curve.values}
    panels = [(title, lines) for title, lines in _PANELS if logged & {name for name, *_ in lines}]
    if not shown or not panels:
        return None
    figure = new_figure(
        max(2.2 * len(panels), 5.0),
        0.35 + 1.75 * len(shown),
        "Inside the feedback training",
        f"Training curves of {', '.join(why.arm for why in shown)}: {', '.join(title for title, _ in panels)}.",
        "Thin: one training run each; thick: their mean. The log-probability, in nats, is summed over a completion's "
        "tokens. All are of the batch that is trained on: from the second epoch on, of pairs seen before. At the "
        "first step the policy is still its reference: no reward is above the other, and the accuracy is 0.",
    )
    num_lines = sum(len(why.curves) + 1 for why in shown) * sum(len(lines) for _, lines in panels)
    most = min(max(MOST_POINTS // num_lines, 10), 100)
    grid = figure.subplots(len(shown), len(panels), sharex="row", sharey="col", squeeze=False)
    for row, why in zip(grid, shown, strict=True):
        for axes, (title, lines) in zip(row, panels, strict=True):
            for name, called, colour in lines:
                _lines(axes, why.curves, name, called, colour, most)
            axes.set_title(title, fontsize=8.5, color=SOFT, pad=3)
            axes.tick_params(labelsize=7.5, labelcolor=SOFT, labelleft=True, left=False, bottom=False)
            axes.margins(x=0.02, y=0.14)
            axes.locator_params(nbins=4)
            axes.grid(axis="y")
        # In the first panel, above its title: the arm that the row is about.
        row[0].set_title(
            f"{wrapped(why.arm, 60, 1)}\n", fontsize=9.5, fontweight="bold", color=INK, loc="left", pad=4
        )
        row[0].text(0, 1.0, panels[0][0], transform=row[0].transAxes, fontsize=8.5, color=SOFT, va="bottom")
        row[0].set_xlabel("step", fontsize=8)
    return figure


def _lines(axes: Axes, runs: Sequence[TrainingCurve], name: str, called: str, colour: str, most: int) -> None:
    """One line for each run, and a thick one through their means at the steps that all of them have."""
    known = [
        {step: value for step, value in zip(run.steps, run.values[name], strict=True) if value is not None}
        for run in runs
        if name in run.values
    ]
    for run in known:
        steps = thinned(sorted(run), most)
        look = {"linewidth": 0.8, "alpha": 0.5} if len(known) > 1 else {"linewidth": 2.0}
        axes.plot(steps, [run[step] for step in steps], color=colour, **look)
    steps = thinned(sorted(set.intersection(*map(set, known))), most) if known else []
    if len(known) > 1 and steps:
        axes.plot(steps, [sum(run[s] for run in known) / len(known) for s in steps], color=colour, linewidth=2)
    if called and steps:
        at = sum(run[steps[-1]] for run in known) / len(known)
        bold = {"color": colour, "fontsize": 7.5, "ha": "right", "fontweight": "bold"}
        below = -14 if called == "rejected" else 7
        axes.annotate(called, (steps[-1], at), (0, below), textcoords="offset points", **bold)


def thinned(steps: Sequence[int], most: int) -> Sequence[int]:
    """Return about `most` of the steps, evenly, the last one among them."""
    every = max(math.ceil(len(steps) / most), 1)
    return [step for i, step in enumerate(reversed(steps)) if i % every == 0][::-1]


def lengths(findings: Findings) -> Figure | None:
    """Draw words and completions that ended by themselves, before the feedback and after it."""
    shown = [why for why in findings.why if why.words_after.value is not None or why.ended_after.value is not None]
    if not shown:
        return None
    said = [
        f"{why.arm}: {why.words_before.value:.1f} to {why.words_after.value:.1f} words"
        for why in shown
        if why.words_before.value is not None and why.words_after.value is not None
    ]
    figure = new_figure(
        8.4,
        0.85 + 0.42 * len(shown),
        "Length and endings, before the feedback and after it",
        "Lengths of completions. " + "; ".join(said[:12]),
        "Hollow: before the feedback; filled, below it: after it. Lines: 95 % intervals.",
    )
    both = figure.subplots(1, 2, sharey=True)
    for axes, title, spans in (
        (both[0], "words in a completion", [(why.words_before, why.words_after) for why in shown]),
        (both[1], "ended by themselves (%)", [(why.ended_before, why.ended_after) for why in shown]),
    ):
        for place, (before, after) in enumerate(spans):
            _drift(axes, before, after, place)
        axes.set_title(title)
        axes.grid(axis="x")
        axes.margins(x=0.22)
        axes.tick_params(axis="y", left=False)
        axes.spines[["left", "bottom"]].set_visible(False)
    both[0].set_yticks(range(len(shown)), [wrapped(why.arm, 30, 2) for why in shown])
    both[0].set_ylim(len(shown) - 0.4, -0.6)
    return figure


def _drift(axes: Axes, before: Span, after: Span, place: float) -> None:
    for span, face, at in ((before, PAGE, place - 0.13), (after, A, place + 0.13)):
        if span.value is not None:
            whisker(axes, span, at, color=A, linewidth=1.1)
            axes.plot([span.value], [at], "o", markersize=7, markerfacecolor=face, markeredgecolor=A, zorder=4)
    if before.value is not None and after.value is not None:
        furthest = max(s.high if s.high is not None else s.value or 0.0 for s in (before, after))
        said = f"{after.value:.1f} ({points(after.value - before.value, signed=True)})"
        axes.annotate(said, (furthest, place), (6, 0), textcoords="offset points", va="center", fontsize=8.5)


def confidence(findings: Findings) -> Figure | None:
    """Draw how often the policy's implicit reward agrees with the critic, by how sure the critic was."""
    shown = [why for why in findings.why if why.by_confidence]
    if not shown:
        return None
    columns = min(len(shown), 3)
    rows = math.ceil(len(shown) / columns)
    figure = new_figure(
        max(2.9 * columns, 5.0),
        2.75 * rows,
        "Accuracy of the reward, by the critic's confidence",
        "; ".join(_bins(why) for why in shown),
        "The share of pairs on which the trained policy's own reward agrees with the critic, with their number. "
        "Dashed: as often as the critic was sure. "
        + " ".join(f"Not shown: {why.arm} ({why.confidence_note})." for why in findings.why if why.confidence_note),
    )
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    for axes, why in zip(grid.flat, shown, strict=False):
        _confidence(axes, why)
    lowest = min([b.accuracy for why in shown for b in why.by_confidence] + [0.5])
    grid.flat[0].set_ylim(100 * lowest - 4, 106)
    for axes in grid[:, 0]:
        axes.set_ylabel("agreement (%)")
    return figure


def _confidence(axes: Axes, why: Why) -> None:
    low = 100 * min(b.low for b in why.by_confidence)
    axes.plot([low, 100], [low, 100], color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    for found in why.by_confidence:
        axes.hlines(100 * found.accuracy, 100 * found.low, 100 * found.high, color=A, linewidth=1.4, zorder=2)
    middles = [50 * (b.low + b.high) for b in why.by_confidence]
    heights = [100 * b.accuracy for b in why.by_confidence]
    axes.plot(middles, heights, color=A, marker="o", markersize=6, markeredgecolor=PAGE, linewidth=0.8, zorder=3)
    for middle, height, found in zip(middles, heights, why.by_confidence, strict=True):
        look = {"textcoords": "offset points", "ha": "center", "fontsize": 7.5, "color": SOFT}
        axes.annotate(f"{found.num:,}", (middle, height), (0, 7), **look)
    axes.grid(axis="y")
    axes.set_title(wrapped(why.arm, 34, 2))
    axes.set_xlabel("the critic's confidence (%)")


def _bins(why: Why) -> str:
    said = ", ".join(
        f"{100 * b.low:.0f} to {100 * b.high:.0f} %: {100 * b.accuracy:.0f} %" for b in why.by_confidence
    )
    return f"{why.arm}, agreement by confidence: {said}"
