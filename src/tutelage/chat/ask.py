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
    results: list[Result | None] = [None] * len(requests)
    indices = iter(range(len(requests)))
    num_failures = 0
    stopped = False

    async def one(index: int) -> Result:
        nonlocal num_failures
        try:
            reply = await client.complete(requests[index])
        except (RequestError, UnavailableError) as error:
            num_failures += 1
            if num_failures >= max_consecutive_failures:
                raise
            return ChatFailure(error=str(error))
        # A reply from a journal says nothing of how the server is now.
        num_failures = num_failures if reply.cached else 0
        return reply

    async def worker() -> None:
        nonlocal stopped
        try:
            for index in indices:
                # Replies from a journal come without any waiting; the loop must still notice Ctrl-C.
                await asyncio.sleep(0)
                if stopped:
                    return
                results[index] = result = await one(index)
                if on_reply is not None:
                    on_reply(index, result)
        except BaseException:
            stopped = True  # before the others are cancelled, which takes the loop a few rounds
            raise

    workers = [asyncio.create_task(worker()) for _ in range(min(MAX_TASKS, len(requests)))]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return [result for result in results if result is not None]


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
