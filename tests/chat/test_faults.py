"""What refusals mean: every one that the providers' own SDKs know has a meaning here, and the same one."""

from __future__ import annotations

import email.utils
import importlib
import json
import pkgutil
import re
import time
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from asking import MakeClient, Serve, question
from stub_faults import ApiError, HttpError
from stub_server import StubServer
from tutelage.chat import ChatFailure, ChatReply, ask
from tutelage.chat.faults import cause, clean, may_be_billed, retry_after, server_message, wants_retry
from tutelage.errors import AuthenticationError, ChatError, QuotaError, RequestError, UnknownModelError

httpx2 = pytest.importorskip("httpx2", reason="the SDKs are the oracles of these tests")
openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")

KEY = "sk-very-secret-0123456789"
SDKS = [openai.OpenAI(api_key="x"), anthropic.Anthropic(api_key="x")]
SPECIAL: dict[int, type[ChatError]] = {
    401: AuthenticationError,
    402: QuotaError,
    403: AuthenticationError,
    404: UnknownModelError,
    405: UnknownModelError,
}
"""All others that are not tried again are refusals of the one request."""

ANTHROPIC_TYPES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "api_error": 500,
    "overloaded_error": 529,
    "memory_precondition_failed_error": 412,
    "memory_path_conflict_error": 409,
    "conflict_error": 409,
}
NO_CREDIT = {"contract_spend_limit_reached", "enforced_spend_limit_reached"}
"""Rate limits to Anthropic's SDK, which retries them; no waiting of minutes cures them."""


def sdk_retries(sdk: Any, status: int, **headers: str) -> bool:
    return bool(sdk._should_retry(httpx2.Response(status, headers=headers)))


def meaning(status: int, retries: bool) -> type[ChatError] | None:
    return None if retries else SPECIAL.get(status, RequestError)


def all_below(base: type) -> Iterator[type]:
    for found in base.__subclasses__():
        yield found
        yield from all_below(found)


def errors_of(sdk: Any) -> list[type]:
    """Return every exception of the SDK that stands for a status."""
    if sdk is anthropic:  # these name single causes, each in a module of its own
        for module in pkgutil.walk_packages(anthropic.types.__path__, "anthropic.types."):
            if module.name.endswith("_error"):
                importlib.import_module(module.name)
    return [error for error in all_below(sdk.APIStatusError) if isinstance(getattr(error, "status_code", None), int)]


@pytest.mark.parametrize("sdk", SDKS, ids=["openai", "anthropic"])
def test_every_status_is_tried_again_if_the_sdk_would_and_has_one_meaning_if_not(sdk: Any) -> None:
    for status in range(400, 600):
        assert cause(status, b"") is meaning(status, sdk_retries(sdk, status)), status


@pytest.mark.parametrize(("sdk", "client", "least"), [(openai, SDKS[0], 8), (anthropic, SDKS[1], 30)])
def test_every_error_of_the_sdk_means_something_here(sdk: Any, client: Any, least: int) -> None:
    errors = errors_of(sdk)
    assert len(errors) >= least
    seen = set()
    for error in errors:
        status = error.status_code
        codes = re.findall(r"""Literal\[["'](\w+)""", str(error.__annotations__.get("error_code")))
        for code in codes or [None]:
            body = json.dumps({"type": "error", "error": {"type": "x", "details": {"error_code": code}}}).encode()
            wanted = QuotaError if code in NO_CREDIT else meaning(status, sdk_retries(client, status))
            assert cause(status, body) is wanted, error
            seen.add(code)
    assert sdk is openai or seen >= NO_CREDIT


def test_every_type_of_error_that_anthropic_documents_means_something_here() -> None:
    from anthropic.types.shared.error_type import ErrorType

    assert set(get_args(ErrorType)) == set(ANTHROPIC_TYPES)
    for kind, status in ANTHROPIC_TYPES.items():
        body = json.dumps({"type": "error", "error": {"type": kind, "message": "no"}}).encode()
        assert cause(status, body) is meaning(status, sdk_retries(SDKS[1], status)), kind


@pytest.mark.parametrize("sdk", SDKS, ids=["openai", "anthropic"])
@pytest.mark.parametrize("said", ["true", "false", "maybe", None])
def test_what_a_server_says_of_another_attempt_is_obeyed_as_the_sdk_obeys_it(sdk: Any, said: str | None) -> None:
    headers = {} if said is None else {"x-should-retry": said}
    for status in range(400, 600):
        ours = cause(status, b"", wants_retry(headers))
        if status != 402:  # no credit: asking again is no use, whatever a server says
            assert (ours is None) == sdk_retries(sdk, status, **headers), status


