"""Runs contenders in turns, each turn a process of its own, and checks that they compute the same thing."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workloads import MARK, Case

HERE = Path(__file__).parent
TRL_PYTHON = HERE / ".peers" / "trl" / "bin" / "python"
LONGEST_SECONDS = 7_200.0
SAME = 1e-4
"""How far the losses of the first step may lie apart, and relatively the norms of its gradients, in float32."""


class FailedError(Exception):
    """A contender that failed or computed something else: then there is nothing to measure."""


@dataclass(frozen=True)
class Run:
    """What one run of a case used. Seconds count the reference's pass and the training, nothing before or after."""

    cpu: dict[str, float]
    wall: dict[str, float]
    memory_before: float
    """MB held when all is imported and the policy is built, and nothing else."""
    memory_peak: float
    lifetime_peak: float
    losses: list[float]
    grad_norm: float
    checksum: str
    versions: dict[str, str]

    @property
    def seconds(self) -> float:
        """CPU seconds in all."""
        return sum(self.cpu.values())

    @property
    def train_seconds(self) -> float:
        """CPU seconds of the training alone."""
        return self.cpu["train"]

    @property
    def reference_seconds(self) -> float:
        """CPU seconds of the reference's pass before the training, if there is one."""
        return self.cpu.get("reference", 0.0)

    @property
    def wall_seconds(self) -> float:
        """Wall seconds in all."""
        return sum(self.wall.values())

    @property
    def train_wall(self) -> float:
        """Wall seconds of the training alone."""
        return self.wall["train"]

    @property
    def memory(self) -> float:
        """MB that training added at its peak."""
        return self.memory_peak - self.memory_before


@dataclass(frozen=True)
class Runs:
    """All turns of one case; none if its contender is not installed, or has run out of memory."""

    case: Case
    turns: tuple[Run, ...]

    def median(self, name: str) -> float:
        """Return the median over the turns of one of `Run`'s numbers."""
        return statistics.median(self.values(name))

    def values(self, name: str) -> list[float]:
        """Return one of `Run`'s numbers for every turn."""
        return [float(getattr(run, name)) for run in self.turns]

    def times(self, ours: Runs, name: str = "seconds") -> float:
        """Return how many times `ours` this needs: the median of the ratios of each turn."""
        pairs = zip(self.values(name), ours.values(name), strict=True)
        return statistics.median(theirs / mine for theirs, mine in pairs)


def python_of(contender: str) -> str | None:
    """Return the Python that has the contender, or None if it is not installed."""
    if not contender.startswith("trl"):
        return sys.executable
    return str(TRL_PYTHON) if TRL_PYTHON.exists() else None


@dataclass
class Bench:
    """All that has been run in this invocation: what two benchmarks need is run once.

    is_tiny: the cases of a turn share a process, because imports take longer than they do.
    """

    turns: int
    is_tiny: bool = False
    runs: dict[Case, list[Run]] = field(default_factory=dict)
    peaks: dict[tuple[str, str, int], list[float]] = field(default_factory=dict)
    calibrated: dict[Case, Case] = field(default_factory=dict)

    def interleaved(self, cases: Sequence[Case]) -> list[Runs]:
        """Run all `cases` in turn, as often as is wanted: what else the machine does then hits all of them alike.

        Raises:
            FailedError: a contender failed, or trained other items or weights than the rest.
        """
        for turn in range(self.turns):
            wanted = [case for case in cases if len(self.runs.setdefault(case, [])) <= turn]
            for group in self._groups(wanted):
                narrate(f"{', '.join(named(case) for case in group)}: turn {turn + 1} of {self.turns}")
                for case, run in zip(group, spawn(group), strict=True):
                    self.runs[case] += [run] if run else []
        complete = {case: tuple(runs) if len(runs) >= self.turns else () for case, runs in self.runs.items()}
        results = [Runs(case, complete[case][: self.turns]) for case in cases]
        if len({run.checksum for runs in results for run in runs.turns}) > 1:
            raise FailedError(f"the items or weights differ: {[named(case) for case in cases]}")
        return results

    def _groups(self, cases: Sequence[Case]) -> list[list[Case]]:
        groups: dict[Any, list[Case]] = {}
        for number, case in enumerate(cases):
            if (python := python_of(case.contender)) is not None:
                groups.setdefault(python if self.is_tiny else number, []).append(case)
        return list(groups.values())

    def best(self, case: Case, candidates: Sequence[tuple[str, int]]) -> Case:
        """Return `case` with the (variant, micro-batch) that needs the fewest seconds for three steps."""
        if python_of(case.contender) is None:
            return case
        epoch = replace(case.workload, epochs=1)
        key = replace(case, workload=epoch, variant=",".join(sorted({variant for variant, _ in candidates})))
        if key not in self.calibrated:
            few = replace(epoch, num=min(epoch.num, 3 * epoch.batch_size))
            tried = [replace(case, workload=few, variant=variant, micro_batch=size) for variant, size in candidates]
            narrate(f"calibrating {case.contender}: {len(tried)} settings, three steps each")
            what = "wall_seconds" if case.device == "cuda" else "seconds"
            found = [(float(getattr(run, what)), at) for at, run in enumerate(spawn(tried)) if run]
            for seconds, at in sorted(found):
                narrate(f"  {seconds:.2f} s: {settings(tried[at])}")
            self.calibrated[key] = tried[min(found)[1]] if found else tried[0]
        chosen = self.calibrated[key]
        return replace(case, variant=chosen.variant, micro_batch=chosen.micro_batch)

    def gemm(self, threads: int, device: str, dtype: str) -> list[float]:
        """Return the speed of a matrix product in FLOP/s, measured once a turn."""
        key = (device, dtype, threads)
        while len(self.peaks.setdefault(key, [])) < self.turns:
            narrate(f"GEMM, {dtype}, on {device}")
            found = _call([sys.executable, str(HERE / "client.py"), "gemm", str(threads), device, dtype], threads)
            self.peaks[key].append(found[0]["flops"])
        return self.peaks[key]


