"""Files: read, hashed, written whole or not at all; every error names the file and what to do."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, TypeVar

from pydantic import ValidationError

from tutelage.errors import DataError, StoreError
from tutelage.records import Record

AnyRecord = TypeVar("AnyRecord", bound=Record)
_SURROGATE = re.compile("[\ud800-\udfff]")


def is_file(path: Path | str) -> bool:
    """True if `path` is a file. A text that can be no path at all, or one out of reach, is none."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises on names that are too long or out of reach


def is_folder(path: Path | str) -> bool:
    """True if `path` is a folder; see `is_file`."""
    return os.path.isdir(path)  # noqa: PTH112 - as above


def visible(text: str) -> str:
    """Return `text` with everything that could move the cursor or hide (control, format, surrogate) as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def brief(error: Exception) -> str:
    """Return the first thing that is wrong, in one line."""
    if not isinstance(error, ValidationError):
        return str(error).split("\n")[0]
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]


@lru_cache(maxsize=256)
def _hash_of(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's bytes; a file that has not changed is read once per process."""
    try:
        stat = path.stat()
        return _hash_of(path, stat.st_size, stat.st_mtime_ns)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:  # a name with a NUL character
        raise DataError(f"{str(path)!r}: cannot be the name of a file ({error})") from None


def dump_rows(rows: Iterable[Record]) -> str:
    """Return `rows` as JSON lines."""
    return "".join(dumped(rows))


def dumped(rows: Iterable[Record]) -> Iterator[str]:
    """Yield the lines of `dump_rows` one by one."""
    return (dump_json(r.model_dump(mode="json")) + "\n" for r in rows)


def dump_json(value: object, indent: int | None = None) -> str:
    """Return `value` as JSON; lone surrogates as escapes, so that UTF-8 can hold it."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _SURROGATE.sub(lambda m: f"\\u{ord(m[0]):04x}", text)


def read_rows(path: Path, kind: type[AnyRecord]) -> list[AnyRecord]:
    """Read a file of JSON lines that tutelage wrote.

    Raises:
        DataError: names the file and line that is not a valid `kind`.
    """
    return list(each_row(path, kind))


def each_row(path: Path, kind: type[AnyRecord]) -> Iterator[AnyRecord]:
    """Yield what `read_rows` reads, a row at a time."""
    return (row for _, row in placed_rows(path, kind))


def placed_rows(path: Path, kind: type[AnyRecord]) -> Iterator[tuple[int, AnyRecord]]:
    """Yield the rows as `each_row`, each with the byte that its line begins at: `row_at` reads it again."""
    try:
        with path.open("rb") as file:
            place = 0
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield place, _parsed(line, kind, path, number)
                place += len(line)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def row_at(file: BinaryIO, place: int, kind: type[AnyRecord]) -> AnyRecord:
    """Return the row whose line begins at the byte `place` of a file that is open for reading."""
    file.seek(place)
    return _record(file.readline(), kind)


def _record(line: bytes, kind: type[AnyRecord]) -> AnyRecord:
    try:
        return kind.model_validate_json(line)
    except ValidationError:  # it takes no lone surrogate; and of what is wrong, json says more
        return kind.model_validate(json.loads(line.decode("utf-8")))


def _parsed(line: bytes, kind: type[AnyRecord], path: Path, number: int) -> AnyRecord:
    try:
        return _record(line, kind)
    except UnicodeDecodeError as error:
        where = f"{path}, line {number}"
        raise DataError(f"{where}: not UTF-8 (byte {error.start} of it); convert the file first") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}, line {number}: not a valid {kind.__name__}: {brief(error)}") from None


def read_text(path: Path) -> str:
    """Read a UTF-8 file; errors name the file and what is wrong with it."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: not UTF-8 (byte {error.start}); convert the file first") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def write_atomically(path: Path, text: str | Iterable[str]) -> None:
    """Write `path` so that it is either the old file or the whole new one, also after a power cut.

    Args:
        text: all of it, or its parts in order, of which only one is held at a time.
    """
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.writelines((text,) if isinstance(text, str) else text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk, a read-only folder and their like into a StoreError that names `path`."""
    try:
        yield
    except OSError as error:
        if isinstance(error, (ConnectionError, TimeoutError)) or error.errno is None:
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        hint = "free some space" if full else "choose another folder"
        raise StoreError(
            f"{error.filename or path}: cannot be written ({error.strerror}); {hint}. "
            "What was finished is kept; the same command goes on from there"
        ) from None
