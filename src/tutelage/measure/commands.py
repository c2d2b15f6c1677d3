"""`tutelage winrate`: what a file of alpaca_eval's annotations says, as text or as JSON."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from tutelage.config import Group
from tutelage.disk import visible
from tutelage.errors import ConfigError, DataError
from tutelage.measure.alpaca_eval import (
    Coverage,
    Instructions,
    Metrics,
    bounds,
    coverage,
    in_order,
    metrics,
    metrics_by_dataset,
)
from tutelage.measure.annotations import Annotation, read_annotations
from tutelage.measure.leaderboard import Entry, Leaderboard, placed, read_leaderboard, table, why_not_comparable

USAGE = "tutelage winrate <annotations.json, or an artifact of evaluate> [key=value ...] [--json]"


class WinrateConfig(Group):
    """Say what the annotations of a policy amount to, as AlpacaEval does."""

    weights: Path | None = Field(
        None, description="coefficients that alpaca_eval has fitted (.csv): predicts the length-controlled win rate"
    )
    gamed: Path | None = Field(
        None, description="df_gamed.csv of alpaca_eval's dataset: fits the length-controlled win rate anew"
    )
    difficulties: Path | None = Field(
        None, description="instruction_difficulty.csv; needed with weights=, else those in the gamed rows are taken"
    )
    leaderboard: Path | None = Field(None, description="published rows (.csv) to be placed among")
    policy: str | None = Field(
        None, description="name of the policy, for example as the weights have it; null: the rows' generator_2"
    )


@dataclass(frozen=True)
class Report:
    """All that is said of one file; rates in percent."""

    policy: str
    baseline: str
    annotator: str
    metrics: Metrics
    coverage: Coverage
    per_dataset: dict[str, Metrics | None]
    length_controlled: float | None = None
    length_control: dict[str, Any] | None = None
    """How the length-controlled win rate was found, or why it is not defined; None if it was not asked for."""
    leaderboard: Leaderboard | None = None

    @property
    def bounds(self) -> tuple[float, float]:
        """The win rate if all that is unknown were a loss, and if it were a win."""
        return bounds(self.metrics, self.coverage)

    @property
    def warning(self) -> str | None:
        """Why our row cannot be compared with the published ones, if it cannot."""
        if self.leaderboard is None:
            return None
        complete = self.coverage.is_complete
        reasons = why_not_comparable(self.leaderboard, self.annotator, self.baseline, complete)
        if not reasons:
            return None
        return (
            f"not comparable with the published rows: {'; '.join(reasons)}. "
            "Have one judge judge both sides against one baseline to compare them"
        )

    def placed(self) -> list[tuple[Entry, bool]]:
        """Return the published entries and our own, the best first."""
        found = self.metrics
        own = Entry(self.policy, found.win_rate, found.standard_error, found.avg_length, self.length_controlled)
        return placed(self.leaderboard, own) if self.leaderboard else []

    def as_json(self) -> dict[str, Any]:
        """Return one JSON-able object; a figure that does not exist is null."""
        shape: dict[str, Any] = {
            "generator_1": self.baseline,
            "generator_2": self.policy,
            "annotator": self.annotator,
            **asdict(self.metrics),
            "bounds": list(self.bounds),
            "coverage": asdict(self.coverage)
            | {"num_absent": self.coverage.num_absent, "is_complete": self.coverage.is_complete}
            | {"says": str(self.coverage)},
            "per_dataset": {n: None if m is None else asdict(m) for n, m in self.per_dataset.items()},
        }
        if self.length_control is not None:
            shape["length_controlled_winrate"] = self.length_controlled
            shape["length_control"] = self.length_control
        if self.leaderboard is not None:
            rows = [asdict(entry) | {"own": is_own} for entry, is_own in self.placed()]
            shape["leaderboard"] = {"warning": self.warning, "rows": rows}
        return shape

    def text(self) -> str:
        """Return the same for people."""
        m, (low, high) = self.metrics, self.bounds
        lines = [
            f"{self.policy} against {self.baseline}, judged by {self.annotator}",
            f"win rate             {_rate(m)} (one standard error, over instructions)",
            f"wins/losses/draws    {m.n_wins}/{m.n_wins_base}/{m.n_draws} of {m.n_total}; {m.num_missing} missing",
            f"discrete win rate    {m.discrete_win_rate:.2f} %",
            f"mean length          {m.avg_length} characters",
            f"coverage             {self.coverage}",
            f"bounds               {low:.2f} % to {high:.2f} %: all that is unknown a loss, or a win",
        ]
        if self.length_control is not None:
            lines.append(f"length-controlled    {_length_text(self.length_controlled, self.length_control)}")
        lines += ["", *_dataset_lines(self.per_dataset)]
        if self.leaderboard is not None:
            same = "judge and baseline have the names of the published ones"
            says = f"warning: {self.warning}" if self.warning else same
            lines += ["", *table(self.placed()), says]
        return "\n".join(visible(line) for line in lines)


def _rate(m: Metrics) -> str:
    return f"{m.win_rate:.2f} % ± {'-' if m.standard_error is None else f'{m.standard_error:.2f}'}"


def _dataset_lines(per_dataset: dict[str, Metrics | None]) -> list[str]:
    width = max(12, *(len(visible(name)) for name in per_dataset))
    lines = [f"{'dataset':<{width}}  win rate      ±  judged  missing  length"]
    for name, m in per_dataset.items():
        if m is None:
            lines.append(f"{visible(name):<{width}}  no preference")
            continue
        error = "-" if m.standard_error is None else f"{m.standard_error:.2f}"
        cells = f"{m.win_rate:8.2f}  {error:>5}  {m.n_total:6}  {m.num_missing:7}  {m.avg_length:6}"
        lines.append(f"{visible(name):<{width}}  {cells}")
    return lines


def _length_text(rate: float | None, detail: dict[str, Any]) -> str:
    if rate is None:
        return f"not defined: {detail['why_not']}"
    error = detail.get("standard_error")
    return f"{rate:.2f} %{'' if error is None else f' ± {error:.2f}'} ({detail['how']})"


# ---- reading -----------------------------------------------------------------------------------------


def winrate(path: Path, config: WinrateConfig, known: Instructions | None = None) -> Report:
    """Read the annotations and what goes with them; `known` are the instructions wanted (None: AlpacaEval's 805).

    Raises:
        ConfigError: settings that do not go together.
        DataError: a file is damaged, or the weights lack the policy or the baseline.
    """
    if config.weights is not None and config.gamed is not None:
        raise ConfigError("tutelage winrate: give weights= (to predict) or gamed= (to fit), not both")
    if config.weights is not None and config.difficulties is None:
        raise ConfigError("tutelage winrate: weights= needs difficulties= too (instruction_difficulty.csv)")
    if config.difficulties is not None and config.weights is None and config.gamed is None:
        raise ConfigError("tutelage winrate: difficulties= is read with weights= or gamed= only; give one of them")
    rows = read_annotations(path)
    try:
        found = metrics(rows)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    report = Report(
        policy=config.policy or _named(a.generator_2 for a in rows),
        baseline=_named(a.generator_1 for a in rows),
        annotator=_named(a.annotator for a in rows),
        metrics=found,
        coverage=coverage(rows, known),
        per_dataset=metrics_by_dataset(rows, known),
        leaderboard=None if config.leaderboard is None else read_leaderboard(config.leaderboard),
    )
    num = report.coverage.num_wanted
    if config.weights is not None and config.difficulties is not None:
        length: tuple[float | None, dict[str, Any]] = _predicted(report, config.weights, config.difficulties, num)
    elif config.gamed is not None:
        ordered = in_order(rows, known) if report.coverage.is_complete else None
        length = _fitted(ordered, config.gamed, config.difficulties, num)
    else:
        return report
    if not report.coverage.is_complete:
        length = None, {"why_not": str(report.coverage)}
    return replace(report, length_controlled=length[0], length_control=length[1])


def _named(names: Iterable[str]) -> str:
    return ", ".join(sorted(set(names)))


def _predicted(report: Report, weights: Path, difficulties: Path, num: int) -> tuple[float, dict[str, Any]]:
    from tutelage.measure.length_control import LengthModel, predicted_win_rate, read_difficulties, read_weights

    models = read_weights(weights)
    by_place = read_difficulties(difficulties, num)
    if weights.name == f"baseline_{report.baseline}.csv" or report.policy == report.baseline:
        # alpaca_eval names the file after the baseline, which need not have a row of its own
        models.setdefault(report.baseline, LengthModel())
    for role, name in (("policy", report.policy), ("baseline", report.baseline)):
        if name not in models:
            near = difflib.get_close_matches(name, models, 1)
            hint = f"; the nearest is {near[0]!r}" if near else ""
            what = (
                "give policy= if it has another name there"
                if role == "policy"
                else f"name the file baseline_{name}.csv if that is what they were fitted against"
            )
            raise DataError(
                f"{weights}: has no row for the {role} {name!r} (it has {len(models)}{hint}); {what}, use the "
                "weights that were fitted for it, or fit anew with gamed="
            )
    rate = predicted_win_rate(by_place, models[report.policy], models[report.baseline])
    how = f"predicted from {weights.name}, for the judge that it was fitted to"
    return rate, {"how": how, "coefficients": asdict(models[report.policy])}


def _fitted(
    rows: Sequence[Annotation] | None, path: Path, difficulties: Path | None, num: int
) -> tuple[float | None, dict[str, Any]]:
    from tutelage.measure.length_control import difficulties_of, fit_length_control, read_difficulties, read_gamed

    gamed = read_gamed(path, num)
    by_place = difficulties_of(gamed, path, num) if difficulties is None else read_difficulties(difficulties, num)
    if rows is None:
        return None, {}
    fitted = fit_length_control(rows, by_place, gamed)
    return fitted.win_rate, {
        "how": "fitted; one standard error, over redrawn instructions",
        "standard_error": fitted.standard_error,
        "coefficients": asdict(fitted.model),
        "C": fitted.strength,
        "difficulty_spread": fitted.difficulty_spread,
        "num_gamed_rows": len(gamed.label),
        "num_gamed_rows_without_preference": gamed.num_missing,
    }
