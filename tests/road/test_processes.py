"""Training in several real processes: the same steps, whoever computes them, killed or not."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from running import command, ended, narrating, together, tutelage
from test_stopped import after_steps, start

pytestmark = pytest.mark.slow

TRAIN = ["lr=1e-3", "batch_size=6", "optimizer=adamw", "save_every_seconds=0"]


def metrics(artifact: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (artifact / "metrics.jsonl").open()]


def weights(artifact: Path) -> torch.Tensor:
    found = load_file(artifact / "checkpoint" / "model.safetensors")
    return torch.cat([found[name].flatten() for name in sorted(found)])


def assert_same(one: Path, other: Path) -> None:
    """The same losses and what is logged with them at every step, and the same model."""
    for a, b in zip(metrics(one), metrics(other), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-5)
        # a gradient that is nothing but rounding is not compared in its digits
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-3, abs=1e-3)
        assert a.keys() == b.keys()
    assert torch.allclose(weights(one), weights(other), atol=1e-4)
    if (one / "margins.jsonl").exists():
        assert margins(one) == pytest.approx(margins(other), abs=1e-3)


def margins(artifact: Path) -> dict[str, float]:
    rows = map(json.loads, (artifact / "margins.jsonl").open())
    return {row["id"]: row["margin"] for row in rows}


def dpo(one: Callable[[str], Path], *words: str) -> list[str]:
    return ["dpo", f"model={one('2-sft')}", f"preferences={one('5-prefer')}", "loss.beta=0.1", *TRAIN, *words]


def made(folder: Path, words: list[str], artifacts: str, num: int = 1) -> Path:
    """The artifact that so many processes make."""
    words = [*words, f"artifacts={artifacts}"]
    done = tutelage(folder, *words) if num == 1 else together(folder, num, *words)
    return folder / done.stdout.strip()


def test_one_two_and_four_processes_take_the_same_steps(one: Callable[[str], Path], tmp_path: Path) -> None:
    """Four have less than two pairs each, and in the last batch some have none."""
    alone = made(tmp_path, dpo(one), "alone")
    assert_same(alone, made(tmp_path, dpo(one), "two", 2))
    assert_same(alone, made(tmp_path, dpo(one, "shard_over=2"), "four", 4))
    assert_same(alone, made(tmp_path, dpo(one, "micro_batch_tokens=1"), "one_by_one"))
    assert_same(alone, made(tmp_path, dpo(one, "rows=packed"), "packed"))
    assert_same(alone, made(tmp_path, dpo(one, "rows=padded"), "padded"))


def test_a_reward_model_of_two_processes_is_that_of_one(one: Callable[[str], Path], tmp_path: Path) -> None:
    words = ["reward", f"model={one('2-sft')}", f"preferences={one('5-prefer')}", *TRAIN, "held_out=0.3"]
    alone, two = made(tmp_path, words, "alone"), made(tmp_path, words, "two", 2)
    assert_same(alone, two)
    said = [json.loads((path / "record.json").read_text())["summary"] for path in (alone, two)]
    assert said[0]["held_out_accuracy"] == said[1]["held_out_accuracy"]


@pytest.mark.parametrize("stage", ["sft", "dpo", "reward"])
def test_two_processes_compute_in_bfloat16_as_one_does(
    one: Callable[[str], Path], tmp_path: Path, stage: str
) -> None:
    """What auto is on GPUs. The head of a reward model, hidden states and norms are float32 there."""
    words = {
        "sft": ["sft", "model=miniature", f"completions={one('1-teach')}", *TRAIN],
        "dpo": dpo(one),
        "reward": ["reward", f"model={one('2-sft')}", f"preferences={one('5-prefer')}", *TRAIN],
    }[stage]
    alone = metrics(made(tmp_path, [*words, "precision=bfloat16"], "alone"))
    two = metrics(made(tmp_path, [*words, "precision=bfloat16"], "two", 2))
    assert alone[0]["loss"] == pytest.approx(two[0]["loss"], abs=1e-5)
    assert alone[0]["grad_norm"] == pytest.approx(two[0]["grad_norm"], rel=1e-3)
    assert alone[1]["loss"] == pytest.approx(two[1]["loss"], abs=1e-2)


def test_two_processes_stopped_are_gone_on_with_by_one(one: Callable[[str], Path], tmp_path: Path) -> None:
    words = ["sft", "model=miniature", f"completions={one('1-teach')}", *TRAIN, "epochs=8"]
    whole = made(tmp_path, words, "whole")
    process = start(
        tmp_path, [*words, "devices=2", "artifacts=stopped"], after_steps(tmp_path / "stopped", "2-sft", 5)
    )
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "what was done is kept" in said
    done = tutelage(tmp_path, *words, "artifacts=stopped")
    assert int(done.stderr.split("goes on after step ")[1].split()[0]) >= 5
    assert_same(whole, tmp_path / done.stdout.strip())


def test_torchrun_runs_the_command_itself(one: Callable[[str], Path], tmp_path: Path) -> None:
    """As on several machines; only the first process talks."""
    words = ["sft", "model=miniature", f"completions={one('1-teach')}", *TRAIN, "artifacts=out"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, *command(*words)[1:]], cwd=tmp_path, capture_output=True, text=True, env=narrating(), timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("sft: made") == 1
    assert done.stdout.count("out/2-sft/") == 1
    assert_same(tmp_path / done.stdout.strip(), made(tmp_path, words[:-1], "alone"))


def test_a_mistake_is_said_once_by_all_processes_together(one: Callable[[str], Path], tmp_path: Path) -> None:
    words = ["sft", "model=miniature", f"completions={one('1-teach')}", "devices=2", "share=[0.0,0.00001]"]
    done = subprocess.run(command(*words), cwd=tmp_path, capture_output=True, text=True, env=narrating(), timeout=120)
    assert done.returncode == 2
    assert done.stderr.count("no prompt falls into the share") == 1
    assert "Traceback" not in done.stderr


def test_processes_whose_starter_is_killed_save_and_end(one: Callable[[str], Path], tmp_path: Path) -> None:
    words = ["sft", "model=miniature", f"completions={one('1-teach')}", *TRAIN, "epochs=20", "artifacts=out"]
    process = start(tmp_path, [*words, "devices=2"], after_steps(tmp_path / "out", "2-sft", 5))
    process.kill()
    process.wait()
    deadline = time.monotonic() + 60
    while (done := ended(tmp_path, *words)).returncode:
        assert "another process is making this artifact now" in done.stderr  # the two are about to end
        assert time.monotonic() < deadline
    artifact = tmp_path / done.stdout.strip()
    assert [row["step"] for row in metrics(artifact)] == list(range(1, len(metrics(artifact)) + 1))
    assert int(done.stderr.split("goes on after step ")[1].split()[0]) >= 5


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the processes in /proc")
def test_when_one_process_is_killed_one_line_says_so(one: Callable[[str], Path], tmp_path: Path) -> None:
    """And not the others, at length, that it no longer answers."""
    words = ["sft", "model=miniature", f"completions={one('1-teach')}", *TRAIN, "epochs=40", "artifacts=out"]
    process = start(tmp_path, [*words, "devices=2"], after_steps(tmp_path / "out", "2-sft", 5))
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # some end while we look
            is_ours = stat.read_text().rpartition(")")[2].split()[1] == str(process.pid)
            if is_ours and b"\0RANK=1\0" in stat.with_name("environ").read_bytes():
                os.kill(int(stat.parent.name), signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "error: process 1 ended without a word (exit code -9; -9 is often memory)" in said
    assert "Traceback" not in said
