"""The two wire formats, as pure functions: what is sent, and how to read what comes back."""

from __future__ import annotations

import json
from typing import Any

from tutelage.chat.endpoint import Endpoint, Provider
from tutelage.chat.protocol import ChatReply, ChatRequest
from tutelage.errors import ConfigError
from tutelage.records import Sampling, StopReason, Usage, digest

Body = dict[str, Any]

_STOP_REASONS: dict[str, StopReason] = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    # The context is full: the text was cut off just the same.
    "model_context_window_exceeded": "length",
    "content_filter": "filtered",
    "refusal": "filtered",
}


class NotAReplyError(ValueError):
    """A body that is not what the provider's format says; never leaves `chat/`."""


# ---- what is sent -----------------------------------------------------------------------------------


def wire_body(endpoint: Endpoint, request: ChatRequest) -> Body:
    """Return the JSON to post: only what was asked for and what the model accepts.

    Raises:
        ConfigError: the Anthropic API is asked without `max_tokens`.
    """
    build = _openai_body if endpoint.provider == "openai" else _anthropic_body
    return build(endpoint, request)


def _openai_body(endpoint: Endpoint, request: ChatRequest) -> Body:
    asked = request.sampling
    body: Body = {
        "model": endpoint.model,
        "messages": [{"role": m.role, "content": m.content} for m in request.messages],
        endpoint.max_tokens_field: asked.max_tokens,
        "seed": asked.seed,
        **_temperature(endpoint, asked),
    }
    return {name: value for name, value in body.items() if value is not None}


def _anthropic_body(endpoint: Endpoint, request: ChatRequest) -> Body:
    asked = request.sampling
    if asked.max_tokens is None:
        raise ConfigError(f"{endpoint.model}: the Anthropic API needs a limit on tokens; set max_tokens")
    system = [m.content for m in request.messages if m.role == "system"]
    body: Body = {
        "model": endpoint.model,
        "max_tokens": asked.max_tokens,
        "system": "\n\n".join(system) if system else None,
        "messages": [{"role": m.role, "content": m.content} for m in request.messages if m.role != "system"],
        **_temperature(endpoint, asked),
    }
    return {name: value for name, value in body.items() if value is not None}


def _temperature(endpoint: Endpoint, asked: Sampling) -> Body:
    return {"temperature": asked.temperature, "top_p": asked.top_p} if endpoint.sends_temperature else {}


def sent_sampling(body: Body) -> Sampling:
    """Return the sampling that `body` really asks for."""
    return Sampling(
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        max_tokens=body.get("max_tokens", body.get("max_completion_tokens")),
        seed=body.get("seed"),
    )


def wire_key(endpoint: Endpoint, body: Body, request: ChatRequest) -> str:
    """Return the journal key: the hash of everything that decides what the reply is a reply to."""
    return digest(
        {
            "body": body,
            "provider": endpoint.provider,
            "base_url": endpoint.url,
            "api_version": endpoint.version,
            "sample_index": request.sample_index,
            # also where it is not sent: another seed asks for another draw, not for the reply there is
            "seed": request.sampling.seed,
        },
        64,
    )


def ask_url(endpoint: Endpoint) -> str:
    """Return the address that requests are posted to."""
    return endpoint.url + ("/chat/completions" if endpoint.provider == "openai" else "/v1/messages")


def models_url(endpoint: Endpoint) -> str:
    """Return the address that lists the models a server has."""
    return endpoint.url + ("/models" if endpoint.provider == "openai" else "/v1/models")


def headers(endpoint: Endpoint, key: str | None) -> dict[str, str]:
    """Return the HTTP headers. The result holds the key: it goes to the socket and nowhere else."""
    sent = {"Content-Type": "application/json"}
    if endpoint.provider == "anthropic":
        sent["anthropic-version"] = endpoint.version
    if key is not None:
        sent |= {"Authorization": f"Bearer {key}"} if endpoint.provider == "openai" else {"x-api-key": key}
    return sent


# ---- what comes back --------------------------------------------------------------------------------


def read_reply(provider: Provider, raw: str, sent: Sampling, cached: bool) -> ChatReply:
    """Read the body of a reply.

    Raises:
        NotAReplyError: `raw` is not JSON, or not a chat completion of this provider.
    """
    reply = load_json(raw)
    try:
        text, reason = _read_openai(reply) if provider == "openai" else _read_anthropic(reply)
        usage = _read_usage(reply.get("usage"))
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise NotAReplyError(f"not a chat completion: {type(error).__name__} {error}") from None
    return ChatReply(text=_whole(text), stop_reason=reason, usage=usage, sampling=sent, cached=cached)


def load_json(raw: str) -> Any:
    """Parse JSON from a server.

    Raises:
        NotAReplyError: it is not JSON, or nested too deeply to be honest.
    """
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise NotAReplyError(f"not JSON ({error})") from None


def _read_openai(reply: Any) -> tuple[str, StopReason]:
    choice = reply["choices"][0]
    message = choice["message"]
    text = message.get("content")
    if message.get("refusal"):
        return _text(text), "filtered"
    return _text(text), _stop_reason(choice.get("finish_reason"))


def _read_anthropic(reply: Any) -> tuple[str, StopReason]:
    # Blocks of other types (thinking) are not the completion.
    texts = [_text(block["text"]) for block in reply["content"] if block["type"] == "text"]
    return "".join(texts), _stop_reason(reply.get("stop_reason"))


def _text(content: Any) -> str:
    if content is None:
        return ""
    if not isinstance(content, str):
        raise TypeError(f"content is {type(content).__name__}, expected text")
    return content


def _stop_reason(name: Any) -> StopReason:
    return _STOP_REASONS.get(name, "unknown") if isinstance(name, str) else "unknown"


def _read_usage(usage: Any) -> Usage:
    # Some servers count nothing; a reply that was paid for is not thrown away for that.
    counts = usage if isinstance(usage, dict) else {}

    def tokens(*names: str) -> int:
        found = [counts[name] for name in names if isinstance(counts.get(name), int)]
        return max(0, int(found[0])) if found else 0

    return Usage(
        requests=1,
        input_tokens=tokens("prompt_tokens", "input_tokens"),
        output_tokens=tokens("completion_tokens", "output_tokens"),
        dollars=None,
    )


def _whole(text: str) -> str:
    # JSON can spell half a surrogate pair ("\ud800"), which no UTF-8 file can hold.
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
