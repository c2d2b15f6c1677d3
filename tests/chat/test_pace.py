"""How fast a client asks: what makes it faster, slower, and wait; on a clock of its own where time matters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from asking import MakeClient, Serve, question
from stub_server import StubServer, always
from tutelage.chat import ChatReply, Endpoint, ask, transport
from tutelage.chat.pace import Pace, Turn
from tutelage.chat.protocol import StoppedError
from tutelage.errors import UnavailableError

Result = TypeVar("Result")


class FakeTime(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer as soon as nothing else is left to do."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:
            self.now = max(self.now, self._scheduled[0]._when)
        super()._run_once()


def run(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run `work` on a loop with a clock of its own."""
    with asyncio.Runner(loop_factory=FakeTime) as runner:
        return runner.run(work())


def pace(**settings: Any) -> Pace:
    """Return a pace in the running loop."""
    return Pace(Endpoint(provider="openai", model="stub", base_url="http://localhost:1/v1", **settings))


async def burst(pace: Pace, num: int) -> list[Turn]:
    return [await pace.enter(1) for _ in range(num)]


def refuse(pace: Pace, turns: list[Turn]) -> None:
    for turn in turns:
        pace.leave(turn, 0)
        pace.refused(turn, 0.0)


def answer(pace: Pace, turns: list[Turn]) -> None:
    for turn in turns:
        pace.leave(turn, 1)
        pace.replied()


def queue(pace: Pace, names: str, at_once: bool = False) -> tuple[list[str], list[asyncio.Task[None]]]:
    """Let one task a letter wait for a turn; return who got one, in order, and the tasks."""
    order: list[str] = []

    async def wait(name: str) -> None:
        await pace.enter(1, at_once=at_once)
        order.append(name)

    return order, [asyncio.create_task(wait(name)) for name in names]


# ---- how many at once -------------------------------------------------------------------------------


def test_the_limit_doubles_with_every_round_of_replies_up_to_the_most() -> None:
    async def work() -> list[int]:
        p = pace(max_concurrency=100)
        limits = [p.limit]
        for _ in range(3):
            answer(p, await burst(p, p.limit))
            limits.append(p.limit)
        return limits

    assert run(work) == [32, 64, 100, 100]


def test_refusals_that_left_together_halve_the_limit_once_and_later_ones_again() -> None:
    async def work() -> list[int]:
        p = pace()
        limits = []
        for _ in range(3):
            turns = await burst(p, p.limit)
            await asyncio.sleep(0.1)
            refuse(p, turns)
            limits.append(p.limit)
        return limits

    assert run(work) == [16, 8, 4]


def test_after_the_first_refusal_the_limit_rises_slowly() -> None:
    async def work() -> tuple[int, int]:
        p = pace()
        refuse(p, await burst(p, 1))
        before = p.limit
        for _ in range(10):
            answer(p, await burst(p, p.limit))
        return before, p.limit

    before, after = run(work)
    assert before < after <= before * 1.1**10 + 1


def test_a_stray_refusal_among_many_replies_does_not_halve_the_limit() -> None:
    async def work() -> int:
        p = pace()
        turns = await burst(p, 20)
        answer(p, turns[:19])
        p.leave(turns[19], 0)
        assert p.refused(turns[19], 5.0) == 5.0  # it waits by itself
        await p.enter(1)  # and nobody else does
        return p.limit

    assert run(work) > 32


def test_refusals_among_few_replies_hold_back_everybody() -> None:
    async def work() -> float:
        p = pace()
        turns = await burst(p, 30)
        answer(p, turns[:24])
        waits = [p.refused(turn, 5.0) for turn in turns[24:]]
        assert waits[0] == 5.0
        assert waits[-1] == 0.0
        begin = asyncio.get_running_loop().time()
        await p.enter(1)
        return asyncio.get_running_loop().time() - begin

    assert 5 <= run(work) < 5.1


def test_the_limit_never_falls_below_one() -> None:
    async def work() -> int:
        p = pace()
        for _ in range(20):
            refuse(p, await burst(p, 1))
            await asyncio.sleep(1)
        return p.limit

    assert run(work) == 1


