"""A model behind an API, as a `Client`: asks, retries, and never pays twice for a reply it has."""

from __future__ import annotations

import asyncio
import difflib
import random
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from tutelage.chat.endpoint import Endpoint, key_hint, read_key
from tutelage.chat.faults import (
    cause,
    clean,
    may_be_billed,
    model_names,
    retry_after,
    says_slow_down,
    server_message,
    wants_retry,
)
from tutelage.chat.ledger import Budget
from tutelage.chat.pace import Pace, Turn
from tutelage.chat.protocol import ChatReply, ChatRequest
from tutelage.chat.providers import Wire, ask_url, wire
from tutelage.chat.replies import AskAgain, Replies
from tutelage.errors import AuthenticationError, RequestError, UnavailableError, UnknownModelError
from tutelage.records import Bill

if TYPE_CHECKING:  # aiohttp takes a third of a second to import; a run that finds all it asks does without
    from tutelage.chat.platforms import SdkTransport
    from tutelage.chat.transport import HttpReply, Transport

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0
LONGEST_RETRY_AFTER_SECONDS = 120.0
"""A server that asks for a longer wait than this is given up on, so that a person can decide."""


@dataclass
class _Problems:
    """What went wrong with one request so far. Being told to slow down (429) is no fault of the request."""

    num: int = 0
    num_faults: int = 0
    last: str = ""
    wait: float = 0.0
    """How long the server asked this request, and nobody else, to wait."""

    def add(self, what: str, is_pause: bool = False) -> str:
        self.wait = 0.0
        self.num += 1
        self.num_faults += not is_pause
        self.last = what
        return what


