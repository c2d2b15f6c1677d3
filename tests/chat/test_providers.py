"""The wire formats: only what was asked for and is accepted is sent; what comes back is read or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.chat import ChatReply, ChatRequest, Endpoint
from tutelage.chat.protocol import TokenLogprob
from tutelage.chat.providers import NotAReplyError, read_reply, wire
from tutelage.errors import ConfigError
from tutelage.records import Message, Sampling

MESSAGES = (
    Message(role="system", content="Be brief."),
    Message(role="user", content="Hi"),
    Message(role="assistant", content="Hello"),
    Message(role="user", content="Why?"),
)
ALL = Sampling(temperature=0.5, top_p=0.9, max_tokens=7, seed=3)
OPENAI = Endpoint(provider="openai", model="m", base_url="http://h/v1")
CLAUDE = Endpoint(provider="anthropic", model="m", base_url="http://h", sends_temperature=False)
OLD_CLAUDE = Endpoint(provider="anthropic", model="m", base_url="http://h", api_version="2023-06-01")
SCHEMA = {"type": "object", "properties": {"verdict": {"enum": ["A", "B"]}}}
TOOL = {"name": "decide", "description": "Say which.", "strict": True, "parameters": SCHEMA}


def openai_reply(**choice: Any) -> str:
    whole = {"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"} | choice
    return json.dumps({"choices": [whole], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})


def claude_reply(**fields: Any) -> str:
    return json.dumps({"content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"} | fields)


def read(raw: str, provider: Any = "openai") -> ChatReply:
    return read_reply(provider, raw, Sampling(), cached=False)


def wire_body(endpoint: Endpoint, request: ChatRequest) -> Any:
    return json.loads(wire(endpoint, request).data)


def test_openai_is_sent_what_was_asked_and_nothing_else() -> None:
    body = wire_body(OPENAI, ChatRequest(messages=MESSAGES, sampling=ALL))
    assert body == {
        "model": "m",
        "messages": [{"role": m.role, "content": m.content} for m in MESSAGES],
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 7,
        "seed": 3,
    }
    assert wire_body(OPENAI, ChatRequest(messages=MESSAGES)).keys() == {"model", "messages"}


def test_a_model_that_takes_no_temperature_is_sent_none_and_the_reply_says_so() -> None:
    endpoint = OPENAI.model_copy(update={"sends_temperature": False, "max_tokens_field": "max_completion_tokens"})
    body = wire_body(endpoint, ChatRequest(messages=MESSAGES, sampling=ALL))
    assert body.keys() == {"model", "messages", "max_completion_tokens", "seed"}
    assert wire(endpoint, ChatRequest(messages=MESSAGES, sampling=ALL)).sampling == Sampling(max_tokens=7, seed=3)


def test_anthropic_gets_the_system_message_apart_and_no_seed() -> None:
    body = wire_body(OLD_CLAUDE, ChatRequest(messages=MESSAGES, sampling=ALL))
    assert body["system"] == "Be brief."
    assert [m["role"] for m in body["messages"]] == ["user", "assistant", "user"]
    sent = wire(OLD_CLAUDE, ChatRequest(messages=MESSAGES, sampling=ALL)).sampling
    assert sent == Sampling(temperature=0.5, top_p=0.9, max_tokens=7)
    newer = wire_body(CLAUDE, ChatRequest(messages=MESSAGES[1:], sampling=ALL))
    assert newer.keys() == {"model", "messages", "max_tokens"}


def test_anthropic_without_a_limit_on_tokens_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="set max_tokens"):
        wire_body(CLAUDE, ChatRequest(messages=MESSAGES))


def key(endpoint: Endpoint, request: ChatRequest) -> str:
    return wire(endpoint, request).key


def test_whatever_changes_the_question_changes_the_key() -> None:
    request = ChatRequest(messages=MESSAGES, sampling=ALL)
    base = key(OPENAI, request)
    assert base == key(OPENAI, request)
    others = {key(OPENAI, request.model_copy(update={"sample_index": 1}))}
    for change in (
        {"model": "other"},
        {"base_url": "http://other/v1"},
        {"sends_temperature": False},
        {"max_tokens_field": "max_completion_tokens"},
    ):
        others.add(key(OPENAI.model_copy(update=change), request))
    for sampling in ({"temperature": 0.6}, {"top_p": 1.0}, {"max_tokens": 8}, {"seed": 4}):
        others.add(key(OPENAI, request.model_copy(update={"sampling": ALL.model_copy(update=sampling)})))
    others.add(key(OPENAI, ChatRequest(messages=MESSAGES[1:], sampling=ALL)))
    swapped = (MESSAGES[0], MESSAGES[3], MESSAGES[2], MESSAGES[1])
    others.add(key(OPENAI, ChatRequest(messages=swapped, sampling=ALL)))
    others.add(key(OPENAI, request.model_copy(update={"json_schema": {"type": "object"}})))
    others.add(key(OPENAI, request.model_copy(update={"tool": TOOL})))
    newer = OLD_CLAUDE.model_copy(update={"api_version": "2023-07-01"})
    hosted = OLD_CLAUDE.model_copy(update={"platform": "bedrock"})
    others |= {key(e, request) for e in (CLAUDE, OLD_CLAUDE, newer, hosted)}
    assert len(others | {base}) == 18


def test_another_seed_is_another_draw_also_where_no_seed_is_sent() -> None:
    one = ChatRequest(messages=MESSAGES, sampling=ALL)
    two = one.model_copy(update={"sampling": ALL.model_copy(update={"seed": 4})})
    assert wire_body(CLAUDE, one) == wire_body(CLAUDE, two)
    assert key(CLAUDE, one) != key(CLAUDE, two)


def test_pace_does_not_change_the_key() -> None:
    request = ChatRequest(messages=MESSAGES)
    slower = OPENAI.model_copy(update={"max_concurrency": 1, "api_key_env": "A_KEY", "replicas": ("http://i/v1",)})
    assert key(slower, request) == key(OPENAI, request)


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "filtered"),
        ("tool_calls", "stop"),
        (None, "unknown"),
        (["stop"], "unknown"),
    ],
)
def test_openai_finish_reasons_are_read(name: object, means: str) -> None:
    assert read(openai_reply(finish_reason=name)).stop_reason == means


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "stop"),
        ("refusal", "filtered"),
        ("pause_turn", "unknown"),
    ],
)
def test_anthropic_stop_reasons_are_read(name: str, means: str) -> None:
    assert read(claude_reply(stop_reason=name), "anthropic").stop_reason == means


def test_tokens_are_counted_and_the_price_is_unknown() -> None:
    usage = read(openai_reply()).usage
    assert (usage.requests, usage.input_tokens, usage.output_tokens, usage.dollars) == (1, 3, 2, None)
    claude = read(claude_reply(usage={"input_tokens": 5, "output_tokens": 6}), "anthropic").usage
    assert (claude.input_tokens, claude.output_tokens) == (5, 6)


@pytest.mark.parametrize("usage", [None, [], {"prompt_tokens": "many"}, {"prompt_tokens": -1}])
def test_a_server_that_cannot_count_does_not_lose_its_reply(usage: object) -> None:
    reply = json.dumps({"choices": [{"message": {"content": "Hi"}}], "usage": usage})
    assert (read(reply).text, read(reply).usage.input_tokens) == ("Hi", 0)


def test_an_empty_text_is_a_reply() -> None:
    assert read(openai_reply(message={"content": ""})).text == ""
    assert read(openai_reply(message={"content": None})).text == ""
    assert read(claude_reply(content=[]), "anthropic").text == ""


def test_a_refusal_is_filtered() -> None:
    assert read(openai_reply(message={"content": None, "refusal": "I won't."})).stop_reason == "filtered"


def test_only_the_text_blocks_of_anthropic_are_the_completion() -> None:
    blocks = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b"},
    ]
    assert read(claude_reply(content=blocks), "anthropic").text == "ab"


def test_half_a_surrogate_pair_becomes_the_replacement_character() -> None:
    reply = read(openai_reply(message={"content": "a\ud800b 😀"}))
    assert reply.text == "a\ufffdb 😀"


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize(
    "raw",
    [
        *["", "<html>", "null", "[]", "{}", '{"error": {"message": "busy"}}', '{"choices": []}'],
        '{"choices": [{"message": {"content": ["x"]}}], "content": [{"type": "text", "text": 1}]}',
        "[" * 100_000,
        json.dumps({"choices": [{"message": {"tool_calls": [{"function": {"arguments": {"a": 1}}}]}}]}),
        '{"choices": [{"message": {"tool_calls": "decide"}}], "content": [{"type": "tool_use"}]}',
    ],
)
def test_what_is_not_a_reply_is_refused(raw: str, provider: str) -> None:
    with pytest.raises(NotAReplyError):
        read(raw, provider)


def test_log_probabilities_are_asked_for_and_read() -> None:
    asked = wire(OPENAI, ChatRequest(messages=MESSAGES, sampling=Sampling(top_logprobs=2)))
    assert json.loads(asked.data)["logprobs"] is True
    assert (json.loads(asked.data)["top_logprobs"], asked.sampling.top_logprobs) == (2, 2)
    entry = {"token": "m", "logprob": -0.1, "top_logprobs": [{"token": "m", "logprob": -0.1}]}
    reply = read_reply("openai", openai_reply(logprobs={"content": [entry]}), asked.sampling, cached=False)
    assert reply.logprobs == (TokenLogprob(token="m", logprob=-0.1, top=(("m", -0.1),)),)
    assert read_reply("openai", openai_reply(), asked.sampling, cached=False).logprobs is None


def test_a_schema_is_sent_in_each_providers_own_words() -> None:
    request = ChatRequest(messages=MESSAGES, sampling=Sampling(max_tokens=7), json_schema=SCHEMA)
    named = {"name": "reply", "strict": True, "schema": SCHEMA}
    assert wire_body(OPENAI, request)["response_format"] == {"type": "json_schema", "json_schema": named}
    assert wire_body(CLAUDE, request)["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}


def test_a_tool_is_sent_in_each_providers_own_words_and_must_be_called() -> None:
    request = ChatRequest(messages=MESSAGES, sampling=Sampling(max_tokens=7), tool=TOOL)
    body = wire_body(OPENAI, request)
    assert body["tools"] == [{"type": "function", "function": TOOL}]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "decide"}}
    body = wire_body(CLAUDE, request)
    assert body["tools"] == [{"name": "decide", "description": "Say which.", "input_schema": SCHEMA}]
    assert body["tool_choice"] == {"type": "tool", "name": "decide"}
    bare = request.model_copy(update={"tool": {"name": "decide", "parameters": SCHEMA}})
    assert wire_body(CLAUDE, bare)["tools"] == [{"name": "decide", "input_schema": SCHEMA}]


@pytest.mark.parametrize("endpoint", [OPENAI, CLAUDE])
@pytest.mark.parametrize("tool", [{}, {"name": "decide"}, {"name": 1, "parameters": {}}, {"parameters": SCHEMA}])
def test_what_is_no_function_is_refused_before_it_is_sent(endpoint: Endpoint, tool: Any) -> None:
    with pytest.raises(ConfigError, match="expected a function with a name"):
        wire(endpoint, ChatRequest(messages=MESSAGES, sampling=Sampling(max_tokens=7), tool=tool))


def test_a_request_without_a_tool_keeps_the_key_it_had_before_there_were_tools() -> None:
    """Replies in journals of earlier versions stay theirs."""
    asked = Sampling(max_tokens=7, seed=3)
    assert key(OPENAI, ChatRequest(messages=MESSAGES, sampling=asked)).startswith("29d623d14508")
    assert key(CLAUDE, ChatRequest(messages=MESSAGES, sampling=asked)).startswith("74712e90632c")


def called(arguments: Any) -> dict[str, Any]:
    return {"content": None, "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": arguments}}]}


def test_the_text_of_a_call_is_its_arguments() -> None:
    for reason in ("tool_calls", "stop"):
        reply = read(openai_reply(message=called('{"b": "Ü",\n"a": 1}'), finish_reason=reason))
        assert (reply.text, reply.stop_reason) == ('{"b": "Ü",\n"a": 1}', "stop")
    blocks = [{"type": "text", "text": "I see."}, {"type": "tool_use", "name": "f", "input": {"b": "Ü", "a": 1}}]
    reply = read(claude_reply(content=blocks, stop_reason="tool_use"), "anthropic")
    assert (reply.text, reply.stop_reason) == ('{"a":1,"b":"Ü"}', "stop")


def test_a_call_that_was_cut_off_is_cut() -> None:
    assert read(openai_reply(message=called('{"b": "x'), finish_reason="length")).stop_reason == "length"
    blocks = [{"type": "tool_use", "name": "f", "input": {}}]
    assert read(claude_reply(content=blocks, stop_reason="max_tokens"), "anthropic").stop_reason == "length"


def test_a_model_that_calls_nothing_replies_with_what_it_said() -> None:
    for calls in (None, []):
        assert read(openai_reply(message={"content": "Hm.", "tool_calls": calls})).text == "Hm."
    assert read(claude_reply(content=[{"type": "text", "text": "Hm."}]), "anthropic").text == "Hm."


def test_half_a_surrogate_pair_in_a_call_becomes_the_replacement_character() -> None:
    assert read(openai_reply(message=called('{"a": "\ud800"}'))).text == '{"a": "\ufffd"}'
    blocks = [{"type": "tool_use", "name": "f", "input": {"a": "b\ud800"}}]
    assert json.loads(read(claude_reply(content=blocks), "anthropic").text)["a"].startswith("b")


@pytest.mark.parametrize(
    ("endpoint", "asked"),
    [
        (OPENAI.model_copy(update={"offers_logprobs": False}), {"sampling": Sampling(top_logprobs=5)}),
        (CLAUDE, {"sampling": Sampling(top_logprobs=5, max_tokens=1)}),
        (OPENAI.model_copy(update={"offers_json_schema": False}), {"json_schema": {"type": "object"}}),
    ],
)
def test_what_a_model_does_not_offer_is_refused_before_it_is_sent(endpoint: Endpoint, asked: Any) -> None:
    with pytest.raises(ConfigError, match=r"log-probabilities|JSON schema"):
        wire(endpoint, ChatRequest(messages=MESSAGES, **asked))


def test_a_server_that_refuses_a_seed_is_sent_none() -> None:
    endpoint = OPENAI.model_copy(update={"sends_seed": False})
    assert "seed" not in wire_body(endpoint, ChatRequest(messages=MESSAGES, sampling=ALL))


def test_tokens_from_the_prompt_cache_are_counted_within_the_input() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 4}}
    of_openai = read(json.dumps({"choices": [{"message": {"content": "Hi"}}], "usage": usage})).usage
    of_claude = read(
        claude_reply(usage={"input_tokens": 6, "cache_read_input_tokens": 4, "output_tokens": 1}), "anthropic"
    ).usage
    for found in (of_openai, of_claude):
        assert (found.input_tokens, found.cached_input_tokens, found.output_tokens) == (10, 4, 1)


@given(st.text(max_size=200))
def test_no_text_takes_more_tokens_than_its_bound(text: str) -> None:
    """A token is a byte at least, so a request costs no more than its bytes and a chat template's margin."""
    asked = wire(OPENAI, ChatRequest(messages=(Message(role="user", content=text),), sampling=Sampling(max_tokens=5)))
    assert asked.most is not None
    assert asked.most[0] >= len(text.encode("utf-8", "surrogatepass")) + 100
    assert asked.most[1] == 5
    assert json.loads(asked.data)["messages"][0]["content"] == text


def test_half_a_surrogate_pair_in_a_prompt_is_sent_as_an_escape() -> None:
    asked = wire(OPENAI, ChatRequest(messages=(Message(role="user", content="a\ud800"),)))
    assert rb'"a\ud800"' in asked.data