# ---- waiting ----------------------------------------------------------------------------------------


def test_a_pause_holds_back_everybody_and_the_longest_one_counts() -> None:
    async def work() -> tuple[float, int]:
        p = pace()
        begin = asyncio.get_running_loop().time()
        p.pause(5)
        p.pause(2)
        order, tasks = queue(p, "abcdef")
        await asyncio.sleep(4.9)
        early = len(order)
        await asyncio.gather(*tasks)
        return asyncio.get_running_loop().time() - begin, early

    seconds, early = run(work)
    assert early == 0
    assert 5 <= seconds < 5.1


def test_nobody_waits_for_ever_and_all_wait_in_their_order() -> None:
    async def work() -> list[str]:
        p = pace(max_concurrency=1)
        turn = await p.enter(1)
        order, tasks = queue(p, "abcdefgh")
        await asyncio.sleep(0)
        for _ in tasks:
            p.leave(turn, 1)
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        return order

    assert run(work) == list("abcdefgh")


def test_retries_go_before_those_that_wait_and_keep_their_own_order() -> None:
    async def work() -> list[str]:
        p = pace(max_concurrency=1)
        turn = await p.enter(1)
        order: list[str] = []

        async def wait(name: str) -> None:
            await p.enter(1, at_once=name.isupper())
            order.append(name)
            p.leave(turn, 1)

        tasks = [asyncio.create_task(wait(name)) for name in "abAcBC"]
        await asyncio.sleep(0)
        p.leave(turn, 1)
        await asyncio.gather(*tasks)
        return order

    assert run(work) == list("ABCabc")


def test_a_turn_that_is_cancelled_goes_to_the_next() -> None:
    async def work() -> tuple[list[str], int]:
        p = pace(max_concurrency=1, requests_per_minute=60)
        turn = await p.enter(1)
        order, tasks = queue(p, "abc")
        await asyncio.sleep(10)
        tasks[0].cancel()  # while it waits
        p.leave(turn, 1)  # which gives the turn to b,
        tasks[1].cancel()  # who goes before it can take it
        begin = asyncio.get_running_loop().time()
        await tasks[2]
        assert asyncio.get_running_loop().time() - begin < 0.1, "a request that never left was counted"
        return order, p.in_flight

    assert run(work) == (["c"], 1)


def test_stop_wakes_all_who_wait_or_sleep_and_lets_nobody_in() -> None:
    async def work() -> tuple[list[Any], float]:
        p = pace(max_concurrency=2)
        await burst(p, 2)
        begin = asyncio.get_running_loop().time()
        waiting = [
            asyncio.create_task(job)
            for job in (p.enter(1), p.enter(1, at_once=True), p.sleep(1000), p.sleep(2000), p.enter(1))
        ]
        await asyncio.sleep(1)
        p.stop()
        ends: list[Any] = await asyncio.gather(*waiting, return_exceptions=True)
        ends += await asyncio.gather(p.enter(1), p.sleep(1), return_exceptions=True)
        assert p.in_flight == 2
        return ends, asyncio.get_running_loop().time() - begin

    ends, seconds = run(work)
    assert [type(end) for end in ends] == [StoppedError] * 7
    assert seconds < 2


# ---- how many a minute ------------------------------------------------------------------------------


@pytest.mark.parametrize("latency", [0.01, 0.3])
def test_a_limit_on_requests_a_minute_is_kept_and_used(latency: float) -> None:
    starts: list[float] = []

    async def work() -> None:
        p = pace(requests_per_minute=600)
        loop = asyncio.get_running_loop()

        async def one() -> None:
            turn = await p.enter(1)
            starts.append(loop.time())
            await asyncio.sleep(latency)
            p.leave(turn, 1)

        await asyncio.gather(*[one() for _ in range(600)])

    run(work)
    assert 0.95 * 600 <= 60 * 600 / (starts[-1] - starts[0]) <= 600
    # Never more in a second than a server's bucket of one second lets pass at once, and what refills it.
    assert all(later - earlier >= 0.9 for earlier, later in zip(starts, starts[14:], strict=False))


