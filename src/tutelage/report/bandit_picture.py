"""The bandit as a picture: the paper's Figure 6, its rewards below it, and the sweep over teachers beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tutelage.disk import disk_errors
from tutelage.extras import require
from tutelage.report.bandit_page import Tree

_STYLES: Mapping[str, dict[str, Any]] = {
    "student": {"color": "#7a8ca3", "linestyle": "--", "linewidth": 2.0, "label": "student"},
    "teacher": {"color": "#222222", "linestyle": ":", "linewidth": 2.0, "label": "teacher"},
    "rlaif": {"color": "#c8862a", "linewidth": 2.5, "label": "feedback (RLAIF)"},
    "sft": {"color": "#1f6fb2", "linewidth": 2.5, "label": "SFT on the teacher's samples"},
}
_LEARNED: dict[str, Any] = {"color": "#3b7a57", "linewidth": 2.5, "label": "learned reward"}
_TRUE: dict[str, Any] = {"color": "#555555", "linewidth": 1.2, "linestyle": "--", "label": "true reward, scaled"}


def draw_bandit(found: Tree, *paths: Path) -> None:
    """Write the picture to each of `paths` (PNG or SVG by its ending); the same numbers make the same bytes.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require("plot", "a picture")
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.8), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.6, 1), height_ratios=(2, 1))
    policies = figure.add_subplot(grid[0, 0])
    _draw_policies(policies, found)
    _draw_rewards(figure.add_subplot(grid[1, 0], sharex=policies), found)
    _draw_sweep(figure.add_subplot(grid[:, 1]), found)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    with matplotlib.rc_context({"svg.hashsalt": "tutelage"}), disk_errors(paths[0]):
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else None)


def _draw_policies(axes: Any, found: Tree) -> None:
    for name, style in _STYLES.items():
        axes.plot(found["policies"][name], **style)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("chance of the arm")
    axes.tick_params(labelbottom=False)
    axes.set_title("Where feedback and SFT take the student", loc="left", fontsize=11)
    axes.legend(frameon=False, fontsize=9, loc="upper left")


def _draw_rewards(axes: Any, found: Tree) -> None:
    reward, last = found["learned_reward"], found["settings"]["num_arms"] - 1
    axes.plot(reward, **_LEARNED)
    axes.plot([0, last], [min(reward), max(reward)], **_TRUE)
    axes.set_xlabel("arm (its number is its true reward)")
    axes.set_ylabel("reward")
    axes.legend(frameon=False, fontsize=9, loc="upper left")


def _draw_sweep(axes: Any, found: Tree) -> None:
    gaps = [point["gap"] for point in found["sweep"]]
    axes.plot(gaps, [point["teacher"] for point in found["sweep"]], **_STYLES["teacher"])
    axes.plot(gaps, [point["sft"] for point in found["sweep"]], marker="o", markersize=4, **_STYLES["sft"])
    for name in ("rlaif", "student"):
        axes.axhline(found["expected_reward"][name], **_STYLES[name])
    crossing, title = found["crossing"], "A better teacher, or feedback?"
    if crossing is not None:
        axes.axvline(crossing, color="#555555", linewidth=1, linestyle=":")
        title = f"SFT overtakes feedback at a gap of {crossing:.1f}"
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel("teacher's peak above the student's (arms)")
    axes.set_ylabel("expected reward")
