"""Files, folders and data sets of the Hub -> one row at a time, in memory that does not grow with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tutelage.data.hub import rows_of_folder
from tutelage.data.json_rows import read_json, read_json_lines
from tutelage.data.tables import read_csv, read_parquet
from tutelage.disk import is_folder
from tutelage.errors import ConfigError, DataError
from tutelage.inputs import Prompts
from tutelage.places import find

READERS: dict[str, Callable[[Path], Iterator[tuple[str, Any]]]] = {".json": read_json, ".parquet": read_parquet}
"""By the end of the name, without .gz; everything else is JSON lines."""
DELIMITERS = {".csv": ",", ".tsv": "\t"}


def open_rows(rows: Prompts) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (where, row) for each row of a file, of a folder of files, or of a data set.

    Raises:
        DataError: nothing is there, or what is there is damaged; see `places.find` and `read_objects`.
        ConfigError: a subset, split or revision of a file.
    """
    place = find(rows.path, rows.revision)
    if is_folder(place.path):
        return rows_of_folder(place, rows, partial(read_objects, header=rows.header))
    unread = ("subset", "split", *(() if place.commit else ("revision",)))
    given = [name for name in unread if getattr(rows, name) is not None]
    if given:
        raise ConfigError(f"{rows.path}: is a file; {', '.join(given)} is for data sets, leave it out")
    return read_objects(place.path, rows.header)


def read_objects(path: Path, header: Sequence[str] = ()) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (where, object) for each row of a .jsonl, .json, .csv, .tsv or .parquet file; of the texts, .gz too.

    Raises:
        DataError: missing, empty, not UTF-8 or of another form (names the line), or not objects.
        ConfigError: a header for what is no CSV.
    """
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix in DELIMITERS:
        yield from read_csv(path, DELIMITERS[suffix], header)
        return
    if header:
        raise ConfigError(f"{path}: header is for tables in .csv or .tsv, leave it out")
    for where, row in READERS.get(suffix, read_json_lines)(path):
        if type(row) is not dict:
            raise DataError(f"{where}: expected an object such as {{'prompt': ...}}, found {str(row)[:60]!r}")
        yield where, row