def test_a_limit_on_tokens_a_minute_is_kept_by_what_was_really_used() -> None:
    async def work() -> float:
        p = pace(tokens_per_minute=60_000)
        loop = asyncio.get_running_loop()
        begin = loop.time()

        async def one() -> None:
            turn = await p.enter(2000)
            await asyncio.sleep(0.05)
            p.leave(turn, 1000)

        await asyncio.gather(*[one() for _ in range(60)])
        return loop.time() - begin

    # 60 requests of 1,000 tokens; feared were 2,000 each, which would have taken twice as long.
    assert 50 <= run(work) <= 75


def test_a_server_with_a_limit_a_minute_is_used_to_the_full_and_hardly_ever_refuses(
    serve: Serve, client: MakeClient
) -> None:
    server = serve(requests_per_minute=600, latency=0.02)
    begin = time.monotonic()
    replies = ask(client(server, requests_per_minute=600), [question(f"{i}") for i in range(60)])
    seconds = time.monotonic() - begin
    assert all(isinstance(reply, ChatReply) for reply in replies)
    share = 60 / (seconds * 10)
    print(f"{share:.3f} of the limit used, {server.rejected} of 60 refused")
    assert share >= 0.90  # the start and the end are part of it; see the clock above for the long run
    assert server.rejected <= 0.02 * 60


def test_tokens_a_minute_hold_requests_back(serve: Serve, client: MakeClient) -> None:
    server = serve()
    begin = time.monotonic()
    # About 80 tokens each, 50 of them feared and 44 of those given back.
    ask(client(server, tokens_per_minute=6000), [question(f"{i}") for i in range(60)])
    used = sum(server.billed_tokens())
    assert 0.5 < time.monotonic() - begin < 30
    assert used <= 60 * 10


# ---- servers that can take less than is asked -------------------------------------------------------


def test_a_server_that_takes_eight_at_once_is_found_out(serve: Serve, client: MakeClient) -> None:
    server = serve(max_in_flight=8, latency=0.02)
    replies = ask(client(server, max_concurrency=64), [question(f"{i}") for i in range(400)])
    assert all(isinstance(reply, ChatReply) for reply in replies)
    print(f"{server.rejected} of {sum(server.asked.values())} refused")
    # The first burst is 32; from then on a refusal every other round, to see whether there is more room by now.
    assert server.rejected <= 0.25 * 400


def test_requests_go_to_all_replicas_and_one_that_goes_down_loses_nothing(serve: Serve, client: MakeClient) -> None:
    first, second, third = servers = [serve(latency=0.01), StubServer(latency=0.01), serve(latency=0.01)]
    second.__enter__()
    asker = client(first, replicas=[second.openai_url, third.openai_url])
    seen = 0

    def on_reply(_index: int, _reply: object) -> None:
        nonlocal seen
        seen += 1
        if seen == 150:
            second.__exit__()

    replies = ask(asker, [question(f"{i}") for i in range(600)], on_reply)
    assert [r.text if isinstance(r, ChatReply) else r for r in replies] == [f"you said: {i}" for i in range(600)]
    shares = [sum(server.asked.values()) for server in servers]
    assert min(shares) >= 30
    assert min(shares[0], shares[2]) >= 150


def test_a_replica_that_refuses_at_once_does_not_draw_all_requests(serve: Serve, client: MakeClient) -> None:
    good, bad = serve(latency=0.05), serve(fault=always("server_error"))
    asker = client(good, replicas=[bad.openai_url], max_retries=3)
    replies = ask(asker, [question(f"{i}") for i in range(200)])
    assert all(isinstance(reply, ChatReply) for reply in replies)
    assert sum(bad.asked.values()) <= 100


@pytest.mark.parametrize("seconds", [5.0, 0.0])
def test_all_replicas_down_is_an_error_however_long_it_takes_to_find_out(
    seconds: float, client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_DOWN_SECONDS", seconds)  # 0: a connection takes longer to time out
    with StubServer() as one, StubServer() as two:
        pass
    asker = client(one, replicas=[two.openai_url])
    with pytest.raises(UnavailableError, match="nothing answers"):
        ask(asker, [question(f"{i}") for i in range(20)])
