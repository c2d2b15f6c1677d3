"""Many requests against a server that fails in every way: nothing is lost, and no attempt is made in vain."""

from __future__ import annotations

import time
from itertools import count

import pytest

from asking import MakeClient, Serve, question
from stub_server import Fault, StubServer, seeded
from tutelage.chat import ChatReply, ask
from tutelage.chat.ask import Result

USUAL = {"rate_limited": 0.05, "server_error": 0.05, "malformed": 0.02, "hang": 0.01, "drop": 0.01}
OTHERS = {
    "rate_limited_silent": 0.03,
    "unavailable": 0.03,
    "overloaded": 0.03,
    "reset": 0.03,
    "drip": 0.03,
    "wrong_type": 0.03,
    "empty_choices": 0.03,
    "duplicate_id": 0.1,
}
HARMLESS = (None, "drip", "duplicate_id")
TIMEOUT = 1.0
SEEDS = range(10)


def texts(num: int) -> list[str]:
    return [f"question {i}" for i in range(num)]


def planned(fault: Fault, num: int) -> int:
    """How many attempts a client makes that tries each question again until it is answered, and no more."""
    return sum(next(n for n in count(1) if fault(text, n - 1) in HARMLESS) for text in texts(num))


def check(results: list[Result], server: StubServer, fault: Fault, num: int) -> int:
    """Every reply is right and was sent once; return the number of attempts, which is the least there can be."""
    assert [r.text if isinstance(r, ChatReply) else r for r in results] == [f"you said: {t}" for t in texts(num)]
    attempts = sum(server.asked.values())
    # A busy machine may let a few sound replies come too late.
    assert planned(fault, num) <= attempts <= planned(fault, num) + 0.02 * num
    assert sum(server.replied.values()) <= num + 0.02 * num
    return attempts


def run_twice(server: StubServer, client: MakeClient, fault: Fault, num: int) -> int:
    """Ask everything, and once more: the second run asks nothing. Return the number of attempts."""
    requests = [question(text) for text in texts(num)]
    results = ask(client(server, max_concurrency=64, timeout_seconds=TIMEOUT), requests)
    attempts = check(results, server, fault, num)
    again = ask(client(server), requests)
    assert sum(server.asked.values()) == attempts
    assert all(isinstance(r, ChatReply) and r.cached for r in again)
    assert [r.model_copy(update={"cached": False}) for r in again if isinstance(r, ChatReply)] == results
    return attempts


@pytest.mark.parametrize("seed", SEEDS)
def test_no_reply_is_lost_to_faults_and_a_second_run_asks_nothing(
    seed: int, serve: Serve, client: MakeClient
) -> None:
    fault = seeded(seed, **USUAL)
    run_twice(serve(fault=fault, retry_after="0.1"), client, fault, 300)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_fault_in_seven_requests_costs_at_most_a_fifth_more_attempts(
    seed: int, serve: Serve, client: MakeClient
) -> None:
    fault = seeded(seed, **USUAL)
    begin = time.monotonic()
    attempts = run_twice(serve(fault=fault, retry_after="1"), client, fault, 805)
    print(f"seed {seed}: {attempts / 805:.3f} attempts a request, {time.monotonic() - begin:.1f} s")
    assert attempts <= 1.20 * 805


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_no_reply_is_lost_to_all_other_faults_at_once(provider: str, serve: Serve, client: MakeClient) -> None:
    fault = seeded(3, **OTHERS)
    server = serve(fault=fault)
    requests = [question(text) for text in texts(200)]
    check(ask(client(server, provider, timeout_seconds=TIMEOUT), requests), server, fault, 200)
    attempts = sum(server.asked.values())
    ask(client(server, provider), requests)
    assert sum(server.asked.values()) == attempts


def test_nobody_waits_for_requests_that_hang(serve: Serve, client: MakeClient) -> None:
    hanging = {f"question {i}" for i in range(0, 200, 40)}
    server = serve(fault=lambda text, nth: "hang" if text in hanging and nth == 0 else None)
    done: dict[int, float] = {}
    begin = time.monotonic()
    ask(
        client(server, max_concurrency=16, timeout_seconds=3.0),
        [question(text) for text in texts(200)],
        lambda index, _reply: done.setdefault(index, time.monotonic() - begin) and None,
    )
    late = {index for index, seconds in done.items() if seconds >= 3.0}
    assert late == set(range(0, 200, 40))
    # Five hangs, which began together, cost the time of one.
    assert max(done.values()) < 2 * 3.0
