"""What is printed: Markdown tables, the machine they were made on, and whether the targets are met."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import CLIENT_CORE, SERVER_CORE, Run


@dataclass(frozen=True)
class Target:
    """A number that has to be at most (or at least) so large."""

    what: str
    found: float
    limit: float
    at_least: bool = False
    digits: int = 1

    @property
    def is_met(self) -> bool:
        """Whether the number is on the right side of its limit."""
        return self.found >= self.limit if self.at_least else self.found <= self.limit

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        found, limit = f"{self.found:,.{self.digits}f}", f"{self.limit:,g}"
        return f"- {self.what} {sign} {limit}: {found}, {'met' if self.is_met else 'MISSED'}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are numbers and stand on the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def machine() -> str:
    """Return the hardware, the date and the Python, in one line."""
    info = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    name, count = (names[0], len(names)) if names else (platform.machine(), 1)
    if CLIENT_CORE == SERVER_CORE:
        cores = "client and server share the one core there is, so the wall times mean little"
    else:
        cores = f"client on core {CLIENT_CORE}, server on core {SERVER_CORE}"
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    return f"{count} x {name}, {cores}, loopback; CPython {platform.python_version()}; {today}"


def versions(runs: Iterable[Run]) -> str:
    """Return the versions of all libraries that were measured."""
    found = {f"{name} {version}" for run in runs for name, version in run.versions.items()}
    return ", ".join(sorted(found))
