"""The two wire formats, as pure functions: what is sent, and how to read what comes back."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from tutelage.chat.endpoint import Endpoint, Provider
from tutelage.chat.protocol import ChatReply, ChatRequest, TokenLogprob
from tutelage.errors import ConfigError
from tutelage.records import Sampling, StopReason, Usage

Body = dict[str, Any]
_DENSE = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))
_TEMPLATE_TOKENS = 256
BYTES_PER_TOKEN = 4
"""The usual rule of thumb; exact counts need the model's own tokenizer, which APIs do not hand out."""

_STOP_REASONS: dict[str, StopReason] = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    # A call of a tool is what was asked for, and nothing was cut off.
    "tool_calls": "stop",
    "tool_use": "stop",
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


@dataclass(frozen=True, slots=True)
class Wire:
    """A request as it leaves: the JSON that is posted, its journal key, and the most tokens it can cost."""

    data: bytes
    key: str
    sampling: Sampling
    """What `data` really asks for."""
    most: tuple[int, int] | None
    """Input and output tokens; None without a limit on tokens, which may cost anything."""
    about: int
    """Input and output tokens as a limit on tokens per minute counts them: four bytes a token."""


def wire(endpoint: Endpoint, request: ChatRequest) -> Wire:
    """Return `request` as it is posted to `endpoint`: only what was asked for and what the model accepts.

    Raises:
        ConfigError: the Anthropic API is asked without `max_tokens`, the model is asked for
            log-probabilities or a JSON schema, which it does not offer, or the tool is no function.
    """
    build = _openai_body if endpoint.provider == "openai" else _anthropic_body
    body = build(endpoint, request)
    data = canonical(body)
    sampling = sent_sampling(body)
    about = len(data) // BYTES_PER_TOKEN + (sampling.max_tokens or 0)
    return Wire(data, _key(endpoint, data, request), sampling, _most(data, sampling), about)


def most_of(body: Any) -> tuple[int, int] | None:
    """Return the most input and output tokens that a request can cost which was posted as `body`; see `Wire`."""
    return _most(canonical(body), sent_sampling(body)) if isinstance(body, dict) else None


def _most(data: bytes, sampling: Sampling) -> tuple[int, int] | None:
    # A token is one byte at least, and JSON only adds bytes; the margin is for what a server's own chat
    # template adds.
    return None if sampling.max_tokens is None else (len(data) + _TEMPLATE_TOKENS, sampling.max_tokens)


def canonical(body: Body) -> bytes:
    """Return `body` as JSON, the same bytes for the same content."""
    try:
        return _DENSE.encode(body).encode("utf-8")
    except UnicodeEncodeError:  # half a surrogate pair, from a broken escape in somebody's file
        return json.dumps(body, sort_keys=True, separators=(",", ":")).encode("ascii")


