"""What the stub server remembers: what it billed, what arrived, and a log that outlives its clients."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Recorded:
    """One request as it arrived. `body` is None where it was neither JSON nor a form."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class Billed(NamedTuple):
    """One completion that a model made, and that a provider charges for whether it arrives or not.

    Not billed, as by the real ones: refusals with 4xx and 5xx, `reset` and `wrong_type` (no model was reached),
    and the lines of a batch that failed, expired or were cancelled.
    """

    text: str
    """The question: the text of the last message."""
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    """How many of the input tokens came from a cache."""
    delivered: bool
    """Whether a whole, well-formed reply was sent (one of a batch: was made ready to be fetched)."""
    batch: bool


def total(billed: list[Billed], delivered: bool | None) -> tuple[int, int]:
    """Return input and output tokens: of all, or only of what was (not) delivered."""
    counted = [b for b in billed if delivered is None or b.delivered == delivered]
    return sum(b.input_tokens for b in counted), sum(b.output_tokens for b in counted)


@dataclass
class Entry:
    """One line of the log. Holds no headers: a key would be among them."""

    n: int
    method: str
    path: str
    body: Any = None
    text: str | None = None
    authorized: bool = True
    fault: str | None = None
    status: int | None = None
    """None where no status was sent."""
    input_tokens: int = 0
    output_tokens: int = 0
    billed: bool = False
    delivered: bool = False
    batch: str | None = None
    """The batch whose line this is."""


class Log:
    """A file with one JSON line a request, in the file before the reply is on the wire."""

    def __init__(self, path: Path | None) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._file = None if path is None else os.open(path, flags, 0o644)

    def write(self, entry: Entry) -> None:
        """Append `entry`. What `write` took survives the process; the machine is not expected to fail."""
        if self._file is not None:
            data = json.dumps(asdict(entry)).encode() + b"\n"
            while data:
                data = data[os.write(self._file, data) :]

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def read_log(path: Path | str) -> list[dict[str, Any]]:
    """Return the entries of the log at `path`, in the order in which they were answered."""
    lines = Path(path).read_bytes().split(b"\n")[:-1]  # what lacks its line break is still being written
    return [json.loads(line) for line in lines]


class Bucket:
    """A token bucket: `burst` requests at once, and `per_minute` in the long run."""

    def __init__(self, per_minute: float, burst: int | None = None) -> None:
        self.per_minute = per_minute
        self.burst = max(1, int(per_minute / 60)) if burst is None else burst
        self._level = float(self.burst)
        self._filled = time.monotonic()

    @property
    def left(self) -> int:
        """How many requests would pass now."""
        return int(self._fill())

    def take(self) -> int:
        """Let one request pass and return 0, or return the whole seconds until one may."""
        if self._fill() >= 1:
            self._level -= 1
            return 0
        return max(1, math.ceil((1 - self._level) * 60 / self.per_minute))

    def _fill(self) -> float:
        now = time.monotonic()
        self._level = min(self.burst, self._level + (now - self._filled) * self.per_minute / 60)
        self._filled = now
        return self._level
