"""Many requests through a provider's batch API: half the price, within a day, and nobody has to wait for it.

What runs on the other side is noted in a file before it is sent, so that a process that was killed (before, while
or after the batch was made) finds it again and collects it. Only what failed or expired is asked again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.chat.ask import OnReply, Result
from tutelage.chat.batch_api import BatchApi, Outcome, batch_api
from tutelage.chat.endpoint import Endpoint, read_key
from tutelage.chat.faults import clean
from tutelage.chat.ledger import Budget
from tutelage.chat.protocol import ChatFailure, ChatRequest
from tutelage.chat.providers import Wire, wire
from tutelage.chat.replies import AskAgain, Attempt, Replies
from tutelage.disk import disk_errors
from tutelage.errors import ChatError, ConfigError, RequestError, UnavailableError
from tutelage.progress import say
from tutelage.records import Bill, Sampling

_FIND_AGAIN_SECONDS = 1.0


@dataclass
class _Running:
    """A batch on the other side (or, without an id, perhaps there): its requests by journal key."""

    name: str
    at: float
    attempts: dict[str, Attempt]
    id: str | None = None
    was_found: bool = False
    """True if the id was not told us but found in a list; then its contents are looked at twice."""


class BatchClient:
    """Asks `endpoint` in batches; replies are kept, found and paid for as an `HttpClient` does.

    Args:
        endpoint, journal_path, payer, budget, ask_again: see `HttpClient`.
        state_path: the file that notes which batches run; one process at a time.
        poll_seconds: how often to look whether a batch has ended.

    Raises:
        ConfigError: a budget in dollars for a model whose price is unknown, or a platform without batches.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        journal_path: Path | str,
        state_path: Path,
        *,
        payer: str,
        budget: Budget,
        ask_again: Collection[AskAgain],
        poll_seconds: float,
    ) -> None:
        if endpoint.platform is not None:
            raise ConfigError(f"mode: batches go to openai and anthropic themselves, not to {endpoint.platform}")
        self.name = endpoint.model
        self.endpoint = endpoint
        self.replies = Replies(endpoint, journal_path, payer, budget, ask_again)
        self._state = state_path
        self._poll_seconds = poll_seconds
        self._running: list[_Running] = []
        self._foreign: set[str] = set()
        self._tries: dict[str, int] = {}
        self._wires: dict[str, Wire] = {}
        self._indices: dict[str, list[int]] = {}
        self._results: dict[int, Result] = {}

    def bill(self) -> Bill:
        """Return what was spent on the payer's account, in this run and before."""
        return self.replies.ledger.bill()

    def ask(self, requests: Sequence[ChatRequest], on_reply: OnReply, on_note: Callable[[str], None]) -> list[Result]:
        """Return what came of each request, in order.

        Args:
            on_reply: called as (index, reply or failure) as results are collected.
            on_note: called with how the batches do, each time that was looked at.

        Raises:
            AuthenticationError, UnknownModelError, QuotaError: no request can succeed.
            RequestError: the provider refuses a batch as a whole.
            BudgetError: what is left to ask could cost more than what is left to spend.
            UnavailableError: the provider cannot be reached; batches that were made go on there.
        """
        return asyncio.run(self._ask(requests, on_reply, on_note))

    async def _ask(
        self, requests: Sequence[ChatRequest], on_reply: OnReply, on_note: Callable[[str], None]
    ) -> list[Result]:
        for index, request in enumerate(requests):
            asked = wire(self.endpoint, request)
            self._wires[asked.key] = asked
            self._indices.setdefault(asked.key, []).append(index)
        self._on_reply = on_reply
        self._take_up()
        in_flight = {key for running in self._running for key in running.attempts}
        pending = []
        for key, asked in self._wires.items():
            if reply := self.replies.recall(asked):
                self._tell(key, reply)
            elif key not in in_flight:
                pending.append(asked)
        try:
            if pending or self._running:
                await self._ask_api(pending, on_note)
        finally:
            self.replies.journal.close()
        return [self._results[index] for index in range(len(requests))]

    def _tell(self, key: str, result: Result) -> None:
        for index in self._indices.get(key, ()):
            self._results[index] = result
            self._on_reply(index, result)

    async def _ask_api(self, pending: list[Wire], on_note: Callable[[str], None]) -> None:
        from tutelage.chat.transport import Transport

        self.replies.key = read_key(self.endpoint)
        transport = Transport(self.endpoint, self.replies.key)
        api = batch_api(self.endpoint, transport, self.replies.key)
        try:
            for running in [r for r in self._running if r.id is None]:
                await self._find(api, running, pending)
            while pending or self._running:
                pending = await self._submit(api, pending)
                done = 0
                for running in list(self._running):
                    done += await self._look(api, running, pending)
                if self._running:
                    total = sum(len(r.attempts) for r in self._running)
                    on_note(f"{done:,} of {total:,} done at the provider, in {len(self._running)} batches")
                    await asyncio.sleep(self._poll_seconds)
        finally:
            await transport.close()

    # ---- making batches -----------------------------------------------------------------------------

    async def _submit(self, api: BatchApi, pending: list[Wire]) -> list[Wire]:
        """Send as many of `pending` as the limits of the provider and the budget let; return the others."""
        rest = list(pending)
        most_requests = min(api.max_requests, self.endpoint.max_batch_requests or api.max_requests)
        while rest:
            chunk: list[Attempt] = []
            size = 0
            name = f"{secrets.token_hex(8)}"
            while rest and len(chunk) < most_requests and size + len(rest[0].data) + 200 <= api.max_bytes:
                most = self.replies.most(rest[0], batch=True)
                if not self.replies.ledger.fits(most):
                    break
                await self.replies.ledger.reserve(most)
                size += len(rest[0].data) + 200
                chunk.append(self.replies.begin(rest.pop(0), most))
            if not chunk:
                if not self._running:  # raises: nothing is in flight that could turn out cheaper than feared
                    await self.replies.ledger.reserve(self.replies.most(rest[0], batch=True))
                return rest
            await self._create(api, _Running(name, time.time(), {a.asked.key: a for a in chunk}), rest)
        return rest

    async def _create(self, api: BatchApi, running: _Running, rest: list[Wire]) -> None:
        self._note({"batch": running.name, "at": running.at, "requests": _names(running)})
        self._running.append(running)
        try:
            with self._understood():
                running.id = await api.create(running.name, [a.asked for a in running.attempts.values()])
        except ChatError as error:  # it was refused, so it is not there
            self._give_up(running, str(error))
            raise
        if running.id is None:  # the answer was lost; the batch may be there
            await self._find(api, running, rest)
            return
        self._note({"batch": running.name, "id": running.id})
        say(
            f"batch {running.id}: {len(running.attempts):,} requests are with the provider; this command may be "
            "stopped, and called again to collect them"
        )

    async def _find(self, api: BatchApi, running: _Running, pending: list[Wire]) -> None:
        """Look for a batch whose id we never heard; if it is not there, its requests are asked again."""
        await asyncio.sleep(_FIND_AGAIN_SECONDS)
        taken = self._foreign | {r.id for r in self._running if r.id}
        with self._understood():
            running.id = await api.find(running.name, running.at, len(running.attempts), taken)
        if running.id is None:
            for attempt in running.attempts.values():
                self._again(attempt.asked, "the batch was not made", pending)
            self._give_up(running, "the batch was not made")
            return
        running.was_found = True
        self._note({"batch": running.name, "id": running.id, "was_found": True})

    def _give_up(self, running: _Running, why: str) -> None:
        for attempt in running.attempts.values():
            self.replies.fail(attempt, why)
        self._end(running)

    # ---- what comes back ----------------------------------------------------------------------------

    async def _look(self, api: BatchApi, running: _Running, pending: list[Wire]) -> int:
        """Look at one batch, and collect it if it has ended. Return how many of its requests are done."""
        assert running.id is not None
        with self._understood():
            look = await api.look(running.id)
        if not look.has_ended:
            return look.num_done
        if look.failure:
            self._give_up(running, look.failure)
            raise RequestError(
                f"{self.endpoint.model}: the provider refused batch {running.id}: {look.failure}. Nothing of it was "
                "paid; a limit on what may wait at once is kept with max_batch_requests=NUMBER"
            )
        with self._understood():
            outcomes = list(await api.collect(running.id))
        if running.was_found and not any(key in running.attempts for key, _ in outcomes):
            self._foreign.add(running.id)  # somebody else's, made at the same time and as large
            await self._find(api, running, pending)
            return 0
        for key, outcome in outcomes:
            attempt = running.attempts.pop(key, None)
            if attempt is not None:
                self._settle(attempt, outcome, pending)
        for attempt in running.attempts.values():  # the results do not mention them
            self.replies.lose(attempt, "not among the results of its batch")
            self._again(attempt.asked, "not among the results of its batch", pending)
        self._end(running)
        return 0

    def _settle(self, attempt: Attempt, outcome: Outcome, pending: list[Wire]) -> None:
        asked = attempt.asked
        if outcome.kind == "reply":
            reply = self.replies.keep(attempt, outcome.body, batch=True)
            if reply is not None:
                self._tell(asked.key, reply)
            else:
                self._again(asked, "a body that is not a chat completion", pending)
            return
        self.replies.fail(attempt, outcome.why)
        if outcome.kind == "refused":
            self._tell(asked.key, ChatFailure(error=f"{self.endpoint.model}, in a batch: {outcome.why}"))
        else:
            self._again(asked, outcome.why, pending)

    def _again(self, asked: Wire, why: str, pending: list[Wire]) -> None:
        tries = self._tries[asked.key] = self._tries.get(asked.key, 0) + 1
        if tries <= self.endpoint.max_retries and asked.key in self._indices:
            pending.append(asked)
        else:
            self._tell(
                asked.key, ChatFailure(error=f"{self.endpoint.model}: {tries} batches failed; the last: {why}")
            )

    @contextlib.contextmanager
    def _understood(self) -> Iterator[None]:
        """Turn an answer that is not what a batch API says into words."""
        try:
            yield
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise UnavailableError(
                f"{self.endpoint.model} at {self.endpoint.url}: an answer that no batch API gives "
                f"({type(error).__name__}: {clean(str(error), self.replies.key)}); is this a provider with batches? "
                "Batches that were made go on there; the same command collects them"
            ) from None

    # ---- the file that notes what runs --------------------------------------------------------------

    def _take_up(self) -> None:
        """Read which batches still run, and set aside what they can cost."""
        running: dict[str, _Running] = {}
        for row in _rows(self._state):
            if "requests" in row:
                attempts = {key: self._attempt(key, name) for key, name in row["requests"]}
                running[row["batch"]] = _Running(row["batch"], row["at"], attempts)
            elif "id" in row:
                running[row["batch"]].id = row["id"]
                running[row["batch"]].was_found = row.get("was_found") is True
            else:
                running.pop(row["batch"], None)
        self._running = list(running.values())
        in_flight = [attempt for batch in self._running for attempt in batch.attempts.values()]
        self.replies.load(in_flight={attempt.name for attempt in in_flight})
        for attempt in in_flight:
            self.replies.ledger.reserved += attempt.most

    def _attempt(self, key: str, name: str) -> Attempt:
        # One of a request that is asked no more is collected all the same: it was paid for.
        asked = self._wires.get(key) or Wire(b"null", key, Sampling(), (0, 0), 0)
        return Attempt(asked, self.replies.most(asked, batch=True), name)

    def _end(self, running: _Running) -> None:
        self._running.remove(running)
        self._note({"batch": running.name, "ended": True})

    def _note(self, row: dict[str, Any]) -> None:
        with disk_errors(self._state):
            self._state.parent.mkdir(parents=True, exist_ok=True)
            with self._state.open("ab") as file:
                file.write(json.dumps(row).encode("ascii") + b"\n")
                file.flush()
                os.fsync(file.fileno())


def _names(running: _Running) -> list[list[str]]:
    return [[key, attempt.name] for key, attempt in running.attempts.items()]


def _rows(path: Path) -> list[dict[str, Any]]:
    """Return the whole rows of the state file; a torn last one was never acted on."""
    with disk_errors(path):
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]
