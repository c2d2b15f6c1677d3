"""OpenAI's way: a file of requests goes up, a batch is made of it, and files of results come down."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from stub_batches import Batch, Host, Route, jsonl, page, shuffled
from stub_faults import ApiError, HttpError, invalid, not_found
from stub_model import Line
from stub_send import Call
from stub_wire import OPENAI, Json, new_id

SECONDS_OF_A_DAY = 24 * 60 * 60
MAX_BATCHES_LISTED, MAX_FILES_LISTED = 100, 10_000
MAX_METADATA, MAX_METADATA_KEY, MAX_METADATA_VALUE = 16, 64, 512
_VALIDATING, _WORKING, _FINALIZING = 0.1, 0.8, 0.1  # shares of the time a batch takes
_NOT_RUN = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "canceled": ("batch_cancelled", "This request was not executed: the batch was cancelled."),
}


@dataclass(frozen=True)
class StoredFile:
    """A file on the other side."""

    id: str
    name: str
    purpose: str
    data: bytes
    created: int

    def as_json(self) -> Json:
        """Return the file object."""
        about = {"id": self.id, "object": "file", "bytes": len(self.data), "created_at": self.created}
        return about | {"filename": self.name, "purpose": self.purpose, "status": "processed", "expires_at": None}


@dataclass
class OpenAIBatch(Batch):
    """A batch and where it stands."""

    input_file: str = ""
    content: bytes = b""
    metadata: dict[str, str] | None = None
    status: str = "validating"
    times: dict[str, int] = field(default_factory=dict)
    """status -> when the batch came into it"""
    errors: list[Json] = field(default_factory=list)
    output_file: str | None = None
    error_file: str | None = None

    def enter(self, status: str) -> None:
        """Note that the batch is in `status` from now on."""
        self.status, self.times[status] = status, int(time.time())

    def as_json(self) -> Json:
        """Return the batch object."""
        stages = ("in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled")
        created = self.times["validating"]
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": OPENAI.chat_path,
            "model": self.lines[0].body.get("model") if self.lines else None,
            "errors": {"object": "list", "data": self.errors} if self.errors else None,
            "input_file_id": self.input_file,
            "completion_window": "24h",
            "status": self.status,
            "output_file_id": self.output_file,
            "error_file_id": self.error_file,
            "created_at": created,
            "expires_at": created + SECONDS_OF_A_DAY,
            **{f"{stage}_at": self.times.get(stage) for stage in stages},
            "request_counts": {
                "total": len(self.lines),
                "completed": self.count("succeeded"),
                "failed": self.count("errored", "expired", "canceled"),
            },
            "usage": self._usage(),
            "metadata": self.metadata,
        }

    def _usage(self) -> Json:
        taken = sum(line.input_tokens for line in self.lines)
        given = sum(line.output_tokens for line in self.lines)
        return {
            "input_tokens": taken,
            "input_tokens_details": {"cached_tokens": sum(line.cached_tokens for line in self.lines)},
            "output_tokens": given,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": taken + given,
        }


class OpenAIBatches:
    """The endpoints under /v1/files and /v1/batches."""

    wire = OPENAI

    def __init__(self, host: Host) -> None:
        self._host = host
        self._files: dict[str, StoredFile] = {}
        self._batches: dict[str, OpenAIBatch] = {}

    def routes(self) -> list[Route]:
        """Return what is served."""
        return [
            ("POST", "/v1/files", self._upload),
            ("GET", "/v1/files", self._list_files),
            ("GET", "/v1/files/{id}", self._get_file),
            ("GET", "/v1/files/{id}/content", self._content),
            ("DELETE", "/v1/files/{id}", self._delete),
            ("POST", "/v1/batches", self._create),
            ("GET", "/v1/batches", self._list),
            ("GET", "/v1/batches/{id}", self._get),
            ("POST", "/v1/batches/{id}/cancel", self._cancel),
        ]

    # ---- files ------------------------------------------------------------------------------------

    async def _upload(self, call: Call) -> Json:
        if not call.request.content_type.startswith("multipart/"):
            raise HttpError(invalid("expected a multipart form with purpose and file"))
        form = await call.request.post()
        file = form.get("file")
        if extra := set(form) - {"purpose", "file"}:
            raise HttpError(invalid(f"unknown fields: {sorted(extra)}"))
        if form.get("purpose") != "batch":
            raise HttpError(invalid("this server takes files for the purpose batch only", "purpose"))
        if not isinstance(file, web.FileField):
            raise HttpError(invalid("'file' is a required property", "file"))
        if not file.filename.endswith(".jsonl"):
            raise HttpError(invalid("Invalid file format for Batch API. Must be .jsonl", "file"))
        return self._store(file.filename, "batch", file.file.read()).as_json()

    def _store(self, name: str, purpose: str, data: bytes) -> StoredFile:
        stored = StoredFile(new_id("file-"), name, purpose, data, int(time.time()))
        self._files[stored.id] = stored
        return stored

    def _file(self, file_id: str) -> StoredFile:
        if file_id not in self._files:
            raise HttpError(not_found(f"No such File object: {file_id}"))
        return self._files[file_id]

    async def _list_files(self, call: Call) -> Json:
        return _listed([f.as_json() for f in self._files.values()], call, MAX_FILES_LISTED)

    async def _get_file(self, call: Call) -> Json:
        return self._file(call.request.match_info["id"]).as_json()

    async def _content(self, call: Call) -> bytes:
        return self._file(call.request.match_info["id"]).data

    async def _delete(self, call: Call) -> Json:
        file = self._file(call.request.match_info["id"])
        del self._files[file.id]
        return {"id": file.id, "object": "file", "deleted": True}

    # ---- batches ----------------------------------------------------------------------------------

    async def _create(self, call: Call) -> Json:
        body = call.body
        if problem := _create_problem(body):
            raise HttpError(invalid(problem))
        file = self._file(body["input_file_id"])
        batch = OpenAIBatch(new_id("batch_"), OPENAI, OPENAI.version(call.request.headers))
        batch.input_file, batch.content, batch.metadata = file.id, file.data, body.get("metadata")
        batch.enter("validating")
        self._batches[batch.id] = batch
        self._host.start_job(self._run(batch))
        return batch.as_json()

    def _batch(self, call: Call) -> OpenAIBatch:
        batch_id = call.request.match_info["id"]
        if batch_id not in self._batches:
            raise HttpError(not_found(f"No batch found with id '{batch_id}'."))
        return self._batches[batch_id]

    async def _list(self, call: Call) -> Json:
        return _listed([b.as_json() for b in self._batches.values()], call, MAX_BATCHES_LISTED)

    async def _get(self, call: Call) -> Json:
        return self._batch(call).as_json()

    async def _cancel(self, call: Call) -> Json:
        batch = self._batch(call)
        if batch.status not in ("validating", "in_progress", "finalizing", "cancelling"):
            said = f"Cannot cancel a batch with status '{batch.status}'."
            raise HttpError(ApiError(409, "invalid_request_error", None, "invalid_request_error", said))
        if batch.status != "cancelling":
            batch.enter("cancelling")
        batch.cancelled.set()
        return batch.as_json()

    async def _run(self, batch: OpenAIBatch) -> None:
        seconds = self._host.batch_seconds
        await batch.pause(seconds * _VALIDATING)
        if not batch.cancelled.is_set():
            lines, batch.errors = read_input(batch.content, self._host.batch_limit, self._host.models)
            if batch.errors:
                batch.enter("failed")
                return
            batch.lines = lines
            batch.enter("in_progress")
            await batch.work(self._host, seconds * _WORKING)
        if not batch.cancelled.is_set():
            batch.enter("finalizing")
            await batch.pause(seconds * _FINALIZING)
        if batch.cancelled.is_set():
            await batch.wind_down(self._host)
        self._finish(batch)

    def _finish(self, batch: OpenAIBatch) -> None:
        done: list[Json] = []
        failed: list[Json] = []
        for line in shuffled(self._host, batch):
            (done if line.state == "succeeded" else failed).append(_result(line))
        # As in the real API, a file that would be empty is not made.
        if done:
            batch.output_file = self._store(f"{batch.id}_output.jsonl", "batch_output", jsonl(done)).id
        if failed:
            batch.error_file = self._store(f"{batch.id}_error.jsonl", "batch_output", jsonl(failed)).id
        ran_out = "expired" if batch.count("expired") else "completed"
        batch.enter("cancelled" if batch.cancelled.is_set() else ran_out)


def _listed(oldest_first: list[Json], call: Call, most: int) -> Json:
    data, has_more = page(oldest_first[::-1], call.request.query, "after", most)
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return {"object": "list", "data": data, **ends, "has_more": has_more}


def _create_problem(body: Any) -> str:
    if not isinstance(body, dict):
        return "the body is not a JSON object"
    if extra := set(body) - {"input_file_id", "endpoint", "completion_window", "metadata"}:
        return f"unknown fields: {sorted(extra)}"
    if not isinstance(body.get("input_file_id"), str):
        return "Missing required parameter: 'input_file_id'."
    if body.get("endpoint") != OPENAI.chat_path:
        return f"Invalid value for 'endpoint': this server has {OPENAI.chat_path} only."
    if body.get("completion_window") != "24h":
        return "Invalid value for 'completion_window': must be '24h'."
    metadata = body.get("metadata") or {}
    if (
        not isinstance(metadata, dict)
        or len(metadata) > MAX_METADATA
        or not all(isinstance(v, str) and len(v) <= MAX_METADATA_VALUE for v in metadata.values())
        or not all(len(k) <= MAX_METADATA_KEY for k in metadata)
    ):
        return (
            f"Invalid 'metadata': at most {MAX_METADATA} strings, keys of at most {MAX_METADATA_KEY} "
            f"and values of at most {MAX_METADATA_VALUE} characters."
        )
    return ""


def read_input(content: bytes, limit: int, models: tuple[str, ...]) -> tuple[list[Line], list[Json]]:
    """Return the lines of an input file and what is wrong with it. Where anything is, nothing runs."""
    rows = [(n, raw) for n, raw in enumerate(content.split(b"\n"), 1) if raw.strip()]
    if not rows:
        return [], [_error("empty_file", "The input file is empty.")]
    if len(rows) > limit:
        said = f"The batch input file contains more than the maximum number of requests ({limit})."
        return [], [_error("too_many_tasks", said)]
    lines, errors = [], []
    seen: set[str] = set()
    for number, raw in rows:
        read = _read_line(raw, models)
        if isinstance(read, Line) and read.custom_id in seen:
            said = f"The custom_id '{read.custom_id}' was used before. Each must be unique in a batch."
            read = _error("duplicate_custom_id", said, "custom_id")
        if isinstance(read, Line):
            seen.add(read.custom_id)
            lines.append(read)
        else:
            errors.append(read | {"line": number})
    return lines, errors


def _read_line(raw: bytes, models: tuple[str, ...]) -> Line | Json:
    try:
        row = json.loads(raw)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        return _error("invalid_json_line", "This line is not parseable as valid JSON.")
    for name, kind in (("custom_id", str), ("method", str), ("url", str), ("body", dict)):
        if not isinstance(row.get(name), kind):
            return _error("missing_required_parameter", f"Missing required parameter: '{name}'.", name)
    if row["method"] != "POST":
        return _error("invalid_method", "The method must be POST.", "method")
    if row["url"] != OPENAI.chat_path:
        return _error("url_mismatch", "The URL of a request must be the endpoint of its batch.", "url")
    model = row["body"].get("model")
    if model not in models:
        said = f"The provided model '{model}' is not supported by the Batch API."
        return _error("model_not_found", said, "body.model")
    return Line(row["custom_id"], row["body"])


def _error(code: str, message: str, param: str | None = None) -> Json:
    return {"code": code, "message": message, "param": param, "line": None}


def _result(line: Line) -> Json:
    row: Json = {"id": new_id("batch_req_"), "custom_id": line.custom_id, "response": None, "error": None}
    if line.state in _NOT_RUN:
        code, message = _NOT_RUN[line.state]
        return row | {"error": {"code": code, "message": message}}
    return row | {"response": {"status_code": line.status, "request_id": line.request_id, "body": line.answer}}
