"""Every attempt and every reply, kept: an append-only file of JSON lines.

    {"sent":   KEY, "try": ID, "payer": WHO, "most": [input tokens, output tokens], "at": UNIX}
    {"reply":  KEY, "try": ID, "payer": WHO, "batch": BOOL, "model": NAME, "request": {..}, "body": RAW, "at": UNIX}
    {"failed": KEY, "try": ID, "payer": WHO, "why": TEXT, "at": UNIX}                  refused: nothing to pay
    {"lost":   KEY, "try": ID, "payer": WHO, "most": [..], "why": TEXT, "at": UNIX}    nothing to read; perhaps billed

KEY is the hash of what was asked, WHO the artifact that pays. A row is one `write` on a file opened with
O_APPEND: on a local disk it survives the death of the process (kill -9 included) and never mixes with the rows
of other processes that append to the same file. A power cut may take the last seconds with it. An attempt with
a `sent` row and no end was in flight when its process died. Reading a body is the caller's.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.chat.table import OffsetTable
from tutelage.disk import disk_errors
from tutelage.errors import StoreError

_BLOCK = 1 << 22
_FIRST_LOOK = 1 << 14
_ROW = re.compile(
    # A torn row cannot end so: within a text the quotation marks would have backslashes.
    rb'\{"(sent|reply|failed|lost)":"([0-9a-f]{64})","try":"([\w-]*)","payer":"([\w.-]*)",.*,"at":\d+\}',
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Kept:
    """A reply that was paid for: what the server sent, unread."""

    body: str
    payer: str
    """The artifact whose work paid for it."""
    batch: bool
    """True if it came from a batch API, at its price."""
    is_new: bool
    """True the first time that this journal object hands it out: what is added up is added once."""


Most = tuple[int, int]
"""Input and output tokens: the most that an attempt can cost."""


class Journal:
    """The rows of one file. The file is opened, and made, when it is first needed.

    Args:
        path: the file; any number of processes may append to it at once.
        payer: who pays for what this object appends (letters, digits, `_`, `.` and `-`).

    All methods raise `StoreError` if the file cannot be opened, read or written.
    """

    def __init__(self, path: Path | str, payer: str = "") -> None:
        self.path = Path(path)
        self.payer = payer
        self.num_unreadable = 0
        """Whole lines that are not rows, so far: each was torn by a crash or a full disk."""
        self._file: int | None = None
        self._open: dict[str, Most] = {}
        self._own: list[int] = []
        self._forget()

    def _forget(self) -> None:
        self._table = OffsetTable()
        self._read_to = self._ends_well = 0
        self.num_unreadable = 0
        self._open.clear()
        self._own.clear()

    # ---- adding -------------------------------------------------------------------------------------

    def sent(self, key: str, attempt: str, most: Most) -> None:
        """Note that a request is about to leave, and the most it can cost."""
        self._append(self._head("sent", key, attempt) + b',"most":[%d,%d]' % most + _end())

    def reply(self, key: str, attempt: str, request: bytes, body: bytes, model: str, batch: bool = False) -> Kept:
        """Make `body` durable under `key`, before anybody reads it. `request` is the JSON it answers."""
        text = body.decode("utf-8", "surrogateescape")
        row = b'%s,"batch":%s,"model":%s,"request":%s,"body":%s%s' % (
            self._head("reply", key, attempt),
            b"true" if batch else b"false",
            json.dumps(model).encode("ascii"),
            request,
            json.dumps(text).encode("ascii"),
            _end(),
        )
        start = self._append(row)
        self._table.add(key, start, marked=True)
        return Kept(text, self.payer, batch, is_new=True)

    def failed(self, key: str, attempt: str, why: str) -> None:
        """Note that an attempt was refused: nothing to pay."""
        self._append(self._head("failed", key, attempt) + b',"why":%s' % json.dumps(why).encode("ascii") + _end())

    def lost(self, key: str, attempt: str, most: Most, why: str) -> None:
        """Note that an attempt brought nothing that can be read, and may be billed all the same."""
        head = self._head("lost", key, attempt)
        self._append(head + b',"most":[%d,%d],"why":%s' % (*most, json.dumps(why).encode("ascii")) + _end())

    def _head(self, kind: str, key: str, attempt: str) -> bytes:
        return f'{{"{kind}":"{key}","try":"{attempt}","payer":"{self.payer}"'.encode("ascii")

    def _append(self, row: bytes) -> int:
        """Write a row; return where it begins."""
        try:
            return self._write(row)
        except OSError:
            with disk_errors(self.path):
                raise

    def _write(self, row: bytes) -> int:
        file = self._opened()
        size = os.fstat(file).st_size
        lead = 0
        # A torn last line, of whichever process, must not swallow this row. A row that another process
        # is just writing can look torn too; the blank line that follows it then is stepped over.
        if size != self._ends_well and size and os.pread(file, 1, size - 1) != b"\n":
            row, lead = b"\n" + row, 1
        if os.write(file, row) != len(row):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        end = os.lseek(file, 0, os.SEEK_CUR)  # O_APPEND leaves our position at the end of our own write
        self._ends_well = end
        start = end - len(row)
        if start == self._read_to:  # nobody else wrote in between: no need to read our own row again
            self._read_to = end
        return start + lead

    # ---- finding ------------------------------------------------------------------------------------

    def replies(self, key: str) -> list[Kept]:
        """Return the replies kept under `key`, oldest first, including those other processes have added."""
        try:
            file = self._opened()
            self._catch_up(file)
            return [kept for start in self._table.find(key) if (kept := self._reply_at(file, start, key))]
        except OSError:
            with disk_errors(self.path):
                raise

    def _reply_at(self, file: int, start: int, key: str) -> Kept | None:
        row = _parse(_line_at(file, start))
        # The key is compared once more: others begin alike, or somebody exchanged the file under us.
        if row is None or row.get("reply") != key or not isinstance(row.get("body"), str):
            return None
        return Kept(row["body"], str(row.get("payer")), row.get("batch") is True, self._table.mark(key, start))

    def num_replies(self, key: str) -> int:
        """Return how many replies are kept under `key`, as far as was read."""
        return len(self._table.find(key))

    def paid_before(self) -> Iterator[tuple[Kept, str, Any]]:
        """Yield (reply, name of the attempt, request) of what this payer paid for before this object's own run."""
        with disk_errors(self.path):
            file = self._opened()
            self._catch_up(file)
            for start in self._own:
                row = _parse(_line_at(file, start))
                if row is not None and isinstance(row.get("body"), str):
                    kept = Kept(row["body"], self.payer, row.get("batch") is True, is_new=True)
                    yield kept, str(row.get("try")), row.get("request")
        self._own.clear()

    def unfinished(self) -> dict[str, Most]:
        """Return this payer's attempts that never ended well, of all runs before this object's own."""
        with disk_errors(self.path):
            self._catch_up(self._opened())
        return dict(self._open)

    def close(self) -> None:
        """Flush to the disk and close; the next use opens the file again."""
        if self._file is not None:
            with disk_errors(self.path):
                file, self._file = self._file, None
                try:
                    os.fsync(file)
                finally:
                    os.close(file)

    def _opened(self) -> int:
        while self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                # What was opened may have been replaced before it was locked; nobody would read it again.
                is_ours = os.path.samestat(os.fstat(file), self.path.stat())
            except BlockingIOError:
                os.close(file)
                raise StoreError(
                    f"{self.path}: is being rewritten (tutelage cache prune); run the command again when it is done"
                ) from None
            except BaseException:
                os.close(file)
                raise
            if is_ours:
                self._file = file
            else:
                os.close(file)
        return self._file

    def _catch_up(self, file: int) -> None:
        """Index the rows that were added since the last look."""
        size = os.fstat(file).st_size
        if size == self._read_to:
            return
        if size < self._read_to:  # the file was cut; what is known of it no longer holds
            self._forget()
        start, rest = self._read_to, b""
        while block := os.pread(file, _BLOCK, start + len(rest)):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                if line and not self._index(line, start):
                    self.num_unreadable += 1
                start += len(line) + 1
        # A row that lacks only its line break is whole. Any other rest is torn, or still being written.
        if rest and _parse(rest) is not None and self._index(rest, start):
            start += len(rest)
        self._read_to = start

    def _index(self, line: bytes, start: int) -> bool:
        """Take notice of a row; a look at its head must do, since a file may hold a million."""
        match = _ROW.fullmatch(line)
        if match is None:
            return False
        kind, key, attempt, payer = (group.decode("ascii") for group in match.groups())
        if kind == "reply":
            self._table.add(key, start)
        if payer != self.payer:
            return True
        if kind in ("sent", "lost"):
            row = _parse(line)
            if row is None:
                return False
            self._open[attempt] = (int(row["most"][0]), int(row["most"][1]))
        else:
            self._open.pop(attempt, None)
        if kind == "reply":
            self._own.append(start)
        return True


def _end() -> bytes:
    return b',"at":%d}\n' % time.time()


def _line_at(file: int, start: int) -> bytes:
    line, size = b"", _FIRST_LOOK
    while block := os.pread(file, size, start + len(line)):
        piece, newline, _ = block.partition(b"\n")
        line += piece
        if newline:
            break
        size = _BLOCK
    return line


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
