"""The two wire formats from the server's side, as pure functions: what is accepted and what is sent back."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from stub_faults import ApiError

Json = dict[str, Any]
Messages = list[dict[str, str]]

OPENAI_FIELDS = {
    *("model", "messages", "temperature", "top_p", "max_tokens", "max_completion_tokens", "seed"),
    *("logprobs", "top_logprobs", "response_format", "stop", "tools", "tool_choice"),
}
ANTHROPIC_FIELDS = {
    *("model", "messages", "system", "max_tokens", "temperature", "top_p"),
    *("output_config", "stop_sequences", "tools", "tool_choice"),
}
NO_SAMPLING_SINCE = "2026-10-21"
"""From this anthropic-version on, temperature and top_p are refused."""
MAX_TOP_LOGPROBS = 20

REFUSAL = "I'm sorry, I can't help with that."


@dataclass(frozen=True)
class Completion:
    """What a model made of a request. Tokens are words."""

    text: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    """How many of the input tokens came from a cache."""
    end: str = "stop"
    """stop | length | stop_sequence | refused | filtered"""
    stop_sequence: str | None = None


class Wire(Protocol):
    """One provider's format."""

    name: str
    request_id_header: str
    limit_headers: tuple[str, str]
    """Of the limit on requests a minute, and of how many are left."""
    chat_path: str
    file_type: str
    """The content type of JSON lines."""

    def sent_key(self, headers: Mapping[str, str]) -> str | None:
        """Return the header that holds the key."""
        ...

    def accepts(self, headers: Mapping[str, str], key: str) -> bool:
        """Say whether `key` is the one that was sent."""
        ...

    def version(self, headers: Mapping[str, str]) -> str:
        """Return the version of the API that is asked for; '' is none."""
        ...

    def problem(self, body: Any, version: str) -> str:
        """Return what the API has against `body`, or ''."""
        ...

    def messages(self, body: Json) -> Messages:
        """Return the conversation, system first."""
        ...

    def limits(self, body: Json) -> tuple[int | None, list[str]]:
        """Return the most tokens of the completion, and what ends it early."""
        ...

    def reply(self, body: Json, done: Completion, fault: str | None, seed: int) -> Json:
        """Return the reply, spoilt by `fault` if that is one of `SHAPED`."""
        ...

    def error(self, error: ApiError, request_id: str) -> tuple[int, Json]:
        """Return status and body of a refusal."""
        ...

    def models(self, names: tuple[str, ...]) -> Json:
        """Return the list of models."""
        ...


