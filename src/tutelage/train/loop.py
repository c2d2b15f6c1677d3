"""The training loop, for every objective: exact steps, exact resume, one line of progress."""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tutelage.disk import dumped, write_atomically
from tutelage.errors import TrainingError
from tutelage.progress import Progress, say
from tutelage.records import Trained
from tutelage.store import METRICS, TRAINED
from tutelage.train import parallel
from tutelage.train.columns import column
from tutelage.train.optimizer import lr_factor, make_optimizer
from tutelage.train.precision import autocast
from tutelage.train.resume import ResumePoints
from tutelage.train.rows import T, micro_batches
from tutelage.train.scorer import Scorer
from tutelage.train.settings import Training
from tutelage.train.step_rows import finite, keep_rows

Objective = Callable[[Scorer, Sequence[T], Sequence[T]], tuple[Tensor, dict[str, float]]]


@lru_cache(maxsize=1)  # every step of an epoch asks for it
def _order(num_items: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(num_items, generator=torch.Generator().manual_seed((seed << 20) + epoch))


class Observer(Protocol):
    """What is told of training while it goes on. It must leave weights and random state as they are."""

    def start(self, step: int) -> None:
        """Training is about to go on after `step` steps (0: to begin); later ones will be done again."""

    def after_step(self, step: int, row: dict[str, Any]) -> None:
        """`step` steps are done; `row` is what metrics.jsonl says of the last one."""


@dataclass(frozen=True)
class Plan:
    """Which items each step sees: every epoch a seeded order of its own, no item left out."""

    num_items: int
    batch_size: int
    epochs: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """The last batch of an epoch may be smaller."""
        return math.ceil(self.num_items / self.batch_size)

    @property
    def num_steps(self) -> int:
        """Optimizer steps in all."""
        return self.steps_per_epoch * self.epochs

    def largest(self, sizes: NDArray[Any]) -> int:
        """Return the most that the items of a step come to, with these sizes."""
        starts = np.arange(0, self.num_items, self.batch_size)
        orders = (_order(self.num_items, self.seed, epoch).numpy() for epoch in range(self.epochs))
        return max(int(np.add.reduceat(sizes[order], starts).max()) for order in orders)

    def indices(self, step: int) -> list[int]:
        """Return the items of step `step` (0-based)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        order = _order(self.num_items, self.seed, epoch)
        return order[position * self.batch_size : (position + 1) * self.batch_size].tolist()


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM, so that a step is finished and saved first; a second one stops at once."""
    received: list[int] = []

    def note(number: int, frame: Any) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        say("\n  stopping after this step; what is trained is saved")

    try:
        before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals are somebody else's
        before = {}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def prepared(
    objective: Objective[T], scorer: Scorer, ours: Sequence[Sequence[T]], batch: Sequence[T], settings: Training
) -> Objective[T]:
    """Return `objective` as it is to be called on `batch`: some have to know something of the whole batch first.

    Args:
        ours: this process's micro-batches, as many as any other's; some may be empty.
    """
    prepare: Callable[..., Objective[T]] | None = getattr(objective, "prepare", None)
    if prepare is None:
        return objective
    with autocast(scorer.device, settings.precision):
        return prepare(scorer, ours, batch)


def with_perplexity(means: dict[str, float]) -> dict[str, float]:
    """Return `means` with the perplexity beside each mean NLL of a token, which has to be whole to be exp'ed."""
    names = [name for name in means if name.startswith("nll_per_token")]
    # e^700 is about the largest float
    return means | {n.replace("nll_per_token", "perplexity"): math.exp(min(means[n], 700.0)) for n in names}


class Trainer(Generic[T]):
    """Trains what `scorer` holds on `items` in `folder`, from wherever an interrupted run left off.

    Every process computes its share of each batch; only the first writes.
    """

    def __init__(
        self,
        scorer: Scorer,
        items: Sequence[T],
        objective: Objective[T],
        settings: Training,
        folder: Path,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.scorer, self.items, self.objective = scorer, items, objective
        self.settings, self.folder, self.observers = settings, folder, observers
        self.plan = Plan(len(items), settings.batch_size, settings.epochs, settings.seed)
        self.optimizer = make_optimizer(scorer.parameters(), settings)
        self.resume = ResumePoints(folder, scorer.model, self.optimizer)
        self.saved_at = time.monotonic()

    def run(self, name: str) -> int:
        """Train to the end and return the number of steps. What is needed to go on stays.

        Raises:
            TrainingError: a loss that is not a number.
            StoreError: the disk is full.
            KeyboardInterrupt: asked to stop; everything up to the last step is saved.
        """
        total = self.plan.num_steps
        done = first = self.resume.load()
        if first:
            say(f"  goes on after step {first} of {total}")
        with (
            stop_requests() as stop,
            self._metrics_file(first) as write,
            Progress(name, total, "steps", done=first) as progress,
        ):
            for observer in self.observers:
                observer.start(first)
            for step in range(first, total):
                row, stopping = self._step(step, bool(stop))
                write(row)
                done = step + 1
                progress.advance(1, self._note(row))
                if stopping or self._save_is_due():
                    self.resume.save(done)
                    self.saved_at = time.monotonic()
                if stopping:  # an evaluation that is due is done when the run goes on
                    self.resume.finish()
                    raise KeyboardInterrupt
                for observer in self.observers:
                    observer.after_step(done, row)
        self.resume.save(done)
        self.resume.finish()
        return total

    def _note(self, row: dict[str, Any]) -> str:
        """Return the line of progress: the loss, what the objective finds worth a look, and the speed."""
        shown = "".join(f"{label} {row[name]:.2f}, " for name, label in getattr(self.objective, "shown", ()))
        return f"loss {row['loss']:.4f}, {shown}{row['tokens_per_second']:,.0f} tokens/s"

    def last_metrics(self) -> dict[str, float | None]:
        """Return the last row of metrics.jsonl without what depends on the machine's speed."""
        row = json.loads((self.folder / METRICS).read_text("utf-8").splitlines()[-1])
        return {key: value for key, value in row.items() if not key.endswith("_per_second")}

    @contextmanager
    def _metrics_file(self, first: int) -> Iterator[Callable[[dict[str, Any]], None]]:
        """Write what is trained on, and lend what writes a row of metrics."""
        if not parallel.is_first():
            yield lambda row: None
            return
        if not first:
            write_atomically(self.folder / TRAINED, dumped(self._trained()))
        keep_rows(self.folder / METRICS, first)
        with (self.folder / METRICS).open("a", encoding="utf-8", buffering=1) as file:
            yield lambda row: print(json.dumps(finite(row)), file=file)

    def _trained(self) -> Iterator[Trained]:
        for start in range(0, len(self.items), 10_000):
            some = self.items[start : start + 10_000]
            ids, prompt_ids = (column(some, name).astype(str).tolist() for name in ("id", "prompt_id"))
            for id_, prompt_id, num in zip(ids, prompt_ids, column(some, "num_tokens").tolist(), strict=True):
                yield Trained(id=id_, prompt_id=prompt_id, num_tokens=num)

    def _step(self, step: int, stop: bool) -> tuple[dict[str, Any], bool]:
        """Take one step; return its metrics, and whether any process was asked to stop."""
        started = time.monotonic()
        batch = [self.items[i] for i in self.plan.indices(step)]
        factor = lr_factor(step, self.plan.num_steps, self.settings.warmup_steps, self.settings.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.lr * factor
        found, bad = self._backward(batch)
        found = parallel.sums({**found, "stop": float(stop)})
        if not math.isfinite(found["loss"]):
            self._refuse(step, found["loss"], bad)
        norm = torch.nn.utils.clip_grad_norm_(self.scorer.parameters(), self.settings.max_grad_norm)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        if not torch.isfinite(norm):
            raise TrainingError(f"step {step + 1}: the gradient is {float(norm)}; lower lr")
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        tokens, seconds = sum(item.num_tokens for item in batch), time.monotonic() - started
        stopping = bool(found.pop("stop"))
        return {
            "step": step + 1,
            "epoch": (step + 1) / self.plan.steps_per_epoch,
            "loss": found.pop("loss"),
            "lr": self.settings.lr * factor,
            "grad_norm": float(norm),
            "examples": len(batch),
            "tokens": tokens,
            "tokens_per_second": tokens / seconds,
            "examples_per_second": len(batch) / seconds,
            **with_perplexity(found),
        }, stopping

    def _backward(self, batch: list[T]) -> tuple[dict[str, float], list[T]]:
        """Add up this process's share of the loss, metrics and gradients; and the items where they broke."""
        sums: dict[str, float] = {"loss": 0.0}
        bad: list[T] = []
        sizes, budget = self.scorer.sizes(batch), self.settings.micro_batch_tokens
        ours = micro_batches(batch, sizes, budget, parallel.num_processes())[parallel.rank()]
        objective = prepared(self.objective, self.scorer, ours, batch, self.settings)
        for micro in ours:
            # with nothing to do a process still goes along, as sharded weights are gathered by all of them
            share = float(bool(micro))
            with autocast(self.scorer.device, self.settings.precision):
                value, parts = objective(self.scorer, micro or batch[:1], batch)
            (value * share).backward()  # type: ignore[no-untyped-call]
            loss = float(value.detach())
            if not math.isfinite(loss):
                bad += micro
            for key, part in {"loss": loss, **parts}.items():
                sums[key] = sums.get(key, 0.0) + part * share
        return sums, bad

    def _refuse(self, step: int, loss: float, bad: list[T]) -> None:
        """Stop before a step that would destroy the weights; what was saved before it stays."""
        ids = [i for some in parallel.gathered([item.prompt_id for item in bad]) for i in some]
        raise TrainingError(
            f"step {step + 1}: the loss is {loss} on examples of the prompts {', '.join(ids[:5])}; "
            "look at them with `tutelage trace`, or lower lr"
        )

    def _save_is_due(self) -> bool:
        """Time for a save, but never so often that saving takes more than a twentieth of the time."""
        waited = time.monotonic() - self.saved_at
        due = waited >= max(self.settings.save_every_seconds, 20 * self.resume.seconds)
        return parallel.from_first(due)
