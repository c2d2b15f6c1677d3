"""The two batch APIs behind one set of calls: create, find again, look, read the results.

OpenAI: a file of lines is uploaded and a batch made of it (platform.openai.com, Batch API guide). Anthropic: the
requests are posted as they are (docs.anthropic.com, Message Batches). Both answer within a day at half the price;
the results can be fetched again and again, so that nothing is lost if we are killed while we read them.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from tutelage.chat.batch_calls import Calls, load
from tutelage.chat.endpoint import key_hint
from tutelage.chat.faults import cause, clean, server_message
from tutelage.chat.providers import canonical
from tutelage.errors import AuthenticationError, ChatError, RequestError

FRAME_BYTES = 256
"""More than what a line of a batch takes beside its request."""
_LIST_PAGES = 10
_CLOCKS_DIFFER_SECONDS = 300
_CREATED_WITHIN_SECONDS = 7200
"""A batch that was created later than this after it was sent for is another one."""
_GONE = "it has no such batch (any more); if the key is another account's now, use the one it was made with"

Line = tuple[str, bytes]
"""A request of a batch: its name there, and the JSON of a live request."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a batch does: whether it has ended, how many are done, and why it failed as a whole, if it did."""

    has_ended: bool
    num_done: int
    failure: str = ""
    was_cut: bool = False
    """True if it expired or was cancelled: what has no result then was never run."""
    files: tuple[str, ...] = ()
    """Where the results are, once it has ended."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one request of a batch: a reply, a refusal for good, or something that may pass."""

    kind: Literal["reply", "refused", "again"]
    body: bytes = b""
    why: str = ""
    error: type[ChatError] = RequestError
    """What a refusal means. All but RequestError: no request to this model can succeed."""


class BatchApi(Protocol):
    """What both providers can do. All calls raise `ChatError`s; those that only ask retry first."""

    max_requests: int
    max_bytes: int

    async def create(self, name: str, lines: Sequence[Line]) -> str | None:
        """Make a batch and return its id; None: the answer was lost, and it may be there or not.

        Raises:
            ChatError: the batch was certainly not made.
        """
        ...

    async def find(self, name: str, at: float, num: int, taken: AbstractSet[str]) -> str | None:
        """Return the id of the batch that was sent for as `name`, at that time and with `num` requests, or None."""
        ...

    async def look(self, batch: str) -> Look:
        """Say how a batch does."""
        ...

    def results(self, look: Look) -> AsyncIterator[tuple[str, Outcome]]:
        """Yield (name, outcome) of the requests of a batch that has ended.

        Of a download that came only in part, what can be read: the caller knows what is missing.
        """
        ...


def batch_api(calls: Calls) -> BatchApi:
    """Return the batch API of the endpoint's provider."""
    return OpenAIBatches(calls) if calls.endpoint.provider == "openai" else AnthropicBatches(calls)


# ---- what both share --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Listed:
    """A batch in the provider's list, and what it can be told by."""

    id: str
    created: float
    mark: str | int | None


async def _listed(calls: Calls, path: str, cursor: str, read: Callable[[Any], _Listed], at: float) -> list[_Listed]:
    """Return the batches that may have been created after `at`, newest first."""

    def page(body: bytes) -> tuple[list[_Listed], bool]:
        said = load(body)
        return [read(batch) for batch in said["data"]], bool(said.get("has_more"))

    found: list[_Listed] = []
    after = ""
    for _ in range(_LIST_PAGES):
        batches, has_more = await calls.get(f"{path}?limit=100{after}", page)
        found += [batch for batch in batches if batch.created >= at - _CLOCKS_DIFFER_SECONDS]
        if not has_more or not batches or batches[-1].created < at - _CLOCKS_DIFFER_SECONDS:
            break
        after = f"&{cursor}={batches[-1].id}"
    return found


def _outcomes(body: bytes, read: Callable[[Any], tuple[str, Outcome]]) -> Iterator[tuple[str, Outcome]]:
    for line in io.BytesIO(body):  # splitting would hold everything twice
        try:
            yield read(load(line))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            continue  # torn


def _refusal(calls: Calls, status: int, body: Any) -> Outcome:
    """Say what an error within a batch means: the same as it would have meant live."""
    raw = canonical(body if isinstance(body, dict) else {"error": body})
    said = f"HTTP {status}: {server_message(raw, calls.key) or 'no message'}"
    error_class = cause(status, raw)
    if error_class is None:
        return Outcome("again", why=said)
    hint = f"; {key_hint(calls.endpoint)}" if error_class is AuthenticationError else ""
    return Outcome("refused", why=said + hint, error=error_class)


# ---- the two ----------------------------------------------------------------------------------------


