"""Many requests: in order, bounded, one failure alone is a result, a hopeless run stops."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from asking import MakeClient, Serve, question
from stub_server import always, seeded
from tutelage.chat import ChatFailure, ChatReply, ChatRequest, ask, ask_all
from tutelage.chat.ask import MAX_TASKS, Result
from tutelage.chat.protocol import StoppedError
from tutelage.errors import AuthenticationError, QuotaError, RequestError, UnavailableError, UnknownModelError
from tutelage.records import Sampling, Usage


class Scripted:
    """A client without a network: fails where told to."""

    name = "scripted"

    def __init__(self, errors: dict[str, Exception] | None = None, cached: bool = False) -> None:
        self.errors, self.cached = errors or {}, cached
        self.num_asked = self.in_flight = self.most_in_flight = 0
        self.closed = self.stopped = False

    async def complete(self, request: ChatRequest) -> ChatReply:
        if self.stopped:
            raise StoppedError
        self.num_asked += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0)
        self.in_flight -= 1
        text = request.messages[0].content
        if text in self.errors:
            raise self.errors[text]
        return ChatReply(text=text, stop_reason="stop", usage=Usage(), sampling=Sampling(), cached=self.cached)

    def stop(self) -> int:
        self.stopped = True
        return self.in_flight

    async def close(self) -> None:
        self.closed = True


def texts(results: list[Result]) -> list[str]:
    return [r.text if isinstance(r, ChatReply) else "FAILED" for r in results]


def test_no_requests_give_no_replies() -> None:
    assert ask(Scripted(), []) == []


def test_replies_come_in_the_order_of_the_requests(serve: Serve, client: MakeClient) -> None:
    server = serve(lambda m: m[-1]["content"], fault=seeded(0, server_error=0.3), retry_after="0")
    wanted = [f"{i}" for i in range(100)]
    assert texts(ask(client(server), [question(t) for t in wanted])) == wanted


def test_every_result_is_told_once_as_it_arrives() -> None:
    told: dict[int, Result] = {}
    errors: dict[str, Exception] = {"3": RequestError("too long")}
    results = ask(Scripted(errors), [question(f"{i}") for i in range(20)], told.__setitem__)
    assert [told[i] for i in range(20)] == results


@pytest.mark.parametrize("error", [RequestError("too long"), UnavailableError("gone")])
def test_one_failure_alone_is_a_result_among_the_others(error: Exception) -> None:
    results = ask(Scripted({"1": error}), [question(t) for t in "0123"])
    assert texts(results) == ["0", "FAILED", "2", "3"]
    assert results[1] == ChatFailure(error=str(error))


@pytest.mark.parametrize("error", [AuthenticationError("key"), UnknownModelError("m"), QuotaError("credit")])
def test_what_no_request_can_survive_stops_at_once(error: Exception) -> None:
    client = Scripted({"5": error})
    with pytest.raises(type(error)):
        ask(client, [question(f"{i}") for i in range(3 * MAX_TASKS)])
    assert client.num_asked <= MAX_TASKS + 10
    assert client.closed


def test_ten_failures_in_a_row_stop_the_run_with_the_last_error(serve: Serve, client: MakeClient) -> None:
    server = serve(fault=always("bad_request"))
    with pytest.raises(RequestError, match="context is too long"):
        ask(client(server, max_concurrency=1), [question(f"{i}") for i in range(100)])
    assert sum(server.asked.values()) <= 12


def test_a_success_in_between_starts_the_count_anew() -> None:
    errors: dict[str, Exception] = {f"{i}": RequestError("no") for i in range(100) if i % 10}
    assert texts(ask(Scripted(errors), [question(f"{i}") for i in range(100)])).count("FAILED") == 90


def test_a_reply_from_the_journal_is_no_sign_of_a_working_server() -> None:
    errors: dict[str, Exception] = {f"{i}": UnavailableError("gone") for i in range(100) if i % 5}
    with pytest.raises(UnavailableError):
        ask(Scripted(errors, cached=True), [question(f"{i}") for i in range(100)])


def test_the_count_of_failures_that_stop_can_be_set() -> None:
    errors: dict[str, Exception] = {f"{i}": RequestError("no") for i in range(3)}
    requests = [question(f"{i}") for i in range(5)]
    with pytest.raises(RequestError):
        asyncio.run(ask_all(Scripted(errors), requests, max_consecutive_failures=3))
    results = asyncio.run(ask_all(Scripted(errors), requests, max_consecutive_failures=4))
    assert texts(results) == ["FAILED"] * 3 + ["3", "4"]


def test_many_requests_do_not_become_as_many_tasks() -> None:
    client = Scripted()
    request = question("x")
    results = ask(client, [request] * 20_000)
    assert len(results) == 20_000
    assert client.most_in_flight <= MAX_TASKS


def test_replies_that_come_without_waiting_do_not_shut_out_an_interrupt() -> None:
    class Instant(Scripted):
        async def complete(self, request: ChatRequest) -> ChatReply:
            self.num_asked += 1
            return ChatReply(text="", stop_reason="stop", usage=Usage(), sampling=Sampling(), cached=True)

    async def run() -> int:
        client = Instant()
        asking = asyncio.create_task(ask_all(client, [question("x")] * 10 * MAX_TASKS))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        return client.num_asked

    assert asyncio.run(run()) <= 2 * MAX_TASKS


def test_an_error_of_the_callers_own_ends_the_run() -> None:
    def broken(_index: int, _result: Result) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        ask(Scripted(), [question(f"{i}") for i in range(10)], broken)


def test_a_server_that_is_down_ends_a_long_run_at_once(client: MakeClient) -> None:
    start = time.monotonic()
    with pytest.raises(UnavailableError, match="start the server"):
        ask(client("http://127.0.0.1:9/v1"), [question(f"{i}") for i in range(1000)])
    assert time.monotonic() - start < 3


def test_all_faults_at_once_lose_nothing_and_a_second_run_asks_nothing(
    serve: Serve, client: MakeClient, tmp_path: Path
) -> None:
    shares = {"rate_limited": 0.05, "server_error": 0.05, "malformed": 0.02, "hang": 0.01, "drop": 0.02}
    server = serve(fault=seeded(0, **shares), retry_after="0.05")
    requests = [question(f"{i}") for i in range(400)]
    results = ask(client(server, max_concurrency=64, timeout_seconds=0.7), requests)
    assert texts(results) == [f"you said: {i}" for i in range(400)]
    assert sum(server.asked.values()) <= 1.25 * 400
    assert sum(server.replied.values()) == 400
    asked = sum(server.asked.values())
    again = ask(client(server), requests)
    assert sum(server.asked.values()) == asked
    assert [r.model_copy(update={"cached": False}) for r in again if isinstance(r, ChatReply)] == results
