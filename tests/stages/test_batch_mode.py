"""Stages with mode=batch: the same artifacts as live, at half the price, and nothing lost when they are stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from running import command, narrating, tutelage
from stub_server import StubServer
from tutelage.store import Artifact

both = pytest.mark.parametrize("provider", ["openai", "anthropic"])
PROMPTS = [f"What is {i}?" for i in range(6)]
TWO = ["Because.", "Why not."]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with prompts and pairs of completions; keys that the stub takes."""
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "sk-right-and-secret-0123")
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps({"prompt": p}) + "\n" for p in PROMPTS))
    pairs = [{"prompt": p, "completion": c, "author": "me"} for p in PROMPTS for c in TWO]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    return tmp_path


def reaching(server: StubServer, provider: str, role: str) -> list[str]:
    url = server.openai_url if provider == "openai" else server.anthropic_url
    return [
        *(f"{role}={provider}", f"{role}.model=stub", f"{role}.base_url={url}"),
        *(f"{role}.price.input=1000", f"{role}.price.output=4000"),
    ]


def teach(server: StubServer, provider: str, *words: str) -> list[str]:
    return ["teach", "prompts=prompts.jsonl", *reaching(server, provider, "teacher"), *words]


def batch(artifacts: str = "a") -> list[str]:
    return ["mode=batch", "poll_seconds=0.05", f"artifacts={artifacts}"]


def made(folder: Path, stage: str, artifacts: str = "a") -> Artifact:
    [path] = (folder / artifacts).glob(f"*-{stage}/*/record.json")
    return Artifact.open(path.parent)


def rows(artifact: Artifact, name: str) -> list[Any]:
    """Return the rows without what they cost."""
    read = [json.loads(line) for line in (artifact.path / name).read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "usage"} for row in read]


@both
def test_teach_makes_the_rows_of_a_live_run_at_half_the_price(provider: str, folder: Path) -> None:
    with StubServer(batch_seconds=0.05) as server:
        tutelage(folder, *teach(server, provider, "artifacts=live"))
        live_tokens = server.billed_tokens()
        tutelage(folder, *teach(server, provider, *batch()))
    live, ours = made(folder, "teach", "live"), made(folder, "teach")
    assert rows(ours, "completions.jsonl") == rows(live, "completions.jsonl")
    assert ours.record.fingerprint == live.record.fingerprint  # how it was asked is no part of what it is
    assert live.record.bill is not None
    assert ours.record.bill is not None
    assert live.record.bill.paid.dollars
    assert ours.record.bill.paid.dollars == pytest.approx(live.record.bill.paid.dollars / 2)
    assert ours.record.bill.paid.tokens == live.record.bill.paid.tokens == sum(live_tokens)
    assert ours.record.bill.lost.requests == 0
    assert ours.record.usage.dollars == pytest.approx(ours.record.bill.paid.dollars)
    assert sorted(p.name for p in ours.path.iterdir()) == ["completions.jsonl", "prompts.jsonl", "record.json"]


@both
def test_label_judges_in_batches(provider: str, folder: Path) -> None:
    with StubServer(lambda messages: "Verdict: A", batch_seconds=0.05) as server:
        words = ["label", "completions=pairs.jsonl", *reaching(server, provider, "critic"), "max_flip=1"]
        tutelage(folder, *words, "artifacts=live")
        tutelage(folder, *words, "critic.max_batch_requests=5", *batch())
    live, ours = made(folder, "label", "live"), made(folder, "label")
    assert rows(ours, "verdicts.jsonl") == rows(live, "verdicts.jsonl")
    assert ours.record.counts == live.record.counts
    assert server.called["POST", "/v1/batches" if provider == "openai" else "/v1/messages/batches"] == 3


@both
def test_lines_refused_for_good_are_failures_of_the_stage(provider: str, folder: Path) -> None:
    broken = {PROMPTS[1]}

    def fault(text: str, _nth: int) -> str | None:
        return "invalid" if text in broken else None

    with StubServer(batch_seconds=0.05, batch_fault=fault) as server:
        words = command(*teach(server, provider, *batch()))
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, env=narrating())
        assert done.returncode == 2
        assert "1 of 6 requests failed" in done.stderr
        assert "HTTP 400: the context is too long" in done.stderr
        broken.clear()
        tutelage(folder, *teach(server, provider, *batch()))
    artifact = made(folder, "teach")
    assert artifact.record.counts == {"replies reused": 5, "completions": 6}
    assert artifact.record.bill is not None
    assert artifact.record.bill.paid.tokens == sum(server.billed_tokens())
    assert set(Counter(b.text for b in server.billed).values()) == {1}


def wait_until(there: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not there():
        assert time.monotonic() < deadline, "waited 20 s in vain"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("provider", "number", "code"),
    [
        ("openai", signal.SIGINT, 130),
        ("anthropic", signal.SIGTERM, 130),
        ("anthropic", signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_a_stage_that_is_stopped_leaves_its_batch_running_and_collects_it_later(
    provider: str, number: signal.Signals, code: int, folder: Path
) -> None:
    with StubServer(batch_seconds=1.5) as server:
        words = command(*teach(server, provider, *batch()))
        process = subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE, text=True, env=narrating())
        wait_until(lambda: server.asked)
        process.send_signal(number)
        _, err = process.communicate(timeout=10)
        assert process.returncode == code
        assert len(server.billed) < len(PROMPTS)  # it did not wait for the batch
        assert "Traceback" not in err
        if code == 130:
            assert "6 requests are with the provider and go on there; the same command collects them" in err
        live = subprocess.run(
            command(*teach(server, provider, "artifacts=a")), cwd=folder, capture_output=True, text=True
        )
        assert live.returncode == 2
        assert "1 batches of this artifact were sent and are not collected yet; go on with mode=batch" in live.stderr
        tutelage(folder, *teach(server, provider, *batch()))
    artifact = made(folder, "teach")
    assert artifact.record.counts == {"completions": 6}
    assert artifact.record.bill is not None
    assert (artifact.record.bill.paid.tokens, artifact.record.bill.lost.requests) == (sum(server.billed_tokens()), 0)
    assert len(server.billed) == 6


def test_a_budget_stops_the_stage_and_a_larger_one_goes_on(folder: Path) -> None:
    with StubServer(batch_seconds=0.05) as server:
        words = teach(server, "openai", "max_tokens=10", *batch())
        done = subprocess.run(
            command(*words, "budget.tokens=400"), cwd=folder, capture_output=True, text=True, env=narrating()
        )
        assert done.returncode == 2
        assert "budget.tokens=400" in done.stderr
        assert 0 < sum(server.billed_tokens()) <= 400
        tutelage(folder, *words, "budget.tokens=100000")
    assert made(folder, "teach").record.counts["completions"] == 6
    assert set(Counter(b.text for b in server.billed).values()) == {1}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["teacher=miniature_weak"], "mode: the miniature world answers at once"),
        (
            [
                f"teacher.{word}"
                for word in ("provider=anthropic", "model=m", "platform=bedrock", "sends_temperature=false")
            ],
            "mode: batches go to openai and anthropic themselves, not through platform=bedrock",
        ),
    ],
)
def test_what_has_no_batches_is_named_before_anything_is_asked(words: list[str], says: str, folder: Path) -> None:
    done = subprocess.run(
        command("teach", "prompts=prompts.jsonl", *words, *batch()), cwd=folder, capture_output=True, text=True
    )
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr
