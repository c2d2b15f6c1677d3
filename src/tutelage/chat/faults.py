"""What a refusal means: pure functions from an HTTP status, headers and body to what to do about it."""

from __future__ import annotations

import email.utils
import math
import time
from collections.abc import Mapping
from typing import Any

from tutelage.chat.providers import NotAReplyError, load_json
from tutelage.errors import (
    AuthenticationError,
    ChatError,
    QuotaError,
    RequestError,
    UnknownModelError,
)

_NO_CREDIT = {
    *("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "billing_error"),
    *("contract_spend_limit_reached", "enforced_spend_limit_reached"),
}
_GATEWAY_GAVE_UP = (408, 502, 504, 524)
_LONGEST_MESSAGE = 300


def cause(status: int, body: bytes, should_retry: bool | None = None) -> type[ChatError] | None:
    """Return the error that `status` stands for, or None if another attempt may pass.

    `should_retry` is what the server itself says of that, if it does: see `wants_retry`.
    """
    found = _cause(status, body)
    if should_retry is None or found is QuotaError:
        return found
    return None if should_retry else found or RequestError


def _cause(status: int, body: bytes) -> type[ChatError] | None:
    if status == 402 or (status in (400, 403, 429) and _NO_CREDIT & set(_codes(body))):
        return QuotaError
    if status in (401, 403):
        return AuthenticationError
    if status in (404, 405):
        return UnknownModelError
    if status in (408, 409, 429) or status >= 500:
        return None
    # 400, 413, 422; and redirects, which are not followed: they would carry the key to another server.
    return RequestError


def says_slow_down(status: int) -> bool:
    """True if a refusal means that there are too many requests: 429, and a server that is overloaded."""
    return status in (429, 503, 529)


def may_be_billed(status: int) -> bool:
    """True if a refusal comes from between us and a model that may have done its work: it was not waited for."""
    return status in _GATEWAY_GAVE_UP


def wants_retry(headers: Mapping[str, str]) -> bool | None:
    """Return whether a server says that another attempt may pass; None if it does not say.

    Both providers send `x-should-retry` where the status alone says too little, and their SDKs obey.
    """
    return {"true": True, "false": False}.get(headers.get("x-should-retry", ""))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds a server asks to wait, or None if it does not say."""
    value = headers.get("Retry-After")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return None if math.isnan(seconds) else max(0.0, seconds)


def server_message(body: bytes, key: str | None) -> str:
    """Return what the server says in an error's body, on one short printable line without `key`."""
    text = body[:100_000].decode("utf-8", "replace")
    error = _error(body)
    found = error.get("message") or error.get("detail") or error.get("error")
    return clean(found if isinstance(found, str) else str(found) if found else text, key)


def clean(text: str, key: str | None) -> str:
    """Return foreign `text` fit for a message of ours: one short printable line that does not hold `key`."""
    if key:
        text = text.replace(key, "[key]")
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST_MESSAGE else line[:_LONGEST_MESSAGE] + "..."


def model_names(body: bytes) -> list[str]:
    """Return the names in a list of models; empty if it is not one."""
    try:
        listed = load_json(body.decode("utf-8", "replace"))
        return [model["id"] for model in listed["data"] if isinstance(model["id"], str)]
    except (NotAReplyError, KeyError, TypeError):
        return []


def _codes(body: bytes) -> list[str]:
    error = _error(body)
    details = error.get("details")  # Anthropic's: what kind of rate limit it is
    found = [error.get("code"), error.get("type"), details.get("error_code") if isinstance(details, dict) else None]
    return [value for value in found if isinstance(value, str)]


def _error(body: bytes) -> dict[str, Any]:
    # OpenAI and Anthropic: {"error": {"message", "type", "code"}}. Others leave out the outer level.
    try:
        reply = load_json(body.decode("utf-8", "replace"))
    except NotAReplyError:
        return {}
    if not isinstance(reply, dict):
        return {}
    error = reply.get("error")
    return error if isinstance(error, dict) else reply
