"""HTTP calls to a provider's batch API: what may be done twice is tried until it works, what may not be is not."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from tutelage.chat.endpoint import Endpoint, key_hint
from tutelage.chat.faults import cause, clean, retry_after, server_message
from tutelage.chat.providers import load_json
from tutelage.errors import AuthenticationError, RequestError, UnavailableError, UnknownModelError
from tutelage.progress import say

if TYPE_CHECKING:
    from tutelage.chat.transport import HttpReply

FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 60.0
_WORTH_A_WORD_SECONDS = 5.0
_SLOWEST_BYTES_PER_SECOND = 50_000
_LONGEST_CONNECT_SECONDS = 10.0
_OVERLOADED = 529

T = TypeVar("T")
Content = Callable[[], dict[str, Any]]
"""Makes what is sent, anew for every attempt: a form can be sent once."""

NO_BATCHES = (
    "mode=batch needs a provider with batches, and this address has none; leave mode=batch out to ask live, "
    "or check base_url"
)


def load(body: bytes) -> Any:
    """Parse the body of an answer.

    Raises:
        ValueError: it is not JSON.
    """
    return load_json(body.decode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came of one attempt: no whole reply, or one that does not end the matter unless its status is 200."""

    reply: HttpReply | None
    may_be_done: bool
    """True if the server may have done what was asked, although it does not say so."""


class Calls:
    """Calls to one endpoint, within one event loop.

    All raise `ChatError`s for what no further attempt can change, and `UnavailableError` when the endpoint's
    `deadline_seconds` are over.
    """

    def __init__(self, endpoint: Endpoint, key: str | None) -> None:
        from tutelage.chat.transport import Transport

        self.endpoint, self.key = endpoint, key
        self.last_problem = ""
        """In one line, without the key."""
        self._transport = Transport(endpoint, key)
        self._has_answered = False

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def get(self, path: str, read: Callable[[bytes], T], absent: str = NO_BATCHES) -> T:
        """Fetch something and `read` it.

        Args:
            absent: what to say if the server knows no such address.
        """
        return await self.send("GET", path, read, absent=absent)

    async def send(
        self,
        method: str,
        path: str,
        read: Callable[[bytes], T],
        content: Content = dict,
        size: int = 0,
        absent: str = NO_BATCHES,
    ) -> T:
        """Do something that may be done twice, and `read` the answer; one that cannot be read is asked for again."""
        started, garbled = time.monotonic(), 0
        for num in itertools.count():
            answer = await self._once(method, path, content, size, absent)
            if answer.reply is not None and answer.reply.status == 200:
                try:
                    return read(answer.reply.body)
                except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
                    garbled += 1
                    self.last_problem = clean(f"an answer that no batch API gives ({error!r})", self.key)
            if garbled > self.endpoint.max_retries:
                raise UnavailableError(
                    f"{self.where(path)}: {num + 1} attempts failed; the last: {self.last_problem}"
                )
            await self._pause(path, num, answer.reply, started)
        raise AssertionError  # for the type checker: the loop has no end

    async def make(self, path: str, read: Callable[[bytes], str], content: Content, size: int = 0) -> str | None:
        """Do something that is not to be done twice. None: it may be done, or not; see `last_problem`."""
        started = time.monotonic()
        for num in itertools.count():
            answer = await self._once("POST", path, content, size, NO_BATCHES)
            if answer.reply is not None and answer.reply.status == 200:
                try:
                    return read(answer.reply.body)
                except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
                    self.last_problem = clean(f"an answer that no batch API gives ({error!r})", self.key)
                    return None
            if answer.may_be_done:
                return None
            await self._pause(path, num, answer.reply, started)
        raise AssertionError

    async def _once(self, method: str, path: str, content: Content, size: int, absent: str) -> _Answer:
        from tutelage.chat.transport import LostError, UnreachableError

        url = self.endpoint.url + path
        try:
            reply = await self._transport.request(method, url, timeout=self._timeout(method, size), **content())
        except LostError as error:
            self.last_problem = clean(str(error), self.key)
            return _Answer(None, may_be_done=True)
        except UnreachableError as error:
            self.last_problem = clean(str(error), self.key)
            if not self._has_answered:
                raise UnavailableError(
                    f"nothing answers at {self.endpoint.url} ({self.last_problem}); check the network and base_url"
                ) from None
            return _Answer(None, may_be_done=False)
        self._has_answered = True
        if reply.status != 200:
            self.last_problem = f"HTTP {reply.status}: {server_message(reply.body, self.key) or 'no message'}"
            self._check_refusal(path, reply, absent)
        return _Answer(reply, may_be_done=reply.status >= 500 and reply.status != _OVERLOADED)

    def _check_refusal(self, path: str, reply: HttpReply, absent: str) -> None:
        error_class = cause(reply.status, reply.body)
        if error_class is None:
            return
        hint = ""
        if error_class is AuthenticationError:
            hint = f"; {key_hint(self.endpoint)}"
        elif error_class is UnknownModelError:
            hint = f"; {absent}"
        elif error_class is RequestError and 300 <= reply.status < 400:
            hint = "; the server sends us elsewhere: check base_url"
        raise error_class(f"{self.where(path)}: {self.last_problem}{hint}")

    async def _pause(self, path: str, num: int, reply: HttpReply | None, started: float) -> None:
        """Wait before the next attempt, at least as long as the server asks for.

        Raises:
            UnavailableError: that would be past the deadline.
        """
        asked_for = (retry_after(reply.headers) if reply is not None else None) or 0.0
        seconds = max(asked_for, min(FIRST_PAUSE_SECONDS * 2.0 ** min(num, 30), _LONGEST_PAUSE_SECONDS))
        if time.monotonic() + seconds - started > self.endpoint.deadline_seconds:
            wait = f"; it asks to wait {asked_for:.0f} s" if asked_for else ""
            raise UnavailableError(
                f"{self.where(path)}: {num + 1} attempts failed; the last: {self.last_problem}{wait}. Batches that "
                "were made go on at the provider; the same command collects them"
            )
        if seconds >= _WORTH_A_WORD_SECONDS:
            say(f"{self.where(path)}: {self.last_problem}; the next attempt is in {seconds:.0f} s")
        await asyncio.sleep(seconds)

    def _timeout(self, method: str, size: int) -> Any:
        """Return aiohttp's time limits: for the silence of the server, and for a large body's way up."""
        import aiohttp

        silence = self.endpoint.timeout_seconds
        return aiohttp.ClientTimeout(
            total=None if method == "GET" else silence + size / _SLOWEST_BYTES_PER_SECOND,
            sock_connect=min(silence, _LONGEST_CONNECT_SECONDS),
            sock_read=silence,
        )

    def where(self, path: str) -> str:
        """Say who was asked, for a message."""
        return f"{self.endpoint.model} at {self.endpoint.url}{path.partition('?')[0]}"
