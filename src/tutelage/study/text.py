"""A study on a terminal: the verdict, the arms, and where the report is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tutelage.disk import visible
from tutelage.findings import ArmFound, Findings


def text(found: Findings, files: Sequence[Path]) -> str:
    """Return what a study found, for people."""
    lines = [f"* {sentence}" for sentence in found.verdict]
    lines += ["", *_arms(found)]
    lines += ["", *(f"note: {warning}" for warning in found.warnings)] if found.warnings else []
    lines += ["", *(str(path) for path in files)]
    return "\n".join(visible(line) for line in lines)


def _arms(found: Findings) -> list[str]:
    width = max(len(arm.name) for arm in found.arms)
    lines = [
        f"Win rates in % against {found.baseline}, judge {found.judges[0]}, mean and 95 % interval over prompts"
        f"{' and seeds' if len(found.seeds) > 1 else ''}; dollars of one run's training data:",
        f"{'arm':{width}}  win rate  interval         {'by seed':{7 * len(found.seeds) - 1}}  words   dollars",
    ]
    return [*lines, *(_row(found, arm, width) for arm in found.arms)]


def _row(found: Findings, arm: ArmFound, width: int) -> str:
    rate = arm.rate_by(found.judges[0])
    if rate is None:
        why = "; ".join(f"seed {each.seed}: {each.stage}: {each.why}" for each in arm.missing[:1])
        return f"{arm.name:{width}}  unfinished ({why})"
    span = rate.rate
    interval = "" if span.low is None or span.high is None else f"{span.low:.1f} to {span.high:.1f}"
    seeds = " ".join(f"{rate.by_seed[s]:6.1f}" if s in rate.by_seed else "     -" for s in found.seeds)
    words = "" if arm.words.value is None else f"{arm.words.value:.1f}"
    dollars = "unknown" if arm.cost is None or arm.cost.dollars is None else f"{arm.cost.dollars:.2f}"
    return f"{arm.name:{width}}  {span.value:8.1f}  {interval:15}  {seeds}  {words:>5}  {dollars:>8}"
