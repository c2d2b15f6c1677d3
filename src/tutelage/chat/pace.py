"""How fast one client asks: how many at once, how many a minute, and pauses that hold for all its requests.

How many at once is found out: it doubles with every round of replies until the server first says that it is too
much (429, 503, 529), halves then, and rises by a twentieth a round from there (AIMD, as TCP has it).
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any

from tutelage.chat.endpoint import Endpoint
from tutelage.chat.protocol import StoppedError

_FIRST_LIMIT = 32
_RISE = 0.05
_STRAY_SHARE = 0.3
"""Below this share of the last answers a 429 is a stray: that request waits, and nobody else does."""

_LAST_ANSWERS = 16
"""About how many answers that share is of."""

_SLACK_SECONDS = 0.25
"""Requests that a busy moment held back this long may leave together; a server's own bucket is as deep."""

_OF_THE_LIMIT = 0.98
"""A limit per minute is used to this part: clocks differ, and a request that is refused counts too."""


class _Bucket:
    """A limit per minute, as the time at which the next unit is due."""

    def __init__(self, per_minute: float) -> None:
        self._seconds = 60.0 / (per_minute * _OF_THE_LIMIT)
        self.due = 0.0

    def take(self, now: float, num: float) -> None:
        self.due = max(self.due, now - _SLACK_SECONDS) + num * self._seconds

    def give_back(self, num: float) -> None:
        self.due -= num * self._seconds


@dataclass
class Turn:
    """Leave to send one request."""

    tokens: float
    started: float


_Waiter = tuple[asyncio.Future[Turn], float]
"""Who waits for a turn, and about how many tokens the request will take."""


class Pace:
    """The pace of one client within one event loop: `turn = await pace.enter(..)`, send, `pace.leave(turn, ..)`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._loop = asyncio.get_running_loop()
        self._most = endpoint.max_concurrency
        self._limit = float(min(self._most, _FIRST_LIMIT))
        self._requests = _Bucket(endpoint.requests_per_minute) if endpoint.requests_per_minute else None
        self._tokens = _Bucket(endpoint.tokens_per_minute) if endpoint.tokens_per_minute else None
        self._paused_until = 0.0
        self._cut_at: float | None = None
        self._refusals = _STRAY_SHARE  # of the last answers; before the first one there is no sign of a stray
        self._waiting: deque[_Waiter] = deque()
        self._retrying: deque[_Waiter] = deque()
        """Those who go before all who wait; in their own order, so that none of them is passed over for ever."""
        self._sleeping: set[asyncio.Future[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self.in_flight = 0

    @property
    def limit(self) -> int:
        """How many requests may be in flight at once, for now."""
        return int(self._limit)

    async def enter(self, tokens: float, at_once: bool = False) -> Turn:
        """Wait until one more request may leave, one that costs about `tokens` (input and output).

        `at_once` goes before all who wait: a request that failed is not to queue behind a thousand new ones.

        Raises:
            StoppedError: `stop` was called first.
        """
        if self._stopped:
            raise StoppedError
        before_us = self._retrying or (self._waiting and not at_once)
        if not before_us and self._wait_seconds() <= 0 and self.in_flight < self.limit:
            return self._start(tokens)
        future: asyncio.Future[Turn] = self._loop.create_future()
        (self._retrying if at_once else self._waiting).append((future, tokens))
        self._wake()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                if self._requests is not None:  # it never left
                    self._requests.give_back(1)
                self.leave(future.result(), 0.0)
            raise

    def leave(self, turn: Turn, used_tokens: float) -> None:
        """Give the turn back; `used_tokens` is what it really cost."""
        self.in_flight -= 1
        if self._tokens is not None:
            self._tokens.give_back(turn.tokens - used_tokens)
        self._wake()

    def replied(self) -> None:
        """Take notice of a reply: there may be room for more."""
        self._refusals -= self._refusals / _LAST_ANSWERS
        by = 1.0 if self._cut_at is None else max(1.0 / self._limit, _RISE)
        self._limit = min(float(self._most), self._limit + by)

    def refused(self, turn: Turn, seconds: float) -> float:
        """Take notice that the server says it is too much; requests that left together count as one.

        Args:
            turn: of the request that was refused.
            seconds: how long the server asks to wait.

        Returns:
            How long this request is to wait by itself: nothing, if all do.
        """
        self._refusals += (1.0 - self._refusals) / _LAST_ANSWERS
        if self._refusals < _STRAY_SHARE:
            return seconds
        self.pause(seconds)
        if self._cut_at is None or turn.started >= self._cut_at:
            self._cut_at = self._loop.time()
            self._limit = max(1.0, self._limit / 2)
        return 0.0

    def pause(self, seconds: float) -> None:
        """Let no request start for `seconds` from now, whichever task it belongs to."""
        self._paused_until = max(self._paused_until, self._loop.time() + seconds)

    async def sleep(self, seconds: float) -> None:
        """Wait before another attempt.

        Raises:
            StoppedError: `stop` was called first, or meanwhile.
        """
        if self._stopped:
            raise StoppedError
        waiting: asyncio.Future[None] = self._loop.create_future()
        self._sleeping.add(waiting)
        timer = self._loop.call_later(seconds, _release, waiting)
        try:
            await waiting
        finally:
            timer.cancel()
            self._sleeping.discard(waiting)

    def stop(self) -> None:
        """Let nothing further start; whoever waits for it is told at once."""
        self._stopped = True
        waiting = [future for future, _ in (*self._retrying, *self._waiting)]
        futures: list[asyncio.Future[Any]] = [*self._sleeping, *waiting]
        for future in futures:
            if not future.done():
                future.set_exception(StoppedError())
        self._retrying.clear()
        self._waiting.clear()

    def _start(self, tokens: float) -> Turn:
        now = self._loop.time()
        self.in_flight += 1
        if self._requests is not None:
            self._requests.take(now, 1)
        if self._tokens is not None:
            self._tokens.take(now, tokens)
        return Turn(tokens, now)

    def _wait_seconds(self) -> float:
        """How long until time allows another start; not more than 0 means now."""
        due = self._paused_until
        for bucket in (self._requests, self._tokens):
            if bucket is not None:
                due = max(due, bucket.due)
        return due - self._loop.time()

    def _wake(self) -> None:
        """Let those start that may."""
        while (queue := self._retrying or self._waiting) and self.in_flight < self.limit:
            seconds = self._wait_seconds()
            if seconds > 0:
                self._wake_in(seconds)
                return
            future, tokens = queue.popleft()
            if not future.done():
                future.set_result(self._start(tokens))

    def _wake_in(self, seconds: float) -> None:
        when = self._loop.time() + seconds
        if self._timer is not None and self._timer.when() <= when:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._wake()


def _release(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