def spawn(cases: Sequence[Case]) -> list[Run | None]:
    """Run `cases`, all of one environment, one after another in one new process; None is out of memory."""
    python = python_of(cases[0].contender)
    assert python is not None
    found = _call([python, str(HERE / "client.py"), *(case.as_json() for case in cases)], cases[0].threads)
    return [None if row.get("is_out_of_memory") else Run(**row) for row in found]


def _call(command: list[str], threads: int) -> list[dict[str, Any]]:
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    if command[0] != sys.executable:
        # The project's own path is none of theirs.
        environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LONGEST_SECONDS)
    if done.returncode:
        raise FailedError(f"{' '.join(command)} failed:\n{done.stderr[-2_000:]}")
    # what else is printed is TRL's
    return [json.loads(line.removeprefix(MARK)) for line in done.stdout.splitlines() if line.startswith(MARK)]


def named(case: Case) -> str:
    """Return whom a case measures and with what, in a few words."""
    workload = case.workload
    epochs = f"{workload.epochs} epoch{'s' if workload.epochs > 1 else ''}"
    return f"{case.contender} ({workload.objective}, {epochs}, {case.precision})"


def settings(case: Case) -> str:
    """Return the settings that were chosen for a contender."""
    if not case.contender.startswith("trl"):
        return ""
    micro_batch = case.micro_batch or case.workload.batch_size
    return f"micro-batch {micro_batch}" + (f", {case.variant}" if case.variant != "plain" else "")


@dataclass(frozen=True)
class Agreement:
    """How far the contenders of one table lie apart in what they compute on the same batches."""

    losses: dict[str, float]
    norms: dict[str, float]
    largest: float
    """Over all steps of the first epoch."""

    def __str__(self) -> str:
        first = ", ".join(f"{name} {loss:.6f}" for name, loss in self.losses.items())
        norms = ", ".join(f"{name} {norm:.5f}" for name, norm in self.norms.items())
        return (
            f"Same work: loss of step 1: {first} (apart by {spread(self.losses):.1e}); norm of its gradient: "
            f"{norms}; losses of all steps of the first epoch apart by at most {self.largest:.1e}."
        )


def agreement(results: Sequence[Runs], same: float = SAME) -> Agreement:
    """Return how well the contenders agree; those that batch otherwise (packing) are left out.

    Raises:
        FailedError: the losses or gradients of the first step are not the same.
    """
    runs = {r.case.contender: r.turns[0] for r in results if r.turns and r.case.variant != "packing"}
    steps = results[0].case.workload.steps_per_epoch
    columns = zip(*(run.losses[:steps] for run in runs.values()), strict=True)
    found = Agreement(
        {name: run.losses[0] for name, run in runs.items()},
        {name: run.grad_norm for name, run in runs.items()},
        max(max(column) - min(column) for column in columns),
    )
    if spread(found.losses) > same or spread(found.norms) > same * max(found.norms.values()):
        raise FailedError(f"the contenders compute different things. {found}")
    return found


def spread(values: dict[str, float]) -> float:
    """Return the largest difference."""
    return max(values.values()) - min(values.values())


def narrate(text: str) -> None:
    """Say on standard error what is going on; standard output is for the tables."""
    print(f"  {text}", file=sys.stderr, flush=True)
