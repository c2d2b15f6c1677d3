"""Many requests through a provider's batch API: half the price, within a day, and nobody has to wait for it.

What runs on the other side is noted in a file before it is sent, so that a process that was killed (before, while
or after the batch was made) finds it again and collects it. Only what failed or expired is asked again.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from tutelage.chat.ask import OnReply, Result, on_signal
from tutelage.chat.batch_api import FRAME_BYTES, BatchApi, Look, Outcome, batch_api
from tutelage.chat.batch_calls import Calls
from tutelage.chat.batch_notes import Notes, Running
from tutelage.chat.endpoint import Endpoint, read_key
from tutelage.chat.ledger import Budget
from tutelage.chat.protocol import ChatFailure, ChatRequest
from tutelage.chat.providers import Wire, wire
from tutelage.chat.replies import AskAgain, Attempt, Replies
from tutelage.errors import ChatError, ConfigError, RequestError, UnavailableError, UnknownModelError
from tutelage.progress import say
from tutelage.records import Bill, Sampling, Usage

CREATE_AGAIN_SECONDS = (2.0, 10.0, 60.0)
"""Pauses before a batch is sent for again, once it is known that it was not made."""
FIND_AGAIN_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Pauses between looks for a batch that may be there: a list can lag behind."""
DOWNLOAD_AGAIN_SECONDS = (1.0, 5.0, 20.0)
"""Pauses before results are downloaded again because some are missing."""
_LOOK_UP_EVERY = 500


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
            raise ConfigError(
                f"mode: batches go to openai and anthropic themselves, not through platform={endpoint.platform}; "
                "leave mode=batch out"
            )
        self.name = endpoint.model
        self.endpoint = endpoint
        self.replies = Replies(endpoint, journal_path, payer, budget, ask_again)
        self._notes = Notes(state_path)
        self._poll_seconds = poll_seconds
        self._running: list[Running] = []
        self._pending: deque[Wire] = deque()
        self._tries: dict[str, int] = {}
        self._problem: ChatError | None = None
        """Why nothing further is to be sent; raised once everything that has ended is collected."""
        self._wires: dict[str, Wire] = {}
        self._indices: dict[str, list[int]] = {}
        self._results: dict[int, Result] = {}
        self._on_reply: OnReply = lambda index, result: None

    def bill(self) -> Bill:
        """Return what was spent on the payer's account, in this run and before."""
        return self.replies.ledger.bill()

    def ask(self, requests: Sequence[ChatRequest], on_reply: OnReply, on_note: Callable[[str], None]) -> list[Result]:
        """Return what came of each request, in order. To be called once.

        Args:
            on_reply: called as (index, reply or failure) as results are collected.
            on_note: called with how the batches do, each time that was looked at.

        Raises:
            AuthenticationError, UnknownModelError, QuotaError: no request can succeed.
            RequestError: the provider refuses a batch as a whole.
            BudgetError: what is left to ask could cost more than what is left to spend.
            UnavailableError: the provider cannot be reached; batches that were made go on there.
            KeyboardInterrupt: on Ctrl-C and SIGTERM; batches go on all the same.
        """
        return asyncio.run(self._ask(requests, on_reply, on_note))

    async def _ask(
        self, requests: Sequence[ChatRequest], on_reply: OnReply, on_note: Callable[[str], None]
    ) -> list[Result]:
        task, interrupted = asyncio.current_task(), []
        assert task is not None

        def interrupt() -> None:
            interrupted.append(True)
            task.cancel()

        self._on_reply = on_reply
        with on_signal(interrupt):
            try:
                self._prepare(requests)
                if self._pending or self._running:
                    await self._ask_api(on_note)
            except asyncio.CancelledError:
                if interrupted:
                    raise KeyboardInterrupt from None
                raise
            finally:
                self.replies.journal.close()
                if num := sum(len(batch.keys) for batch in self._running if batch.id is not None):
                    say(f"\n{num:,} requests are with the provider and go on there; the same command collects them")
        return [self._results[index] for index in range(len(requests))]

    def _prepare(self, requests: Sequence[ChatRequest]) -> None:
        """Take up what runs and what the journal has; the rest is pending."""
        for index, request in enumerate(requests):
            asked = wire(self.endpoint, request)
            self._wires[asked.key] = asked
            self._indices.setdefault(asked.key, []).append(index)
        self._take_up()
        in_flight = {attempt.asked.key for batch in self._running for attempt in batch.attempts.values()}
        for key, asked in self._wires.items():
            if reply := self.replies.recall(asked):
                self._tell(key, reply)
            elif key not in in_flight:
                self._pending.append(asked)

    def _take_up(self) -> None:
        """Read which batches still run, and set aside what they can cost."""
        unsettled, ledger = self.replies.journal.unfinished(), self.replies.ledger
        for batch in self._notes.load():
            for index, key in enumerate(batch.keys):
                name = batch.line(index)
                if name in unsettled:  # others were collected before we were stopped, or never sent
                    # One of a request that is asked no more is collected all the same: it was paid for.
                    asked = self._wires.get(key) or Wire(b"null", key, Sampling(), None, 0)
                    batch.attempts[name] = Attempt(asked, ledger.at_most(unsettled[name], batch=True), name)
            if batch.attempts:
                self._running.append(batch)
            else:
                self._notes.ended(batch)
        in_flight = [attempt for batch in self._running for attempt in batch.attempts.values()]
        self.replies.load(in_flight={attempt.name for attempt in in_flight})
        ledger.reserved = Usage.total(attempt.most for attempt in in_flight)

    def _tell(self, key: str, result: Result) -> None:
        for index in self._indices.get(key, ()):
            if index not in self._results:
                self._results[index] = result
                self._on_reply(index, result)

    async def _ask_api(self, on_note: Callable[[str], None]) -> None:
        self.replies.key = read_key(self.endpoint)
        calls = Calls(self.endpoint, self.replies.key)
        api = batch_api(calls)
        try:
            for batch in [batch for batch in self._running if batch.id is None]:
                if not await self._find(api, batch):
                    self._was_not_made(batch)
            while True:
                await self._submit(api, calls)
                if not self._running:
                    return
                await self._look_at_all(api, on_note)
                if self._problem is not None:
                    raise self._problem
                if self._running:
                    await asyncio.sleep(self._poll_seconds)
        finally:
            await calls.close()

    # ---- making batches -----------------------------------------------------------------------------

    async def _submit(self, api: BatchApi, calls: Calls) -> None:
        """Send as many of those pending as the limits of the provider and the budget let."""
        while chunk := await self._chunk(api):
            await self._create(api, calls, chunk)

    async def _chunk(self, api: BatchApi) -> list[tuple[Wire, Usage]]:
        """Take from those pending what makes one batch, with what each can cost, which is reserved."""
        ledger, pending = self.replies.ledger, self._pending
        num = min(api.max_requests, self.endpoint.max_batch_requests or api.max_requests)
        chunk: list[tuple[Wire, Usage]] = []
        size = 0
        while pending and len(chunk) < num:
            asked = pending[0]
            length = len(asked.data) + FRAME_BYTES
            if length > api.max_bytes:
                self._tell(asked.key, ChatFailure(error=f"{self.name}: {length:,} bytes are too many for a batch"))
                pending.popleft()
                continue
            if size + length > api.max_bytes:
                break
            most = self.replies.most(asked, batch=True)
            # With batches running, what they turn out to cost less than feared makes room.
            if not ledger.fits(most) and (chunk or self._running):
                break
            await ledger.reserve(most)  # raises if nothing is reserved and it does not fit
            chunk.append((pending.popleft(), most))
            size += length
        return chunk

    async def _create(self, api: BatchApi, calls: Calls, chunk: list[tuple[Wire, Usage]]) -> None:
        """Make a batch, and be sure of it."""
        batch = Running(secrets.token_hex(8), time.time(), tuple(asked.key for asked, _ in chunk))
        self._notes.sending(batch)  # first: an attempt that no batch has would count as lost
        self._running.append(batch)
        for index, (asked, most) in enumerate(chunk):
            name = batch.line(index)
            batch.attempts[name] = self.replies.begin(asked, most, name)
        self.replies.journal.close()  # flushes: after a power cut, too, what was sent is known
        lines = [(name, attempt.asked.data) for name, attempt in batch.attempts.items()]
        for pause in (0.0, *CREATE_AGAIN_SECONDS):
            await asyncio.sleep(pause)
            try:
                batch.id = await api.create(batch.name, lines)
            except ChatError as error:  # which says that it was not made
                self._give_up(batch, str(error))
                raise
            if batch.id is not None:
                self._notes.is_there(batch)
            if batch.id is not None or await self._find(api, batch):
                say(f"{batch.id}: {len(lines):,} requests are with the provider; this command may be stopped")
                return
        where = f"{self.name} at {self.endpoint.url}"
        problem = f"{where}: {len(lines):,} requests made no batch; the last problem: {calls.last_problem}"
        self._give_up(batch, problem)
        raise UnavailableError(problem)

    async def _find(self, api: BatchApi, batch: Running) -> bool:
        """Look for a batch whose id we never heard, until it must be in the list if it is there."""
        for pause in (0.0, *FIND_AGAIN_SECONDS):
            if pause == max(FIND_AGAIN_SECONDS):
                say(f"{self.name}: waiting for a batch that may have been made to appear in the provider's list")
            await asyncio.sleep(pause)
            batch.id = await api.find(batch.name, batch.at, len(batch.keys), self._notes.known)
            if batch.id is not None:
                batch.was_found = True
                self._notes.is_there(batch)
                return True
        return False

    def _was_not_made(self, batch: Running) -> None:
        """Ask for the requests of a batch that is not there as if they had never been sent."""
        asked = [attempt.asked for attempt in batch.attempts.values()]
        self._give_up(batch, "the batch was not made")
        self._pending.extend(one for one in asked if one.key in self._indices)

    def _give_up(self, batch: Running, why: str) -> None:
        for attempt in batch.attempts.values():
            self.replies.fail(attempt, why)
        self._end(batch)

    def _end(self, batch: Running) -> None:
        self.replies.journal.close()  # flushes: the note must not be on the disk before what it is about
        self._running.remove(batch)
        self._notes.ended(batch)

    # ---- what comes back ----------------------------------------------------------------------------

    async def _look_at_all(self, api: BatchApi, on_note: Callable[[str], None]) -> None:
        """Collect the batches that have ended; a problem with one is no reason to leave the others."""
        done = 0
        for batch in list(self._running):
            assert batch.id is not None
            try:
                look = await api.look(batch.id)
                if look.has_ended:
                    await self._ended(api, batch, look)
                else:
                    done += look.num_done
            except UnknownModelError as error:
                self._problem = UnknownModelError(
                    f"{error}. To give up what is in flight and ask again, delete {self._notes.path}"
                )
        if self._running:
            total = sum(len(batch.keys) for batch in self._running)
            on_note(f"{done:,} of {total:,} in {len(self._running)} batches done at the provider")

    async def _ended(self, api: BatchApi, batch: Running, look: Look) -> None:
        if not look.failure:
            await self._collect(api, batch, look)
            return
        self._give_up(batch, look.failure)
        self._problem = RequestError(
            f"{self.name}: the provider refused batch {batch.id} as a whole: {look.failure}. Nothing of it was paid; "
            "if it was too large, set max_batch_requests of this endpoint"
        )

    async def _collect(self, api: BatchApi, batch: Running, look: Look) -> None:
        """Settle every request of a batch that has ended."""
        assert batch.id is not None
        for pause in (0.0, *DOWNLOAD_AGAIN_SECONDS):
            if pause:
                await asyncio.sleep(pause)
                look = await api.look(batch.id)
            is_whole, is_foreign = await self._read_results(api, batch, look)
            if is_foreign:  # somebody else's, made at the same time and as large; ours may be there all the same
                batch.id, batch.was_found = None, False
                if not await self._find(api, batch):
                    self._was_not_made(batch)
                return
            if not batch.attempts:
                break
        if batch.attempts and not is_whole and not look.was_cut:
            raise UnavailableError(
                f"{self.name}: batch {batch.id} has ended, but its results cannot be read; the same command "
                f"downloads them again. To give it up and ask again, delete {self._notes.path}"
            )
        for attempt in batch.attempts.values():
            why = "not among the results of its batch"
            (self.replies.fail if look.was_cut else self.replies.lose)(attempt, why)
            self._again(attempt.asked, why)
        self._end(batch)

    async def _read_results(self, api: BatchApi, batch: Running, look: Look) -> tuple[bool, bool]:
        """Settle what is among the results; return whether there was any, and whether it is another's batch."""
        num = 0
        async for name, outcome in api.results(look):
            if batch.was_found and not batch.owns(name):
                return True, True
            num += 1
            attempt = batch.attempts.pop(name, None)
            if attempt is not None:
                self._settle(attempt, outcome)
            if num % _LOOK_UP_EVERY == 0:  # a large batch takes seconds; Ctrl-C should not
                await asyncio.sleep(0)
        return num > 0, False

    def _settle(self, attempt: Attempt, outcome: Outcome) -> None:
        asked = attempt.asked
        if outcome.kind == "reply":
            reply = self.replies.keep(attempt, outcome.body, batch=True)
            if reply is not None:
                self._tell(asked.key, reply)
            else:
                self._again(asked, "a body that is not a chat completion")
            return
        self.replies.fail(attempt, outcome.why)
        if outcome.kind == "again":
            self._again(asked, outcome.why)
        elif outcome.error is RequestError:
            self._tell(asked.key, ChatFailure(error=f"{self.name}, in a batch: {outcome.why}"))
        else:
            self._problem = outcome.error(f"{self.name}, in a batch: {outcome.why}")

    def _again(self, asked: Wire, why: str) -> None:
        """Ask once more, unless that was done often enough."""
        tries = self._tries[asked.key] = self._tries.get(asked.key, 0) + 1
        if tries <= self.endpoint.max_retries and asked.key in self._indices:
            self._pending.append(asked)
        else:
            self._tell(asked.key, ChatFailure(error=f"{self.name}: {tries} batches failed; the last: {why}"))
