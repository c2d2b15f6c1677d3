"""Anthropic's way: all requests in one call, and all results behind one address when the batch has ended."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass, field
from typing import Any

from stub_batches import Batch, Host, Route, jsonl, page, shuffled
from stub_faults import HttpError, invalid, not_found
from stub_model import Line
from stub_send import Call
from stub_wire import ANTHROPIC, Json, new_id

MAX_LISTED = 1000
CUSTOM_ID = r"^[a-zA-Z0-9_-]{1,64}$"
_PATH = "/v1/messages/batches"
_STATES = ("succeeded", "errored", "canceled", "expired")


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _stamp(when: datetime.datetime | None) -> str | None:
    return None if when is None else when.isoformat().replace("+00:00", "Z")


@dataclass
class AnthropicBatch(Batch):
    """A batch and where it stands."""

    created: datetime.datetime = field(default_factory=_now)
    cancel_initiated: datetime.datetime | None = None
    ended: datetime.datetime | None = None

    def as_json(self, server: str) -> Json:
        """Return the batch object."""
        status = "ended" if self.ended else "canceling" if self.cancel_initiated else "in_progress"
        # Until all of it has ended, everything counts as being processed.
        counts = {state: self.count(state) if self.ended else 0 for state in _STATES}
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": counts | {"processing": 0 if self.ended else len(self.lines)},
            "created_at": _stamp(self.created),
            "expires_at": _stamp(self.created + datetime.timedelta(days=1)),
            "ended_at": _stamp(self.ended),
            "cancel_initiated_at": _stamp(self.cancel_initiated),
            "archived_at": None,
            "results_url": f"{server}{_PATH}/{self.id}/results" if self.ended else None,
        }


class AnthropicBatches:
    """The endpoints under /v1/messages/batches."""

    wire = ANTHROPIC

    def __init__(self, host: Host) -> None:
        self._host = host
        self._batches: dict[str, AnthropicBatch] = {}

    def routes(self) -> list[Route]:
        """Return what is served."""
        return [
            ("POST", _PATH, self._create),
            ("GET", _PATH, self._list),
            ("GET", f"{_PATH}/{{id}}", self._get),
            ("POST", f"{_PATH}/{{id}}/cancel", self._cancel),
            ("GET", f"{_PATH}/{{id}}/results", self._results),
        ]

    async def _create(self, call: Call) -> Json:
        if problem := _create_problem(call.body, self._host.batch_limit):
            raise HttpError(invalid(problem))
        lines = [Line(r["custom_id"], r["params"]) for r in call.body["requests"]]
        version = ANTHROPIC.version(call.request.headers)
        batch = AnthropicBatch(new_id("msgbatch_"), ANTHROPIC, version, lines)
        self._batches[batch.id] = batch
        self._host.start_job(self._run(batch))
        return batch.as_json(self._host.url)

    def _batch(self, call: Call) -> AnthropicBatch:
        batch_id = call.request.match_info["id"]
        if batch_id not in self._batches:
            raise HttpError(not_found(f"Message Batch {batch_id} not found"))
        return self._batches[batch_id]

    async def _list(self, call: Call) -> Json:
        newest_first = [b.as_json(self._host.url) for b in reversed(self._batches.values())]
        data, has_more = page(newest_first, call.request.query, "after_id", MAX_LISTED)
        ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
        return {"data": data, "has_more": has_more, **ends}

    async def _get(self, call: Call) -> Json:
        return self._batch(call).as_json(self._host.url)

    async def _cancel(self, call: Call) -> Json:
        batch = self._batch(call)
        if batch.ended:
            raise HttpError(invalid(f"Batch {batch.id} cannot be canceled: it has ended"))
        batch.cancel_initiated = batch.cancel_initiated or _now()
        batch.cancelled.set()
        return batch.as_json(self._host.url)

    async def _results(self, call: Call) -> bytes:
        batch = self._batch(call)
        if not batch.ended:
            raise HttpError(invalid(f"Batch {batch.id} has no results yet"))
        return jsonl([_result(line) for line in shuffled(self._host, batch)])

    async def _run(self, batch: AnthropicBatch) -> None:
        await batch.work(self._host, self._host.batch_seconds)
        if batch.cancelled.is_set():
            await batch.wind_down(self._host)
        batch.ended = _now()


def _create_problem(body: Any, limit: int) -> str:
    # What is in params is looked at when the batch runs, as in the real API.
    if not isinstance(body, dict) or not isinstance(body.get("requests"), list) or not body["requests"]:
        return "requests: at least one request is required"
    if extra := sorted(set(body) - {"requests"}):
        return f"{extra[0]}: Extra inputs are not permitted"
    if len(body["requests"]) > limit:
        return f"requests: List should have at most {limit} items"
    seen: set[str] = set()
    for i, row in enumerate(body["requests"]):
        if not isinstance(row, dict) or set(row) != {"custom_id", "params"}:
            return f"requests.{i}: expected custom_id and params"
        custom_id = row["custom_id"]
        if not isinstance(custom_id, str) or not re.fullmatch(CUSTOM_ID, custom_id):
            return f"requests.{i}.custom_id: String should match pattern '{CUSTOM_ID}'"
        if custom_id in seen:
            return f"requests.{i}.custom_id: {custom_id} is not unique"
        seen.add(custom_id)
    return ""


def _result(line: Line) -> Json:
    result: Json = {"type": line.state}
    if line.state == "succeeded":
        result["message"] = line.answer
    if line.state == "errored":
        result["error"] = line.answer
    return {"custom_id": line.custom_id, "result": result}
