"""Rows -> a file of any container, a row at a time, whole or not at all."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from tutelage.data.formats.item import Row
from tutelage.disk import dump_json
from tutelage.errors import ConfigError, DataError
from tutelage.extras import require

BATCH = 10_000
"""Rows of a Parquet row group."""


def write_rows(path: Path, rows: Iterable[Row], container: str = "rows") -> int:
    """Write `rows` in what the name of `path` says: .jsonl, .json, .csv or .parquet (.gz too); return how many.

    Args:
        container: rows; or object: one JSON object of {key: value}, for rows of `key` and `value`.

    Raises:
        ConfigError: the name says none of them, or one that cannot hold these rows.
        DataError: a table cannot hold a row: other fields than the first one has, half a character, a list in .csv.
        MissingExtraError: Parquet without pyarrow.
    """
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if container == "object" and suffix != ".json":
        raise ConfigError(f"{path}: this format is one JSON object; give a name that ends in .json or .json.gz")
    if suffix == ".parquet" and not path.name.endswith(".gz"):
        return _write_parquet(path, rows)
    writers: Mapping[str, Callable[[TextIO, Iterable[Row]], int]] = {
        ".jsonl": _write_lines,
        ".json": _write_object if container == "object" else _write_list,
        ".csv": _write_csv,
    }
    if suffix not in writers:
        raise ConfigError(f"{path}: unknown kind of file; give a name in .jsonl, .json, .csv (.gz too) or .parquet")
    with whole(path) as temporary, _text(temporary, path.name.endswith(".gz")) as file:
        return writers[suffix](file, rows)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Lend a name that takes the place of `path` once everything is written; after an error nothing is there."""
    temporary = path.with_name(path.name + ".tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _text(path: Path, packed: bool) -> Iterator[TextIO]:
    if not packed:
        with path.open("w", encoding="utf-8", newline="") as file:
            yield file
        return
    # without name and time, so that the same rows are the same bytes
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as zipped,
        io.TextIOWrapper(zipped, encoding="utf-8", newline="") as file,
    ):
        yield file


def _write_lines(file: TextIO, rows: Iterable[Row]) -> int:
    num = 0
    for row in rows:
        file.write(dump_json(row) + "\n")
        num += 1
    return num


def _write_list(file: TextIO, rows: Iterable[Row]) -> int:
    num = 0
    for num, row in enumerate(rows, 1):
        file.write(("[\n  " if num == 1 else ",\n  ") + dump_json(row, indent=2).replace("\n", "\n  "))
    file.write("\n]\n" if num else "[]\n")
    return num


def _write_object(file: TextIO, rows: Iterable[Row]) -> int:
    num = 0
    for num, row in enumerate(rows, 1):
        value = dump_json(row["value"], indent=2).replace("\n", "\n  ")
        file.write(("{\n  " if num == 1 else ",\n  ") + f"{dump_json(row['key'])}: {value}")
    file.write("\n}\n" if num else "{}\n")
    return num


def _write_csv(file: TextIO, rows: Iterable[Row]) -> int:
    writer, names, num = csv.writer(file), [], 0
    for num, row in enumerate(rows, 1):
        if num == 1:
            names = list(row)
            writer.writerow(names)
        _check_fields(num, row, names)
        if nested := next((name for name, value in row.items() if isinstance(value, list | dict)), None):
            # as JSON in a cell, whoever reads it would take it for the text
            raise DataError(f"row {num}: {nested} is a list, and .csv holds texts; write .jsonl, .json or .parquet")
        try:
            writer.writerow(row.values())
        except UnicodeEncodeError as error:
            raise DataError(f"row {num}: .csv cannot hold half a character ({error}); write .jsonl") from None
    return num


def _check_fields(num: int, row: Row, names: list[str]) -> None:
    if list(row) != names:
        raise DataError(
            f"row {num} has the fields {', '.join(row)}, the first one has {', '.join(names)}; a table has one "
            "set of columns: write .jsonl or .json"
        )


def _write_parquet(path: Path, rows: Iterable[Row]) -> int:
    require("data", "writing Parquet", without=("datasets",))
    import pyarrow
    from pyarrow import parquet

    num, names, batch, writer = 0, list[str](), list[Row](), None
    with whole(path) as temporary:
        try:
            for num, row in enumerate(rows, 1):
                names = names or list(row)
                _check_fields(num, row, names)
                batch.append(row)
                if len(batch) == BATCH:
                    writer = _group(parquet, pyarrow, temporary, batch, writer)
                    batch = []
            if batch or writer is None:
                writer = _group(parquet, pyarrow, temporary, batch, writer)
        except (pyarrow.ArrowException, UnicodeEncodeError) as error:
            raise DataError(f"{path}: a row does not fit into the table ({error}); write .jsonl") from None
        finally:
            if writer is not None:
                writer.close()
    return num


def _group(parquet: Any, pyarrow: Any, path: Path, batch: list[Row], writer: Any) -> Any:
    rows = [dict(row) for row in batch]
    if writer is not None and (new := _names(pyarrow.Table.from_pylist(rows).schema) - _names(writer.schema)):
        # told the schema, pyarrow would leave them out without a word
        raise DataError(
            f"{path}: later rows have {', '.join(sorted(new))}, which the first {BATCH:,} lack; write .jsonl"
        )
    table = pyarrow.Table.from_pylist(rows, schema=writer.schema if writer else None)
    writer = writer or parquet.ParquetWriter(path, table.schema)
    writer.write_table(table)
    return writer


def _names(fields: Any, prefix: str = "") -> set[str]:
    """The names of all fields of a schema, those within others too."""
    names: set[str] = set()
    for field in fields:
        names.add(prefix + field.name)
        inner = getattr(field.type, "value_type", field.type)
        if hasattr(inner, "fields") and inner.num_fields:
            names |= _names(inner.fields, f"{prefix}{field.name}.")
    return names
