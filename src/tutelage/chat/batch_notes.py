"""The file that notes which batches run on the other side: an append-only file of JSON lines.

    {"batch": NAME, "at": UNIX, "keys": [KEY, ..]}           before anything is sent; perhaps it never is
    {"batch": NAME, "id": THEIR ID, "was_found": BOOL}       it is there
    {"batch": NAME, "ended": true}                           nothing more is to come of it

NAME is ours, KEY a request's key in the journal. Line I of a batch goes by NAME-I, there and in the journal.
One process at a time.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tutelage.chat.replies import Attempt
from tutelage.disk import disk_errors


@dataclass(eq=False)
class Running:
    """A batch on the other side, or, without an id, perhaps there."""

    name: str
    at: float
    """When it was sent for."""
    keys: tuple[str, ...]
    id: str | None = None
    was_found: bool = False
    """True if the id was not told us but found in a list; then it can be somebody else's."""
    attempts: dict[str, Attempt] = field(default_factory=dict)
    """By the name of the line: those that nothing has come of yet."""

    def line(self, index: int) -> str:
        """Return the name of a line."""
        return f"{self.name}-{index}"

    def owns(self, line: str) -> bool:
        """True if a line of this name is one of this batch."""
        return line.startswith(f"{self.name}-")


class Notes:
    """What the file says, and adding to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: set[str] = set()
        """The provider's ids of all batches that were ever noted here."""
        self._is_torn = False

    def load(self) -> list[Running]:
        """Return the batches that have not ended."""
        running: dict[str, Running] = {}
        with disk_errors(self.path):
            data = self.path.read_bytes() if self.path.exists() else b""
        self._is_torn = bool(data) and not data.endswith(b"\n")
        for row in filter(None, map(_parse, data.split(b"\n"))):
            name = row["batch"]
            if "keys" in row:
                running[name] = Running(name, row["at"], tuple(row["keys"]))
            elif "id" in row:
                self.known.add(row["id"])
                if name in running:
                    running[name].id, running[name].was_found = row["id"], row["was_found"]
            else:
                running.pop(name, None)
        return list(running.values())

    def sending(self, batch: Running) -> None:
        """Note a batch that is about to be made."""
        self._add({"batch": batch.name, "at": batch.at, "keys": batch.keys})

    def is_there(self, batch: Running) -> None:
        """Note the id of a batch."""
        assert batch.id is not None
        self.known.add(batch.id)
        self._add({"batch": batch.name, "id": batch.id, "was_found": batch.was_found})

    def ended(self, batch: Running) -> None:
        """Note that nothing more is to come of a batch."""
        self._add({"batch": batch.name, "ended": True})

    def _add(self, row: dict[str, Any]) -> None:
        data = json.dumps(row).encode("ascii") + b"\n"
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                # The torn last line of a process that died must not swallow this one.
                file.write(b"\n" + data if self._is_torn else data)
                file.flush()
                os.fsync(file.fileno())
        self._is_torn = False


def num_running(path: Path) -> int:
    """Return how many batches run according to the file at `path`."""
    return len(Notes(path).load())


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return a row; None if it is torn: what it was to say was never acted on."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
