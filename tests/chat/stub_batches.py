"""What the batches of both providers have in common: the host they run on, their pace, lists in pages."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from stub_faults import HttpError, invalid
from stub_model import Line
from stub_send import Call
from stub_wire import Json, Wire

STEPS = 8
"""In how many portions a batch is worked through, so that it can be seen, and cancelled, half done."""
LINES_BETWEEN_LOOKS = 100
"""A large batch lets other calls in after so many lines."""
_CANCELLING_SECONDS = 0.05

Route = tuple[str, str, Callable[[Call], Awaitable[Json | bytes]]]
"""method, path, handler"""


class Host(Protocol):
    """The server, as far as batches need it."""

    seed: int
    models: tuple[str, ...]
    batch_seconds: float
    batch_limit: int

    @property
    def url(self) -> str:
        """The address of the server."""
        ...

    def run_line(self, wire: Wire, line: Line, version: str, batch: str) -> None:
        """Answer one line."""
        ...

    def start_job(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something in the background."""
        ...


@dataclass
class Batch:
    """The part of a batch that is the same for both providers."""

    id: str
    wire: Wire
    version: str
    """The version of the API it was made with."""
    lines: list[Line] = field(default_factory=list)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def pause(self, seconds: float) -> None:
        """Wait for `seconds`, or until the batch is cancelled."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.cancelled.wait(), seconds)

    def count(self, *states: str) -> int:
        """Return how many lines are in one of `states`."""
        return sum(line.state in states for line in self.lines)

    async def work(self, host: Host, seconds: float) -> None:
        """Answer the lines in portions over `seconds`; what is left when it is cancelled never runs."""
        size = max(1, -(-len(self.lines) // STEPS))
        for step in range(STEPS):
            await self.pause(seconds / STEPS)
            if self.cancelled.is_set():
                break
            for i, line in enumerate(self.lines[step * size : (step + 1) * size]):
                host.run_line(self.wire, line, self.version, self.id)
                if i % LINES_BETWEEN_LOOKS == 0:
                    await asyncio.sleep(0)
        for line in self.lines:
            if line.state == "processing":
                line.state = "canceled"

    async def wind_down(self, host: Host) -> None:
        """Be seen as about to be cancelled for a moment."""
        await asyncio.sleep(min(_CANCELLING_SECONDS, host.batch_seconds / 10))


def shuffled(host: Host, batch: Batch) -> list[Line]:
    """Return the lines as results have them: in an order of their own, the same for the same seed and questions."""
    lines = list(batch.lines)
    random.Random(f"{host.seed}|{[line.custom_id for line in lines]}").shuffle(lines)
    return lines


def jsonl(rows: list[Json]) -> bytes:
    """Return `rows` as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def page(newest_first: list[Json], query: Mapping[str, str], after_name: str, most: int) -> tuple[list[Json], bool]:
    """Return one page of objects that have an id, and whether there are more.

    Raises:
        HttpError: the query is none that the API knows.
    """
    if extra := set(query) - {"limit", after_name}:
        raise HttpError(invalid(f"unknown query parameters: {sorted(extra)}"))
    limit = query.get("limit", "20")
    if not (limit.isdecimal() and 1 <= int(limit) <= most):
        raise HttpError(invalid(f"limit: must be between 1 and {most}", "limit"))
    start = 0
    if after_name in query:
        ids = [item["id"] for item in newest_first]
        if query[after_name] not in ids:
            raise HttpError(invalid(f"{after_name}: no object with id {query[after_name]}", after_name))
        start = ids.index(query[after_name]) + 1
    end = start + int(limit)
    return newest_first[start:end], end < len(newest_first)
