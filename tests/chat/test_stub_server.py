"""The stub server is what the official SDKs take it for, bills what it made, forgets nothing, can be crowded out."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from asking import Serve
from stub_ledger import Bucket
from stub_model import Model
from stub_server import FAULTS, Billed, StubServer, always, echo, first, read_log, seeded
from stub_wire import REFUSAL

openai = pytest.importorskip("openai", reason="the openai SDK is the oracle of these tests")
anthropic = pytest.importorskip("anthropic", reason="the anthropic SDK is the oracle of these tests")

STUB = Path(__file__).with_name("stub_server.py")
KEY = "sk-very-secret-0123456789"
PROVIDERS = ["openai", "anthropic"]
QUESTION = "one two three"


def sdk(server: StubServer, provider: str, key: str = KEY, timeout: float = 5.0) -> Any:
    """Return the provider's own client."""
    if provider == "openai":
        return openai.OpenAI(api_key=key, base_url=server.openai_url, max_retries=0, timeout=timeout)
    return anthropic.Anthropic(api_key=key, base_url=server.anthropic_url, max_retries=0, timeout=timeout)


def ask(client: Any, text: str = QUESTION, **more: Any) -> Any:
    """Ask with whichever SDK `client` is of."""
    messages = [{"role": "user", "content": text}]
    if isinstance(client, openai.OpenAI):
        return client.chat.completions.create(**{"model": "stub", "messages": messages} | more)
    return client.messages.create(**{"model": "stub", "max_tokens": 50, "messages": messages} | more)


def post(server: StubServer, text: str = QUESTION, **more: Any) -> tuple[int, Mapping[str, str], bytes]:
    """Ask without an SDK; return status, headers and body."""
    body = json.dumps({"model": "stub", "messages": [{"role": "user", "content": text}]} | more).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.openai_url}/chat/completions", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:
            return reply.status, reply.headers, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


# ---- errors and faults, as the SDKs see them --------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "name", "openai_kind", "anthropic_kind"),
    [
        ("rate_limited", "RateLimitError", "requests", "rate_limit_error"),
        ("rate_limited_silent", "RateLimitError", "requests", "rate_limit_error"),
        ("bad_request", "BadRequestError", "invalid_request_error", "invalid_request_error"),
        ("unprocessable", "UnprocessableEntityError", "invalid_request_error", "invalid_request_error"),
        ("server_error", "InternalServerError", "server_error", "api_error"),
        ("unavailable", "InternalServerError", "server_error", "api_error"),
        ("overloaded", "InternalServerError", "server_error", "overloaded_error"),
    ],
)
def test_an_error_is_the_class_that_the_sdk_has_for_it(
    fault: str, name: str, openai_kind: str, anthropic_kind: str, serve: Serve
) -> None:
    server = serve(fault=always(fault))
    for provider, module, kind in (("openai", openai, openai_kind), ("anthropic", anthropic, anthropic_kind)):
        with pytest.raises(getattr(module, name)) as caught:
            ask(sdk(server, provider))
        assert caught.value.type == kind
        assert caught.value.request_id
        assert ("retry-after" in caught.value.response.headers) == (fault == "rate_limited")
        body = caught.value.response.json()
        if provider == "openai":
            assert body.keys() == {"error"}
            assert body["error"].keys() == {"message", "type", "param", "code"}
        else:
            assert (body["type"], body["request_id"]) == ("error", caught.value.request_id)
    assert server.billed == []


def test_a_lack_of_credit_is_a_429_at_one_provider_and_a_402_at_the_other(serve: Serve) -> None:
    server = serve(fault=always("quota"))
    with pytest.raises(openai.RateLimitError) as caught:
        ask(sdk(server, "openai"))
    assert caught.value.code == "insufficient_quota"
    with pytest.raises(anthropic.PaymentRequiredError) as paid:
        ask(sdk(server, "anthropic"))
    assert paid.value.type == "billing_error"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_wrong_keys_and_unknown_models_are_told_apart(provider: str, serve: Serve) -> None:
    module = {"openai": openai, "anthropic": anthropic}[provider]
    server = serve(api_key=KEY)
    with pytest.raises(module.AuthenticationError):
        ask(sdk(server, provider, key="another"))
    with pytest.raises(module.AuthenticationError):
        sdk(server, provider, key="another").models.list()
    assert [m.id for m in sdk(server, provider).models.list()] == ["stub"]
    with pytest.raises(module.NotFoundError):
        ask(sdk(server, provider), model="stubb")


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("fault", ["reset", "drop", "hang"])
def test_what_gets_lost_is_a_lost_connection(fault: str, provider: str, serve: Serve) -> None:
    module = {"openai": openai, "anthropic": anthropic}[provider]
    server = serve(fault=first(fault))
    client = sdk(server, provider, timeout=0.3)
    with pytest.raises(module.APITimeoutError if fault == "hang" else module.APIConnectionError):
        ask(client)
    assert ask(client).model == "stub"