@pytest.mark.parametrize(
    "error",
    [
        *[{"code": code} for code in ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")],
        *[{"type": kind} for kind in ("insufficient_quota", "billing_error")],
        *[{"type": "rate_limit_error", "details": {"error_code": code}} for code in sorted(NO_CREDIT)],
    ],
)
def test_a_lack_of_credit_is_no_rate_limit(error: dict[str, Any]) -> None:
    body = json.dumps({"error": error}).encode()
    assert cause(429, body) is QuotaError
    assert cause(429, body, should_retry=True) is QuotaError
    assert cause(500, body) is None


def test_what_a_gateway_gave_up_on_may_be_billed_and_what_a_server_refused_is_not() -> None:
    assert [status for status in range(400, 600) if may_be_billed(status)] == [408, 502, 504, 524]


class Saying(StubServer):
    """Refuses every question once, with a status and a header."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(self.refuse_once)
        self.status, self.said = status, said

    def refuse_once(self, messages: list[dict[str, str]]) -> str:
        if self.asked[messages[-1]["content"]] == 1:
            raise HttpError(ApiError(self.status, "x", None, "x", "refused"))
        return "answered"

    async def _prepared(self, request: Any, response: Any) -> None:
        await super()._prepared(request, response)
        if response.status != 200 and self.said:
            response.headers["x-should-retry"] = self.said


@pytest.mark.parametrize(
    ("status", "said", "passes"),
    [(400, "", False), (400, "true", True), (500, "", True), (500, "false", False), (422, "true", True)],
)
def test_x_should_retry_decides_over_real_http(status: int, said: str, passes: bool, client: MakeClient) -> None:
    with Saying(status, said) as server:
        [result] = ask(client(server), [question("Hi")])
    assert isinstance(result, ChatReply if passes else ChatFailure)
    assert server.asked["Hi"] == 1 + passes


def test_an_answer_that_a_gateway_did_not_wait_for_counts_at_the_most(client: MakeClient, serve: Serve) -> None:
    for status, lost in ((503, 0), (504, 1)):
        with Saying(status, "") as server:
            asker = client(server)
            ask(asker, [question(f"status {status}")])
            assert asker.bill().lost.requests == lost


# ---- statuses, waits and messages -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error"),
    [
        *[(400, RequestError), (401, AuthenticationError), (402, QuotaError), (403, AuthenticationError)],
        *[(404, UnknownModelError), (413, RequestError), (418, RequestError), (422, RequestError)],
        *[(204, RequestError), (302, RequestError), (408, None), (409, None), (429, None), (500, None)],
        (529, None),
    ],
)
def test_every_status_has_one_meaning(status: int, error: type[ChatError] | None) -> None:
    assert cause(status, b"<html>") is error


@pytest.mark.parametrize("body", [b'{"error": {"code": "insufficient_quota"}}', b'{"type": "insufficient_quota"}'])
def test_a_rate_limit_that_is_a_lack_of_credit_is_not_waited_for(body: bytes) -> None:
    assert cause(429, body) is QuotaError


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    assert retry_after({"Retry-After": "1.5"}) == 1.5
    assert retry_after({"Retry-After": "-3"}) == 0
    assert retry_after({"Retry-After": "inf"}) == float("inf")
    in_a_minute = retry_after({"Retry-After": email.utils.formatdate(time.time() + 60, usegmt=True)})
    assert in_a_minute is not None
    assert 55 < in_a_minute < 61
    assert [retry_after(h) for h in ({}, {"Retry-After": "soon"}, {"Retry-After": "nan"})] == [None] * 3


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "too long"}}',
        b'{"message": "too long"}',
        b'{"detail": "too long"}',
        b'{"error": "too long"}',
        b"too long",
    ],
)
def test_the_servers_message_is_found_in_every_usual_shape(body: bytes) -> None:
    assert server_message(body, None) == "too long"


def test_a_foreign_message_is_short_printable_and_without_the_key() -> None:
    hostile = f"a\x1b[31m\x00b\n\u202ec {KEY} " + "x" * 10_000
    said = clean(hostile, KEY)
    assert said.isprintable()
    assert said.startswith("a [31m b c [key] xx")
    assert len(said) < 310
