"""Killed and interrupted for real: what was done stays, and the same command finishes the job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from running import command, narrating, tutelage
from small_road import record
from stub_server import StubServer

pytestmark = pytest.mark.slow

TRAIN = ["lr=1e-3", "epochs=6", "batch_size=4", "optimizer=adamw", "save_every_seconds=0"]


def start(folder: Path, words: list[str], when: Callable[[], bool]) -> subprocess.Popen[str]:
    """Start a command and return once `when` holds; it must still be running then."""
    process = subprocess.Popen(
        command(*words), cwd=folder, env=narrating(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not when():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "the moment to stop it never came"
        time.sleep(0.005)
    return process


def lines_in(folder: Path, pattern: str) -> int:
    """How many whole lines the first file that matches has."""
    return sum(path.read_text().count("\n") for path in list(folder.glob(pattern))[:1])


def after_steps(out: Path, stage: str, steps: int) -> Callable[[], bool]:
    return lambda: lines_in(out, f"{stage}/*/metrics.jsonl") >= steps and any(out.glob(f"{stage}/*/resume"))


def weights(artifact: Path) -> bytes:
    return (artifact / "checkpoint" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["sft", "dpo"])
def test_training_killed_in_the_middle_ends_with_the_same_bits(
    name: str, one: Callable[[str], Path], tmp_path: Path
) -> None:
    words = {
        "sft": ["sft", "model=miniature", f"completions={one('1-teach')}", *TRAIN],
        "dpo": ["dpo", f"model={one('2-sft')}", f"preferences={one('5-prefer')}", *TRAIN],
    }[name]
    stage = {"sft": "2-sft", "dpo": "6-dpo"}[name]
    whole = Path(tutelage(tmp_path, *words, "artifacts=whole").stdout.strip())
    process = start(tmp_path, [*words, "artifacts=killed"], after_steps(tmp_path / "killed", stage, 5))
    process.kill()
    process.wait()
    assert not any((tmp_path / "killed").glob("*/*/record.json"))
    done = tutelage(tmp_path, *words, "artifacts=killed")
    resumed = int(done.stderr.split("goes on after step ")[1].split()[0])
    assert resumed >= 1
    assert weights(tmp_path / done.stdout.strip()) == weights(tmp_path / whole)
    steps = [json.loads(line)["step"] for line in (tmp_path / done.stdout.strip() / "metrics.jsonl").open()]
    assert steps == list(range(1, len(steps) + 1))
    assert not any((tmp_path / "killed").glob("*/*/resume"))


def critic_words(server: StubServer, completions: Path) -> list[str]:
    endpoint = [
        "critic=local",
        "critic.model=stub",
        f"critic.base_url={server.openai_url}",
        "critic.max_concurrency=2",
    ]
    return ["label", f"completions={completions}", "max_flip=1", *endpoint]


def test_labelling_killed_in_the_middle_asks_nothing_twice(one: Callable[[str], Path], tmp_path: Path) -> None:
    with StubServer(lambda messages: "Verdict: A", latency=0.03) as server:
        words = critic_words(server, one("3-sample"))
        process = start(tmp_path, words, lambda: sum(server.replied.values()) >= 12)
        process.kill()
        process.wait()
        before = sum(server.replied.values())
        done = tutelage(tmp_path, *words)
        made = record(tmp_path / done.stdout.strip())
        asked = 2 * made["counts"]["verdicts"]  # both orders
        assert made["counts"]["replies reused"] >= before - 2  # those in flight at the kill may be lost
        assert sum(server.replied.values()) <= asked + 2


def interrupted(folder: Path, words: list[str], when: Callable[[], bool]) -> str:
    """Press Ctrl-C when `when` holds; return what was said."""
    process = start(folder, words, when)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "the same command goes on from there" in said
    return said


def test_ctrl_c_while_teaching_keeps_every_reply(road: Path, tmp_path: Path) -> None:
    with StubServer(lambda messages: "fine", latency=0.03) as server:
        words = ["teach", f"prompts={road / 'prompts.jsonl'}", "teacher=local", "teacher.model=stub"]
        words += [f"teacher.base_url={server.openai_url}", "teacher.max_concurrency=2"]
        interrupted(tmp_path, words, lambda: sum(server.replied.values()) >= 10)
        before = sum(server.replied.values())
        done = tutelage(tmp_path, *words)
        assert record(tmp_path / done.stdout.strip())["counts"]["completions"] == 60
        assert sum(server.replied.values()) <= 60 + 2
        assert before < 60


def test_ctrl_c_while_labelling_and_evaluating_keeps_every_reply(
    road: Path, one: Callable[[str], Path], tmp_path: Path
) -> None:
    with StubServer(lambda messages: "Verdict: B", latency=0.03) as server:
        words = critic_words(server, one("3-sample"))
        interrupted(tmp_path, words, lambda: sum(server.replied.values()) >= 10)
        tutelage(tmp_path, *words)
        judge = ["judge=local", "judge.model=stub", f"judge.base_url={server.openai_url}", "judge.max_concurrency=2"]
        judge.append("judging.max_flip=1")
        words = ["evaluate", f"completions={one('8-evaluate')}", f"baseline={road / 'baseline.jsonl'}", *judge]
        before = sum(server.replied.values())
        interrupted(tmp_path, words, lambda: sum(server.replied.values()) >= before + 6)
        done = tutelage(tmp_path, *words)
        made = record(tmp_path / done.stdout.strip())
        assert made["counts"]["replies reused"] >= 4
        assert made["counts"]["prompts judged"] == 20


@pytest.mark.parametrize("stage", ["2-sft", "6-dpo", "7-reward"])
def test_ctrl_c_while_training_saves_the_step(stage: str, one: Callable[[str], Path], tmp_path: Path) -> None:
    name = stage[2:]
    data = f"completions={one('1-teach')}" if name == "sft" else f"preferences={one('5-prefer')}"
    words = [name, "model=miniature", data, *TRAIN[:-1], "epochs=40", "save_every_seconds=1000"]
    said = interrupted(tmp_path, words, lambda: lines_in(tmp_path / "artifacts", f"{stage}/*/metrics.jsonl") >= 3)
    assert "stopping after this step" in said
    done = lines_in(tmp_path / "artifacts", f"{stage}/*/metrics.jsonl")
    again = start(tmp_path, words, lambda: lines_in(tmp_path / "artifacts", f"{stage}/*/metrics.jsonl") > done + 1)
    again.send_signal(signal.SIGTERM)
    said = again.communicate(timeout=60)[1]
    assert again.returncode == 130, said


def test_ctrl_c_while_sampling_keeps_whole_batches(one: Callable[[str], Path], tmp_path: Path) -> None:
    words = ["sample", f"model={one('2-sft')}", f"prompts={one('1-teach')}", "batch_size=4"]
    words += ["num_samples=8", "max_tokens=24"]
    out = tmp_path / "artifacts"
    interrupted(tmp_path, words, lambda: lines_in(out, "3-sample/*/completions.partial.jsonl") >= 8)
    kept = lines_in(out, "3-sample/*/completions.partial.jsonl")
    done = tutelage(tmp_path, *words)
    assert f"goes on after {kept - kept % 4:,} completions" in done.stderr
    assert record(tmp_path / done.stdout.strip())["counts"]["completions"] == 480


def test_two_processes_do_not_make_one_artifact_at_the_same_time(one: Callable[[str], Path], tmp_path: Path) -> None:
    words = ["sft", "model=miniature", f"completions={one('1-teach')}", *TRAIN, "epochs=200"]
    process = start(tmp_path, words, lambda: any((tmp_path / "artifacts").glob("2-sft/*/metrics.jsonl")))
    second: Any = subprocess.run(command(*words), cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ))
    process.kill()
    process.wait()
    assert second.returncode == 2
    assert "another process is making this artifact" in second.stderr
