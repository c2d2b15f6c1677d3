"""alpaca_eval's leaderboard.csv: published rows read, our own row written, and the two placed side by side."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tutelage.disk import disk_errors, visible, write_atomically
from tutelage.errors import DataError
from tutelage.measure.alpaca_eval import Metrics
from tutelage.measure.tables import number, optional_number, read_table

COLUMNS = (
    "win_rate",
    "standard_error",
    "n_wins",
    "n_wins_base",
    "n_draws",
    "n_total",
    "discrete_win_rate",
    "mode",
    "avg_length",
    "length_controlled_winrate",
    "lc_standard_error",
)
_SUFFIX = "_leaderboard.csv"


@dataclass(frozen=True)
class Entry:
    """One policy's place."""

    name: str
    win_rate: float
    standard_error: float | None = None
    avg_length: int | None = None
    """In characters. A few published rows have the length of other completions than those that were judged."""
    length_controlled: float | None = None


@dataclass(frozen=True)
class Leaderboard:
    """Published rows, and what the file says of how they came about."""

    entries: tuple[Entry, ...]
    annotator: str | None
    """The judge, which alpaca_eval writes into the file's name; None if that says nothing."""
    baseline: str | None
    """The policy that was compared with itself (50 %, no error); None if there is no such row."""


def read_leaderboard(path: Path) -> Leaderboard:
    """Read a leaderboard.

    Raises:
        DataError: the file is damaged, or a row has no win rate.
    """
    entries = []
    for where, row in read_table(path, "win_rate"):
        length = optional_number(where, row, "avg_length")
        entries.append(
            Entry(
                name=next(iter(row.values())) or "(no name)",
                win_rate=number(where, row, "win_rate"),
                standard_error=optional_number(where, row, "standard_error"),
                avg_length=None if length is None else int(length),
                length_controlled=optional_number(where, row, "length_controlled_winrate"),
            )
        )
    itself = [e.name for e in entries if e.win_rate == 50 and e.standard_error == 0]
    annotator = path.name.removesuffix(_SUFFIX) if path.name.endswith(_SUFFIX) else None
    return Leaderboard(tuple(entries), annotator, itself[0] if len(itself) == 1 else None)


def write_leaderboard(
    path: Path, found: Mapping[str, Metrics], length_controlled: Mapping[str, float] | None = None
) -> None:
    """Write rows that alpaca_eval reads, the best first; a figure that we have not is an empty cell.

    Among those is lc_standard_error, which is no sampling error (see `LengthControlled.difficulty_spread`).

    Raises:
        DataError: there is no row.
    """
    if not found:
        raise DataError(f"{path}: a leaderboard needs a row")
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["", *COLUMNS])
    for name, figures in sorted(found.items(), key=lambda item: -item[1].win_rate):
        cells = asdict(figures) | {
            "length_controlled_winrate": (length_controlled or {}).get(name),
            "mode": "community",
        }
        table.writerow([name, *("" if cells.get(c) is None else cells[c] for c in COLUMNS)])
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.getvalue())


def why_not_comparable(board: Leaderboard, annotator: str, baseline: str, complete: bool) -> list[str]:
    """Return what differs between our row and the published ones, or cannot be known: a phrase each."""
    reasons = []
    if board.annotator is None:
        reasons.append(f"its file's name does not say who judged (<judge>{_SUFFIX}), yours is judged by {annotator}")
    elif board.annotator != annotator:
        reasons.append(f"the judge is {annotator}, theirs is {board.annotator}")
    if board.baseline is None:
        reasons.append(f"no row says what their baseline is, yours is {baseline}")
    elif board.baseline != baseline:
        reasons.append(f"the baseline is {baseline}, theirs is {board.baseline}")
    if not complete:
        reasons.append("the rows are not AlpacaEval's 805")
    return [visible(r) for r in reasons]


def placed(board: Leaderboard, own: Entry) -> list[tuple[Entry, bool]]:
    """Return the published entries and (marked True) our own, the best first.

    By length-controlled win rate if our own has one and a published one too, else by win rate; entries without
    the figure come last.
    """
    by_length = own.length_controlled is not None and any(e.length_controlled is not None for e in board.entries)

    def key(item: tuple[Entry, bool]) -> float:
        value = item[0].length_controlled if by_length else item[0].win_rate
        return float("inf") if value is None else -value

    return sorted([(own, True), *((e, False) for e in board.entries)], key=key)


def table(rows: Sequence[tuple[Entry, bool]]) -> list[str]:
    """Return the rows as lines of text; our own has an arrow."""
    width = max(len(visible(e.name)) for e, _ in rows)
    lines = [f"   {'':<{width}}  win rate      ±  length  length-controlled"]
    for entry, is_own in rows:
        error = "" if entry.standard_error is None else f"{entry.standard_error:.2f}"
        length = "" if entry.avg_length is None else str(entry.avg_length)
        controlled = "" if entry.length_controlled is None else f"{entry.length_controlled:.2f}"
        name = f"{'->' if is_own else '  '} {visible(entry.name):<{width}}"
        lines.append(f"{name}  {entry.win_rate:8.2f}  {error:>5}  {length:>6}  {controlled:>17}".rstrip())
    return lines
