"""Killed or interrupted at every moment of a batch: it is found again, and nothing is paid for twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asking import Serve
from stub_server import StubServer
from tutelage.chat.batch_notes import Notes

ASKER = Path(__file__).with_name("batch_asker.py")
CREATE = {"openai": "/v1/batches", "anthropic": "/v1/messages/batches"}
NUM = 12
both = pytest.mark.parametrize("provider", ["openai", "anthropic"])


def start(server: StubServer, provider: str, folder: Path, num: int = NUM, **settings: Any) -> subprocess.Popen[str]:
    url = server.openai_url if provider == "openai" else server.anthropic_url
    words = [str(word) for word in (ASKER, provider, url, folder, num, json.dumps(settings))]
    return subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(there: Callable[[], object]) -> None:
    deadline = time.monotonic() + 15
    while not there():
        assert time.monotonic() < deadline, "waited 15 s in vain"
        time.sleep(0.005)


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def died(process: subprocess.Popen[str]) -> None:
    """Wait for a process that kills itself."""
    out, err = process.communicate(timeout=15)
    assert process.returncode == -signal.SIGKILL, (out, err)


def finishes(server: StubServer, provider: str, folder: Path, num: int = NUM, **settings: Any) -> Any:
    """Run the command again: it must get every reply, pay what the server bills, and nothing twice."""
    process = start(server, provider, folder, num, **settings)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    said = json.loads(out)
    assert said["right"] == num
    assert set(Counter(b.text for b in server.billed).values()) == {1}
    assert (said["paid"]["input_tokens"], said["paid"]["output_tokens"]) == server.billed_tokens()
    assert said["lost"]["requests"] == 0
    assert not Notes(folder / "batches.jsonl").load()
    return said


def on_create(fault: str) -> Callable[[str, str, int], str | None]:
    """Let the first call that makes a batch come to this."""
    return lambda method, path, nth: fault if method == "POST" and path.endswith("/batches") and not nth else None


def rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1] if line]


# ---- kill -9 ----------------------------------------------------------------------------------------


# What is noted before anything is sent, and what is kept afterwards, is the same for both.
@pytest.mark.parametrize(
    ("provider", "die_at", "die_after"),
    [
        ("openai", "batch_notes:Notes._add", 1),  # before anything is noted
        ("anthropic", "replies:Replies.begin", NUM // 2),  # when half the requests are in the journal
        ("openai", "batch_calls:Calls._once", 1),  # after that, before anything is sent
        ("anthropic", "batch_calls:Calls._once", 1),
        ("openai", "batch_calls:Calls.make", 1),  # when the file is there, before the batch is
        ("openai", "batch_notes:Notes._add", 2),  # when the batch is there, before its id is noted
        ("anthropic", "batch_notes:Notes._add", 2),
        ("anthropic", "replies:Replies.keep", 1),  # when the results are there, before the first is kept
        ("openai", "replies:Replies.keep", NUM // 2),  # when half of them are
        ("anthropic", "replies:Replies.keep", NUM // 2),
        ("anthropic", "batch_notes:Notes._add", 3),  # when all are, before that is noted
    ],
)
def test_killed_at_any_step_it_finds_everything_again(
    provider: str, die_at: str, die_after: int, serve: Serve, tmp_path: Path
) -> None:
    server = serve(batch_seconds=0.05)
    died(start(server, provider, tmp_path, die_at=f"tutelage.chat.{die_at}", die_after=die_after))
    finishes(server, provider, tmp_path)
    assert server.called["POST", CREATE[provider]] == 1


@both
@pytest.mark.parametrize("fault", ["hang", "drop"])
def test_killed_before_the_answer_to_create_it_finds_the_batch(
    provider: str, fault: str, serve: Serve, tmp_path: Path
) -> None:
    path = CREATE[provider]
    server = serve(batch_seconds=0.05, http_fault=on_create(fault))
    process = start(server, provider, tmp_path)
    wait_until(lambda: server.called["POST", path])
    kill(process)
    finishes(server, provider, tmp_path)
    assert server.called["POST", path] == 1


@both
def test_killed_while_the_batch_runs_it_collects_that_batch(provider: str, serve: Serve, tmp_path: Path) -> None:
    server = serve(batch_seconds=0.8)
    process = start(server, provider, tmp_path, max_batch_requests=5)
    wait_until(lambda: len(server.billed) > 2)
    kill(process)
    finishes(server, provider, tmp_path)
    assert server.called["POST", CREATE[provider]] == 3


def test_killed_in_the_middle_of_a_row_only_that_reply_is_read_again(serve: Serve, tmp_path: Path) -> None:
    provider = "openai"
    server = serve(batch_seconds=0.05)
    died(start(server, provider, tmp_path, die_at="tutelage.chat.replies:Replies.keep", die_after=NUM))
    journal = tmp_path / "replies.jsonl"
    journal.write_bytes(journal.read_bytes()[:-40])
    finishes(server, provider, tmp_path)
    assert sum(line.startswith(b'{"reply"') for line in journal.read_bytes().split(b"\n")) == NUM + 1  # a torn one


@both
def test_killed_again_and_again_with_lines_that_fail_it_still_pays_once(
    provider: str, serve: Serve, tmp_path: Path
) -> None:
    server = serve(
        batch_seconds=0.05,
        batch_fault=lambda text, nth: "errored" if nth == 0 and int(text.split()[1]) % 2 else None,
    )
    keep = "tutelage.chat.replies:Replies.keep"
    for die_after in (2, 3, 5):
        died(start(server, provider, tmp_path, max_batch_requests=5, die_at=keep, die_after=die_after))
    finishes(server, provider, tmp_path, max_batch_requests=5)


def test_what_a_killed_run_has_in_flight_is_reserved_and_not_lost(serve: Serve, tmp_path: Path) -> None:
    provider = "anthropic"
    server = serve(batch_seconds=0.8)
    journal = tmp_path / "replies.jsonl"
    process = start(server, provider, tmp_path, 4)
    wait_until(lambda: server.asked)
    kill(process)
    most = sum(sum(row["most"]) for row in rows(journal) if "sent" in row)
    # There is room for what is in flight, so more can be asked for only when that is settled.
    said = finishes(server, provider, tmp_path, 6, budget={"tokens": most + 100})
    assert said["paid"]["requests"] == 6
    assert server.called["POST", CREATE[provider]] == 2
    creates = [r for r in server.requests if (r.method, r.path) == ("POST", CREATE[provider])]
    results = [r for r in server.requests if r.path.endswith(("/results", "/content"))]
    assert server.requests.index(results[0]) < server.requests.index(creates[1])


# ---- Ctrl-C -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "number"),
    [("openai", signal.SIGINT), ("anthropic", signal.SIGINT), ("openai", signal.SIGTERM)],
)
def test_interrupted_it_ends_at_once_says_that_the_batch_goes_on_and_collects_it_later(
    provider: str, number: signal.Signals, serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TUTELAGE_QUIET")
    server = serve(batch_seconds=0.8)
    process = start(server, provider, tmp_path)
    wait_until(lambda: server.asked)
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert len(server.billed) < NUM  # it did not wait for the batch
    assert (process.returncode, out.strip()) == (130, "interrupted")
    assert "Traceback" not in err
    assert "12 requests are with the provider and go on there; the same command collects them" in err
    finishes(server, provider, tmp_path)
    assert server.called["POST", CREATE[provider]] == 1


@both
def test_interrupted_while_a_batch_is_made_it_is_found(provider: str, serve: Serve, tmp_path: Path) -> None:
    path = CREATE[provider]
    server = serve(batch_seconds=0.05, http_fault=on_create("hang"))
    process = start(server, provider, tmp_path)
    wait_until(lambda: server.called["POST", path])
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out.strip()) == (130, "interrupted")
    assert "Traceback" not in err
    finishes(server, provider, tmp_path)
    assert server.called["POST", path] == 1
