"""The batches of the stub server are what the official SDKs take them for, and end as the real ones do."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asking import Serve
from stub_server import StubServer, first, read_log

openai = pytest.importorskip("openai", reason="the openai SDK is the oracle of these tests")
anthropic = pytest.importorskip("anthropic", reason="the anthropic SDK is the oracle of these tests")

KEY = "sk-very-secret-0123456789"
CHAT = "/v1/chat/completions"


def openai_sdk(server: StubServer, key: str = KEY, timeout: float = 5.0) -> Any:
    return openai.OpenAI(api_key=key, base_url=server.openai_url, max_retries=0, timeout=timeout)


def claude_sdk(server: StubServer, key: str = KEY, timeout: float = 5.0) -> Any:
    return anthropic.Anthropic(api_key=key, base_url=server.anthropic_url, max_retries=0, timeout=timeout)


def line(i: int, text: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return one line of an OpenAI input file."""
    body = {"model": "stub", "messages": [{"role": "user", "content": text or f"question {i}"}]}
    return {"custom_id": f"id-{i}", "method": "POST", "url": CHAT, "body": body} | fields


def claude_line(i: int, text: str | None = None, **params: Any) -> dict[str, Any]:
    """Return one request of an Anthropic batch."""
    given = {"model": "stub", "max_tokens": 9, "messages": [{"role": "user", "content": text or f"question {i}"}]}
    return {"custom_id": f"id-{i}", "params": given | params}


def upload(client: Any, *lines: Any) -> str:
    data = b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in lines)
    return str(client.files.create(file=("input.jsonl", data), purpose="batch").id)


def create(client: Any, *lines: Any) -> Any:
    return client.batches.create(
        input_file_id=upload(client, *lines), endpoint=CHAT, completion_window="24h", metadata={"job": "7"}
    )


