"""Replies that were paid for, kept: an append-only file of JSON lines, one reply a line.

    {"key": <hash of what was asked>, "body": <what the server sent, unread>}

A row is one `write` on a file opened with O_APPEND: on a local disk it survives the death of the process
(kill -9 included) and never mixes with the rows of other processes that append to the same file. A power
cut may take the last seconds with it. The journal knows nothing of formats: reading a body is the caller's.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

from tutelage.store import disk_errors

_BLOCK = 1 << 22


class Journal:
    """The replies in one file. The file is opened, and made, when it is first needed.

    All methods raise `StoreError` if the file cannot be opened, read or written.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.num_unreadable = 0
        """Whole lines that are not rows, so far: each was torn by a crash or a full disk."""
        self._file: int | None = None
        self._places: dict[str, tuple[tuple[int, int], ...]] = {}
        self._read_to = 0
        self._size = 0

    def append(self, key: str, body: bytes) -> None:
        """Make `body` durable under `key`, before anybody reads it."""
        row = {"key": key, "body": body.decode("utf-8", "surrogateescape")}
        data = json.dumps(row, separators=(",", ":")).encode("ascii") + b"\n"
        with disk_errors(self.path):
            file = self._open()
            size = os.fstat(file).st_size
            # A torn last line, of whichever process, must not swallow this row. A row that another process
            # is just writing can look torn too; the blank line that follows it then is stepped over.
            if size and os.pread(file, 1, size - 1) != b"\n":
                data = b"\n" + data
            if os.write(file, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def replies(self, key: str) -> list[str]:
        """Return the bodies kept under `key`, oldest first, including those other processes have added."""
        with disk_errors(self.path):
            file = self._open()
            self._catch_up(file)
            rows = [_row(os.pread(file, length, start)) for start, length in self._places.get(key, ())]
        # The key is compared once more, in case somebody exchanged the file under us.
        return [row["body"] for row in rows if row is not None and row["key"] == key]

    def close(self) -> None:
        """Flush to the disk and close; the next use opens the file again."""
        if self._file is not None:
            with disk_errors(self.path):
                file, self._file = self._file, None
                try:
                    os.fsync(file)
                finally:
                    os.close(file)

    def _open(self) -> int:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        return self._file

    def _catch_up(self, file: int) -> None:
        """Index the rows that were added since the last look."""
        size = os.fstat(file).st_size
        if size == self._size:
            return
        if size < self._read_to:  # the file was cut; what is known of it no longer holds
            self._places, self._read_to, self.num_unreadable = {}, 0, 0
        start, rest = self._read_to, b""
        while block := os.pread(file, _BLOCK, start + len(rest)):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                if line and not self._index(line, start):
                    self.num_unreadable += 1
                start += len(line) + 1
        # A row that lacks only its line break is whole. Any other rest is torn, or still being written.
        if rest and self._index(rest, start):
            start += len(rest)
        self._read_to, self._size = start, size

    def _index(self, line: bytes, start: int) -> bool:
        row = _row(line)
        if row is not None:
            self._places[row["key"]] = (*self._places.get(row["key"], ()), (start, len(line)))
        return row is not None


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(row, dict) and isinstance(row.get("key"), str) and isinstance(row.get("body"), str)
    return row if whole else None