def test_a_truncated_reply_and_a_foreign_page_arrive_as_if_all_were_well(serve: Serve) -> None:
    server = serve(fault=first("malformed", "wrong_type"))
    status, headers, body = post(server)
    assert (status, headers["Content-Type"], int(headers["Content-Length"])) == (200, "application/json", len(body))
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(body)
    status, headers, body = post(server)
    assert (status, headers.get_content_type(), body[:6]) == (200, "text/html", b"<html>")


def test_a_dripping_reply_is_slow_and_whole(serve: Serve) -> None:
    server = serve(fault=always("drip"))
    start = time.monotonic()
    assert ask(sdk(server, "openai")).choices[0].message.content == f"you said: {QUESTION}"
    assert 0.2 < time.monotonic() - start < 2


def test_refused_filtered_and_empty_replies_have_the_shapes_of_the_real_ones(serve: Serve) -> None:
    server = serve(fault=first("refused", "filtered", "empty_choices"))
    client = sdk(server, "openai")
    refused = ask(client).choices[0]
    assert (refused.message.content, refused.message.refusal, refused.finish_reason) == (None, REFUSAL, "stop")
    filtered = ask(client).choices[0]
    assert (filtered.message.content, filtered.finish_reason) == ("you said: one", "content_filter")
    assert ask(client).choices == []
    client = sdk(server, "anthropic")
    assert [ask(client, "x").stop_reason for _ in range(2)] == ["refusal"] * 2
    assert ask(client, "x").content is None


@pytest.mark.parametrize("provider", PROVIDERS)
def test_ids_differ_unless_that_is_the_fault(provider: str, serve: Serve) -> None:
    server = serve(fault=lambda text, _nth: "duplicate_id" if text == "twin" else None)
    client = sdk(server, provider)
    assert len({ask(client).id for _ in range(5)}) == 5
    assert len({ask(client, "twin").id for _ in range(5)}) == 1
    assert len({ask(client)._request_id for _ in range(5)}) == 5


def test_a_misspelt_fault_is_an_error_and_not_a_quiet_success(serve: Serve) -> None:
    with pytest.raises(ValueError, match="malformd"):
        seeded(0, malformd=0.5)
    assert post(serve(fault=always("malformd")))[0] == 500


# ---- the wire -----------------------------------------------------------------------------------------


def test_log_probabilities_come_one_a_word_and_always_the_same(serve: Serve) -> None:
    client = sdk(serve(), "openai")
    one, two = (ask(client, logprobs=True, top_logprobs=3).choices[0].logprobs.content for _ in range(2))
    assert one == two
    assert "".join(entry.token for entry in one) == f"you said: {QUESTION}"
    for entry in one:
        assert [top.logprob for top in entry.top_logprobs] == sorted(t.logprob for t in entry.top_logprobs)[::-1]
        assert (entry.top_logprobs[0].token, len(entry.top_logprobs), entry.bytes) == (entry.token, 3, None)
    assert ask(client).choices[0].logprobs is None


def test_the_fields_that_the_project_may_send_are_taken_and_others_are_not(serve: Serve) -> None:
    schema = {"type": "object", "properties": {}}
    server = serve(lambda _: '{"a": 1}')
    client = sdk(server, "openai")
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    assert ask(client, response_format=wanted).choices[0].message.content == '{"a": 1}'
    assert ask(client, stop=[": 1"]).choices[0].message.content == '{"a"'
    for refused in ({"n": 2}, {"top_logprobs": 3}, {"response_format": {"type": "xml"}}, {"user": "me"}):
        with pytest.raises(openai.BadRequestError):
            ask(client, **refused)
    client = sdk(server, "anthropic")
    assert ask(client, output_config={"format": {"type": "json_schema", "schema": schema}}).content[0].text
    stopped = ask(client, stop_sequences=[": 1"])
    assert (stopped.stop_reason, stopped.stop_sequence, stopped.content[0].text) == ("stop_sequence", ": 1", '{"a"')
    for refused in ({"metadata": {"user_id": "me"}}, {"output_config": {"format": {"type": "xml"}}}):
        with pytest.raises(anthropic.BadRequestError):
            ask(client, **refused)