class OpenAIBatches:
    """Files and batches of OpenAI; our name for a batch is in its metadata."""

    max_requests, max_bytes = 50_000, 190_000_000

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(self, name: str, lines: Sequence[Line]) -> str | None:
        """Upload the lines, then make the batch."""
        import aiohttp

        data = b"".join(
            b'{"custom_id":"%s","method":"POST","url":"/v1/chat/completions","body":%s}\n'
            % (line.encode("ascii"), body)
            for line, body in lines
        )

        def upload() -> dict[str, Any]:
            form = aiohttp.FormData({"purpose": "batch"})
            form.add_field(
                "file", io.BytesIO(data), filename=f"{name}.jsonl", content_type="application/octet-stream"
            )
            return {"data": form}

        # A second copy of the file costs nothing.
        file_id = await self._calls.send("POST", "/files", _read_id, upload, len(data))
        wanted = {
            "input_file_id": file_id,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {"tutelage": name},
        }
        return await self._calls.make("/batches", _read_id, lambda: {"json": wanted})

    async def find(self, name: str, at: float, num: int, taken: AbstractSet[str]) -> str | None:
        """Look for our name in the newest batches."""

        def read(batch: Any) -> _Listed:
            return _Listed(str(batch["id"]), batch["created_at"], (batch.get("metadata") or {}).get("tutelage"))

        listed = await _listed(self._calls, "/batches", "after", read, at)
        return next((batch.id for batch in listed if batch.mark == name), None)

    async def look(self, batch: str) -> Look:
        """Read the batch's status."""
        return await self._calls.get(f"/batches/{batch}", self._look, _GONE)

    def _look(self, body: bytes) -> Look:
        said = load(body)
        counts = said.get("request_counts") or {}
        failure = ""
        if said["status"] == "failed":
            errors = (said.get("errors") or {}).get("data") or [{}]
            failure = clean(f"{errors[0].get('code')}: {errors[0].get('message')}", self._calls.key)
        files = [said.get("output_file_id"), said.get("error_file_id")]
        return Look(
            said["status"] in ("completed", "failed", "expired", "cancelled"),
            (counts.get("completed") or 0) + (counts.get("failed") or 0),
            failure,
            said["status"] in ("expired", "cancelled"),
            tuple(f"/files/{name}/content" for name in files if name),
        )

    async def results(self, look: Look) -> AsyncIterator[tuple[str, Outcome]]:
        """Download both files: what succeeded, and what did not."""
        for path in look.files:
            for found in _outcomes(await self._calls.get(path, bytes, _GONE), self._of):
                yield found

    def _of(self, line: dict[str, Any]) -> tuple[str, Outcome]:
        response, error = line.get("response"), line.get("error") or {}
        if response and response["status_code"] == 200:
            return line["custom_id"], Outcome("reply", canonical(response["body"]))
        if response:
            return line["custom_id"], _refusal(self._calls, response["status_code"], response["body"])
        said = str(error.get("message") or error.get("code") or "no response")
        return line["custom_id"], Outcome("again", why=clean(said, self._calls.key))


def _read_id(body: bytes) -> str:
    return str(load(body)["id"])


class AnthropicBatches:
    """Message batches of Anthropic. They carry no name, so one whose id was lost is found by time and size."""

    max_requests, max_bytes = 100_000, 240_000_000
    _path = "/v1/messages/batches"

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(self, name: str, lines: Sequence[Line]) -> str | None:
        """Post the requests."""
        rows = b",".join(b'{"custom_id":"%s","params":%s}' % (line.encode("ascii"), body) for line, body in lines)
        data = b'{"requests":[%s]}' % rows
        headers = {"Content-Type": "application/json"}
        return await self._calls.make(
            self._path, _read_id, lambda: {"data": io.BytesIO(data), "headers": headers}, len(data)
        )

    async def find(self, name: str, at: float, num: int, taken: AbstractSet[str]) -> str | None:
        """Return the one of this size that was created nearest to that time, and is none of those we know.

        It can be somebody else's. Only its results tell, by the names of the requests.
        """

        def read(batch: Any) -> _Listed:
            created = datetime.fromisoformat(batch["created_at"]).timestamp()
            return _Listed(str(batch["id"]), created, sum(batch["request_counts"].values()))

        near = [
            (abs(batch.created - at), batch.id)
            for batch in await _listed(self._calls, self._path, "after_id", read, at)
            if batch.mark == num and batch.id not in taken and batch.created <= at + _CREATED_WITHIN_SECONDS
        ]
        return min(near)[1] if near else None

    async def look(self, batch: str) -> Look:
        """Read the batch's status."""

        def read(body: bytes) -> Look:
            said = load(body)
            counts = said["request_counts"]
            cut = (counts.get("expired") or 0) + (counts.get("canceled") or 0) > 0
            done = sum(counts.values()) - counts["processing"]
            # From our own address, and not from the one the results are said to be at: the key goes along.
            return Look(
                said["processing_status"] == "ended", done, was_cut=cut, files=(f"{self._path}/{batch}/results",)
            )

        return await self._calls.get(f"{self._path}/{batch}", read, _GONE)

    async def results(self, look: Look) -> AsyncIterator[tuple[str, Outcome]]:
        """Download the results."""
        for path in look.files:
            for found in _outcomes(await self._calls.get(path, bytes, _GONE), self._of):
                yield found

    def _of(self, line: dict[str, Any]) -> tuple[str, Outcome]:
        result = line["result"]
        if result["type"] == "succeeded":
            return line["custom_id"], Outcome("reply", canonical(result["message"]))
        if result["type"] == "errored":
            error = result.get("error") or {}
            kind = (error.get("error") or {}).get("type", "api_error")
            return line["custom_id"], _refusal(self._calls, _STATUS_OF.get(kind, 500), error)
        return line["custom_id"], Outcome("again", why=clean(str(result["type"]), self._calls.key))


_STATUS_OF = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""Anthropic's error types by the HTTP status that goes with each; any other is theirs (500)."""
