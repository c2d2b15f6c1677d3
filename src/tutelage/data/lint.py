"""`tutelage data lint`: what is wrong with preferences, before anything is learnt from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import Field

from tutelage.config import Group
from tutelage.data.conflicts import MIN_PROMPTS, MIN_WORDS, Pairs, Skews
from tutelage.data.faults import PAIR_RULES, TEXT_RULES, Decided, Severity, decided
from tutelage.data.formats.item import Row, count_nothing
from tutelage.data.reading import require_holds
from tutelage.data.show import COLUMNS, example, items_of
from tutelage.data.texts import clip, pad
from tutelage.data.writing import write_rows
from tutelage.disk import disk_errors
from tutelage.errors import ConfigError, DataError
from tutelage.inputs import Source

LENGTH_SKEW, ONE_SIDED = 0.6, 0.9
NOT_READ = "skipped: both completions are the same text"
"""What readers count in place of such a pair."""
SAYS: dict[str, str] = {
    "contradiction": "A is chosen over B, and B over A",
    "cycle": "A is chosen over B over C over A",
    "again": "the same pair was decided so before",
    "copies": f"a completion of {MIN_PROMPTS} prompts or more",
    **{name: rule.says for name, rule in (PAIR_RULES | TEXT_RULES).items()},
}
SEVERITY: dict[str, Severity] = {
    "contradiction": "error",
    "cycle": "error",
    "again": "warning",
    "copies": "warning",
    **{name: rule.severity for name, rule in (PAIR_RULES | TEXT_RULES).items()},
}
FOOT = f"""\
error: must not be trained on (in a rejected completion: a warning); warning: look.
Rough rules: a completion whose stop reason is not known ends midway if it leaves a code fence open,
or if its last line ends in a small letter, a comma or "(" (not short lines, lists, tables, code);
only completions of {MIN_WORDS} words or more are counted as those of several prompts."""


class LintConfig(Group):
    """Looks for what is wrong with preferences."""

    rows: Source = Field(description="an artifact of import, label, panel or prefer, or a file of preferences")
    skip_bad: bool = Field(False, description="count rows that cannot be read and leave them out; false: stop at one")
    examples: int = Field(0, ge=0, le=100, description="of every finding, so many pairs are shown")
    out: Path | None = Field(
        None, description="file for every finding with its ids: .jsonl, .json, .csv (.gz too) or .parquet"
    )
    fail: Literal["never", "error", "warning"] = Field(
        "never", description="exit with a status that is not 0 if there is an error; or a warning, too"
    )


def lint(config: LintConfig) -> str:
    """Return what was found, as a table.

    Raises:
        ConfigError: `out` is there already.
        DataError: there is no decided pair, or the rows are damaged; or, after the table was printed, `fail`.
    """
    if config.rows.artifact() is None:
        require_holds(config.rows, "verdicts")
    if config.out is not None and config.out.exists():
        raise ConfigError(f"{config.out}: is there already; give another name, or remove it")
    report = Report()
    rows = (report.add(found) for found in _findings(config, report))
    if config.out is None:
        for _ in rows:
            pass
    else:
        with disk_errors(config.out):
            write_rows(config.out, rows)
    lines = [*report.lines(config), *_examples(config, report)]
    bad = [severity for severity in report.severities() if config.fail in (severity, "warning")]
    if config.fail == "never" or not bad:
        return "\n".join(lines)
    print("\n".join(lines))
    errors = bad.count("error")
    raise DataError(f"{config.rows.path}: {errors} kinds of errors and {len(bad) - errors} of warnings were found")


@dataclass(frozen=True)
class Finding:
    """Something found in a pair; `side` is the completion it is about, None: both."""

    name: str
    prompt_id: str
    chosen_id: str
    rejected_id: str
    verdict: int
    side: str | None = None

    @property
    def severity(self) -> Severity:
        """Nothing is learnt to be said from a rejected completion."""
        return "warning" if self.side == "rejected" else SEVERITY[self.name]


def _findings(config: LintConfig, report: Report) -> Iterator[Finding]:
    pairs = Pairs()
    for item in items_of(config.rows, lambda what, num: report.counts.update({what: num}), config.skip_bad):
        if item.verdict is None:
            continue
        pair = decided(item.prompt, item.verdict)
        if pair is None:
            report.undecided[item.verdict.outcome] += 1
            continue
        report.num += 1
        report.skews.add(pair)
        pairs.add(pair)
        yield from in_pair(pair)
    if not report.num:
        raise DataError(
            f"{config.rows.path}: holds no decided pair to look at (ties: {report.undecided['TIE']}, unreadable: "
            f"{report.undecided['INVALID']}); give preferences, or verdicts of import, label or panel"
        )
    for found in pairs.conflicts():
        ids = found.prompt_id, found.chosen_id, found.rejected_id, found.verdict
        yield Finding(found.conflict, *ids, found.side)


def in_pair(pair: Decided) -> Iterator[Finding]:
    """Yield what is wrong with a pair by itself."""
    ids = pair.prompt.id, pair.chosen.id, pair.rejected.id, int(pair.id, 16)
    for name, of_pair in PAIR_RULES.items():
        if of_pair.finds(pair):
            yield Finding(name, *ids)
    for name, of_text in TEXT_RULES.items():
        for side, completion in (("chosen", pair.chosen), ("rejected", pair.rejected)):
            if of_text.finds(pair.prompt, completion):
                yield Finding(name, *ids, side)


@dataclass
class _Tally:
    """How often something was found."""

    severity: Severity
    prompt_id: str
    sides: Counter[str | None] = field(default_factory=Counter)
    verdicts: dict[int, None] = field(default_factory=dict)
    """Each once, in order."""


class Report:
    """What was found, and what else there is to say of the pairs."""

    def __init__(self) -> None:
        self.num = 0
        self.undecided: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.skews = Skews()
        self.tallies: dict[str, _Tally] = {}

    def add(self, found: Finding) -> Row:
        """Count a finding; return it as a row of a file."""
        tally = self.tallies.setdefault(found.name, _Tally(found.severity, found.prompt_id))
        if found.severity == "error" != tally.severity:  # the example is to be one of the worse
            tally.severity, tally.prompt_id = found.severity, found.prompt_id
        tally.sides[found.side] += 1
        tally.verdicts[found.verdict] = None
        ids = {name: getattr(found, name) for name in ("prompt_id", "chosen_id", "rejected_id")}
        return {"finding": found.name, "severity": found.severity, "side": found.side or "both", **ids}

    def severities(self) -> list[Severity]:
        """Return the severity of each kind of finding."""
        found = [tally.severity for tally in self.tallies.values()]
        found += ["error"] * bool(self.counts[NOT_READ])
        return found + ["warning" for line in self._skews() if line.startswith("warning")]

    def lines(self, config: LintConfig) -> Iterator[str]:
        """Yield all of it for people."""
        ties, unread = self.undecided["TIE"], self.undecided["INVALID"]
        yield clip(f"{self.num:,} decided pairs in {config.rows.path}", COLUMNS)
        if ties or unread:
            yield f"  {ties:,} ties and {unread:,} unreadable verdicts, of which nothing is learnt, were left out"
        for what, num in (+self.counts).items():
            yield clip(f"  {num:,} {what}", COLUMNS)
        yield from ("", *self._table(), "", *map(_clipped, self._skews()), "", *FOOT.split("\n"))

    def _table(self) -> Iterator[str]:
        names, not_read = self.found(), self.counts[NOT_READ]
        if names or not_read:
            yield f"{'finding':<40}{'pairs':>8}{'share':>8}{'chosen':>8}{'rejected':>9}  severity example"
        if not_read:
            yield f"{SAYS['same']:<40}{not_read:>8,}{'':27}error    (not read)"
        for name in names:
            tally = self.tallies[name]
            num, sides = len(tally.verdicts), ("chosen", "rejected")
            chosen, rejected = ("" if None in tally.sides else f"{tally.sides[side]:,}" for side in sides)
            yield (
                f"{pad(SAYS[name], 39)} {num:>8,}{num / self.num:>8.1%}{chosen:>8}{rejected:>9}  {tally.severity:8} "
                f"{tally.prompt_id}"
            )
        silent = [SAYS[name] for name in SAYS if name not in names and not (name == "same" and not_read)]
        if silent:
            yield from ("", "not found:", *(f"  {says}" for says in silent))

    def found(self) -> list[str]:
        """Return the names of what was found, errors first."""
        return sorted(self.tallies, key=lambda name: (self.tallies[name].severity, list(SAYS).index(name)))

    def _skews(self) -> Iterator[str]:
        skewed = "warning: " if self.skews.longer.is_beyond(LENGTH_SKEW) else ""
        yield f"{skewed}the longer one was chosen in {self.skews.longer}"
        yield f"the chosen completion has {self.skews.words / self.num:+,.1f} words more on average"
        for name in self.skews.one_sided(ONE_SIDED):
            won = f"was chosen in {self.skews.authors[name]}"
            yield f"warning: {clip(name, max(COLUMNS - 10 - len(won), 8))} {won}"


def _clipped(line: str) -> str:
    return clip(line, COLUMNS)


def _examples(config: LintConfig, report: Report) -> Iterator[str]:
    """Yield examples of every finding; the rows are read once more, as their texts were not kept."""
    if not config.examples:
        return
    wanted = {name: list(tally.verdicts)[: config.examples] for name, tally in report.tallies.items()}
    every = {verdict for verdicts in wanted.values() for verdict in verdicts}
    items = (i for i in items_of(config.rows, count_nothing, config.skip_bad) if i.verdict is not None)
    known = {key: i for i in items if i.verdict is not None and (key := int(i.verdict.id, 16)) in every}
    for name in report.found():
        for number, verdict in enumerate(wanted[name], 1):
            yield from ("", *example(f"{SAYS[name]}, {number}", known[verdict]))
