"""Many requests at once: in order, bounded, and stopped early when going on would be no use.

Stopping never throws away what is paid for: nothing further leaves, and what is in flight is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType

from tutelage.chat.protocol import ChatFailure, ChatReply, ChatRequest, Client, StoppedError
from tutelage.errors import RequestError, UnavailableError
from tutelage.garbage import rarer_collection
from tutelage.progress import say

MAX_TASKS = 1024
"""Most requests looked at together. How many of them are in flight is the client's own limit."""

MAX_CONSECUTIVE_FAILURES = 10

Result = ChatReply | ChatFailure
OnReply = Callable[[int, Result], None]


async def ask_each(
    client: Client,
    requests: Iterable[ChatRequest],
    on_reply: OnReply,
    *,
    max_consecutive_failures: int = MAX_CONSECUTIVE_FAILURES,
) -> None:
    """Ask all `requests`, drawn as they are needed, and hand on what came of each; nothing is kept here.

    On Ctrl-C and SIGTERM, and on an error that ends the run, no further request leaves and the replies in flight
    are waited for. A second Ctrl-C drops them.

    Args:
        client: who is asked. It is not closed; once stopped it stays so.
        requests: what is asked.
        on_reply: called as (index, reply or failure) as soon as each is there; in no particular order.
        max_consecutive_failures: stop after so many failures with no new reply in between.

    Raises:
        AuthenticationError, UnknownModelError, QuotaError, BudgetError: no further request can succeed.
        RequestError, UnavailableError: the last of too many consecutive failures. One alone becomes a
            `ChatFailure`.
        ConfigError, StoreError: see the client.
        KeyboardInterrupt: on a signal, once nothing is in flight any more.
    """
    asking = _Asking(client, requests, on_reply, max_consecutive_failures)
    with on_signal(asking.interrupt), rarer_collection():
        await asking.run()


async def ask_all(
    client: Client,
    requests: Sequence[ChatRequest],
    on_reply: OnReply | None = None,
    *,
    max_consecutive_failures: int = MAX_CONSECUTIVE_FAILURES,
) -> list[Result]:
    """Ask all `requests` and return what came of each, in the same order; see `ask_each`."""
    results: dict[int, Result] = {}

    def keep(index: int, result: Result) -> None:
        results[index] = result
        if on_reply is not None:
            on_reply(index, result)

    await ask_each(client, requests, keep, max_consecutive_failures=max_consecutive_failures)
    return [results[index] for index in range(len(requests))]


def ask(
    client: Client,
    requests: Sequence[ChatRequest],
    on_reply: OnReply | None = None,
    *,
    max_consecutive_failures: int = MAX_CONSECUTIVE_FAILURES,
) -> list[Result]:
    """Run `ask_all` to its end and close the client; for callers that have no event loop.

    Every reply received is in the client's journal whatever happens, so the same call again goes on from there.
    """

    async def run() -> list[Result]:
        try:
            return await ask_all(client, requests, on_reply, max_consecutive_failures=max_consecutive_failures)
        finally:
            await client.close()

    return asyncio.run(run())


class _Asking:
    """What the workers of one run share."""

    def __init__(self, client: Client, requests: Iterable[ChatRequest], on_reply: OnReply, max_failures: int) -> None:
        self.client, self.on_reply, self.max_failures = client, on_reply, max_failures
        self.num_workers = min(MAX_TASKS, len(requests)) if isinstance(requests, Sequence) else MAX_TASKS
        self.indexed = enumerate(requests)
        self.num_failures = 0
        self.error: BaseException | None = None
        self.workers: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        self.workers = [asyncio.create_task(self.work()) for _ in range(self.num_workers)]
        try:
            await asyncio.gather(*self.workers)
        except asyncio.CancelledError:
            if self.error is None:  # we ourselves are cancelled, not our workers by a second Ctrl-C
                raise
        finally:
            for task in self.workers:
                task.cancel()
            await asyncio.gather(*self.workers, return_exceptions=True)
        if self.error is not None:
            raise self.error

    async def work(self) -> None:
        """Take requests until there are none, or somebody stops."""
        try:
            for index, request in self.indexed:
                # Replies from a journal come without any waiting; the loop must still notice Ctrl-C.
                await asyncio.sleep(0)
                if self.error is not None:
                    return
                self.on_reply(index, await self.one(request))
        except StoppedError:
            return
        except Exception as error:
            self.stop(error)

    async def one(self, request: ChatRequest) -> Result:
        try:
            reply = await self.client.complete(request)
        except (RequestError, UnavailableError) as error:
            self.num_failures += 1
            if self.num_failures >= self.max_failures:
                raise
            return ChatFailure(error=str(error))
        # A reply from a journal says nothing of how the server is now.
        self.num_failures = self.num_failures if reply.cached else 0
        return reply

    def stop(self, error: BaseException) -> int:
        """End the run with `error` once nothing is in flight; return how many requests are."""
        self.error = self.error or error
        return self.client.stop()

    def interrupt(self) -> None:
        """Stop on the first call; on the second drop what is in flight too."""
        if isinstance(self.error, KeyboardInterrupt):
            for task in self.workers:
                task.cancel()
            return
        if num := self.stop(KeyboardInterrupt()):
            say(f"\nstopping: waiting for {num} replies in flight, which are paid for; again to drop them")


@contextlib.contextmanager
def on_signal(act: Callable[[], None]) -> Iterator[None]:
    """Call `act` in the event loop on Ctrl-C and SIGTERM; does nothing outside the main thread."""
    loop = asyncio.get_running_loop()

    def handler(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(act)

    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, handler)
    except ValueError:  # only the main thread may
        pass
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)
