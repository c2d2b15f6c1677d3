"""What is printed: Markdown tables, the machine they were made on, and whether the targets are met."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import Runs


@dataclass(frozen=True)
class Target:
    """A number that has to be at most (or at least) so large."""

    what: str
    found: float
    limit: float
    at_least: bool = True

    def __str__(self) -> str:
        is_met = self.found >= self.limit if self.at_least else self.found <= self.limit
        sign = ">=" if self.at_least else "<="
        return f"- {self.what} {sign} {self.limit:g}: {self.found:.2f}, {'met' if is_met else 'MISSED'}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are numbers and stand on the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def spanned(values: Sequence[float], median: float, digits: int = 1) -> str:
    """Return a median with the least and the greatest of the turns."""
    text = f"{median:.{digits}f}"
    return f"{text} ({min(values):.{digits}f} to {max(values):.{digits}f})" if values[1:] else text


def machine(threads: int) -> str:
    """Return the hardware, the date and the Python, in one line."""
    info = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    name, count = (names[0], len(names)) if names else (platform.machine(), 1)
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    used = "one thread" if threads == 1 else f"{threads} threads"
    return f"{count} x {name}, {used} in use; CPython {platform.python_version()}; {today}"


def versions(results: Iterable[Runs]) -> str:
    """Return the versions of all libraries that were measured."""
    turns = [run for runs in results for run in runs.turns]
    return ", ".join(sorted({f"{name} {version}" for run in turns for name, version in run.versions.items()}))