def _openai_body(endpoint: Endpoint, request: ChatRequest) -> Body:
    asked = request.sampling
    body: Body = {
        "model": endpoint.model,
        "messages": [{"role": m.role, "content": m.content} for m in request.messages],
        endpoint.max_tokens_field: asked.max_tokens,
        **_temperature(endpoint, asked),
    }
    if endpoint.sends_seed:
        body["seed"] = asked.seed
    if asked.top_logprobs is not None:
        if not endpoint.offers_logprobs:
            raise ConfigError(f"{endpoint.model}: gives no log-probabilities (offers_logprobs=false)")
        body |= {"logprobs": True, "top_logprobs": asked.top_logprobs}
    if request.json_schema is not None:
        schema = {"name": "reply", "strict": True, "schema": _schema(endpoint, request)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if request.tool is not None:
        name, _ = _function(request.tool)
        body["tools"] = [{"type": "function", "function": request.tool}]
        body["tool_choice"] = {"type": "function", "function": {"name": name}}
    return {name: value for name, value in body.items() if value is not None}


def _anthropic_body(endpoint: Endpoint, request: ChatRequest) -> Body:
    asked = request.sampling
    if asked.max_tokens is None:
        raise ConfigError(f"{endpoint.model}: the Anthropic API needs a limit on tokens; set max_tokens")
    if asked.top_logprobs is not None:
        raise ConfigError(f"{endpoint.model}: the Anthropic API gives no log-probabilities")
    system = [m.content for m in request.messages if m.role == "system"]
    body: Body = {
        "model": endpoint.model,
        "max_tokens": asked.max_tokens,
        "system": "\n\n".join(system) if system else None,
        "messages": [{"role": m.role, "content": m.content} for m in request.messages if m.role != "system"],
        **_temperature(endpoint, asked),
    }
    if request.json_schema is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": _schema(endpoint, request)}}
    if request.tool is not None:
        name, schema = _function(request.tool)
        said = request.tool.get("description")
        about = {} if said is None else {"description": said}
        body["tools"] = [{"name": name, **about, "input_schema": schema}]
        body["tool_choice"] = {"type": "tool", "name": name}
    return {name: value for name, value in body.items() if value is not None}


def _temperature(endpoint: Endpoint, asked: Sampling) -> Body:
    return {"temperature": asked.temperature, "top_p": asked.top_p} if endpoint.sends_temperature else {}


def _schema(endpoint: Endpoint, request: ChatRequest) -> Body | None:
    if not endpoint.offers_json_schema:
        raise ConfigError(f"{endpoint.model}: cannot be held to a JSON schema (offers_json_schema=false)")
    return request.json_schema


def _function(tool: Body) -> tuple[str, Body]:
    """Return the name and the parameters (a JSON schema) of a function in OpenAI's form."""
    name, schema = tool.get("name"), tool.get("parameters")
    if not isinstance(name, str) or not isinstance(schema, dict):
        raise ConfigError("tool: expected a function with a name (text) and parameters (a JSON schema)")
    return name, schema


def sent_sampling(body: Body) -> Sampling:
    """Return the sampling that `body` really asks for."""
    return Sampling(
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        max_tokens=body.get("max_tokens", body.get("max_completion_tokens")),
        seed=body.get("seed"),
        top_logprobs=body.get("top_logprobs"),
    )


def _key(endpoint: Endpoint, data: bytes, request: ChatRequest) -> str:
    """Return the journal key: the hash of everything that decides what the reply is a reply to."""
    # The seed counts also where it is not sent: another one asks for another draw, not for the reply there is.
    about = (
        f"{endpoint.provider} {endpoint.platform} {endpoint.url} {endpoint.version} "
        f"{request.sample_index} {request.sampling.seed}\n"
    )
    return hashlib.sha256(about.encode("utf-8") + data).hexdigest()


def ask_url(endpoint: Endpoint, base: str | None = None) -> str:
    """Return the address that requests are posted to, at the endpoint's own address or another (`base`)."""
    return (base or endpoint.url) + ("/chat/completions" if endpoint.provider == "openai" else "/v1/messages")


def models_url(endpoint: Endpoint) -> str:
    """Return the address that lists the models a server has."""
    return endpoint.url + ("/models" if endpoint.provider == "openai" else "/v1/models")


def headers(endpoint: Endpoint, key: str | None) -> dict[str, str]:
    """Return the HTTP headers. The result holds the key: it goes to the socket and nowhere else."""
    sent = {"anthropic-version": endpoint.version} if endpoint.provider == "anthropic" else {}
    if key is not None:
        sent |= {"Authorization": f"Bearer {key}"} if endpoint.provider == "openai" else {"x-api-key": key}
    return sent


# ---- what comes back --------------------------------------------------------------------------------


def read_reply(provider: Provider, raw: str, sent: Sampling, cached: bool) -> ChatReply:
    """Read the body of a reply. Its `usage.dollars` is None: a body knows no price.

    Raises:
        NotAReplyError: `raw` is not JSON, or not a chat completion of this provider.
    """
    reply = load_json(raw)
    try:
        text, reason = _read_openai(reply) if provider == "openai" else _read_anthropic(reply)
        usage = read_usage(reply)
        logprobs = _read_logprobs(reply) if sent.top_logprobs is not None else None
    except (KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise NotAReplyError(f"not a chat completion: {type(error).__name__} {error}") from None
    return ChatReply(
        text=_whole(text), stop_reason=reason, usage=usage, sampling=sent, logprobs=logprobs, cached=cached
    )


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
    called = message.get("tool_calls")
    text = called[0]["function"]["arguments"] if called else message.get("content")
    if message.get("refusal"):
        return _text(text), "filtered"
    return _text(text), _stop_reason(choice.get("finish_reason"))


def _read_anthropic(reply: Any) -> tuple[str, StopReason]:
    # Blocks of other types (thinking) are not the completion.
    texts = [_text(block["text"]) for block in reply["content"] if block["type"] == "text"]
    called = [block["input"] for block in reply["content"] if block["type"] == "tool_use"]
    text = canonical(called[0]).decode("utf-8") if called else "".join(texts)
    return text, _stop_reason(reply.get("stop_reason"))


def _read_logprobs(reply: Any) -> tuple[TokenLogprob, ...] | None:
    """Read OpenAI's log-probabilities; None if the server gave none."""
    content = (reply["choices"][0].get("logprobs") or {}).get("content")
    if content is None:
        return None
    return tuple(
        TokenLogprob(
            token=_whole(entry["token"]),
            logprob=entry["logprob"],
            top=tuple((_whole(top["token"]), top["logprob"]) for top in entry.get("top_logprobs") or ()),
        )
        for entry in content
    )


def _text(content: Any) -> str:
    if content is None:
        return ""
    if not isinstance(content, str):
        raise TypeError(f"content is {type(content).__name__}, expected text")
    return content


def _stop_reason(name: Any) -> StopReason:
    return _STOP_REASONS.get(name, "unknown") if isinstance(name, str) else "unknown"


def read_usage(reply: Any) -> Usage:
    """Return the tokens that a reply of either provider says it took; 0 where it does not say."""
    usage = reply.get("usage") if isinstance(reply, dict) else None
    # Some servers count nothing; a reply that was paid for is not thrown away for that.
    counts = usage if isinstance(usage, dict) else {}
    details = counts.get("prompt_tokens_details")
    in_cache = _count(details, "cached_tokens") + _count(counts, "cache_read_input_tokens")
    # Anthropic counts what it had in its cache, or put there, beside the input; OpenAI within it.
    beside = _count(counts, "cache_read_input_tokens") + _count(counts, "cache_creation_input_tokens")
    return Usage(
        requests=1,
        input_tokens=_count(counts, "prompt_tokens") or _count(counts, "input_tokens") + beside,
        output_tokens=_count(counts, "completion_tokens") or _count(counts, "output_tokens"),
        cached_input_tokens=in_cache,
        dollars=None,
    )


def _count(counts: Any, name: str) -> int:
    number = counts.get(name) if isinstance(counts, dict) else None
    return max(0, number) if isinstance(number, int) and not isinstance(number, bool) else 0


def _whole(text: str) -> str:
    # JSON can spell half a surrogate pair ("\ud800"), which no UTF-8 file can hold.
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
