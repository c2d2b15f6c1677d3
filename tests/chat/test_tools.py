"""A tool that must be called, end to end: the stub takes it as the APIs do; live or in a batch it is one reply."""

from __future__ import annotations

import json
from typing import Any

import pytest

from asking import MakeBatches, MakeClient, Serve, question
from batching import both, collect, settled, texts
from stub_server import StubServer, always
from tutelage.chat import ChatReply, ask

openai = pytest.importorskip("openai", reason="the openai SDK is the oracle of these tests")
anthropic = pytest.importorskip("anthropic", reason="the anthropic SDK is the oracle of these tests")

KEY = "sk-very-secret-0123456789"
TOOL = {"name": "decide", "description": "Say which.", "parameters": {"type": "object"}}
MESSAGES = [{"role": "user", "content": "one two three"}]
ASKED = question("one two three").model_copy(update={"tool": TOOL})


def openais(server: StubServer, **more: Any) -> Any:
    sdk = openai.OpenAI(api_key=KEY, base_url=server.openai_url, max_retries=0)
    return sdk.chat.completions.create(model="stub", messages=MESSAGES, **more)


def anthropics(server: StubServer, **more: Any) -> Any:
    sdk = anthropic.Anthropic(api_key=KEY, base_url=server.anthropic_url, max_retries=0)
    return sdk.messages.create(model="stub", max_tokens=9, messages=MESSAGES, **more)


def test_the_stub_calls_a_tool_of_openais_with_the_scripted_text(serve: Serve) -> None:
    tools = [{"type": "function", "function": TOOL}]
    choice = {"type": "function", "function": {"name": "decide"}}
    [called] = openais(serve(lambda _: "not JSON"), tools=tools, tool_choice=choice).choices
    assert (called.message.content, called.message.tool_calls[0].function.arguments) == (None, "not JSON")
    guess = {"type": "function", "function": {"name": "guess"}}
    for wrong in ({"tool_choice": choice}, {"tools": tools, "tool_choice": guess}, {"tools": [{"type": "x"}]}):
        with pytest.raises(openai.BadRequestError):
            openais(serve(), **wrong)
    refused = openais(serve(fault=always("refused")), tools=tools, tool_choice=choice).choices[0].message
    assert (refused.tool_calls, bool(refused.refusal)) == (None, True)


def test_the_stub_calls_a_tool_of_anthropics_or_speaks_if_its_text_is_no_object(serve: Serve) -> None:
    wanted = {
        "tools": [{"name": "decide", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "tool", "name": "decide"},
    }
    called = anthropics(serve(lambda _: '{"a": 1}'), **wanted)
    assert (called.content[0].input, called.stop_reason) == ({"a": 1}, "tool_use")
    said = anthropics(serve(lambda _: "I won't."), **wanted)
    assert (said.content[0].text, said.stop_reason) == ("I won't.", "end_turn")
    with pytest.raises(anthropic.BadRequestError):
        anthropics(serve(), tools=[TOOL])


@both
def test_a_batch_brings_the_reply_that_a_live_call_brings(
    provider: str, serve: Serve, batches: MakeBatches, client: MakeClient
) -> None:
    server = serve(lambda _: '{"b": [1, "Ü"], "a": null}', batch_seconds=0.05)
    in_batch = batches(server, provider)
    results = collect(in_batch, [ASKED, question("four")])
    assert json.loads(texts(results)[0]) == {"b": [1, "Ü"], "a": None}
    assert settled(in_batch, server)
    [again] = ask(client(server, provider), [ASKED])
    assert isinstance(again, ChatReply)
    assert (again.text, again.cached) == (texts(results)[0], True)


@both
def test_arguments_that_are_cut_off_are_a_cut_reply(provider: str, serve: Serve, client: MakeClient) -> None:
    server = serve(lambda _: '{"a": "b c d e f g"}')
    asked = question("one", max_tokens=3).model_copy(update={"tool": TOOL})
    [reply] = ask(client(server, provider), [asked])
    assert isinstance(reply, ChatReply)
    assert reply.stop_reason == "length"
