"""The benchmarks of training run, say what is not there, and refuse to compare different work. Nothing is timed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

TRAIN = Path(__file__).parents[2] / "benchmarks" / "train"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks read /proc")


def ran(*words: str) -> Any:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(TRAIN / "run.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)


def rows(text: str, who: str) -> list[list[str]]:
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith(f"| {who} |")]
    return [[cell.strip() for cell in line] for line in lines]


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark's own modules that need no torch."""
    monkeypatch.syspath_prepend(str(TRAIN))
    import harness
    import workloads

    return harness, workloads


@pytest.mark.slow
def test_all_six_run_and_say_which_peers_are_missing() -> None:
    done = ran("--tiny")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("### ")] == [
        f"### {name}" for name in ("dpo1", "dpo3", "sft", "memory", "mfu", "bf16")
    ]
    assert len(rows(done.stdout, "tutelage")) == len(rows(done.stdout, "the research code's algorithm")) == 5
    assert done.stdout.count("Same work: loss of step 1: tutelage ") == 4
    for row in rows(done.stdout, "TRL, best settings"):
        assert row[1].startswith(("micro-batch", "not measured (not installed"))
    assert "MISSED" not in done.stdout  # tiny sizes meet no target and miss none


@pytest.mark.slow
def test_without_a_gpu_its_table_says_not_measured() -> None:
    done = ran("--gpu", "--tiny")
    assert done.returncode == 0, done.stderr
    (row,) = rows(done.stdout, "tutelage")
    assert row[1] == "not measured (no GPU)"
    assert "Same work: loss of step 1: tutelage 0.69" in done.stdout  # it was run all the same


def test_a_benchmark_that_does_not_exist_is_refused_with_the_names_there_are() -> None:
    done = ran("--only", "dpo1,speed")
    assert done.returncode == 2
    assert "no benchmark speed; there are dpo1, dpo3, sft, memory, mfu, bf16" in done.stderr


def test_the_arithmetic_of_one_pair_is_the_formulas(modules: Any) -> None:
    _, workloads = modules
    shape = workloads.Shape(vocabulary=10, hidden=4, layers=2, heads=2, key_value_heads=1, intermediate=6)
    # query and output 4 x 4, key and value 4 x 2, three matrices 4 x 6; twice
    assert shape.num_backbone == 2 * (2 * 16 + 2 * 8 + 3 * 24)
    pair = workloads.Item(prompt=(3, 4), completions=((5,), (6, 7, 8)))
    linear = shape.num_backbone * (3 + 5) + 10 * 4 * (1 + 3)
    assert workloads.useful_flops(workloads.Workload("dpo", shape, 1), [pair]) == 6 * (linear + 2 * 4 * (9 + 25))


def test_items_are_the_same_whoever_makes_them_and_within_their_limits(modules: Any) -> None:
    _, workloads = modules
    shape = workloads.Shape(vocabulary=50, hidden=4, layers=1, heads=1, key_value_heads=1, intermediate=4)
    work = workloads.Workload("dpo", shape, num=200)
    case = workloads.Case("tutelage", work)
    items = workloads.Case.from_json(case.as_json()).workload.items()
    assert workloads.checksum(items) == workloads.checksum(work.items())
    assert workloads.checksum(items) != workloads.checksum(replace(work, seed=1).items())
    assert max(length for item in items for length in item.lengths) <= work.lengths.max_length
    assert max(len(item.prompt) for item in items) <= work.lengths.max_prompt
    assert all(3 <= token < 50 for item in items for c in (item.prompt, *item.completions) for token in c)


@pytest.mark.parametrize("different", [{"losses": [0.70]}, {"grad_norm": 1.01}])
def test_contenders_that_compute_different_things_are_not_compared(modules: Any, different: dict[str, Any]) -> None:
    harness, workloads = modules
    shape = workloads.Shape(vocabulary=50, hidden=4, layers=1, heads=1, key_value_heads=1, intermediate=4)
    one = {"cpu": {"train": 1.0}, "wall": {"train": 1.0}, "memory_before": 1.0, "memory_peak": 2.0}
    run = harness.Run(**one, lifetime_peak=2.0, losses=[0.69], grad_norm=1.0, checksum="", versions={})
    work = workloads.Workload("dpo", shape, num=8)
    mine = harness.Runs(workloads.Case("tutelage", work), (run,))
    theirs = harness.Runs(workloads.Case("research", work), (run,))
    assert "apart by 0.0e+00" in str(harness.agreement([mine, theirs]))
    with pytest.raises(harness.FailedError, match="compute different things"):
        harness.agreement([mine, replace(theirs, turns=(replace(run, **different),))])
