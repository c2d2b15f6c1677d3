"""`tutelage compare`: several policies' annotations on the same prompts, compared in pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from tutelage.config import Group
from tutelage.disk import visible
from tutelage.errors import ConfigError, DataError
from tutelage.measure.annotations import read_annotations
from tutelage.measure.paired import Comparison, as_tree, compare, in_words
from tutelage.measure.win_rate import mean_and_error

USAGE = "tutelage compare A B [C ...] [key=value ...] [--json]  (annotations.json files, or artifacts of evaluate)"


class CompareConfig(Group):
    """Say whether one policy is better than another on the same prompts."""

    against: str | None = Field(None, description="compare each with this policy only; null: every two")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="of the bootstrap and the permutation test")


@dataclass(frozen=True)
class Arm:
    """One policy's scores by instruction, and where they come from."""

    name: str
    path: Path
    scores: Mapping[str, float]
    num_missing: int
    num_repeated: int
    """Rows beyond the first of an instruction; their scores are averaged with it."""
    baseline: str
    judge: str


@dataclass(frozen=True)
class Compared:
    """All arms, all comparisons, and what makes them doubtful."""

    arms: tuple[Arm, ...]
    comparisons: tuple[Comparison, ...]
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        arms = [
            {
                "name": arm.name,
                "path": str(arm.path),
                **dict(zip(("win_rate", "standard_error"), _rate(arm), strict=True)),
                "num_prompts": len(arm.scores),
                "num_missing": arm.num_missing,
                "num_repeated": arm.num_repeated,
                "baseline": arm.baseline,
                "judge": arm.judge,
            }
            for arm in self.arms
        ]
        return {"arms": arms, "comparisons": [as_tree(c) for c in self.comparisons], "warnings": list(self.warnings)}

    def text(self) -> str:
        """Return the same for people."""
        width = max(len(visible(arm.name)) for arm in self.arms)
        lines = [f"{'':{width}}  win rate      ±  prompts  missing"]
        for arm in self.arms:
            rate, error = _rate(arm)
            shown = "" if error is None else f"{error:.2f}"
            lines.append(
                f"{visible(arm.name):{width}}  {rate:8.2f}  {shown:>5}  {len(arm.scores):7,}  {arm.num_missing:7,}"
            )
        lines += ["", *(visible(in_words(c)) for c in self.comparisons)]
        partly = [c for c in self.comparisons if c.num_only_first or c.num_only_second]
        lines += [
            visible(
                f"Not compared: {c.num_only_first} prompts only {c.first} has, {c.num_only_second} only {c.second}."
            )
            for c in partly
        ]
        if len(self.comparisons) > 1:
            lines.append(
                f"Better or worse is said only after Holm's correction over {len(self.comparisons)} comparisons."
            )
        return "\n".join([*lines, *(visible(w) for w in self.warnings)])


def _rate(arm: Arm) -> tuple[float, float | None]:
    mean, error = mean_and_error(list(arm.scores.values()))
    return 100 * mean, None if error != error else 100 * error


def compare_files(paths: Sequence[Path], config: CompareConfig) -> Compared:
    """Read and compare.

    Raises:
        ConfigError: fewer than two paths, or one path twice.
        DataError: a file is damaged or has no preference; two policies have no prompt in common.
    """
    if len(paths) < 2:
        raise ConfigError(f"tutelage compare: expected two policies at least: {USAGE}")
    again = [path for place, path in enumerate(paths) if path in paths[:place]]
    if again:
        raise ConfigError(f"tutelage compare: {again[0]} is given twice; give each policy's annotations once")
    arms = [read_arm(path) for path in paths]
    names = [arm.name for arm in arms]
    twice = {name for name in names if names.count(name) > 1}
    if twice:  # two evaluations of one policy, by two judges say: their paths tell them apart
        arms = [replace(arm, name=f"{arm.name} ({arm.path})") if arm.name in twice else arm for arm in arms]
    found = compare({arm.name: arm.scores for arm in arms}, config.against, config.seed)
    return Compared(tuple(arms), tuple(found), tuple(_warnings(arms)))


def read_arm(path: Path) -> Arm:
    """Read one policy's annotations: a file of them, or the folder that `evaluate` made.

    Raises:
        DataError: the file is damaged or has no preference.
    """
    rows = read_annotations(path)
    found: dict[str, list[float]] = {}
    for row in rows:
        if row.score is not None:
            found.setdefault(row.instruction, []).append(row.score)
    if not found:
        raise DataError(f"{path}: none of {len(rows)} rows has a preference; there is nothing to compare")
    num_scores = sum(len(values) for values in found.values())
    return Arm(
        name=_names(row.generator_2 for row in rows),
        path=path,
        scores={instruction: sum(values) / len(values) for instruction, values in found.items()},
        num_missing=len(rows) - num_scores,
        num_repeated=num_scores - len(found),
        baseline=_names(row.generator_1 for row in rows),
        judge=_names(row.annotator for row in rows),
    )


def _names(values: Any) -> str:
    return ", ".join(dict.fromkeys(values))


def _warnings(arms: Sequence[Arm]) -> list[str]:
    found = []
    for what, names in (("baseline", {a.baseline for a in arms}), ("judge", {a.judge for a in arms})):
        if len(names) > 1:
            found.append(
                f"warning: the {what}s differ ({', '.join(sorted(names))}), so a difference may be theirs and not "
                "the policies'; judge all of them by one judge against one baseline"
            )
    found += [
        f"warning: {arm.path}: {arm.num_repeated} rows repeat an instruction; their scores are averaged"
        for arm in arms
        if arm.num_repeated
    ]
    return found
