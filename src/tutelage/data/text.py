"""Text files, packed or not, piece by piece: what is damaged is named by its line."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from tutelage.errors import DataError

PIECE = 1 << 20
LONGEST = 1 << 28
"""The most that one row may take, in characters: what has no end must not fill the memory."""
BOM = codecs.BOM_UTF8


def pieces(path: Path) -> Iterator[str]:
    """Yield the text of a UTF-8 file (.gz too) in pieces, without its byte order mark.

    Raises:
        DataError: missing, not to be read, not a whole gzip file, or not UTF-8 (names the line).
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    taken = 0
    with _open(path) as file:
        while True:
            data = file.read(PIECE)
            try:
                text = decoder.decode(data, final=not data)
            except UnicodeDecodeError as error:
                # What the decoder had kept of the piece before comes first.
                place = taken + len(data) - len(error.object) + error.start
                raise _not_utf8(path, _line_at(path, place), place) from None
            taken += len(data)
            if text:
                yield text
            if not data:
                return


def _line_at(path: Path, place: int) -> int:
    """Return the line of a byte. Counted from the beginning, once it is needed: on the way it would cost a tenth."""
    line = 1
    with _open(path) as file:
        while place and (data := file.read(min(PIECE, place))):
            line += data.count(b"\n")
            place -= len(data)
    return line


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    r"""Yield (number, line) for each line of a UTF-8 file (.gz too) with its end; only \n ends one.

    Raises:
        DataError: as `pieces`, or a line is too long to be a row.
    """
    with _open(path) as file:
        number, place = 0, 0
        while data := file.readline(LONGEST):
            number += 1
            if len(data) == LONGEST and not data.endswith(b"\n"):
                raise DataError(
                    f"{path}, line {number}: is longer than {LONGEST >> 20} MB; expected a row a line "
                    "(a JSON list is read from a file named .json)"
                )
            try:
                yield number, (data.removeprefix(BOM) if number == 1 else data).decode()
            except UnicodeDecodeError as error:
                raise _not_utf8(path, number, place + len(data) - len(error.object) + error.start) from None
            place += len(data)


def _not_utf8(path: Path, line: int, place: int) -> DataError:
    return DataError(f"{path}, line {line}: not UTF-8 (byte {place}); convert the file first")


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    """Lend the file, unpacked; what is wrong with it while it is read is a DataError."""
    try:
        packed = path.suffix == ".gz"
        with cast(IO[bytes], gzip.open(path)) if packed else path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file ({error})") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', error)})") from None
