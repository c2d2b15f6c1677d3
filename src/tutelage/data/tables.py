"""Tables -> one row at a time: CSV with a header, and Parquet."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tutelage import extras
from tutelage.data.text import LONGEST, numbered_lines
from tutelage.errors import DataError

ROWS_AT_ONCE = 1000


def read_csv(path: Path, delimiter: str, header: Sequence[str] = ()) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (where, row) for each row below the header, under the header's names; every value is a text.

    Args:
        header: the names, if the file has no line with them.

    Raises:
        DataError: no header, or a row that is torn or has another number of fields; names the line.
    """
    csv.field_size_limit(LONGEST)  # of the whole process; the default refuses a text of 128 kB
    rows = csv.reader((line for _, line in numbered_lines(path)), delimiter=delimiter, strict=True)
    begins, header = 1, list(header)
    while True:
        where = f"{path}, line {begins}"
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise DataError(f"{where}: the row that begins here is not CSV ({error})") from None
        begins = rows.line_num + 1
        if row is None:
            break
        if not row:
            continue
        if not header:
            header = _header(where, row)
        elif len(row) != len(header):
            raise DataError(
                f"{where}: {_fields(len(row))}, but the header has {_fields(len(header))} "
                f"({', '.join(header)[:200]}); a text that holds {delimiter!r} or a line break stands in quotes"
            )
        else:
            yield where, dict(zip(header, row, strict=True))
    if not header:
        raise DataError(f"{path}: is empty; expected a header with the names of the columns, then rows")


def _header(where: str, row: list[str]) -> list[str]:
    twice = next((name for name in row if row.count(name) > 1), None)
    if twice is not None or not all(name.strip() for name in row):
        wrong = "a column without a name" if twice in (None, "") else f"two columns named {twice[:60]!r}"
        raise DataError(f"{where}: expected a header with the names of the columns, found {wrong}")
    return row


def _fields(num: int) -> str:
    return f"{num} field" if num == 1 else f"{num} fields"


def read_parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (where, row) for each row of a Parquet file.

    Raises:
        DataError: missing, or not a whole Parquet file.
        MissingExtraError: pyarrow is not installed.
    """
    extras.require("data", f"{path}: reading Parquet", without=("datasets",))
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}, row {number}", row
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (pyarrow.ArrowException, OSError) as error:
        said = str(error).split("\n")[0][:200]
        raise DataError(f"{path}: cannot be read as Parquet after row {number} ({said})") from None
