"""Many requests through a provider's batch API: what comes back, what it costs, what is asked again."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from asking import MakeBatches, MakeClient, Serve, question, questions
from batching import CREATE, PRICE, both, collect, echoes, made, post, settled, texts
from stub_server import StubServer, first
from tutelage.chat import BatchClient, Budget, ChatReply, ChatRequest, ask
from tutelage.chat.batch_api import AnthropicBatches, Look, OpenAIBatches
from tutelage.chat.batch_notes import Notes
from tutelage.errors import (
    BudgetError,
)

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