def ended(look: Callable[[], Any], *final: str) -> Any:
    """Look until the batch is in a final state; return it."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        batch = look()
        if (batch.status if hasattr(batch, "status") else batch.processing_status) in final:
            return batch
        time.sleep(0.02)
    raise AssertionError("the batch never ended")


def openai_ended(client: Any, batch_id: str) -> Any:
    return ended(lambda: client.batches.retrieve(batch_id), "completed", "failed", "expired", "cancelled")


def claude_ended(client: Any, batch_id: str) -> Any:
    return ended(lambda: client.messages.batches.retrieve(batch_id), "ended")


def rows(client: Any, file_id: str | None) -> dict[str, dict[str, Any]]:
    """Return the lines of a result file by custom id, in their order."""
    if file_id is None:
        return {}
    return {(row := json.loads(text))["custom_id"]: row for text in client.files.content(file_id).text.splitlines()}


# ---- OpenAI -----------------------------------------------------------------------------------------------


def test_an_openai_batch_goes_up_runs_and_comes_down(serve: Serve, tmp_path: Path) -> None:
    server = serve(api_key=KEY, log=tmp_path / "log.jsonl")
    client = openai_sdk(server)
    made = create(client, *[line(i) for i in range(20)])
    assert (made.status, made.metadata, made.output_file_id) == ("validating", {"job": "7"}, None)
    seen = set()

    def look() -> Any:
        batch = client.batches.retrieve(made.id)
        seen.add(batch.status)
        return batch

    batch = ended(look, "completed")
    assert {"in_progress", "completed"} <= seen <= {"validating", "in_progress", "finalizing", "completed"}
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (20, 20, 0)
    assert (batch.error_file_id, batch.errors) == (None, None)
    results = rows(client, batch.output_file_id)
    assert set(results) == {f"id-{i}" for i in range(20)}
    assert list(results) != [f"id-{i}" for i in range(20)]
    for i in range(20):
        response = results[f"id-{i}"]["response"]
        reply = openai.types.chat.ChatCompletion.model_validate(response["body"], strict=True)
        assert (response["status_code"], reply.choices[0].message.content) == (200, f"you said: question {i}")
    assert (batch.usage.input_tokens, batch.usage.output_tokens) == server.billed_tokens() == (40, 80)
    assert {b.batch for b in server.billed} == {True}
    assert sum(server.asked.values()) == sum(server.replied.values()) == 20
    lines = [entry for entry in read_log(tmp_path / "log.jsonl") if entry["batch"] == made.id]
    assert [(entry["path"], entry["billed"], entry["status"]) for entry in lines] == [(CHAT, True, 200)] * 20


def test_lines_that_fail_are_in_the_error_file_and_cost_nothing(serve: Serve) -> None:
    server = serve(batch_fault=lambda text, nth: text if text in ("errored", "invalid") and nth == 0 else None)
    client = openai_sdk(server)
    bad = line(3)
    bad["body"]["n"] = 2
    batch = openai_ended(client, create(client, line(0), line(1, "errored"), line(2, "invalid"), bad).id)
    assert (batch.status, batch.request_counts.completed, batch.request_counts.failed) == ("completed", 1, 3)
    assert rows(client, batch.output_file_id).keys() == {"id-0"}
    failed = rows(client, batch.error_file_id)
    statuses = {name: row["response"]["status_code"] for name, row in failed.items()}
    assert statuses == {"id-1": 500, "id-2": 400, "id-3": 400}
    assert all(row["error"] is None and "message" in row["response"]["body"]["error"] for row in failed.values())
    assert [b.text for b in server.billed] == ["question 0"]
    again = openai_ended(client, create(client, line(1, "errored")).id)
    assert again.request_counts.completed == 1


def test_a_batch_that_expired_has_what_was_done_by_then(serve: Serve) -> None:
    server = serve(batch_fault=lambda text, _nth: "expired" if text == "late" else None)
    client = openai_sdk(server)
    batch = openai_ended(client, create(client, line(0), line(1, "late")).id)
    assert batch.status == "expired"
    assert batch.expired_at
    assert rows(client, batch.output_file_id).keys() == {"id-0"}
    late = rows(client, batch.error_file_id)["id-1"]
    assert (late["response"], late["error"]["code"]) == (None, "batch_expired")
    assert len(server.billed) == 1


def test_a_batch_of_failures_alone_has_no_output_file(serve: Serve) -> None:
    server = serve(batch_fault=first("errored"))
    client = openai_sdk(server)
    batch = openai_ended(client, create(client, line(0)).id)
    assert (batch.status, batch.output_file_id, bool(batch.error_file_id)) == ("completed", None, True)


def test_a_cancelled_batch_keeps_what_was_done(serve: Serve) -> None:
    server = serve(batch_seconds=2.0)
    client = openai_sdk(server)
    batch_id = create(client, *[line(i) for i in range(16)]).id
    while not server.billed:
        time.sleep(0.01)
    assert client.batches.cancel(batch_id).status == "cancelling"
    batch = openai_ended(client, batch_id)
    done, left = rows(client, batch.output_file_id), rows(client, batch.error_file_id)
    assert batch.status == "cancelled"
    assert 0 < len(done) == len(server.billed) < 16
    assert len(done) + len(left) == 16
    assert {row["error"]["code"] for row in left.values()} == {"batch_cancelled"}
    with pytest.raises(openai.ConflictError, match="cancelled"):
        client.batches.cancel(batch_id)


@pytest.mark.parametrize(
    ("lines", "code", "number"),
    [
        ([line(0), b"{not json"], "invalid_json_line", 2),
        ([line(0), line(1), line(0)], "duplicate_custom_id", 3),
        ([line(0, url="/v1/embeddings")], "url_mismatch", 1),
        ([line(0, body=None)], "missing_required_parameter", 1),
        ([line(0, body={"model": "other"})], "model_not_found", 1),
        ([], "empty_file", None),
        ([line(i) for i in range(5)], "too_many_tasks", None),
    ],
)
def test_a_file_with_one_mistake_fails_as_a_whole(lines: list[Any], code: str, number: int, serve: Serve) -> None:
    server = serve(batch_limit=4)
    client = openai_sdk(server)
    batch = openai_ended(client, create(client, *lines).id)
    assert (batch.status, batch.output_file_id, batch.error_file_id) == ("failed", None, None)
    assert [(error.code, error.line) for error in batch.errors.data] == [(code, number)]
    assert batch.errors.data[0].message
    assert not server.asked


def test_files_are_kept_until_they_are_deleted(serve: Serve) -> None:
    client = openai_sdk(serve())
    file_id = upload(client, line(0))
    file = client.files.retrieve(file_id)
    assert (file.filename, file.purpose, json.loads(client.files.content(file_id).text)) == (
        *("input.jsonl", "batch"),
        line(0),
    )
    assert [f.id for f in client.files.list()] == [file_id]
    assert client.files.delete(file_id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.content(file_id)
    with pytest.raises(openai.NotFoundError):
        client.batches.create(input_file_id=file_id, endpoint=CHAT, completion_window="24h")
    with pytest.raises(openai.BadRequestError, match="jsonl"):
        client.files.create(file=("input.txt", b"x"), purpose="batch")


def test_batches_are_listed_newest_first_and_in_pages(serve: Serve) -> None:
    server = serve()
    client = openai_sdk(server)
    made = [create(client, line(0)).id for _ in range(5)]
    assert [b.id for b in client.batches.list(limit=2)] == made[::-1]
    assert client.batches.list(limit=2).has_more
    assert not client.batches.list(limit=5).has_more
    claude = claude_sdk(server)
    made = [claude.messages.batches.create(requests=[claude_line(0)]).id for _ in range(5)]
    assert [b.id for b in claude.messages.batches.list(limit=2)] == made[::-1]
    with pytest.raises(openai.BadRequestError):
        client.batches.list(limit=101)


# ---- Anthropic --------------------------------------------------------------------------------------------


def test_an_anthropic_batch_ends_with_a_result_for_every_request(serve: Serve, tmp_path: Path) -> None:
    fates = {"errored": "errored", "invalid": "errored", "expired": "expired"}
    server = serve(
        batch_fault=lambda text, _nth: text if text in fates else None, api_key=KEY, log=tmp_path / "log.jsonl"
    )
    client = claude_sdk(server)
    texts = [*fates, *[f"question {i}" for i in range(3, 20)]]
    requests = [*[claude_line(i, text) for i, text in enumerate(texts)], claude_line(20, top_k=1)]
    made = client.messages.batches.create(requests=requests)
    assert (made.processing_status, made.results_url, made.request_counts.processing) == ("in_progress", None, 21)
    batch = claude_ended(client, made.id)
    counts = batch.request_counts
    assert (counts.succeeded, counts.errored, counts.expired, counts.canceled, counts.processing) == (17, 3, 1, 0, 0)
    results = {r.custom_id: r.result for r in client.messages.batches.results(made.id)}
    assert list(results) != sorted(results, key=lambda name: int(name.removeprefix("id-")))
    for i, text in enumerate(texts):
        assert results[f"id-{i}"].type == fates.get(text, "succeeded")
    assert results["id-5"].message.content[0].text == "you said: question 5"
    kinds = [results[f"id-{i}"].error.error.type for i in (0, 1, 20)]
    assert kinds == ["api_error", "invalid_request_error", "invalid_request_error"]
    assert server.billed_tokens() == (34, 68)
    assert sum(entry["billed"] for entry in read_log(tmp_path / "log.jsonl") if entry["batch"] == made.id) == 17


def test_a_canceled_anthropic_batch_ends_with_what_was_done(serve: Serve) -> None:
    server = serve(batch_seconds=2.0)
    client = claude_sdk(server)
    batch_id = client.messages.batches.create(requests=[claude_line(i) for i in range(16)]).id
    while not server.billed:
        time.sleep(0.01)
    assert client.messages.batches.cancel(batch_id).processing_status == "canceling"
    batch = claude_ended(client, batch_id)
    assert batch.cancel_initiated_at
    assert 0 < batch.request_counts.succeeded == len(server.billed) < 16
    assert batch.request_counts.canceled == 16 - len(server.billed)
    assert {r.result.type for r in client.messages.batches.results(batch_id)} == {"succeeded", "canceled"}


@pytest.mark.parametrize(
    "requests",
    [
        [],
        [claude_line(0), claude_line(0)],
        [claude_line(i) for i in range(5)],
        [claude_line(0) | {"custom_id": "no spaces"}],
        [claude_line(0) | {"custom_id": "x" * 65}],
        [{"custom_id": "no-params"}],
    ],
    ids=["none", "twice", "too many", "characters", "length", "params"],
)
def test_anthropic_refuses_a_wrong_batch_at_once(requests: list[Any], serve: Serve) -> None:
    with pytest.raises(anthropic.BadRequestError, match="requests"):
        claude_sdk(serve(batch_limit=4)).messages.batches.create(requests=requests)


def test_there_are_no_results_before_the_end(serve: Serve) -> None:
    server = serve(batch_seconds=60)
    made = claude_sdk(server).messages.batches.create(requests=[claude_line(0)])
    url = f"{server.url}/v1/messages/batches/{made.id}/results"
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(urllib.request.Request(url, headers={"anthropic-version": "2023-06-01"}))
    with pytest.raises(urllib.error.HTTPError, match="400"):  # no version
        urllib.request.urlopen(url.removesuffix("/results"))


# ---- both ---------------------------------------------------------------------------------------------------


def test_every_call_about_batches_needs_the_key(serve: Serve) -> None:
    server = serve(api_key=KEY)
    client, claude = openai_sdk(server, "wrong"), claude_sdk(server, "wrong")
    for call in (
        lambda: upload(client, line(0)),
        lambda: client.files.content("file-1"),
        lambda: client.batches.retrieve("batch_1"),
        lambda: client.batches.list(),
    ):
        with pytest.raises(openai.AuthenticationError):
            call()
    for call in (lambda: claude.messages.batches.list(), lambda: claude.messages.batches.retrieve("msgbatch_1")):
        with pytest.raises(anthropic.AuthenticationError):
            call()


def test_a_batch_whose_creation_was_never_heard_of_exists_and_is_found_in_the_list(serve: Serve) -> None:
    server = serve(http_fault=lambda _method, path, nth: "drop" if path.endswith("/batches") and nth == 0 else None)
    client, claude = openai_sdk(server), claude_sdk(server)
    with pytest.raises(openai.APIConnectionError):
        create(client, line(0))
    with pytest.raises(openai.APIConnectionError):
        client.batches.list()
    [found] = client.batches.list()
    assert found.metadata == {"job": "7"}
    assert openai_ended(client, found.id).status == "completed"
    with pytest.raises(anthropic.APIConnectionError):
        claude.messages.batches.create(requests=[claude_line(0)])
    with pytest.raises(anthropic.APIConnectionError):
        claude.messages.batches.list()
    [found] = claude.messages.batches.list()
    assert claude_ended(claude, found.id).request_counts.succeeded == 1
    assert server.asked["question 0"] == 2


def test_uploads_looks_and_downloads_can_fail_too(serve: Serve) -> None:
    faults = {"POST": "unavailable", "GET": "rate_limited"}
    server = serve(http_fault=lambda method, _path, nth: faults.get(method) if nth == 0 else None)
    client = openai_sdk(server)
    with pytest.raises(openai.InternalServerError):
        upload(client, line(0))
    file_id = upload(client, line(0))
    with pytest.raises(openai.RateLimitError) as caught:
        client.files.content(file_id)
    assert caught.value.response.headers["retry-after"] == "1"
    assert json.loads(client.files.content(file_id).text) == line(0)
    assert server.called["GET", f"/v1/files/{file_id}/content"] == 2
