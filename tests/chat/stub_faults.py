"""What the stub server can do wrong, and who decides when: names of faults, the errors, and plans of faults."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

Fault = Callable[[str, int], str | None]
"""(text of the last message, how often it was asked before) -> name of a fault, or None."""

HttpFault = Callable[[str, str, int], str | None]
"""(method, path, how often that was called before) -> name of a fault, or None."""


class ApiError(NamedTuple):
    """A refusal, as each provider would word it. Statuses and names are the real APIs' own."""

    status: int
    openai_type: str
    openai_code: str | None
    anthropic_type: str
    message: str
    param: str | None = None
    anthropic_status: int = 0
    """0 where it is the same."""


_INVALID = "invalid_request_error"

ERRORS: dict[str, ApiError] = {
    "rate_limited": ApiError(429, "requests", "rate_limit_exceeded", "rate_limit_error", "slow down"),
    "rate_limited_silent": ApiError(429, "requests", "rate_limit_exceeded", "rate_limit_error", "slow down"),
    # Anthropic has no quota that a 429 could stand for: a lack of credit is a 402 there.
    "quota": ApiError(
        429,
        "insufficient_quota",
        "insufficient_quota",
        "billing_error",
        "you exceeded your current quota",
        anthropic_status=402,
    ),
    "bad_request": ApiError(
        400, _INVALID, "context_length_exceeded", _INVALID, "the context is too long", param="messages"
    ),
    "too_large": ApiError(413, _INVALID, None, "request_too_large", "the request is too large"),
    "unprocessable": ApiError(422, _INVALID, None, _INVALID, "cannot be processed"),
    "server_error": ApiError(500, "server_error", None, "api_error", "something broke"),
    "unavailable": ApiError(503, "server_error", None, "api_error", "temporarily unavailable"),
    "overloaded": ApiError(529, "server_error", None, "overloaded_error", "overloaded"),
}

INSTEAD = ("reset", "wrong_type")
"""Faults in place of any work: the request never reached a model."""
LOST = ("hang", "drop", "malformed")
"""The work was done, and its result does not arrive whole."""
SHAPED = ("empty_choices", "duplicate_id", "refused", "filtered")
"""The reply arrives, and something is wrong with what is in it."""
FAULTS = (*ERRORS, *INSTEAD, *LOST, *SHAPED, "drip")
HTTP_FAULTS = (*ERRORS, *INSTEAD, *LOST, "drip")
"""What may also befall a call that asks no model."""
BATCH_FAULTS = ("errored", "invalid", "expired", "empty_choices", "refused", "filtered")
"""What may become of one line of a batch."""


def invalid(message: str, param: str | None = None) -> ApiError:
    """Return the error of a request that is not as it should be."""
    return ApiError(400, _INVALID, None, _INVALID, message, param)


def not_found(message: str, code: str | None = None) -> ApiError:
    """Return the error of a name that stands for nothing."""
    return ApiError(404, _INVALID, code, "not_found_error", message)


def wrong_key(message: str) -> ApiError:
    """Return the error of a key that is missing or not the right one."""
    return ApiError(401, _INVALID, "invalid_api_key", "authentication_error", message)


class HttpError(Exception):
    """Ends a call with an error of the provider's; `retry_after` is sent if it is not empty."""

    def __init__(self, error: ApiError, retry_after: str = "") -> None:
        super().__init__(error.message)
        self.error, self.retry_after = error, retry_after


def known(name: str | None, names: tuple[str, ...] = FAULTS) -> str | None:
    """Return `name`; a misspelt fault would otherwise be a test that passes without it.

    Raises:
        ValueError: `name` is none of `names`.
    """
    if name is not None and name not in names:
        raise ValueError(f"unknown fault {name!r}; there are {names}")
    return name


def never(_text: str, _nth: int) -> str | None:
    """No fault at all."""
    return None


def seeded(seed: int, **shares: float) -> Fault:
    """Faults in these shares of the requests, decided by seed, text and attempt, not by order."""
    for name in shares:
        known(name, (*FAULTS, *BATCH_FAULTS))

    def fault(text: str, nth: int) -> str | None:
        drawn = random.Random(f"{seed}|{text}|{nth}").random()
        for name, share in shares.items():
            drawn -= share
            if drawn < 0:
                return name
        return None

    return fault


def first(*faults: str | None) -> Fault:
    """These faults on the first attempts of every question, in turn; none after that."""
    return lambda _text, nth: faults[nth] if nth < len(faults) else None


def always(fault: str) -> Fault:
    """This fault every time."""
    return lambda _text, _nth: fault
