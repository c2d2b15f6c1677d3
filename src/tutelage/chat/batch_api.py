"""The two batch APIs behind one set of calls: create, find again, look, collect.

OpenAI: a file of lines is uploaded and a batch made of it (platform.openai.com, Batch API guide). Anthropic: the
requests are posted as they are (docs.anthropic.com, Message Batches). Both answer within a day at half the price;
the results can be fetched again and again, so that nothing is lost if we are killed while we read them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from tutelage.chat.endpoint import Endpoint
from tutelage.chat.faults import cause, clean, retry_after, server_message
from tutelage.chat.providers import NotAReplyError, Wire, canonical, load_json
from tutelage.errors import ChatError, UnavailableError

if TYPE_CHECKING:
    from tutelage.chat.transport import HttpReply, Transport

_MAX_TRIES = 6
_FIRST_PAUSE_SECONDS = 0.5
_LIST_PAGES = 10
_CLOCKS_DIFFER_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Look:
    """How a batch does: whether it has ended, how many are done, and why it failed as a whole, if it did."""

    has_ended: bool
    num_done: int
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one request of a batch: a reply, a refusal for good, or something that may pass."""

    kind: Literal["reply", "refused", "again"]
    body: bytes = b""
    why: str = ""


class BatchApi(Protocol):
    """What both providers can do. All calls raise `ChatError`s; those that only ask retry first."""

    max_requests: int
    max_bytes: int

    async def create(self, name: str, requests: Sequence[Wire]) -> str | None:
        """Make a batch and return its id; None: the answer was lost, and it may be there or not."""
        ...

    async def find(self, name: str, since: float, num: int, taken: set[str]) -> str | None:
        """Return the id of the batch that was created as `name` since then with `num` requests, or None."""
        ...

    async def look(self, batch: str) -> Look:
        """Say how a batch does."""
        ...

    async def collect(self, batch: str) -> Iterator[tuple[str, Outcome]]:
        """Return (journal key, outcome) of every request of a batch that has ended."""
        ...


def batch_api(endpoint: Endpoint, transport: Transport, key: str | None) -> BatchApi:
    """Return the batch API of the endpoint's provider."""
    calls = _Calls(endpoint, transport, key)
    return OpenAIBatches(calls) if endpoint.provider == "openai" else AnthropicBatches(calls)


class _Calls:
    """HTTP calls to one provider, with the patience that each kind of call allows."""

    def __init__(self, endpoint: Endpoint, transport: Transport, key: str | None) -> None:
        self.endpoint, self.transport, self.key = endpoint, transport, key

    async def get(self, path: str) -> Any:
        """Fetch something and parse it; asking again costs nothing."""
        return self.read(await self.send("GET", path), path)

    async def send(self, method: str, path: str, content: Callable[[], dict[str, Any]] = dict) -> HttpReply:
        """Send until it is answered; for what may be done twice. `content` is made anew for every attempt."""
        said = ""
        for attempt in range(_MAX_TRIES):
            if attempt:
                await asyncio.sleep(_FIRST_PAUSE_SECONDS * 2.0 ** (attempt - 1))
            reply, said = await self._once(method, path, content)
            if reply is not None and reply.status == 200:
                return reply
            await asyncio.sleep(min((retry_after(reply.headers) if reply else None) or 0.0, 60.0))
        raise UnavailableError(
            f"{self.where(path)}: {_MAX_TRIES} attempts failed; the last: {said}. A batch that was made goes on "
            "at the provider; the same command collects it"
        )

    async def make(self, path: str, content: Callable[[], dict[str, Any]]) -> str | None:
        """Send what must be done once and return its id; None: it may be done, or not."""
        for attempt in range(_MAX_TRIES):
            reply, said = await self._once("POST", path, content)
            if reply is not None and reply.status == 200:
                return str(self.read(reply, path)["id"])
            if reply is None or reply.status >= 500:
                return None
            seconds = retry_after(reply.headers) or _FIRST_PAUSE_SECONDS * 2.0**attempt
            await asyncio.sleep(min(seconds, 60.0))
        raise UnavailableError(f"{self.where(path)}: {_MAX_TRIES} attempts failed; the last: {said}")

    async def _once(
        self, method: str, path: str, content: Callable[[], dict[str, Any]]
    ) -> tuple[HttpReply | None, str]:
        from tutelage.chat.transport import LostError, UnreachableError

        try:
            reply = await self.transport.request(method, self.endpoint.url + path, **content())
        except (LostError, UnreachableError) as error:
            return None, clean(str(error), self.key)
        said = f"HTTP {reply.status}: {server_message(reply.body, self.key) or 'no message'}"
        error_class = cause(reply.status, reply.body) if reply.status != 200 else None
        if error_class is not None:
            raise error_class(f"{self.where(path)}: {said}")
        return reply, said

    def read(self, reply: HttpReply, path: str) -> Any:
        """Parse the body of an answer."""
        try:
            return load_json(reply.body.decode("utf-8", "replace"))
        except NotAReplyError as error:
            raise UnavailableError(f"{self.where(path)}: {error}; run the command again") from None

    def where(self, path: str) -> str:
        """Say who was asked, for a message."""
        return f"{self.endpoint.model} at {self.endpoint.url}{path}"


def _outcome(status: int, body: Any) -> Outcome:
    """Say what an error within a batch means: the same as it would have meant live."""
    raw = canonical(body if isinstance(body, dict) else {"error": body})
    said = f"HTTP {status}: {server_message(raw, None) or 'no message'}"
    error_class: type[ChatError] | None = cause(status, raw)
    return Outcome("again" if error_class is None else "refused", why=said)


