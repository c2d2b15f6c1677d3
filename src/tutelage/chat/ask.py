"""Many requests at once: in order, bounded, and stopped early when going on would be no use."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from tutelage.chat.protocol import ChatFailure, ChatReply, ChatRequest, Client
from tutelage.errors import RequestError, UnavailableError

MAX_TASKS = 1024
"""Most requests looked at together. How many of them are in flight is the client's own limit."""

MAX_CONSECUTIVE_FAILURES = 10

Result = ChatReply | ChatFailure
OnReply = Callable[[int, Result], None]


async def ask_all(
    client: Client,
    requests: Sequence[ChatRequest],
    on_reply: OnReply | None = None,
    *,
    max_consecutive_failures: int = MAX_CONSECUTIVE_FAILURES,
) -> list[Result]:
    """Ask all `requests` and return what came of each, in the same order.

    Args:
        client: who is asked. It is not closed.
        requests: what is asked.
        on_reply: called as (index, reply or failure) as soon as each is there; in no particular order.
        max_consecutive_failures: stop after so many failures with no new reply in between.

    Raises:
        AuthenticationError, UnknownModelError, QuotaError: at once; no request can succeed.
        RequestError, UnavailableError: the last of too many consecutive failures. One alone becomes a
            `ChatFailure`.
        ConfigError, StoreError: at once; see the client.
    """
    asking = _Asking(client, requests, on_reply, max_consecutive_failures)
    workers = [asyncio.create_task(asking.work()) for _ in range(min(MAX_TASKS, len(requests)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [result for result in asking.results if result is not None]


class _Asking:
    """What the workers of one `ask_all` share."""

    def __init__(
        self, client: Client, requests: Sequence[ChatRequest], on_reply: OnReply | None, max_failures: int
    ) -> None:
        self.client, self.requests, self.on_reply, self.max_failures = client, requests, on_reply, max_failures
        self.results: list[Result | None] = [None] * len(requests)
        self.indices = iter(range(len(requests)))
        self.num_failures = 0
        self.stopped = False

    async def work(self) -> None:
        """Take requests until there are none."""
        try:
            for index in self.indices:
                # Replies from a journal come without any waiting; the loop must still notice Ctrl-C.
                await asyncio.sleep(0)
                if self.stopped:
                    return
                self.results[index] = result = await self._one(index)
                if self.on_reply is not None:
                    self.on_reply(index, result)
        except BaseException:
            self.stopped = True  # before the others are cancelled, which takes the loop a few rounds
            raise

    async def _one(self, index: int) -> Result:
        try:
            reply = await self.client.complete(self.requests[index])
        except (RequestError, UnavailableError) as error:
            self.num_failures += 1
            if self.num_failures >= self.max_failures:
                raise
            return ChatFailure(error=str(error))
        # A reply from a journal says nothing of how the server is now.
        self.num_failures = self.num_failures if reply.cached else 0
        return reply


def ask(client: Client, requests: Sequence[ChatRequest], on_reply: OnReply | None = None) -> list[Result]:
    """Run `ask_all` to its end and close the client; for callers that have no event loop.

    Ctrl-C raises KeyboardInterrupt promptly. Every reply received by then is in the client's journal, so
    the same call again goes on from there.

    Raises:
        See `ask_all`.
    """

    async def run() -> list[Result]:
        try:
            return await ask_all(client, requests, on_reply)
        finally:
            await client.close()

    return asyncio.run(run())