def complete(
    text: str, messages: Messages, limits: tuple[int | None, list[str]], cached: int, fault: str | None
) -> Completion:
    """Return what a model that wants to say `text` comes to say within `limits`, or as `fault` has it."""
    max_tokens, stops = limits
    input_tokens = sum(len(m["content"].split()) for m in messages)
    cached = min(cached, input_tokens)
    if fault == "refused":
        return Completion(REFUSAL, input_tokens, len(REFUSAL.split(" ")), cached, "refused")
    found = [(text.index(stop), stop) for stop in stops if stop in text]
    end, stop_sequence = ("stop_sequence", min(found)[1]) if found else ("stop", None)
    words = (text[: min(found)[0]] if found else text).split(" ")
    if fault == "filtered":
        words, end, stop_sequence = words[: (len(words) + 1) // 2], "filtered", None
    if len(words) > (max_tokens or len(words)):
        words, end, stop_sequence = words[:max_tokens], "length", None
    return Completion(" ".join(words), input_tokens, len(words), cached, end, stop_sequence)


def new_id(prefix: str, fault: str | None = None) -> str:
    """Return an id that no other reply has, unless `fault` is that it is not."""
    return f"{prefix}{'0' * 32 if fault == 'duplicate_id' else uuid.uuid4().hex}"


def _content(value: Any) -> str | None:
    """Return the text of a content or system field, or None if it is not text."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(b, dict) and isinstance(b.get("text"), str) for b in value):
        return "".join(b["text"] for b in value)
    return None


def _messages_problem(body: Any, roles: set[str]) -> str:
    if not isinstance(body, dict):
        return "the body is not a JSON object"
    if not isinstance(body.get("model"), str):
        return "model: Field required"
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return "messages: at least one message is required"
    for i, message in enumerate(messages):
        if not isinstance(message, dict) or _content(message.get("content")) is None:
            return f"messages.{i}: expected role and content"
        if message.get("role") not in roles:
            return f'messages: Unexpected role "{message.get("role")}"'
    return ""


class OpenAIWire:
    """POST /v1/chat/completions."""

    name = "openai"
    request_id_header = "x-request-id"
    limit_headers = ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests")
    chat_path = "/v1/chat/completions"
    file_type = "application/octet-stream"

    def sent_key(self, headers: Mapping[str, str]) -> str | None:
        return headers.get("Authorization")

    def accepts(self, headers: Mapping[str, str], key: str) -> bool:
        return self.sent_key(headers) == f"Bearer {key}"

    def version(self, headers: Mapping[str, str]) -> str:
        return "v1"

    def problem(self, body: Any, version: str) -> str:
        if problem := _messages_problem(body, {"system", "developer", "user", "assistant"}):
            return problem
        if extra := set(body) - OPENAI_FIELDS:
            return f"unknown fields: {sorted(extra)}"
        top = body.get("top_logprobs")
        if top is not None and not body.get("logprobs"):
            return "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled."
        if top is not None and not (isinstance(top, int) and 0 <= top <= MAX_TOP_LOGPROBS):
            return f"Invalid value for 'top_logprobs': must be between 0 and {MAX_TOP_LOGPROBS}."
        tools = [t.get("function", {}) for t in body.get("tools") or [] if t.get("type") == "function"]
        if problem := _tools_problem(body, tools, "parameters", self.tool(body)):
            return problem
        return _response_format_problem(body.get("response_format"))

    def tool(self, body: Json) -> str | None:
        """Return the function that the model must call."""
        choice = body.get("tool_choice")
        return None if choice is None else str(choice["function"]["name"])

    def messages(self, body: Json) -> Messages:
        return [{"role": m["role"], "content": _content(m["content"]) or ""} for m in body["messages"]]

    def limits(self, body: Json) -> tuple[int | None, list[str]]:
        stop = body.get("stop") or []
        return body.get("max_tokens", body.get("max_completion_tokens")), [stop] if isinstance(stop, str) else stop

    def reply(self, body: Json, done: Completion, fault: str | None, seed: int) -> Json:
        refused, tool = done.end == "refused", self.tool(body)
        message: Json = {
            "role": "assistant",
            "content": None if refused or tool else done.text,
            "refusal": done.text if refused else None,
        }
        if tool and not refused:
            called = {"name": tool, "arguments": done.text}
            message["tool_calls"] = [{"id": new_id("call_"), "type": "function", "function": called}]
        choice = {
            "index": 0,
            "message": message,
            # OpenAI says "stop", not "tool_calls", where it had no choice but to call
            "finish_reason": {"length": "length", "filtered": "content_filter"}.get(done.end, "stop"),
            "logprobs": None,
        }
        if body.get("logprobs"):
            content = [] if refused else _logprobs(done.text, body.get("top_logprobs") or 0, seed)
            choice["logprobs"] = {"content": content, "refusal": None}
        return {
            "id": new_id("chatcmpl-", fault),
            "object": "chat.completion",
            "created": int(time.time()),
            "model": body["model"],
            "choices": [] if fault == "empty_choices" else [choice],
            "usage": {
                "prompt_tokens": done.input_tokens,
                "completion_tokens": done.output_tokens,
                "total_tokens": done.input_tokens + done.output_tokens,
                "prompt_tokens_details": {"cached_tokens": done.cached_tokens},
            },
        }

    def error(self, error: ApiError, request_id: str) -> tuple[int, Json]:
        said = {
            "message": error.message,
            "type": error.openai_type,
            "param": error.param,
            "code": error.openai_code,
        }
        return error.status, {"error": said}

    def models(self, names: tuple[str, ...]) -> Json:
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "stub"} for name in names]
        return {"object": "list", "data": data}


def _tools_problem(body: Json, tools: list[Json], schema: str, wanted: str | None) -> str:
    if len(tools) != len(body.get("tools") or []):
        return "tools: Unsupported type"
    for tool in tools:
        if not isinstance(tool.get("name"), str) or not isinstance(tool.get(schema), dict):
            return f"tools: expected name and {schema}"
        if extra := set(tool) - {"name", "description", "strict", schema}:
            return f"tools: unknown fields: {sorted(extra)}"
    if wanted is not None and wanted not in [tool["name"] for tool in tools]:
        return f"Tool choice '{wanted}' not found in 'tools'."
    return ""


def _response_format_problem(wanted: Any) -> str:
    if wanted is None:
        return ""
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind not in ("text", "json_object", "json_schema"):
        return f"Invalid value: '{kind}'. Supported values are: 'json_object', 'json_schema', and 'text'."
    given = wanted.get("json_schema")
    if kind == "json_schema" and not (isinstance(given, dict) and isinstance(given.get("name"), str)):
        return "Missing required parameter: 'response_format.json_schema.name'."
    return ""


def _logprobs(text: str, top: int, seed: int) -> list[Json]:
    """Return one entry a word. The numbers mean nothing, but the same text and seed give the same ones."""
    entries = []
    for place, word in enumerate(text.split(" ")):
        token = word if place == 0 else f" {word}"
        drawn = hashlib.sha256(f"{seed}|{place}|{word}".encode()).digest()
        # the word itself first, as the likeliest; then made-up rivals, each less likely than the one before
        first = -drawn[0] / 512
        likely = [(token, first), *[(f"{token}~{k}", first - k - drawn[k] / 256) for k in range(1, top)]]
        tops = [{"token": t, "logprob": p, "bytes": None} for t, p in likely[:top]]
        entries.append({"token": token, "logprob": first, "bytes": None, "top_logprobs": tops})
    return entries


class AnthropicWire:
    """POST /v1/messages."""

    name = "anthropic"
    request_id_header = "request-id"
    limit_headers = ("anthropic-ratelimit-requests-limit", "anthropic-ratelimit-requests-remaining")
    chat_path = "/v1/messages"
    file_type = "application/x-jsonl"

    def sent_key(self, headers: Mapping[str, str]) -> str | None:
        return headers.get("x-api-key", headers.get("Authorization"))

    def accepts(self, headers: Mapping[str, str], key: str) -> bool:
        # The official SDK sends x-api-key up to version 1 and a bearer token from version 2 on.
        sent = headers.get("x-api-key")
        return sent == key if sent is not None else headers.get("Authorization") == f"Bearer {key}"

    def version(self, headers: Mapping[str, str]) -> str:
        return headers.get("anthropic-version", "")

    def problem(self, body: Any, version: str) -> str:
        if not version:
            return "anthropic-version: header is required"
        if problem := _messages_problem(body, {"user", "assistant"}):
            return problem
        if "max_tokens" not in body:
            return "max_tokens: Field required"
        fields = ANTHROPIC_FIELDS - ({"temperature", "top_p"} if version >= NO_SAMPLING_SINCE else set())
        if extra := sorted(set(body) - fields):
            return f"{extra[0]}: Extra inputs are not permitted"
        if "system" in body and _content(body["system"]) is None:
            return "system: Input should be a valid string"
        if problem := _tools_problem(body, body.get("tools") or [], "input_schema", self.tool(body)):
            return problem
        return _output_config_problem(body.get("output_config"))

    def tool(self, body: Json) -> str | None:
        """Return the tool that the model must call."""
        choice = body.get("tool_choice")
        return None if choice is None else str(choice["name"])

    def messages(self, body: Json) -> Messages:
        system = [{"role": "system", "content": _content(body["system"]) or ""}] if "system" in body else []
        return system + [{"role": m["role"], "content": _content(m["content"]) or ""} for m in body["messages"]]

    def limits(self, body: Json) -> tuple[int | None, list[str]]:
        return body["max_tokens"], body.get("stop_sequences") or []

    def reply(self, body: Json, done: Completion, fault: str | None, seed: int) -> Json:
        refused = done.end in ("refused", "filtered")
        reasons = {"length": "max_tokens", "stop_sequence": "stop_sequence", "stop": "end_turn"}
        content: Json = {"type": "text", "text": done.text}
        given = None if refused else _arguments(done)
        if (tool := self.tool(body)) and given is not None:
            content = {"type": "tool_use", "id": new_id("toolu_"), "name": tool, "input": given}
            reasons["stop"] = "tool_use"
        reply = {
            "id": new_id("msg_", fault),
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [content],
            "stop_reason": "refusal" if refused else reasons[done.end],
            "stop_sequence": done.stop_sequence,
            "usage": {
                # Unlike OpenAI's, these two are counted apart.
                "input_tokens": done.input_tokens - done.cached_tokens,
                "cache_read_input_tokens": done.cached_tokens,
                "cache_creation_input_tokens": 0,
                "output_tokens": done.output_tokens,
            },
        }
        if fault == "empty_choices":
            del reply["content"]
        return reply

    def error(self, error: ApiError, request_id: str) -> tuple[int, Json]:
        said = {"type": error.anthropic_type, "message": error.message}
        return error.anthropic_status or error.status, {"type": "error", "error": said, "request_id": request_id}

    def models(self, names: tuple[str, ...]) -> Json:
        about = {"type": "model", "created_at": "2026-01-01T00:00:00Z"}
        data = [{"id": name, "display_name": name} | about for name in names]
        return {"data": data, "has_more": False, "first_id": names[0], "last_id": names[-1]}


def _arguments(done: Completion) -> Json | None:
    """Return what the model calls the tool with; None if it does not, but speaks."""
    if done.end == "length":
        return {}  # what a call that was cut off comes to
    try:
        given = json.loads(done.text)
    except ValueError:
        return None
    return given if isinstance(given, dict) else None


def _output_config_problem(config: Any) -> str:
    if config is None:
        return ""
    if not isinstance(config, dict) or set(config) - {"format", "effort"}:
        return "output_config: Extra inputs are not permitted"
    wanted = config.get("format")
    if wanted is not None and not (
        isinstance(wanted, dict)
        and set(wanted) == {"type", "schema"}
        and wanted["type"] == "json_schema"
        and isinstance(wanted["schema"], dict)
    ):
        return "output_config.format: expected type json_schema and a schema"
    return ""


OPENAI = OpenAIWire()
ANTHROPIC = AnthropicWire()