def _lines(reply: HttpReply) -> Iterator[Any]:
    for line in reply.body.split(b"\n"):
        if line.strip():
            yield json.loads(line)


class OpenAIBatches:
    """Files and batches of OpenAI; our name for a batch is in its metadata."""

    max_requests, max_bytes = 50_000, 190_000_000

    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    async def create(self, name: str, requests: Sequence[Wire]) -> str | None:
        """Upload the lines, then make the batch."""
        import aiohttp

        lines = b"".join(
            b'{"custom_id":"%s","method":"POST","url":"/v1/chat/completions","body":%s}\n'
            % (asked.key.encode("ascii"), asked.data)
            for asked in requests
        )

        def upload() -> dict[str, Any]:
            form = aiohttp.FormData({"purpose": "batch"})
            form.add_field("file", lines, filename=f"{name}.jsonl", content_type="application/jsonl")
            return {"data": form}

        # a second copy of the file costs nothing
        file_id = self._calls.read(await self._calls.send("POST", "/files", upload), "/files")["id"]
        wanted = {
            "input_file_id": file_id,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {"tutelage": name},
        }
        return await self._calls.make("/batches", lambda: {"json": wanted})

    async def find(self, name: str, since: float, num: int, taken: set[str]) -> str | None:
        """Look for our name in the newest batches."""
        after = ""
        for _ in range(_LIST_PAGES):
            path = "/batches?limit=100" + after
            page = await self._calls.get(path)
            for batch in page["data"]:
                if (batch.get("metadata") or {}).get("tutelage") == name:
                    return str(batch["id"])
            if not page.get("has_more") or page["data"][-1]["created_at"] < since - _CLOCKS_DIFFER_SECONDS:
                return None
            after = f"&after={page['data'][-1]['id']}"
        return None

    async def look(self, batch: str) -> Look:
        """Read the batch's status."""
        said = await self._calls.get(f"/batches/{batch}")
        failure = ""
        if said["status"] == "failed":
            errors = ((said.get("errors") or {}).get("data")) or [{}]
            failure = f"{errors[0].get('code')}: {errors[0].get('message')}"
        counts = said.get("request_counts") or {}
        ended = said["status"] in ("completed", "failed", "expired", "cancelled")
        return Look(ended, (counts.get("completed") or 0) + (counts.get("failed") or 0), failure)

    async def collect(self, batch: str) -> Iterator[tuple[str, Outcome]]:
        """Download both files: what succeeded, and what did not."""
        said = await self._calls.get(f"/batches/{batch}")
        files = [said.get("output_file_id"), said.get("error_file_id")]
        replies = [await self._calls.send("GET", f"/files/{name}/content") for name in files if name]
        return ((str(line["custom_id"]), self._of(line)) for reply in replies for line in _lines(reply))

    @staticmethod
    def _of(line: dict[str, Any]) -> Outcome:
        response, error = line.get("response"), line.get("error")
        if response and response["status_code"] == 200:
            return Outcome("reply", canonical(response["body"]))
        if response:
            return _outcome(response["status_code"], response["body"])
        return Outcome("again", why=str((error or {}).get("message") or (error or {}).get("code") or "no response"))


class AnthropicBatches:
    """Message batches of Anthropic. They carry no name, so one whose id was lost is found by time and size."""

    max_requests, max_bytes = 100_000, 240_000_000

    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    async def create(self, name: str, requests: Sequence[Wire]) -> str | None:
        """Post the requests."""
        rows = b",".join(b'{"custom_id":"%s","params":%s}' % (w.key.encode("ascii"), w.data) for w in requests)
        body = b'{"requests":[%s]}' % rows
        headers = {"Content-Type": "application/json"}
        return await self._calls.make("/v1/messages/batches", lambda: {"data": body, "headers": headers})

    async def find(self, name: str, since: float, num: int, taken: set[str]) -> str | None:
        """Look for a batch of this size, made since then, that is none of those we know."""
        after, found = "", None
        for _ in range(_LIST_PAGES):
            path = "/v1/messages/batches?limit=100" + after
            page = await self._calls.get(path)
            for batch in page["data"]:
                created = datetime.fromisoformat(batch["created_at"]).timestamp()
                if created < since - _CLOCKS_DIFFER_SECONDS:
                    return found
                if sum(batch["request_counts"].values()) == num and batch["id"] not in taken:
                    found = str(batch["id"])
            if not page.get("has_more"):
                break
            after = f"&after_id={page['data'][-1]['id']}"
        return found

    async def look(self, batch: str) -> Look:
        """Read the batch's status."""
        said = await self._calls.get(f"/v1/messages/batches/{batch}")
        counts = said["request_counts"]
        return Look(said["processing_status"] == "ended", sum(counts.values()) - counts.get("processing", 0))

    async def collect(self, batch: str) -> Iterator[tuple[str, Outcome]]:
        """Download the results, from our own address and not from the one they name: the key goes along."""
        reply = await self._calls.send("GET", f"/v1/messages/batches/{batch}/results")
        return ((str(line["custom_id"]), self._of(line["result"])) for line in _lines(reply))

    @staticmethod
    def _of(result: dict[str, Any]) -> Outcome:
        if result["type"] == "succeeded":
            return Outcome("reply", canonical(result["message"]))
        if result["type"] == "errored":
            error = result.get("error") or {}
            kind = (error.get("error") or {}).get("type", "api_error")
            return _outcome(_STATUS_OF.get(kind, 500), error)
        return Outcome("again", why=str(result["type"]))


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
