"""A model behind an API, as a `Client`: asks, retries, and never pays twice for a reply it has."""

from __future__ import annotations

import asyncio
import difflib
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from tutelage.chat.endpoint import Endpoint, read_key
from tutelage.chat.faults import cause, clean, model_names, retry_after, server_message
from tutelage.chat.journal import Journal
from tutelage.chat.protocol import ChatReply, ChatRequest
from tutelage.chat.providers import (
    Body,
    NotAReplyError,
    ask_url,
    read_reply,
    sent_sampling,
    wire_body,
    wire_key,
)
from tutelage.errors import AuthenticationError, RequestError, UnavailableError, UnknownModelError

if TYPE_CHECKING:  # aiohttp takes a third of a second to import; a run that finds all it asks does without
    from tutelage.chat.transport import HttpReply, Transport

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0
LONGEST_RETRY_AFTER_SECONDS = 120.0
"""A server that asks for a longer wait than this is given up on, so that a person can decide."""

_SHORTEST_SECRET = 16
"""Shorter keys are no secrets ("EMPTY", "ollama"), and may well occur in a completion."""


class HttpClient:
    """Asks `endpoint`; every reply is durable in the journal before anything reads it.

    A request whose reply is in the journal is answered from there, with `cached=True`, the usage it had
    when it was paid for, and without needing a key or a server. The same request asked twice at once is
    sent once. A client can be used again after `close`, also in another event loop.

    Args:
        endpoint: the model, and how it is reached.
        journal_path: the file that keeps the replies; several processes may share it.
        first_pause_seconds: about how long to wait before the first retry; doubles with each further one.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        journal_path: Path | str,
        *,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self.name = endpoint.model
        self.endpoint = endpoint
        self.journal = Journal(journal_path)
        self._first_pause = first_pause_seconds
        self._jitter = random.Random()  # its own: retries must not shift anybody's seeded draws
        self._key: str | None = None
        self._transport: Transport | None = None
        self._has_answered = False
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Answer `request`, from the journal if its reply is there.

        Raises:
            AuthenticationError: the key's variable is not set, or the server refuses the key.
            UnknownModelError: the server does not know the model or the path.
            QuotaError: no credit left.
            RequestError: the server refuses this request.
            UnavailableError: nothing listens, every retry failed, or the server asks for too long a wait.
            ConfigError: the Anthropic API is asked without `max_tokens`.
            StoreError: the journal cannot be read or written.
        """
        body = wire_body(self.endpoint, request)
        key = wire_key(self.endpoint, body, request)
        lock = self._asking.setdefault(key, asyncio.Lock())
        async with lock:
            return self._recall(key, body, cached=True) or await self._ask(key, body)

    async def close(self) -> None:
        """Release connections and flush the journal."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.close()
        self.journal.close()

    def _recall(self, key: str, body: Body, cached: bool) -> ChatReply | None:
        """Return the first reply in the journal that can be read; the first, so that it stays the same."""
        for raw in self.journal.replies(key):
            try:
                return read_reply(self.endpoint.provider, raw, sent_sampling(body), cached)
            except NotAReplyError:
                continue
        return None

    async def _ask(self, key: str, body: Body) -> ChatReply:
        data = json.dumps(body, ensure_ascii=False).encode("utf-8")
        problem = ""
        for attempt in range(self.endpoint.max_retries + 1):
            if attempt:
                await asyncio.sleep(self._backoff(attempt))
            problem = await self._attempt(key, data)
            if not problem:
                reply = self._recall(key, body, cached=False)
                if reply is not None:
                    return reply
                problem = "HTTP 200 with a body that is not a chat completion"
        raise UnavailableError(
            f"{self._where()}: {self.endpoint.max_retries + 1} attempts failed; the last: {problem}"
        )

    def _backoff(self, attempt: int) -> float:
        pause = min(self._first_pause * 2.0 ** min(attempt - 1, 30), LONGEST_PAUSE_SECONDS)
        return pause * self._jitter.uniform(0.5, 1.5)

    async def _attempt(self, key: str, data: bytes) -> str:
        """Ask once. Return '' if a reply is in the journal now, or what went wrong if it may pass."""
        from tutelage.chat.transport import LostError, UnreachableError

        transport = self._connected()
        try:
            reply = await transport.post(data)
        except LostError as error:
            return clean(str(error), self._key)
        except UnreachableError as error:
            if self._has_answered:  # it was there: it may be starting again
                return clean(str(error), self._key)
            raise UnavailableError(
                f"nothing answers at {self.endpoint.url} ({clean(str(error), self._key)}); "
                "start the server, or check base_url"
            ) from None
        self._has_answered = True
        if reply.status == 200:
            self.journal.append(key, self._without_key(reply.body))
            return ""
        error_class = cause(reply.status, reply.body)
        said = f"HTTP {reply.status}: {server_message(reply.body, self._key) or 'no message'}"
        if error_class is AuthenticationError:
            raise AuthenticationError(f"{self._where()}: {said}; {self._key_hint()}")
        if error_class is UnknownModelError:
            raise UnknownModelError(f"{self._where()}: {said}; {await self._model_hint(transport)}")
        if error_class is RequestError and 300 <= reply.status < 400:
            raise RequestError(f"{self._where()}: {said}; the server sends us elsewhere: check base_url")
        if error_class is not None:
            raise error_class(f"{self._where()}: {said}")
        self._wait_as_asked(transport, reply, said)
        return said

    def _connected(self) -> Transport:
        if self._transport is None:
            from tutelage.chat.transport import Transport

            self._key = read_key(self.endpoint)
            self._transport = Transport(self.endpoint, self._key)
        return self._transport

    def _wait_as_asked(self, transport: Transport, reply: HttpReply, said: str) -> None:
        seconds = retry_after(reply.headers)
        if seconds is None:
            return
        if seconds > LONGEST_RETRY_AFTER_SECONDS:
            raise UnavailableError(
                f"{self._where()}: {said}; it asks to wait {seconds:.0f} s (Retry-After), longer than the "
                f"{LONGEST_RETRY_AFTER_SECONDS:.0f} s that are waited; run again later, replies are kept"
            )
        transport.pause(seconds)

    def _without_key(self, body: bytes) -> bytes:
        key = (self._key or "").encode("ascii")
        return body.replace(key, b"[key]") if len(key) >= _SHORTEST_SECRET else body

    def _where(self) -> str:
        return f"{self.endpoint.model} at {ask_url(self.endpoint)}"

    def _key_hint(self) -> str:
        name = self.endpoint.api_key_env
        if name is None:
            return "no key was sent; name the environment variable that holds it with api_key_env"
        return f"check the key in the environment variable {name}"

    async def _model_hint(self, transport: Transport) -> str:
        names = model_names(await transport.models())
        model = self.endpoint.model
        if model in names:
            return "the server lists this model, so check base_url"
        if not names:
            usual = " (it usually ends in /v1)" if self.endpoint.provider == "openai" else ""
            return f"check the name of the model, and base_url{usual}"
        shown = names if len(names) <= 10 else difflib.get_close_matches(model, names, 5, 0.0)
        what = "it has" if len(names) <= 10 else f"the nearest of the {len(names)} it has"
        return clean(f"{what}: {', '.join(shown)}", self._key)
