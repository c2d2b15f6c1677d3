"""Many requests through a provider's batch API: what comes back, what it costs, what is asked again."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asking import MakeBatches, MakeClient, Serve, question, questions
from stub_server import ERRORS, StubServer, first
from test_http import free_port
from tutelage.chat import BatchClient, Budget, ChatFailure, ChatReply, ChatRequest, Endpoint, ask, batch
from tutelage.chat.batch_api import AnthropicBatches, Look, OpenAIBatches
from tutelage.chat.batch_notes import Notes
from tutelage.chat.transport import HttpReply, Transport
from tutelage.errors import (
    AuthenticationError,
    BudgetError,
    ConfigError,
    QuotaError,
    RequestError,
    UnavailableError,
    UnknownModelError,
)

KEY = "sk-very-secret-0123456789"
CREATE = {"openai": "/v1/batches", "anthropic": "/v1/messages/batches"}
PRICE = {"price": {"input": 1000.0, "output": 4000.0}}
both = pytest.mark.parametrize("provider", ["openai", "anthropic"])


def collect(client: BatchClient, requests: list[ChatRequest]) -> list[ChatReply | ChatFailure]:
    """Ask; afterwards nothing may be in flight."""
    told: list[int] = []
    results = client.ask(requests, lambda index, result: told.append(index), lambda note: None)
    assert sorted(told) == list(range(len(requests)))
    assert client.replies.ledger.reserved.requests == 0
    return results


def texts(results: list[ChatReply | ChatFailure]) -> list[str]:
    return [r.text if isinstance(r, ChatReply) else f"FAILED: {r.error}" for r in results]


def echoes(num: int) -> list[str]:
    return [f"you said: question {i}" for i in range(num)]


def made(server: StubServer, provider: str) -> list[int]:
    """Return the sizes of the batches that the server was sent, in order."""
    if provider == "anthropic":
        return [len(r.body["requests"]) for r in server.requests if (r.method, r.path) == ("POST", CREATE[provider])]
    return [r.body["file"][2].count(b"\n") for r in server.requests if (r.method, r.path) == ("POST", "/v1/files")]


def rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def settled(client: BatchClient, server: StubServer) -> bool:
    """True if the account says what the server billed, and nothing is lost."""
    bill = client.bill()
    paid = (bill.paid.input_tokens, bill.paid.output_tokens)
    return paid == server.billed_tokens() and bill.lost.requests == 0


# ---- what comes back --------------------------------------------------------------------------------


@both
def test_replies_come_in_the_order_of_the_requests_and_duplicates_are_asked_once(
    provider: str, serve: Serve, batches: MakeBatches
) -> None:
    server = serve(batch_seconds=0.05)
    requests = questions(20)
    client = batches(server, provider)
    results = collect(client, [*requests, *requests[:5]])
    assert texts(results) == [*echoes(20), *echoes(5)]
    assert set(server.asked.values()) == {1}
    assert made(server, provider) == [20]
    assert settled(client, server)
    assert not Notes(client._notes.path).load()


@both
def test_what_the_journal_has_is_not_asked_again_and_needs_no_server(
    provider: str, batches: MakeBatches, client: MakeClient
) -> None:
    with StubServer(batch_seconds=0.05) as server:
        ask(client(server, provider), questions(3))
        results = collect(batches(server, provider), questions(5))
    assert texts(results) == echoes(5)
    assert [r.cached for r in results if isinstance(r, ChatReply)] == [True] * 3 + [False] * 2
    assert made(server, provider) == [2]
    offline = batches(server, provider, api_key_env="NOT_SET_ANYWHERE")
    assert texts(collect(offline, questions(5))) == echoes(5)
    assert (offline.bill().paid.requests, offline.bill().reused.requests) == (2, 3)


@both
def test_replies_are_those_of_a_live_run_at_half_the_price(
    provider: str, serve: Serve, batches: MakeBatches, client: MakeClient, tmp_path: Path
) -> None:
    def fault(text: str, _nth: int) -> str | None:
        return {"question 1": "refused", "question 2": "filtered"}.get(text)

    server = serve(fault=fault, batch_fault=fault, batch_seconds=0.05)
    requests = [*questions(6), question("one two three four five", max_tokens=3)]
    live = client(server, provider, **PRICE)
    live.replies.journal.path = tmp_path / "live.jsonl"
    replies = ask(live, requests)
    client_ = batches(server, provider, **PRICE)
    results = collect(client_, requests)
    assert {getattr(r, "stop_reason", "") for r in results} == {"stop", "filtered", "length"}
    for one, other in zip(replies, results, strict=True):
        assert isinstance(one, ChatReply)
        assert isinstance(other, ChatReply)
        assert one.usage.dollars
        assert other.usage.dollars == pytest.approx(one.usage.dollars / 2)
        half = one.usage.model_copy(update={"dollars": other.usage.dollars})
        assert other == one.model_copy(update={"usage": half})
    paid = live.bill().paid
    assert client_.bill().paid.dollars == pytest.approx((paid.dollars or 0) / 2)
    assert client_.bill().paid.tokens == paid.tokens


@both
def test_replies_that_earlier_work_has_are_asked_again_if_that_is_wanted(
    provider: str, serve: Serve, batches: MakeBatches, client: MakeClient
) -> None:
    server = serve(lambda messages: "", batch_seconds=0.05)
    ask(client(server, provider), questions(2))
    for _ in range(2):  # the second time they are our own
        collect(batches(server, provider, ask_again=("empty",)), questions(2))
    assert set(server.asked.values()) == {2}


# ---- limits -----------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("limit", ["requests", "the provider's requests", "bytes"])
def test_what_is_too_much_for_one_batch_makes_several(
    provider: str, limit: str, serve: Serve, batches: MakeBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, settings = serve(batch_seconds=0.05), {}
    cls = OpenAIBatches if provider == "openai" else AnthropicBatches
    if limit == "requests":
        settings = {"max_batch_requests": 4}
    elif limit == "bytes":
        monkeypatch.setattr(cls, "max_bytes", 1200)
    else:
        monkeypatch.setattr(cls, "max_requests", 4)
    client = batches(server, provider, **settings)
    assert texts(collect(client, questions(10))) == echoes(10)
    sizes = made(server, provider)
    assert sum(sizes) == 10
    assert sizes == [4, 4, 2] or limit == "bytes"
    sent = [
        len(r.body["file"][2]) if provider == "openai" else len(json.dumps(r.body))
        for r in server.requests
        if r.method == "POST" and r.path in ("/v1/files", "/v1/messages/batches")
    ]
    assert limit != "bytes" or (len(sizes) > 2 and max(sent) <= 1200)
    assert settled(client, server)


@both
def test_a_request_too_large_for_any_batch_fails_alone(
    provider: str, serve: Serve, batches: MakeBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(batch_seconds=0.05)
    monkeypatch.setattr(OpenAIBatches if provider == "openai" else AnthropicBatches, "max_bytes", 3000)
    results = collect(batches(server, provider), [*questions(2), question("x" * 3000)])
    assert texts(results)[:2] == echoes(2)
    assert "too many for a batch" in texts(results)[2]


# ---- what is asked again ----------------------------------------------------------------------------


@both
@pytest.mark.parametrize("fault", ["errored", "expired"])
def test_lines_that_failed_or_expired_are_asked_again_and_only_those(
    provider: str, fault: str, serve: Serve, batches: MakeBatches
) -> None:
    bad = {"question 1", "question 4"}
    server = serve(batch_fault=lambda text, nth: fault if text in bad and nth < 2 else None, batch_seconds=0.05)
    client = batches(server, provider)
    assert texts(collect(client, questions(6))) == echoes(6)
    assert made(server, provider) == [6, 2, 2]
    assert settled(client, server)


@both
def test_after_the_retries_a_line_is_a_failure(provider: str, serve: Serve, batches: MakeBatches) -> None:
    server = serve(batch_fault=lambda text, _nth: "errored" if text == "question 1" else None, batch_seconds=0.05)
    client = batches(server, provider, max_retries=2)
    results = collect(client, questions(3))
    assert texts(results)[::2] == echoes(3)[::2]
    assert "3 batches failed; the last: HTTP 500: something broke" in texts(results)[1]
    assert made(server, provider) == [3, 1, 1]
    assert settled(client, server)


@both
def test_a_line_refused_for_good_is_a_failure_at_once(provider: str, serve: Serve, batches: MakeBatches) -> None:
    server = serve(batch_fault=lambda text, _nth: "invalid" if text == "question 1" else None, batch_seconds=0.05)
    client = batches(server, provider)
    results = collect(client, questions(3))
    assert "HTTP 400: the context is too long" in texts(results)[1]
    assert made(server, provider) == [3]
    assert settled(client, server)


@both
def test_what_is_no_completion_is_asked_again_and_may_have_been_billed(
    provider: str, serve: Serve, batches: MakeBatches
) -> None:
    bad = first("empty_choices")
    server = serve(batch_fault=lambda text, nth: bad(text, nth) if text == "question 1" else None, batch_seconds=0.05)
    client = batches(server, provider)
    assert texts(collect(client, questions(3))) == echoes(3)
    assert made(server, provider) == [3, 1]
    bill = client.bill()
    assert (bill.paid.input_tokens, bill.paid.output_tokens) == server.billed_tokens(delivered=True)
    assert bill.lost.requests == 1
    again = batches(server, provider)
    assert texts(collect(again, questions(3))) == echoes(3)
    assert (again.bill().paid, again.bill().lost) == (bill.paid, bill.lost)


@both
@pytest.mark.parametrize("are_listed", [True, False])
def test_a_batch_that_somebody_cancels_is_made_again_for_what_it_did_not_run(
    provider: str, are_listed: bool, serve: Serve, batches: MakeBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = OpenAIBatches if provider == "openai" else AnthropicBatches
    real = cls.results

    async def results(self: Any, look: Look) -> Any:
        async for name, outcome in real(self, look):
            if are_listed or outcome.kind != "again":
                yield name, outcome

    monkeypatch.setattr(cls, "results", results)
    server = serve(batch_seconds=0.8)
    client, cancelled = batches(server, provider), []

    def cancel(_note: str) -> None:
        done = len(server.billed)
        if 0 < done < 16 and not cancelled:
            cancelled.append(client._running[0].id)
            post(server, f"{CREATE[provider]}/{cancelled[0]}/cancel", {}, provider)
            server.batch_seconds = 0.05

    results = client.ask(questions(16), lambda index, result: None, cancel)
    assert texts(results) == echoes(16)
    assert cancelled
    assert set(Counter(b.text for b in server.billed).values()) == {1}
    assert settled(client, server)


def post(server: StubServer, path: str, body: Any, provider: str) -> Any:
    headers = {"Content-Type": "application/json", "anthropic-version": "2026-10-21"}
    request = urllib.request.Request(server.url + path, json.dumps(body).encode(), headers, method="POST")
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


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


# ---- budgets ----------------------------------------------------------------------------------------


def most_tokens(client: BatchClient, request: ChatRequest) -> int:
    from tutelage.chat.providers import wire

    most = wire(client.endpoint, request).most
    assert most is not None
    return sum(most)


@both
@pytest.mark.parametrize("unit", ["tokens", "usd"])
def test_a_budget_is_never_exceeded_and_a_larger_one_goes_on(
    provider: str, unit: str, serve: Serve, batches: MakeBatches
) -> None:
    server = serve(lambda messages: "word " * 49 + messages[-1]["content"], batch_seconds=0.02)
    price = {"price": {"input": 2.0, "output": 2.0}}  # half of it in a batch: a dollar for a million tokens
    tokens = int(2.5 * most_tokens(batches(server, provider), questions(1)[0]))
    budget = Budget(tokens=tokens) if unit == "tokens" else Budget(usd=tokens / 1e6)
    client = batches(server, provider, budget=budget, **price)
    with pytest.raises(BudgetError, match=f"budget.{unit}="):
        collect(client, questions(30))
    spent = sum(server.billed_tokens())
    assert tokens - most_tokens(client, questions(30)[29]) <= spent <= tokens
    assert 2 < len(server.billed) < 30
    assert len(made(server, provider)) > 2
    assert made(server, provider)[0] == 2
    assert settled(client, server)
    assert client.replies.ledger.reserved.requests == 0
    client = batches(server, provider, budget=Budget(tokens=10**9), **price)
    results = collect(client, questions(30))
    assert all(isinstance(r, ChatReply) for r in results)
    assert set(Counter(b.text for b in server.billed).values()) == {1}
    assert settled(client, server)


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


# ---- the file that notes what runs ------------------------------------------------------------------


@both
def test_a_file_of_batches_that_is_torn_at_its_end_is_read_and_written_on(
    provider: str, serve: Serve, batches: MakeBatches
) -> None:
    server = serve(batch_seconds=0.05)
    client = batches(server, provider)
    collect(client, questions(3))
    path = client._notes.path
    whole = path.read_bytes()
    for end in (whole.rindex(b'"ended"'), whole.rindex(b'"id"'), whole.index(b'"keys"')):
        path.write_bytes(whole[:end])
        again = batches(server, provider)
        assert texts(collect(again, questions(4)))[:3] == echoes(3)
        assert not Notes(path).load()
    assert set(server.asked.values()) == {1}
    assert settled(again, server)


def test_five_thousand_lines_are_fast(serve: Serve, batches: MakeBatches) -> None:
    server = serve(batch_seconds=0.05, record=False)
    client = batches(server, budget=Budget(tokens=10**9))
    start = time.monotonic()
    results = collect(client, questions(5000))
    assert texts(results) == echoes(5000)
    assert settled(client, server)
    assert time.monotonic() - start < 15  # about 2 s on one core, the server's part among them
