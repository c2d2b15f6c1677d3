"""Batches on a bad network, refused, or beside somebody else's: found again, and paid for once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asking import MakeBatches, Serve, questions
from batching import CREATE, KEY, PRICE, both, collect, echoes, made, post, rows, settled, texts
from stub_server import ERRORS, StubServer
from test_http import free_port
from tutelage.chat import BatchClient, Budget, Endpoint, batch
from tutelage.chat.batch_api import AnthropicBatches, OpenAIBatches
from tutelage.chat.batch_notes import Notes
from tutelage.chat.transport import HttpReply, Transport
from tutelage.errors import (
    AuthenticationError,
    ConfigError,
    QuotaError,
    RequestError,
    UnavailableError,
    UnknownModelError,
)

# ---- a bad network ----------------------------------------------------------------------------------


def kind(method: str, path: str) -> str:
    """Say what a call is for."""
    if path.endswith(("/content", "/results")):
        return "download"
    if path.endswith("/files"):
        return "upload"
    if path.endswith("/batches"):
        return "create" if method == "POST" else "list"
    return "poll"


def befalls(fault: str, num: int, *kinds: str) -> Callable[[str, str, int], str | None]:
    """Return what lets `fault` befall the first `num` calls of each of these kinds."""
    seen: Counter[str] = Counter()

    def decide(method: str, path: str, _nth: int) -> str | None:
        what = kind(method, path)
        seen[what] += 1
        return fault if what in kinds and seen[what] <= num else None

    return decide


@both
@pytest.mark.parametrize(
    "fault", ["rate_limited", "server_error", "overloaded", "reset", "drop", "malformed", "wrong_type"]
)
def test_uploads_polls_and_downloads_are_tried_again(
    provider: str, fault: str, serve: Serve, batches: MakeBatches
) -> None:
    trouble = befalls(fault, 2, "upload", "poll", "download")
    server = serve(batch_seconds=0.05, http_fault=trouble, retry_after="")
    client = batches(server, provider)
    assert texts(collect(client, questions(7))) == echoes(7)
    assert set(Counter(b.text for b in server.billed).values()) == {1}
    assert settled(client, server)


@both
@pytest.mark.parametrize("fault", ["rate_limited", "server_error", "overloaded", "reset", "wrong_type"])
def test_a_batch_that_was_not_made_is_made_again(
    provider: str, fault: str, serve: Serve, batches: MakeBatches
) -> None:
    server = serve(batch_seconds=0.05, http_fault=befalls(fault, 2, "create"), retry_after="")
    client = batches(server, provider)
    assert texts(collect(client, questions(3))) == echoes(3)
    assert set(Counter(b.text for b in server.billed).values()) == {1}
    assert settled(client, server)


@both
@pytest.mark.parametrize("fault", ["hang", "drop", "malformed"])
def test_a_batch_whose_id_was_lost_is_found_again(
    provider: str, fault: str, serve: Serve, batches: MakeBatches
) -> None:
    server = serve(batch_seconds=0.05, http_fault=befalls(fault, 1, "create"))
    client = batches(server, provider, timeout_seconds=0.3)
    assert texts(collect(client, questions(5))) == echoes(5)
    assert server.called["POST", CREATE[provider]] == 1
    assert set(Counter(b.text for b in server.billed).values()) == {1}
    assert settled(client, server)


@both
def test_a_batch_that_was_made_although_the_answer_is_an_error_is_found(
    provider: str, serve: Serve, batches: MakeBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, real, bad = serve(batch_seconds=0.05), Transport.request, ["bad gateway"]

    async def request(self: Transport, method: str, url: str, **kwargs: Any) -> HttpReply:
        reply = await real(self, method, url, **kwargs)
        if (method, kind(method, url)) == ("POST", "create") and bad:
            return HttpReply(502, {}, bad.pop().encode())
        return reply

    monkeypatch.setattr(Transport, "request", request)
    client = batches(server, provider)
    assert texts(collect(client, questions(5))) == echoes(5)
    assert server.called["POST", CREATE[provider]] == 1
    assert settled(client, server)


@both
def test_a_batch_that_cannot_be_made_says_why_and_leaves_nothing_behind(
    provider: str, serve: Serve, batches: MakeBatches
) -> None:
    server = serve(http_fault=befalls("server_error", 99, "create"))
    client = batches(server, provider)
    with pytest.raises(UnavailableError, match=r"3 requests made no batch; the last problem: .*something broke"):
        collect(client, questions(3))
    assert client.bill().lost.requests == 0
    assert not Notes(client._notes.path).load()
    server.http_fault = lambda method, path, nth: None
    assert texts(collect(batches(server, provider), questions(3))) == echoes(3)


@both
def test_a_list_that_lags_behind_is_looked_at_again(
    provider: str, serve: Serve, batches: MakeBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(batch_seconds=0.05, http_fault=befalls("drop", 1, "create"))
    cls = OpenAIBatches if provider == "openai" else AnthropicBatches
    real, looks = cls.find, []

    async def find(self: Any, *args: Any) -> str | None:
        looks.append(args)
        return None if len(looks) == 1 else await real(self, *args)

    monkeypatch.setattr(cls, "find", find)
    assert texts(collect(batches(server, provider), questions(2))) == echoes(2)
    assert server.called["POST", CREATE[provider]] == 1


@both
def test_polls_that_fail_for_longer_than_the_deadline_stop_and_the_same_command_collects(
    provider: str, serve: Serve, batches: MakeBatches
) -> None:
    server = serve(batch_seconds=0.05, http_fault=befalls("server_error", 10**6, "poll"))
    with pytest.raises(UnavailableError, match=r"something broke.*the same command collects them"):
        collect(batches(server, provider, deadline_seconds=0.3), questions(3))
    server.http_fault = lambda method, path, nth: None
    client = batches(server, provider)
    assert texts(collect(client, questions(3))) == echoes(3)
    assert server.called["POST", CREATE[provider]] == 1
    assert settled(client, server)


@both
def test_retry_after_is_waited_for(provider: str, serve: Serve, batches: MakeBatches) -> None:
    server = serve(batch_seconds=0.05, http_fault=befalls("rate_limited", 1, "poll"), retry_after="0.5")
    start = time.monotonic()
    collect(batches(server, provider), questions(1))
    assert time.monotonic() - start > 0.5
    asks_too_much = serve(http_fault=befalls("rate_limited", 1, "poll"), retry_after="7200")
    with pytest.raises(UnavailableError, match="it asks to wait 7200 s"):
        collect(batches(asks_too_much, provider), questions(1))


@both
def test_results_that_never_come_whole_are_downloaded_by_the_next_run_and_not_paid_again(
    provider: str, serve: Serve, batches: MakeBatches
) -> None:
    server = serve(batch_seconds=0.05, http_fault=befalls("wrong_type", 10**6, "download"))
    with pytest.raises(UnavailableError, match="its results cannot be read"):
        collect(batches(server, provider), questions(3))
    server.http_fault = lambda method, path, nth: None
    client = batches(server, provider)
    assert texts(collect(client, questions(3))) == echoes(3)
    assert settled(client, server)
    assert set(server.asked.values()) == {1}


@both
def test_a_server_that_is_down_is_named_at_once(provider: str, batches: MakeBatches) -> None:
    start = time.monotonic()
    with pytest.raises(UnavailableError, match="nothing answers at"):
        collect(batches(f"http://127.0.0.1:{free_port()}", provider), questions(1))
    assert time.monotonic() - start < 2


# ---- refusals ---------------------------------------------------------------------------------------


@both
def test_a_wrong_key_stops_at_once_and_is_shown_nowhere(
    provider: str, serve: Serve, batches: MakeBatches, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STUB_KEY", KEY)
    server = serve(api_key="another")  # its error message repeats the key that was sent
    client = batches(server, provider, api_key_env="STUB_KEY")
    with pytest.raises(AuthenticationError, match=r"HTTP 401: wrong key.*STUB_KEY") as caught:
        collect(client, questions(2))
    assert len(server.requests) == 1
    assert KEY not in f"{caught.value!r}"
    assert not any(KEY.encode() in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert client.bill().lost.requests == 0
    monkeypatch.setenv("STUB_KEY", "another")
    assert texts(collect(batches(server, provider, api_key_env="STUB_KEY"), questions(2))) == echoes(2)


@both
def test_the_right_key_is_not_on_the_disk_even_if_the_server_repeats_it(
    provider: str, serve: Serve, batches: MakeBatches, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STUB_KEY", KEY)
    broken = {"question 1": "invalid", "question 2": "errored"}
    server = serve(
        lambda _: f"your key is {KEY}",
        api_key=KEY,
        batch_seconds=0.05,
        batch_fault=lambda text, _nth: broken.get(text),
    )
    monkeypatch.setattr(
        "stub_model.ERRORS",
        {name: error._replace(message=f"your key is {KEY}") for name, error in ERRORS.items()},
    )
    results = collect(batches(server, provider, api_key_env="STUB_KEY", max_retries=1), questions(3))
    assert texts(results)[0] == "your key is [key]"
    assert all("your key is [key]" in text for text in texts(results))
    assert not any(KEY.encode() in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


@both
def test_a_server_without_batches_is_one_clear_sentence(provider: str, serve: Serve, batches: MakeBatches) -> None:
    client = batches(f"{serve().url}/elsewhere", provider)
    with pytest.raises(UnknownModelError, match=r"HTTP 404.*mode=batch needs a provider with batches") as caught:
        collect(client, questions(2))
    assert "\n" not in str(caught.value)
    assert not Notes(client._notes.path).load()


@both
def test_no_credit_stops_at_once(provider: str, serve: Serve, batches: MakeBatches) -> None:
    server = serve(http_fault=befalls("quota", 99, "upload", "create"))
    with pytest.raises(QuotaError, match="quota"):
        collect(batches(server, provider), questions(2))
    assert len(server.requests) == 1


@both
def test_a_batch_that_the_provider_refuses_as_a_whole_costs_nothing_and_can_be_made_again(
    provider: str, serve: Serve, batches: MakeBatches
) -> None:
    server = serve(batch_limit=3, batch_seconds=0.05)
    for _ in range(2):
        client = batches(server, provider, **PRICE)
        with pytest.raises(RequestError, match=r"maximum number of requests \(3\)|at most 3 items"):
            collect(client, questions(5))
        assert (client.bill().lost.requests, client.bill().paid.requests) == (0, 0)
        assert not Notes(client._notes.path).load()
    assert not server.billed
    client = batches(server, provider, max_batch_requests=3)
    assert texts(collect(client, questions(5))) == echoes(5)
    assert settled(client, server)


def test_an_unknown_model_is_refused_in_the_providers_words(serve: Serve, batches: MakeBatches) -> None:
    server = serve(models=("other",), batch_seconds=0.05)
    with pytest.raises(RequestError, match="model 'stub' is not supported by the Batch API"):
        collect(batches(server), questions(2))
    # Anthropic looks at the model when a line runs.
    client = batches(server, "anthropic")
    with pytest.raises(UnknownModelError, match="`stub` does not exist"):
        collect(client, questions(2))
    assert made(server, "anthropic") == [2]
    assert client.bill().lost.requests == 0
    assert not server.billed


def test_one_batch_refused_is_no_reason_to_lose_the_others(serve: Serve, batches: MakeBatches) -> None:
    server = serve(batch_limit=2, batch_seconds=0.3)
    with pytest.raises(RequestError, match=r"refused batch .* as a whole: too_many_tasks"):
        collect(batches(server, max_batch_requests=3), questions(5))  # of 3 and of 2
    server.batch_limit = 100
    client = batches(server)
    assert texts(collect(client, questions(5))) == echoes(5)
    assert set(server.asked.values()) == {1}
    assert settled(client, server)


@both
def test_a_batch_that_is_gone_is_named_with_the_file_that_notes_it(
    provider: str, batches: MakeBatches, tmp_path: Path
) -> None:
    trouble = befalls("server_error", 10**6, "poll")
    with StubServer(batch_seconds=30.0, http_fault=trouble) as server, pytest.raises(UnavailableError):
        collect(batches(server, provider, deadline_seconds=0.1), questions(2))
    elsewhere = StubServer(port=server.port, batch_seconds=0.05)
    with elsewhere:
        with pytest.raises(UnknownModelError, match=r"has no such batch.*delete .*batches\.jsonl"):
            collect(batches(elsewhere, provider), questions(2))
        (tmp_path / "batches.jsonl").unlink()
        client = batches(elsewhere, provider)
        assert texts(collect(client, questions(2))) == echoes(2)
    assert client.bill().lost.requests == 2


def test_a_platform_has_no_batches() -> None:
    endpoint = Endpoint(provider="anthropic", model="m", platform="bedrock", sends_temperature=False)
    given = {"payer": "", "budget": Budget(), "ask_again": (), "poll_seconds": 1.0}
    with pytest.raises(ConfigError, match="not through platform=bedrock"):
        BatchClient(endpoint, Path("replies.jsonl"), Path("batches.jsonl"), **given)


# ---- another's batch --------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["reset", "drop"])
def test_a_foreign_batch_of_the_same_size_and_time_is_not_taken_for_ours(
    fault: str, serve: Serve, batches: MakeBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(batch_seconds=0.05)
    params = {"model": "stub", "max_tokens": 50, "messages": [{"role": "user", "content": "foreign"}]}
    foreign = [{"custom_id": f"0-{i}", "params": params} for i in range(4)]
    post(server, CREATE["anthropic"], {"requests": foreign}, "anthropic")
    server.http_fault = befalls(fault, 1, "create")
    # Our clock is slow, so that the foreign batch, the older one, is nearer to the time that we note.
    real = time.time
    monkeypatch.setattr(batch.time, "time", lambda: real() - 5.0)
    client = batches(server, "anthropic")
    assert texts(collect(client, questions(4))) == echoes(4)
    assert Counter(b.text for b in server.billed) == {"foreign": 4, **{f"question {i}": 1 for i in range(4)}}
    assert b"foreign" not in client.replies.journal.path.read_bytes()
    assert client.bill().paid.requests == 4
    assert client.bill().lost.requests == 0
    # the first id that was noted is the foreign one's
    noted = [row["id"] for row in rows(client._notes.path) if "id" in row]
    assert len(noted) == 2
