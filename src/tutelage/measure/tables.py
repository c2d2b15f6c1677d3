"""Tables of numbers from elsewhere (.csv): alpaca_eval's leaderboards, weights and difficulties."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from tutelage.disk import read_text
from tutelage.errors import DataError


def read_table(path: Path, *needed: str) -> list[tuple[str, dict[str, str]]]:
    """Return (where, cells by column) of each row; a column without a name, as pandas writes its index, is ''.

    Raises:
        DataError: missing, empty, not UTF-8 or not CSV; a row with another number of cells than the head, or a
            column that is needed and not there.
    """
    reader = csv.reader(io.StringIO(read_text(path).removeprefix("\ufeff"), newline=""), strict=True)
    rows: list[tuple[str, dict[str, str]]] = []
    head: list[str] = []
    try:
        for cells in reader:
            where = f"{path}, line {reader.line_num}"
            if not any(cells):
                continue
            if not head:
                head = [c.strip() for c in cells]
                _check_head(where, head, needed)
            elif len(cells) != len(head):
                raise DataError(f"{where}: {len(cells)} cells; expected {len(head)}, one for each column of the head")
            else:
                rows.append((where, dict(zip(head, cells, strict=True))))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not readable as CSV ({error})") from None
    if not rows:
        raise DataError(f"{path}: holds no rows; expected a CSV table with a head and the columns {_names(needed)}")
    return rows


def _check_head(where: str, head: list[str], needed: tuple[str, ...]) -> None:
    absent = [name for name in needed if name not in head]
    if absent:
        raise DataError(f"{where}: no column {_names(absent)} (found: {_names(head)[:200]})")
    if len(set(head)) < len(head):
        raise DataError(f"{where}: two columns have one name (found: {_names(head)[:200]})")


def _names(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(map(repr, names))


def number(where: str, row: dict[str, str], column: str) -> float:
    """Return a cell as a finite number.

    Raises:
        DataError: it is none.
    """
    found = optional_number(where, row, column)
    if found is None:
        raise DataError(f"{where}: no value for {column!r}; expected a number")
    return found


def optional_number(where: str, row: dict[str, str], column: str) -> float | None:
    """Return a cell as a finite number, or None if it is empty, NaN, or in a column that is not there."""
    text = row.get(column, "").strip()
    try:
        value = float(text) if text else math.nan
    except ValueError:
        value = math.inf
    if math.isinf(value):
        raise DataError(f"{where}: {column!r} is {text[:60]!r}; expected a number")
    return None if math.isnan(value) else value
