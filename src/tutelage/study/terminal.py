"""A study on a terminal: the verdict, the arms, and where the report is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

from tutelage.disk import visible
from tutelage.findings import ArmFound, Findings
from tutelage.study.words import basis

WIDTH = 110
"""Characters of a line; rows of the table may be longer."""


def text(found: Findings, files: Sequence[Path]) -> str:
    """Return what a study found, for people."""
    said = [f"* {sentence}" for sentence in found.verdict] + [f"({basis(found)})"]
    notes = [f"note: {warning}" for warning in found.warnings]
    lines = [*map(_broken, said), "", *map(visible, _arms(found)), ""]
    lines += [*map(_broken, notes), ""] if notes else []
    return "\n".join([*lines, *(visible(str(path)) for path in files)])


def _broken(sentence: str) -> str:
    """Return a sentence of any names as lines that fit a screen."""
    return fill(visible(sentence), WIDTH, subsequent_indent="  ", break_on_hyphens=False, break_long_words=False)


def _arms(found: Findings) -> list[str]:
    width = max(len(arm.name) for arm in found.arms)
    by_seed = "  ".join(f"{_seed(seed):>6}" for seed in found.seeds)
    lines = [
        "Win rates in %, with 95 % intervals; words of a completion, mean; dollars of one run's training data:",
        f"{'arm':{width}}  win rate  interval         {by_seed}  words   dollars",
    ]
    return [*lines, *(_row(found, arm, width) for arm in found.arms)]


def _seed(seed: int) -> str:
    return f"seed {seed}"


def _row(found: Findings, arm: ArmFound, width: int) -> str:
    rate = arm.rate_by(found.judges[0])
    if rate is None:
        why = "; ".join(f"seed {each.seed}: {each.stage}: {each.why}" for each in arm.missing[:1])
        return f"{arm.name:{width}}  unfinished ({why})"
    span = rate.rate
    interval = "" if span.low is None or span.high is None else f"{span.low:.1f} to {span.high:.1f}"
    known = {seed: f"{value:.1f}" for seed, value in rate.by_seed.items()}
    seeds = "  ".join(f"{known.get(seed, '-'):>{max(len(_seed(seed)), 6)}}" for seed in found.seeds)
    words = "" if arm.words.value is None else f"{arm.words.value:.1f}"
    dollars = "unknown" if arm.cost is None or arm.cost.dollars is None else f"{arm.cost.dollars:.2f}"
    return f"{arm.name:{width}}  {span.value:8.1f}  {interval:15}  {seeds}  {words:>5}  {dollars:>8}"
