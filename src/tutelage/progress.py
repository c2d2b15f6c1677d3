"""What a person sees while a stage works: one live line on a terminal, a line now and then in a log."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import Self

LOG_EVERY_SECONDS = 15.0


def quiet() -> bool:
    """True if TUTELAGE_QUIET is set: tests and scripts that want only results."""
    return bool(os.environ.get("TUTELAGE_QUIET"))


def say(text: str) -> None:
    """Print one line of narration to standard error, in place of a live line; results go to standard output."""
    if not quiet():
        print(f"\r\x1b[2K{text}" if sys.stderr.isatty() else text, file=sys.stderr, flush=True)


def human_seconds(seconds: float) -> str:
    """Return `seconds` as 41s, 3m05s or 2h10m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


class Progress:
    """A counter with a rate and the time left: `with Progress("sft", total) as p: p.advance(1, "loss 2.1")`."""

    def __init__(self, name: str, total: int, unit: str, done: int = 0) -> None:
        self.name, self.total, self.unit = name, total, unit
        self.done = self.start_done = done
        self.started = self.shown = time.monotonic()
        self.live = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live and not quiet():
            print(file=sys.stderr, flush=True)

    def advance(self, num: int, note: str = "") -> None:
        """Count `num` more and show the line if it is time."""
        self.done += num
        self._show(note, last=self.done >= self.total)

    def note(self, note: str) -> None:
        """Show the line with another note, if it is time: nothing was done, but something is known."""
        self._show(note, last=False)

    def _show(self, note: str, last: bool) -> None:
        now = time.monotonic()
        if quiet() or (now - self.shown < (0.2 if self.live else LOG_EVERY_SECONDS) and not (last and self.live)):
            return
        self.shown = now
        rate = (self.done - self.start_done) / max(now - self.started, 1e-9)
        left = human_seconds(max(self.total - self.done, 0) / rate) if rate > 0 else "?"
        text = f"  {self.name}: {self.done:,}/{self.total:,} {self.unit}, {left} left"
        text += f", {note}" if note else ""
        if self.live:
            print(f"\r\x1b[2K{text[:160]}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)
