"""`tutelage study paper`: what Sharma et al. 2024 published, drawn like a study, and a study of yours beside it."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import Field

from tutelage.config import Group
from tutelage.disk import disk_errors, dump_json, visible, write_atomically
from tutelage.findings import Findings, Span
from tutelage.plain_yaml import parse_yaml
from tutelage.records import Record
from tutelage.report.figures import save
from tutelage.report.figures.bars import Panel, Row, bars, strong_groups, teacher_key, win_rate_groups
from tutelage.report.figures.curves import Mark, Plot, Series, curves, plot_of
from tutelage.report.figures.style import Figure, colours_of, styled

NUMBERS = "published.json"
DEVIATIONS = 1.96
"""Standard errors that a 95 % interval reaches to either side; the paper draws one."""
WARNING = (
    "Published and yours are not one experiment: judges, baselines, prompts and models differ, and the published "
    "intervals hold for other prompts of the same kind, not for other training runs. Compare orders and gaps, not "
    "levels."
)


class PaperConfig(Group):
    """Where to draw, and what beside it."""

    out: Path = Field(Path("paper"), description="folder for the figures and their numbers")
    study: Path | None = Field(None, description="folder of a study, whose study.json is drawn beside the paper")


class PublishedRow(Record):
    """What one number of each group stands for."""

    name: str
    teacher: str
    fraction: float
    critic: str | None = None
    start: str | None = None
    """The row that this one is before its feedback."""


class PublishedFigure(Record):
    """One figure of the paper; `numbers` has rate and standard error of every row, for each student or curve."""

    title: str
    source: str
    judge: str
    rows: tuple[PublishedRow, ...]
    numbers: dict[str, tuple[tuple[float, float], ...]]

    @property
    def is_curve(self) -> bool:
        """Whether it is SFT alone on more and more."""
        return all(row.critic is None for row in self.rows)

    def rates(self, group: str) -> dict[str, Span]:
        """Return the rates of one group with their 95 % intervals, by row."""
        return {
            row.name: Span(
                value=rate, low=max(rate - DEVIATIONS * error, 0), high=min(rate + DEVIATIONS * error, 100)
            )
            for row, (rate, error) in zip(self.rows, self.numbers[group], strict=True)
        }


class Published(Record):
    """All of them, and where they stand."""

    title: str
    authors: str
    cite: str
    repository: str
    commit: str
    figures: dict[str, PublishedFigure]


def published() -> Published:
    """Return the paper's results."""
    text = (resources.files("tutelage") / "study" / "published.yaml").read_text("utf-8")
    return Published.model_validate(parse_yaml(text))


def paper(config: PaperConfig) -> str:
    """Draw Figures 2 to 5 as PNG and SVG and write their numbers, and return what to tell the user.

    Raises:
        MissingExtraError: matplotlib is not installed.
        StudyError: `study` has no study.json, or one that cannot be read.
        StoreError: `out` cannot be written.
    """
    found = Findings.load(config.study) if config.study else None
    results = published()
    lines = [f"Results of {results.cite}, as published; none was measured by tutelage."]
    with styled():
        for name, figure in results.figures.items():
            drawn, note = _figure(name, figure, results.cite, found)
            save(drawn, name, config.out)
            lines.append(f"  {config.out / name}.png, .svg: {figure.source.partition(',')[0]}, {figure.title}{note}")
    numbers: dict[str, Any] = {"published": results.model_dump(mode="json"), "study": found and _numbers(found)}
    with disk_errors(config.out):
        write_atomically(config.out / NUMBERS, dump_json(numbers, indent=1) + "\n")
    lines.append(f"  {config.out / NUMBERS}: the numbers")
    return "\n".join([*lines, *([WARNING] if found else [])])


def _numbers(found: Findings) -> dict[str, Any]:
    """What of a study is drawn, in the eyes of its first judge."""
    judge = found.judges[0]
    rates = {arm.name: arm.rate_by(judge) for arm in found.arms}
    return {
        "name": found.name,
        "judge": judge,
        "baseline": found.baseline,
        "warning": WARNING,
        "rates": {name: rate.rate.model_dump(mode="json") for name, rate in rates.items() if rate},
        "curves": [curve.model_dump(mode="json") for curve in found.curves],
    }


def _figure(name: str, figure: PublishedFigure, cite: str, found: Findings | None) -> tuple[Figure, str]:
    """Return one figure, and what to say of the study's part in it."""
    source = (
        f"Published: {cite}, {figure.source.partition(',')[0]}; win rates of AlpacaEval 1 against text-davinci-003. "
    )
    intervals = "Lines: 95 % intervals, of the published from their standard errors. "
    title = f"{figure.source.partition(',')[0].capitalize()}: {figure.title}"
    note = source + intervals + (WARNING if found else "")
    if figure.is_curve:
        plots = [_published_curves(figure)]
        if found and (plot := plot_of(found, found.judges[0], "prompts")).has_curve:
            plots.append(replace(plot, title=_yours(found)))
        return curves([plots], title, note, is_shared=False), _said(found, len(plots) > 1)
    colours = colours_of(("GPT-3.5", "GPT-4", "Claude"))
    panels = [_published_bars(figure, colours)]
    key = [
        (f"published: taught by {teacher}", colours[teacher])
        for teacher in dict.fromkeys(r.teacher for r in figure.rows)
    ]
    groups = _yours_groups(name, found) if found else ()
    if found and groups:
        panels.append(Panel(_yours(found), groups))
        shown = {row.colour for _, rows in groups for row in rows}
        key += [(f"yours: {called}", colour) for called, colour in teacher_key(found) if colour in shown]
    return bars(panels, title, "win rate (%)", note, key), _said(found, len(panels) > 1)


def _yours_groups(name: str, found: Findings) -> tuple[tuple[str, tuple[Row, ...]], ...]:
    """Return what a study has of the kind; Figures 2 and 4 are the same question with another critic."""
    kinds = {"figure_5": strong_groups, "figure_appendix": strong_groups}
    return kinds.get(name, win_rate_groups)(found, found.judges[0])


def _yours(found: Findings) -> str:
    return f"yours: {found.name}; judge: {found.judges[0]}"


def _said(found: Findings | None, is_drawn: bool) -> str:
    if found is None:
        return ""
    return f"; beside it {visible(found.name)}" if is_drawn else f"; {visible(found.name)} has nothing of the kind"


def _published_bars(figure: PublishedFigure, colours: dict[str, str]) -> Panel:
    starts = {row.start for row in figure.rows}
    groups = []
    for group in figure.numbers:
        rates = figure.rates(group)
        groups.append(
            (
                group,
                tuple(
                    Row(
                        row.name,
                        rates[row.name],
                        colours[row.teacher],
                        "dpo" if row.critic else "none",
                        rates[row.start].value if row.start else None,
                    )
                    for row in figure.rows
                    if row.name not in starts
                ),
            )
        )
    return Panel(f"published; judge: {figure.judge}", tuple(groups))


def _published_curves(figure: PublishedFigure) -> Plot:
    colours = colours_of(figure.numbers)
    series = tuple(
        Series(
            group,
            colours[group],
            tuple(
                Mark(100 * row.fraction, span)
                for row, span in zip(figure.rows, figure.rates(group).values(), strict=True)
            ),
        )
        for group in figure.numbers
    )
    ticks = tuple((100 * row.fraction, f"{100 * row.fraction:g} %") for row in figure.rows)
    return Plot("share of the prompts taught", series, ticks, f"published; judge: {figure.judge}")
