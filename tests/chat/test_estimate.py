"""Estimates: what will be asked, and the most it can cost, with nothing sent and nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from asking import MakeClient, Serve, question
from tutelage.chat import Endpoint, ask
from tutelage.chat.estimate import Estimate, estimate, table

PRICED = {"price": {"input": 2.0, "output": 8.0}}
LOCAL = {"provider": "openai", "model": "stub", "base_url": "http://127.0.0.1:9/v1"}


def test_tokens_and_dollars_are_those_of_the_requests() -> None:
    endpoint = Endpoint.model_validate(LOCAL | PRICED)
    requests = [question("x" * 4000, index, max_tokens=100) for index in range(10)]
    found = estimate("teach", endpoint, requests, Path("nowhere"))
    assert (found.requests, found.kept, found.output_tokens) == (10, 0, 1000)
    assert found.input_tokens == pytest.approx(10_000, rel=0.05)
    assert found.live == pytest.approx(2 * found.input_tokens / 1e6 + 8 * 1000 / 1e6)
    assert found.batch == pytest.approx((found.live or 0) / 2)


def test_many_short_prompts_are_not_charged_as_a_long_one() -> None:
    named = {
        "provider": "anthropic",
        "model": "claude-sonnet-4-5",
        "api_key_env": "A_KEY",
        "sends_temperature": False,
    }
    endpoint = Endpoint.model_validate(named)
    price = endpoint.known_price()
    assert price is not None
    assert price.long_prompt is not None
    requests = [question("x" * 40_000, index, max_tokens=10) for index in range(30)]
    found = estimate("teach", endpoint, requests, Path("nowhere"))
    assert found.input_tokens > price.long_prompt.above
    assert found.live == pytest.approx((price.input * found.input_tokens + price.output * 300) / 1e6)


def test_replies_that_are_kept_cost_nothing_and_what_is_asked_twice_counts_once(
    serve: Serve, client: MakeClient, tmp_path: Path
) -> None:
    asker = client(serve(), **PRICED)
    ask(asker, [question("a"), question("b")])
    before = (tmp_path / "replies.jsonl").read_bytes()
    found = estimate("label", asker.endpoint, [question(t) for t in "abcc"], tmp_path / "replies.jsonl")
    assert (found.requests, found.kept, found.output_tokens) == (3, 2, 50)
    assert (tmp_path / "replies.jsonl").read_bytes() == before


def test_an_estimate_makes_no_file(tmp_path: Path) -> None:
    estimate("teach", Endpoint.model_validate(LOCAL), [question("a")], tmp_path / "a" / "replies.jsonl")
    assert not list(tmp_path.iterdir())


def test_an_unknown_price_is_unknown_and_not_nothing() -> None:
    found = estimate("teach", Endpoint.model_validate(LOCAL), [question("a")], Path("nowhere"))
    assert (found.live, found.batch) == (None, None)
    assert "price of stub unknown" in found.note
    lines = table([found, Estimate(stage="label", model="m", live=1.0, batch=0.5)])
    assert lines[1].split()[-2:] == lines[3].split()[-2:] == ["unknown", "unknown"]


def test_a_reply_without_a_limit_has_no_price() -> None:
    found = estimate(
        "teach", Endpoint.model_validate(LOCAL | PRICED), [question("a", max_tokens=None)], Path("nowhere")
    )
    assert (found.output_tokens, found.live) == (None, None)
    assert "no limit" in table([found])[1]


def test_the_table_adds_up_and_says_where_the_price_is_from() -> None:
    endpoint = Endpoint.model_validate(LOCAL | PRICED)
    both = [estimate(name, endpoint, [question(name * 100)] * 1, Path("nowhere")) for name in ("teach", "label")]
    lines = table(both)
    assert lines[3].split()[:3] == ["total", "2", "0"]
    assert any("$2 for a million input tokens, $8 for output (price.input, price.output" in line for line in lines)


def test_models_in_this_process_are_free() -> None:
    found = estimate("teach", Endpoint(provider="miniature", model="weak"), [question("a")], Path("nowhere"))
    assert (found.requests, found.live, found.note) == (1, 0.0, "in this process: free")


def test_what_models_in_this_process_would_cost_is_told_at_a_price_that_was_given() -> None:
    endpoint = Endpoint.model_validate({"provider": "miniature", "model": "weak"} | PRICED)
    found = estimate("teach", endpoint, [question("one two three", max_tokens=5)] * 2, Path("nowhere"))
    assert (found.requests, found.kept, found.input_tokens, found.output_tokens) == (2, 0, 6, 10)
    assert found.live == found.batch == pytest.approx((6 * 2 + 10 * 8) / 1e6)
    assert found.note.startswith("in this process: free")
    assert estimate("teach", endpoint, [question("a", max_tokens=None)], Path("nowhere")).live is None
