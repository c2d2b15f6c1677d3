"""What we send is what the providers' own SDKs send for the same call."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from asking import MakeBatches, MakeClient, Serve, questions
from stub_server import Recorded, StubServer
from tutelage.chat import BatchClient, ChatReply, ChatRequest, HttpClient
from tutelage.records import Message, Sampling

SYSTEM = "Be brief.\n"
TEXT = 'Ünïcode 😀, "quotes" and \x01'
KEY = "sk-test-0123456789abcdef"
SCHEMA = {
    "type": "object",
    "properties": {"verdict": {"type": "string", "enum": ["A", "B"]}},
    "required": ["verdict"],
    "additionalProperties": False,
}
TOOL = {"name": "decide", "description": "Say which is better.", "strict": True, "parameters": SCHEMA}


def ask_once(client: HttpClient, sampling: Sampling, **asked: Any) -> ChatReply:
    request = ChatRequest(
        messages=(Message(role="system", content=SYSTEM), Message(role="user", content=TEXT)),
        sampling=sampling,
        **asked,
    )

    async def run() -> ChatReply:
        reply = await client.complete(request)
        await client.close()
        return reply

    return asyncio.run(run())


def two(server: StubServer, *header_names: str) -> list[tuple[Any, ...]]:
    """Return method, path, body and the named headers of the two requests the server got."""

    def seen(r: Recorded) -> tuple[Any, ...]:
        sent = {name.lower(): value for name, value in r.headers.items()}
        return r.method, r.path, r.body, *[sent.get(name.lower()) for name in header_names]

    return [seen(r) for r in server.requests]


def test_openai_gets_what_its_sdk_sends(serve: Serve, client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    openai = pytest.importorskip("openai", reason="the openai SDK is the oracle of this test")
    monkeypatch.setenv("STUB_KEY", KEY)
    server = serve(api_key=KEY)
    sampling = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 7, "seed": 3}
    ask_once(client(server, api_key_env="STUB_KEY"), Sampling(**sampling))
    sdk = openai.OpenAI(api_key=KEY, base_url=server.openai_url)
    reply = sdk.chat.completions.create(
        model="stub",
        messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": TEXT}],
        **sampling,
    )
    assert reply.choices[0].message.content == f"you said: {TEXT}"
    ours, theirs = two(server, "Authorization", "Content-Type")
    assert ours == theirs


def test_openai_is_asked_for_log_probabilities_and_a_schema_as_its_sdk_asks(
    serve: Serve, client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    openai = pytest.importorskip("openai", reason="the openai SDK is the oracle of this test")
    monkeypatch.setenv("STUB_KEY", KEY)
    server = serve(api_key=KEY)
    ask_once(client(server, api_key_env="STUB_KEY"), Sampling(max_tokens=7, top_logprobs=5), json_schema=SCHEMA)
    sdk = openai.OpenAI(api_key=KEY, base_url=server.openai_url)
    reply = sdk.chat.completions.create(
        model="stub",
        messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": TEXT}],
        max_tokens=7,
        logprobs=True,
        top_logprobs=5,
        response_format={"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": SCHEMA}},
    )
    assert len(reply.choices[0].logprobs.content[0].top_logprobs) == 5
    ours, theirs = two(server, "Authorization", "Content-Type")
    assert ours == theirs


def test_openais_newer_models_are_asked_under_the_name_their_sdk_uses_for_the_limit(
    serve: Serve, client: MakeClient
) -> None:
    openai = pytest.importorskip("openai", reason="the openai SDK is the oracle of this test")
    server = serve()
    settings = {"max_tokens_field": "max_completion_tokens", "sends_temperature": False}
    ask_once(client(server, **settings), Sampling(max_tokens=7, temperature=0.5))
    openai.OpenAI(api_key=KEY, base_url=server.openai_url).chat.completions.create(
        model="stub",
        messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": TEXT}],
        max_completion_tokens=7,
    )
    ours, theirs = two(server, "Content-Type")
    assert ours == theirs


def test_anthropic_is_held_to_a_schema_as_its_sdk_does(serve: Serve, client: MakeClient) -> None:
    anthropic = pytest.importorskip("anthropic", reason="the anthropic SDK is the oracle of this test")
    server = serve()
    ask_once(client(server, "anthropic"), Sampling(max_tokens=7), json_schema=SCHEMA)
    anthropic.Anthropic(api_key=KEY, base_url=server.anthropic_url).messages.create(
        model="stub",
        max_tokens=7,
        system=SYSTEM,
        messages=[{"role": "user", "content": TEXT}],
        output_config={"format": {"type": "json_schema", "schema": SCHEMA}},
    )
    ours, theirs = two(server, "anthropic-version", "Content-Type")
    assert ours == theirs


VERDICT = '{"verdict":"A"}'


def test_openai_is_told_to_call_a_tool_as_its_sdk_tells_it(serve: Serve, client: MakeClient) -> None:
    openai = pytest.importorskip("openai", reason="the openai SDK is the oracle of this test")
    server = serve(lambda _: VERDICT)
    said = ask_once(client(server), Sampling(max_tokens=7), tool=TOOL)
    reply = openai.OpenAI(api_key=KEY, base_url=server.openai_url).chat.completions.create(
        model="stub",
        messages=[{"role": "system", "content": SYSTEM}, {"role": "user", "content": TEXT}],
        max_tokens=7,
        tools=[{"type": "function", "function": TOOL}],
        tool_choice={"type": "function", "function": {"name": "decide"}},
    )
    [call] = reply.choices[0].message.tool_calls
    assert call.function.name == "decide"
    assert (said.text, said.stop_reason) == (call.function.arguments, "stop") == (VERDICT, "stop")
    ours, theirs = two(server, "Content-Type")
    assert ours == theirs


def test_anthropic_is_told_to_call_a_tool_as_its_sdk_tells_it(serve: Serve, client: MakeClient) -> None:
    anthropic = pytest.importorskip("anthropic", reason="the anthropic SDK is the oracle of this test")
    server = serve(lambda _: VERDICT)
    said = ask_once(client(server, "anthropic"), Sampling(max_tokens=7), tool=TOOL)
    reply = anthropic.Anthropic(api_key=KEY, base_url=server.anthropic_url).messages.create(
        model="stub",
        max_tokens=7,
        system=SYSTEM,
        messages=[{"role": "user", "content": TEXT}],
        tools=[{"name": "decide", "description": TOOL["description"], "input_schema": SCHEMA}],
        tool_choice={"type": "tool", "name": "decide"},
    )
    [call] = reply.content
    assert (call.type, call.name, reply.stop_reason) == ("tool_use", "decide", "tool_use")
    assert (json.loads(said.text), said.stop_reason) == (call.input, "stop") == ({"verdict": "A"}, "stop")
    ours, theirs = two(server, "anthropic-version", "Content-Type")
    assert ours == theirs


def test_anthropic_gets_what_its_sdk_sends(serve: Serve, client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    anthropic = pytest.importorskip("anthropic", reason="the anthropic SDK is the oracle of this test")
    monkeypatch.setenv("STUB_KEY", KEY)
    server = serve()
    ask_once(client(server, "anthropic", api_key_env="STUB_KEY"), Sampling(max_tokens=7))
    # SDK 2 sends the key as Authorization: Bearer by default; the API takes x-api-key in all its versions.
    sdk = anthropic.Anthropic(api_key=KEY, base_url=server.anthropic_url, default_headers={"x-api-key": KEY})
    reply = sdk.messages.create(
        model="stub", max_tokens=7, system=SYSTEM, messages=[{"role": "user", "content": TEXT}]
    )
    assert reply.content[0].text == f"you said: {TEXT}"
    ours, theirs = two(server, "x-api-key", "anthropic-version", "Content-Type")
    assert ours == theirs


def ask_in_a_batch(client: BatchClient) -> None:
    client.ask(questions(2), lambda index, reply: None, lambda note: None)


def test_openai_gets_the_batch_that_its_sdk_sends(
    serve: Serve, batches: MakeBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    openai = pytest.importorskip("openai", reason="the openai SDK is the oracle of this test")
    monkeypatch.setenv("STUB_KEY", KEY)
    server = serve(api_key=KEY, batch_seconds=0.05)
    ask_in_a_batch(batches(server, api_key_env="STUB_KEY"))
    [upload, create] = [r for r in server.requests if r.method == "POST"]
    name, _, data = upload.body["file"]
    sdk = openai.OpenAI(api_key=KEY, base_url=server.openai_url)
    file = sdk.files.create(file=(name, data), purpose="batch")
    sdk.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata=create.body["metadata"],
    )
    [its_upload, its_create] = [r for r in server.requests if r.method == "POST"][2:]
    assert its_upload.body == upload.body
    its_create.body["input_file_id"] = create.body["input_file_id"]  # a file of its own
    assert its_create.body == create.body
    for one, other in ((upload, its_upload), (create, its_create)):
        assert (one.path, one.headers["Authorization"]) == (other.path, other.headers["Authorization"])
    lines = [json.loads(line) for line in data.splitlines()]
    assert [(line["method"], line["url"]) for line in lines] == [("POST", "/v1/chat/completions")] * 2
    assert [set(line) for line in lines] == [{"custom_id", "method", "url", "body"}] * 2


def test_anthropic_gets_the_batch_that_its_sdk_sends(
    serve: Serve, batches: MakeBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    anthropic = pytest.importorskip("anthropic", reason="the anthropic SDK is the oracle of this test")
    monkeypatch.setenv("STUB_KEY", KEY)
    server = serve(api_key=KEY, batch_seconds=0.05)
    ask_in_a_batch(batches(server, "anthropic", api_key_env="STUB_KEY"))
    [ours] = [r for r in server.requests if r.method == "POST"]
    ids = [row["custom_id"] for row in ours.body["requests"]]
    sdk = anthropic.Anthropic(api_key=KEY, base_url=server.anthropic_url, default_headers={"x-api-key": KEY})
    sdk.messages.batches.create(
        requests=[
            {
                "custom_id": ids[i],
                "params": {
                    "model": "stub",
                    "max_tokens": 50,
                    "messages": [{"role": "user", "content": f"question {i}"}],
                },
            }
            for i in range(2)
        ]
    )
    [_, its] = [r for r in server.requests if r.method == "POST"]
    assert (ours.path, ours.body) == (its.path, its.body)
    names = ("x-api-key", "anthropic-version", "content-type")

    def sent(headers: dict[str, str]) -> list[str | None]:
        lower = {name.lower(): value for name, value in headers.items()}
        return [lower.get(name) for name in names]

    assert sent(ours.headers) == sent(its.headers)