def test_what_is_no_request_at_all_is_a_400(serve: Serve) -> None:
    server = serve()
    assert post(server, messages=[])[0] == post(server, messages="hi")[0] == post(server, model=None)[0] == 400
    request = urllib.request.Request(f"{server.url}/v1/messages", b"not json", {"anthropic-version": "2023-06-01"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request)


def test_tokens_from_a_cache_are_counted_as_each_provider_counts_them(serve: Serve) -> None:
    server = serve(cached_tokens=2)
    usage = ask(sdk(server, "openai")).usage
    assert (usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens) == (3, 2)
    usage = ask(sdk(server, "anthropic")).usage
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (1, 2)
    assert {(b.input_tokens, b.cached_tokens) for b in server.billed} == {(3, 2)}


# ---- bills and the log ----------------------------------------------------------------------------------


def test_every_completion_that_was_made_is_billed_whether_it_arrived_or_not(serve: Serve) -> None:
    server = serve(fault=lambda text, _nth: text.split()[0] if text.split()[0] in FAULTS else None)
    client = sdk(server, "openai", timeout=1.0)
    for name in (*FAULTS, "fine"):
        try:
            ask(client, f"{name} two")
        except (openai.OpenAIError, ValueError):
            continue
    delivered = {b.text.split()[0]: b.delivered for b in server.billed}
    lost = {"hang", "drop", "malformed", "empty_choices"}
    assert delivered == dict.fromkeys(lost, False) | dict.fromkeys(
        ["duplicate_id", "refused", "filtered", "drip", "fine"], True
    )
    assert {text.split()[0] for text in server.replied} == {name for name, whole in delivered.items() if whole}
    assert len(server.asked) == len(FAULTS) + 1
    assert server.billed_tokens(delivered=False) == (4 * 2, 4 * 4)
    assert server.billed_tokens(delivered=True)[0] == 5 * 2
    assert server.billed_tokens() == tuple(
        sum(pair) for pair in zip(server.billed_tokens(True), server.billed_tokens(False), strict=True)
    )


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_usage_in_a_reply_is_what_is_billed(provider: str, serve: Serve) -> None:
    server = serve(fault=first(None, "refused", "filtered"))
    for i in range(3):
        usage = ask(sdk(server, provider)).usage
        given = usage.completion_tokens if provider == "openai" else usage.output_tokens
        assert (server.billed[i].input_tokens, server.billed[i].output_tokens) == (3, given)


def test_the_log_says_what_came_of_every_request_and_holds_no_key(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    server = serve(fault=first(None, "server_error", "reset", "malformed"), api_key=KEY, log=path)
    with pytest.raises(openai.AuthenticationError):
        ask(sdk(server, "openai", key="sk-wrong-but-secret-too"))
    client = sdk(server, "openai")
    for _ in range(4):
        try:
            ask(client)
        except (openai.OpenAIError, ValueError):
            continue
    client.models.list()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{server.url}/nothing")
    log = read_log(path)
    assert [e["n"] for e in log] == list(range(1, 8))
    assert [e["status"] for e in log] == [401, 200, 500, None, 200, 200, 404]
    assert [e["authorized"] for e in log] == [False] + [True] * 6
    assert [e["fault"] for e in log] == [None, None, "server_error", "reset", "malformed", None, None]
    assert [(e["billed"], e["delivered"]) for e in log[:5]] == [
        *[(False, False), (True, True), (False, False), (False, False), (True, False)]
    ]
    assert log[1]["body"] == {"model": "stub", "messages": [{"role": "user", "content": QUESTION}]}
    assert (log[1]["text"], log[1]["input_tokens"], log[1]["output_tokens"]) == (QUESTION, 3, 5)
    assert (log[1]["method"], log[1]["path"]) == ("POST", "/v1/chat/completions")
    assert b"secret" not in path.read_bytes()


def test_a_line_of_the_log_is_in_the_file_before_its_reply_is_sent_even_if_the_server_is_killed(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log.jsonl"
    words = ["--log", str(log), "--latency", "0.001,0.002", "--requests-per-minute", "60", "--burst", "3"]
    words += ["--max-in-flight", "9", "--cached-tokens", "1", "--batch-faults", "errored=0.1", "--retry-after", ""]
    for run in (1, 2):
        process = subprocess.Popen([sys.executable, STUB, *words], stdout=subprocess.PIPE, text=True, cwd="/")
        assert process.stdout is not None
        try:
            server = StubServer(port=int(process.stdout.readline().rsplit(":", 1)[1]))
            statuses = [post(server)[0] for _ in range(4)]
            with urllib.request.urlopen(f"{server.url}/counts") as reply:
                counts = json.load(reply)
        finally:
            process.kill()
            process.communicate()
        assert statuses == [200, 200, 200, 429]
        assert (counts["asked"], counts["replied"], counts["rejected"]) == ({QUESTION: 4}, {QUESTION: 3}, 1)
        assert counts["billed"] == {"requests": 3, "input_tokens": 9, "output_tokens": 15}
        assert counts["billed_in_vain"]["requests"] == 0
        assert sum(entry["billed"] for entry in read_log(log)) == 3 * run


def test_a_reply_to_a_client_that_is_gone_is_billed_and_not_delivered(serve: Serve) -> None:
    server = serve(latency=0.4)
    with pytest.raises(openai.APITimeoutError):
        ask(sdk(server, "openai", timeout=0.1))
    deadline = time.monotonic() + 5
    while not server.billed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.billed == [Billed(QUESTION, 3, 5, 0, delivered=False, batch=False)]
    assert not server.replied


def test_a_server_that_records_nothing_still_counts(serve: Serve) -> None:
    server = serve(record=False)
    ask(sdk(server, "openai"))
    assert (server.requests, server.asked[QUESTION], len(server.billed)) == ([], 1, 1)


# ---- pace -------------------------------------------------------------------------------------------------


def test_latency_is_drawn_from_its_range_by_seed_question_and_attempt() -> None:
    drawn = [Model(echo, latency=(0.1, 0.3), seed=7).seconds(f"{i}", i % 3) for i in range(200)]
    assert drawn == [Model(echo, latency=(0.1, 0.3), seed=7).seconds(f"{i}", i % 3) for i in range(200)]
    assert 0.1 <= min(drawn) < 0.12
    assert 0.28 < max(drawn) <= 0.3
    assert Model(echo, latency=(0.1, 0.3), seed=8).seconds("0", 0) != drawn[0]
    assert Model(echo, latency=0.2).seconds("0", 0) == 0.2


def test_beyond_the_limit_on_requests_a_minute_a_429_says_how_long_to_wait(serve: Serve) -> None:
    server = serve(requests_per_minute=30, burst=2)
    replies = [post(server) for _ in range(4)]
    assert [status for status, _, _ in replies] == [200, 200, 429, 429]
    assert [headers["Retry-After"] for _, headers, _ in replies] == [None, None, "2", "2"]
    assert [headers["x-ratelimit-remaining-requests"] for _, headers, _ in replies] == ["1", "0", "0", "0"]
    assert {headers["x-ratelimit-limit-requests"] for _, headers, _ in replies} == {"30"}
    assert (server.rejected, server.asked[QUESTION], len(server.billed)) == (2, 4, 2)


def test_the_wait_can_be_left_unsaid(serve: Serve) -> None:
    server = serve(requests_per_minute=30, retry_after="")
    assert [post(server)[1]["Retry-After"] for _ in range(2)] == [None, None]
    assert server.rejected == 1


def test_a_bucket_fills_with_time_up_to_its_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("stub_ledger.time.monotonic", lambda: now[0])
    bucket = Bucket(600)
    assert (bucket.burst, bucket.left) == (10, 10)
    assert [bucket.take() for _ in range(11)] == [0] * 10 + [1]
    now[0] += 0.25
    assert [bucket.take() for _ in range(3)] == [0, 0, 1]
    now[0] += 3600
    assert bucket.left == 10
    assert (Bucket(6).burst, Bucket(6, 4).burst) == (1, 4)


def test_more_at_once_than_the_server_takes_are_refused_without_a_time_to_wait(serve: Serve) -> None:
    server = serve(max_in_flight=2, latency=0.3)
    replies: list[tuple[int, Mapping[str, str], bytes]] = []
    threads = [threading.Thread(target=lambda: replies.append(post(server))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(status for status, _, _ in replies) == [200, 200, 429, 429, 429]
    assert {headers["Retry-After"] for _, headers, _ in replies} == {None}
    assert (server.rejected, server.most_in_flight) == (3, 2)


def test_a_hanging_request_whose_client_left_is_no_longer_in_flight(serve: Serve) -> None:
    server = serve(max_in_flight=1, fault=first("hang"))
    client = sdk(server, "openai", timeout=0.2)
    with pytest.raises(openai.APITimeoutError):
        ask(client)
    time.sleep(0.3)
    assert ask(client).choices
