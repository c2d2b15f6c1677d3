"""Files of rows -> one object at a time. Damage is an error that names the line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tutelage.errors import DataError
from tutelage.inputs import Prompts


def open_rows(rows: Prompts) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (where, row) for each row of a file or a data set; see `read_objects`."""
    yield from read_objects(Path(rows.path))


def read_objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (where, object) for each row of a .jsonl or .json file, .gz too.

    Raises:
        DataError: missing, empty, not UTF-8 (names the line), not JSON (names the line), or not objects.
    """
    text = _read(path)
    if not text.strip():
        raise DataError(f"{path}: is empty; expected one JSON object a line")
    if path.name.removesuffix(".gz").endswith(".json"):
        yield from _json_list(path, text)
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{where}: not JSON ({error}); expected one JSON object a line") from None
            yield where, _object(where, row)


def _json_list(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {error.lineno}: not JSON ({error.msg}); "
            "expected a list of objects, or one object a line in a file named .jsonl"
        ) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or too many brackets
        raise DataError(f"{path}: not JSON that can be read ({error})") from None
    if isinstance(rows, dict):
        rows = [{"key": key, "value": value} for key, value in rows.items()]
    if not isinstance(rows, list):
        raise DataError(f"{path}: expected a JSON list of objects, found a {type(rows).__name__}")
    for number, row in enumerate(rows, 1):
        yield f"{path}, row {number}", _object(f"{path}, row {number}", row)


def _object(where: str, row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected an object such as {{'prompt': ...}}, found {str(row)[:60]!r}")
    return row


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file ({error})") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', error)})") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: not UTF-8 (byte {error.start}); convert the file first") from None
