"""One request over real HTTP: what is retried, what stops at once, and what each error says."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from pathlib import Path

import pytest
from aiohttp import web

from asking import MakeClient, Serve, question
from stub_server import StubServer, always, first
from tutelage.chat import ChatReply, ChatRequest, HttpClient
from tutelage.errors import (
    AuthenticationError,
    ChatError,
    ConfigError,
    QuotaError,
    RequestError,
    UnavailableError,
    UnknownModelError,
)
from tutelage.records import Sampling

KEY = "sk-very-secret-0123456789"


def complete(client: HttpClient, *requests: ChatRequest) -> list[ChatReply]:
    """Ask all at once, close the client, return the replies."""

    async def run() -> list[ChatReply]:
        try:
            return await asyncio.gather(*[client.complete(r) for r in requests])
        finally:
            await client.close()

    return asyncio.run(run())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_question_is_answered_and_the_reply_says_what_was_sent(
    provider: str, serve: Serve, client: MakeClient
) -> None:
    server = serve(lambda messages: f"{len(messages)} messages, I think")
    [reply] = complete(client(server, provider), question("Hi", temperature=0.3, max_tokens=3))
    sent = Sampling(max_tokens=3, temperature=0.3 if provider == "openai" else None)
    assert reply.text == "1 messages, I"
    assert (reply.stop_reason, reply.sampling, reply.cached) == ("length", sent, False)
    assert (reply.usage.requests, reply.usage.input_tokens, reply.usage.output_tokens) == (1, 1, 3)


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_reply_in_the_journal_is_not_paid_again_and_needs_no_server_or_key(
    provider: str, serve: Serve, client: MakeClient
) -> None:
    with StubServer() as server:
        asker = client(server, provider)
        [paid] = complete(asker, question("Hi"))
    offline = client(asker.endpoint.url, provider, api_key_env="NOT_SET_ANYWHERE")
    [kept] = complete(offline, question("Hi"))
    assert kept == paid.model_copy(update={"cached": True})
    with pytest.raises(AuthenticationError, match="NOT_SET_ANYWHERE"):
        complete(offline, question("Hi", index=1))


def test_the_same_request_asked_twice_at_once_is_sent_once_but_samples_are_drawn_anew(
    serve: Serve, client: MakeClient
) -> None:
    server = serve(latency=0.05)
    replies = complete(client(server), *[question("Hi", index=i) for i in (0, 0, 0, 1)])
    assert server.asked["Hi"] == 2
    assert sorted(r.cached for r in replies) == [False, False, True, True]


def test_no_more_than_the_limit_are_in_flight(serve: Serve, client: MakeClient) -> None:
    server = serve(latency=0.02)
    complete(client(server, max_concurrency=3), *[question(f"{i}") for i in range(20)])
    assert server.most_in_flight == 3


@pytest.mark.parametrize("fault", ["rate_limited", "server_error", "overloaded", "drop", "malformed"])
def test_what_may_pass_is_tried_again(fault: str, serve: Serve, client: MakeClient) -> None:
    server = serve(fault=first(fault, fault), retry_after="")
    [reply] = complete(client(server), question("Hi"))
    assert (reply.text, server.asked["Hi"]) == ("you said: Hi", 3)


def test_a_hang_costs_one_timeout_and_nobody_waits_for_it(serve: Serve, client: MakeClient) -> None:
    server = serve(fault=lambda text, nth: "hang" if text == "bad" and nth == 0 else None)
    asker = client(server, timeout_seconds=0.4)
    done: dict[str, float] = {}
    start = time.monotonic()

    async def timed(text: str) -> None:
        await asker.complete(question(text))
        done[text] = time.monotonic() - start

    async def run() -> None:
        await asyncio.gather(*[timed(t) for t in ("bad", "good", "fine")])
        await asker.close()

    asyncio.run(run())
    assert max(done["good"], done["fine"]) < 0.4 <= done["bad"] < 1.5


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("server_error", "HTTP 500: something broke"),
        ("unavailable", "HTTP 503"),
        ("reset", "connection was lost"),
        ("wrong_type", "not a chat completion"),
        ("empty_choices", "not a chat completion"),
        ("hang", "no reply within 0.1 s"),
        ("drop", "connection was lost"),
        ("malformed", "not a chat completion"),
    ],
)
def test_what_does_not_pass_ends_with_the_last_problem_and_the_number_of_attempts(
    fault: str, says: str, serve: Serve, client: MakeClient
) -> None:
    server = serve(fault=always(fault), retry_after="0")
    with pytest.raises(UnavailableError, match=f"3 attempts failed; the last: .*{says}"):
        complete(client(server, max_retries=2, timeout_seconds=0.1), question("Hi"))
    assert server.asked["Hi"] == 3


def test_being_told_to_slow_down_is_no_failed_attempt_until_the_deadline(serve: Serve, client: MakeClient) -> None:
    server = serve(fault=first(*["rate_limited"] * 6), retry_after="0")
    [reply] = complete(client(server, max_retries=0), question("Hi"))
    assert (reply.text, server.asked["Hi"]) == ("you said: Hi", 7)
    forever = serve(fault=always("rate_limited"), retry_after="0")
    with pytest.raises(UnavailableError, match=r"attempts failed; the last: HTTP 429: slow down"):
        complete(client(forever, deadline_seconds=0.3), question("Hi"))


def test_a_failure_is_never_served_from_the_journal(serve: Serve, client: MakeClient) -> None:
    server = serve(fault=first("malformed", "server_error"))
    for _ in range(2):
        with pytest.raises(UnavailableError):
            complete(client(server, max_retries=0), question("Hi"))
    [reply] = complete(client(server, max_retries=0), question("Hi"))
    assert (reply.text, reply.cached) == ("you said: Hi", False)


def test_the_first_good_reply_stays_the_reply(serve: Serve, client: MakeClient) -> None:
    server = serve()
    asker = client(server)
    [reply] = complete(asker, question("Hi"))
    journal = asker.replies.journal
    key = json.loads(journal.path.read_bytes().splitlines()[1])["reply"]
    journal.reply(key, "run-8", b"{}", b"not json", "stub")
    journal.reply(key, "run-9", b"{}", b'{"choices": [{"message": {"content": "later"}}]}', "stub")
    [again] = complete(asker, question("Hi"))
    assert (again.text, again.cached) == (reply.text, True)


def test_retry_after_holds_back_every_task_of_the_client(serve: Serve, client: MakeClient) -> None:
    times: list[float] = []

    def fault(_text: str, _nth: int) -> str | None:
        times.append(time.monotonic())
        return "rate_limited" if len(times) == 1 else None

    server = serve(fault=fault, retry_after="0.5")
    complete(client(server, max_concurrency=1), *[question(f"{i}") for i in range(4)])
    assert len(times) == 5
    assert times[1] - times[0] >= 0.5


def test_a_retry_after_beyond_the_cap_is_surfaced_at_once(serve: Serve, client: MakeClient) -> None:
    server = serve(fault=always("rate_limited"), retry_after="300")
    start = time.monotonic()
    with pytest.raises(UnavailableError, match="wait 300 s"):
        complete(client(server), question("Hi"))
    assert time.monotonic() - start < 2
    assert server.asked["Hi"] == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("quota", QuotaError),
        ("bad_request", RequestError),
        ("too_large", RequestError),
        ("unprocessable", RequestError),
    ],
)
def test_what_cannot_pass_is_asked_once_and_says_what_the_server_said(
    fault: str, error: type[ChatError], serve: Serve, client: MakeClient
) -> None:
    server = serve(fault=always(fault))
    with pytest.raises(error, match=r"HTTP 4.*(quota|long|large|processed)"):
        complete(client(server), question("Hi"))
    assert server.asked["Hi"] == 1


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_a_wrong_key_stops_at_once_and_is_shown_nowhere(
    provider: str, serve: Serve, client: MakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STUB_KEY", KEY)
    server = serve(api_key="another")  # its error message repeats the key that was sent
    asker = client(server, provider, api_key_env="STUB_KEY")
    with pytest.raises(AuthenticationError, match=r"HTTP 401: wrong key.*STUB_KEY") as caught:
        complete(asker, question("Hi"))
    assert len(server.requests) == 1
    assert KEY not in f"{caught.value!r} {asker.endpoint!r} {vars(asker.endpoint)}"
    assert not any(KEY.encode() in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_a_right_key_is_not_in_the_journal_even_if_the_server_repeats_it(
    serve: Serve, client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_KEY", KEY)
    server = serve(lambda _: f"your key is {KEY}", api_key=KEY)
    asker = client(server, api_key_env="STUB_KEY")
    [reply] = complete(asker, question("Hi"))
    assert reply.text == "your key is [key]"
    assert KEY.encode() not in asker.replies.journal.path.read_bytes()


def test_a_placeholder_key_does_not_change_completions(
    serve: Serve, client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_KEY", "EMPTY")
    server = serve(lambda _: "The glass is EMPTY", api_key="EMPTY")
    [reply] = complete(client(server, api_key_env="STUB_KEY"), question("Hi"))
    assert reply.text == "The glass is EMPTY"


def test_a_missing_key_is_noticed_before_anything_is_sent(serve: Serve, client: MakeClient) -> None:
    server = serve()
    with pytest.raises(AuthenticationError, match="NOT_SET_ANYWHERE is not set"):
        complete(client(server, api_key_env="NOT_SET_ANYWHERE"), question("Hi"))
    assert not server.requests


def test_no_key_is_sent_if_none_is_named(serve: Serve, client: MakeClient) -> None:
    server = serve(api_key="wanted")
    with pytest.raises(AuthenticationError, match="no key was sent"):
        complete(client(server), question("Hi"))
    assert "Authorization" not in server.requests[0].headers


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_an_unknown_model_stops_at_once_and_names_those_there_are(
    provider: str, serve: Serve, client: MakeClient
) -> None:
    server = serve(models=("llama-7b", "mistral-7b"))
    with pytest.raises(UnknownModelError, match=r"mistral7b at http.*it has: llama-7b, mistral-7b"):
        complete(client(server, provider, model="mistral7b"), question("Hi"))
    assert len(server.requests) == 1


def test_of_many_models_the_nearest_are_named(serve: Serve, client: MakeClient) -> None:
    server = serve(models=(*[f"other-{i}" for i in range(200)], "mistral-7b"))
    with pytest.raises(UnknownModelError, match="nearest of the 201 it has: mistral-7b, "):
        complete(client(server, model="mistral7b"), question("Hi"))


def test_a_wrong_path_says_to_check_the_address(serve: Serve, client: MakeClient) -> None:
    server = serve()
    with pytest.raises(UnknownModelError, match=r"base_url \(it usually ends in /v1\)"):
        complete(client(server.url), question("Hi"))


def test_a_server_that_is_down_is_named_at_once(client: MakeClient) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    start = time.monotonic()
    with pytest.raises(UnavailableError, match=f"nothing answers at {url} .*start the server"):
        complete(client(url), question("Hi"))
    assert time.monotonic() - start < 2


def test_a_server_that_goes_down_for_a_moment_is_waited_for(client: MakeClient) -> None:
    with StubServer() as before:
        asker = client(before)
        asyncio.run(asker.complete(question("first")))
    asker._transport = None  # its loop is gone, as are the connections
    after = StubServer(port=before.port)

    async def run() -> ChatReply:
        waiting = asyncio.create_task(asker.complete(question("second")))
        await asyncio.sleep(0.1)
        after.__enter__()
        try:
            return await waiting
        finally:
            await asker.close()

    asker._first_pause = 0.2
    try:
        assert asyncio.run(run()).text == "you said: second"
    finally:
        after.__exit__()


def test_a_client_can_be_used_again_after_it_was_closed(serve: Serve, client: MakeClient) -> None:
    server = serve()
    asker = client(server, max_concurrency=1)
    for i in range(3):
        complete(asker, question(f"{i}a"), question(f"{i}b"))
    assert sum(server.asked.values()) == 6


def test_anthropic_without_a_limit_on_tokens_is_not_even_sent(serve: Serve, client: MakeClient) -> None:
    server = serve()
    with pytest.raises(ConfigError, match="max_tokens"):
        complete(client(server, "anthropic"), question("Hi", max_tokens=None))
    assert not server.requests


def test_a_redirect_is_not_followed_since_it_would_carry_the_key_away(client: MakeClient) -> None:
    port, hits = free_port(), []

    async def elsewhere(request: web.Request) -> web.Response:
        hits.append(request.path)
        return web.Response(status=307, headers={"Location": "/stolen"})

    async def run() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", elsewhere)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        asker = client(f"http://127.0.0.1:{port}/v1")
        try:
            await asker.complete(question("Hi"))
        finally:
            await asker.close()
            await runner.cleanup()

    with pytest.raises(RequestError, match="check base_url"):
        asyncio.run(run())
    assert hits == ["/v1/chat/completions"]