class HttpClient:
    """Asks `endpoint`; every reply is durable in the journal before anything reads it.

    A request whose reply is in the journal is answered from there, with `cached=True`, the usage it had
    when it was paid for, and without needing a key or a server. The same request asked twice at once is
    sent once. A client can be used again after `close`, also in another event loop.

    Args:
        endpoint: the model, and how it is reached.
        journal_path: the file that keeps the replies; several processes may share it.
        payer: whose account the requests go on (an artifact's fingerprint); see `bill`.
        budget: where to stop, over all runs of this payer.
        ask_again: replies in these states are not taken from the journal, but asked for once more.
        first_pause_seconds: about how long to wait before the first retry; doubles with each further one.

    Raises:
        ConfigError: a budget in dollars for a model whose price is unknown.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        journal_path: Path | str,
        *,
        payer: str = "",
        budget: Budget | None = None,
        ask_again: Collection[AskAgain] = (),
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self.name = endpoint.model
        self.endpoint = endpoint
        self.replies = Replies(endpoint, journal_path, payer, budget or Budget(), ask_again)
        self._first_pause = first_pause_seconds
        self._jitter = random.Random()  # its own: retries must not shift anybody's seeded draws
        self._transport: Transport | SdkTransport | None = None
        self._pace: Pace | None = None
        self._has_answered = self._is_stopped = False
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Answer `request`, from the journal if its reply is there.

        Raises:
            AuthenticationError: the key's variable is not set, or the server refuses the key.
            UnknownModelError: the server does not know the model or the path.
            QuotaError: no credit left.
            BudgetError: the reply could cost more than what is left of the budget.
            RequestError: the server refuses this request.
            UnavailableError: nothing listens, every retry failed, or the server asks for too long a wait.
            ConfigError: the Anthropic API, or any with a budget, is asked without `max_tokens`; or the model
                is asked for what it does not offer.
            StoppedError: `stop` was called before it left.
            StoreError: the journal cannot be read or written.
        """
        asked = wire(self.endpoint, request)
        self.replies.load()
        lock = self._asking.setdefault(asked.key, asyncio.Lock())
        async with lock:
            return self.replies.recall(asked) or await self._ask(asked)

    def stop(self) -> int:
        """Let no further request leave; those in flight are still answered. Return how many those are."""
        self._is_stopped = True
        self.replies.ledger.stop()
        if self._pace is None:
            return 0
        self._pace.stop()
        return self._pace.in_flight

    async def close(self) -> None:
        """Release connections and flush the journal."""
        transport, self._transport, self._pace = self._transport, None, None
        if transport is not None:
            await transport.close()
        self.replies.journal.close()

    def bill(self) -> Bill:
        """Return what was spent on the payer's account, in this run and before."""
        return self.replies.ledger.bill()

    # ---- asking -------------------------------------------------------------------------------------

    async def _ask(self, asked: Wire) -> ChatReply:
        transport, pace = self._connected()
        now = asyncio.get_running_loop().time
        deadline: float | None = None
        problems = _Problems()
        while problems.num_faults <= self.endpoint.max_retries and (deadline is None or now() < deadline):
            if problems.num:
                await pace.sleep(max(problems.wait, self._backoff(problems.num)))
            turn = await pace.enter(asked.about, at_once=problems.num > 0)
            deadline = deadline or turn.started + self.endpoint.deadline_seconds
            used = 0
            try:
                reply = await self._attempt(transport, pace, turn, asked, problems)
                used = reply.usage.tokens if reply else 0
            finally:
                pace.leave(turn, used)
            if reply is not None:
                pace.replied()
                return reply
        raise UnavailableError(f"{self._where()}: {problems.num} attempts failed; the last: {problems.last}")

    async def _attempt(
        self, transport: Transport | SdkTransport, pace: Pace, turn: Turn, asked: Wire, problems: _Problems
    ) -> ChatReply | None:
        """Ask once. Return the reply, or None if another attempt may bring one."""
        from tutelage.chat.transport import LostError, UnreachableError

        most = self.replies.most(asked)
        await self.replies.ledger.reserve(most)
        attempt = self.replies.begin(asked, most)
        try:
            answer = await transport.post(asked.data)
        except LostError as error:
            self.replies.lose(attempt, problems.add(clean(str(error), self.replies.key)))
            return None
        except UnreachableError as error:
            self.replies.fail(attempt, problems.add(clean(str(error), self.replies.key)))
            if self._has_answered:  # it was there: it may be starting again
                return None
            raise UnavailableError(f"{error.what} at {self.endpoint.url} ({problems.last}); {error.hint}") from None
        except BaseException:
            self.replies.lose(attempt, "cancelled")
            raise
        self._has_answered = True
        if answer.status == 200:
            reply = self.replies.keep(attempt, answer.body)
            if reply is None:
                problems.add("HTTP 200 with a body that is not a chat completion")
            return reply
        said = f"HTTP {answer.status}: {server_message(answer.body, self.replies.key) or 'no message'}"
        (self.replies.lose if may_be_billed(answer.status) else self.replies.fail)(attempt, said)
        await self._check_refusal(transport, answer, said)
        problems.add(said, is_pause=answer.status == 429)
        seconds = retry_after(answer.headers) or 0.0
        problems.wait = pace.refused(turn, seconds) if says_slow_down(answer.status) else seconds
        return None

    async def _check_refusal(self, transport: Transport | SdkTransport, answer: HttpReply, said: str) -> None:
        """Raise what a refusal means, unless another attempt may pass."""
        error_class = cause(answer.status, answer.body, wants_retry(answer.headers))
        if error_class is AuthenticationError:
            raise AuthenticationError(f"{self._where()}: {said}; {key_hint(self.endpoint)}")
        if error_class is UnknownModelError:
            raise UnknownModelError(f"{self._where()}: {said}; {await self._model_hint(transport)}")
        if error_class is RequestError and 300 <= answer.status < 400:
            raise RequestError(f"{self._where()}: {said}; the server sends us elsewhere: check base_url")
        if error_class is not None:
            raise error_class(f"{self._where()}: {said}")
        seconds = retry_after(answer.headers) or 0.0
        if seconds > LONGEST_RETRY_AFTER_SECONDS:
            raise UnavailableError(
                f"{self._where()}: {said}; it asks to wait {seconds:.0f} s (Retry-After), longer than the "
                f"{LONGEST_RETRY_AFTER_SECONDS:.0f} s that are waited; run again later, replies are kept"
            )

    def _backoff(self, attempt: int) -> float:
        pause = min(self._first_pause * 2.0 ** min(attempt - 1, 30), LONGEST_PAUSE_SECONDS)
        return pause * self._jitter.uniform(0.5, 1.5)

    def _connected(self) -> tuple[Transport | SdkTransport, Pace]:
        if self._transport is None or self._pace is None:
            self._pace = Pace(self.endpoint)
            if self._is_stopped:
                self._pace.stop()
            if self.endpoint.platform is not None:
                from tutelage.chat.platforms import SdkTransport

                self._transport = SdkTransport(self.endpoint.platform, self.endpoint, self._read_key())
            else:
                from tutelage.chat.transport import Transport

                self._transport = Transport(self.endpoint, self._read_key())
        return self._transport, self._pace

    def _read_key(self) -> str | None:
        self.replies.key = read_key(self.endpoint)
        return self.replies.key

    def _where(self) -> str:
        return f"{self.endpoint.model} at {ask_url(self.endpoint)}"

    async def _model_hint(self, transport: Transport | SdkTransport) -> str:
        names = model_names(await transport.models())
        model = self.endpoint.model
        if model in names:
            return "the server lists this model, so check base_url"
        if not names:
            usual = " (it usually ends in /v1)" if self.endpoint.provider == "openai" else ""
            return f"check the name of the model, and base_url{usual}"
        shown = names if len(names) <= 10 else difflib.get_close_matches(model, names, 5, 0.0)
        what = "it has" if len(names) <= 10 else f"the nearest of the {len(names)} it has"
        return clean(f"{what}: {', '.join(shown)}", self.replies.key)
