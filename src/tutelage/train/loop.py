"""The training loop, for every objective: exact steps, exact resume, one line of progress."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

import torch
from torch import Tensor

from tutelage.disk import dump_rows, write_atomically
from tutelage.errors import StoreError, TrainingError
from tutelage.progress import Progress, say
from tutelage.records import Trained
from tutelage.train.logps import split_by_budget
from tutelage.train.settings import Training
from tutelage.train.step_rows import keep_rows


class Item(Protocol):
    """What can be trained on: something with a name and a size."""

    @property
    def id(self) -> str: ...

    @property
    def prompt_id(self) -> str: ...

    @property
    def num_tokens(self) -> int: ...


T = TypeVar("T", bound=Item)
Objective = Callable[[Any, Sequence[T], Sequence[T]], tuple[Tensor, dict[str, float]]]
RESUME, METRICS, TRAINED = "resume.pt", "metrics.jsonl", "trained.jsonl"


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

    def indices(self, step: int) -> list[int]:
        """Return the items of step `step` (0-based)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        order = _order(self.num_items, self.seed, epoch)
        return order[position * self.batch_size : (position + 1) * self.batch_size].tolist()


def make_optimizer(model: Any, settings: Training) -> torch.optim.Optimizer:
    """Return the optimizer of `settings` over all weights."""
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(
            model.parameters(),
            lr=settings.lr,
            weight_decay=settings.weight_decay,
            betas=(0.9, 0.95),
            fused=True,
        )
    return torch.optim.RMSprop(model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay)


def lr_factor(step: int, num_steps: int, warmup: int, schedule: Literal["constant", "cosine"]) -> float:
    """Return the share of the peak learning rate at `step`: linear warm-up, then constant or cosine to 0."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, num_steps - warmup)))


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


class Trainer(Generic[T]):
    """Trains `model` on `items` in `folder`, from wherever an interrupted run left off."""

    def __init__(
        self,
        model: Any,
        items: Sequence[T],
        objective: Objective[T],
        settings: Training,
        folder: Path,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.model, self.items, self.objective = model, items, objective
        self.settings, self.folder, self.observers = settings, folder, observers
        self.plan = Plan(len(items), settings.batch_size, settings.epochs, settings.seed)
        self.optimizer = make_optimizer(model, settings)
        self.saved_at, self.save_seconds = time.monotonic(), 0.0

    def run(self, name: str) -> int:
        """Train to the end and return the number of steps. The resume file stays.

        Raises:
            TrainingError: a loss that is not a number.
            KeyboardInterrupt: asked to stop; everything up to the last step is saved.
        """
        rows = [Trained(id=i.id, prompt_id=i.prompt_id, num_tokens=i.num_tokens) for i in self.items]
        write_atomically(self.folder / TRAINED, dump_rows(rows))
        first = self._load()
        total, done = self.plan.num_steps, first
        with (
            stop_requests() as stop,
            Progress(name, total, "steps", done=first) as progress,
            (self.folder / METRICS).open("a", encoding="utf-8") as metrics,
        ):
            for observer in self.observers:
                observer.start(first)
            for step in range(first, total):
                row = self._step(step)
                metrics.write(json.dumps(row) + "\n")
                metrics.flush()
                done = step + 1
                progress.advance(1, f"loss {row['loss']:.4f}, {row['tokens_per_second']:,.0f} tokens/s")
                if stop or self._save_is_due():
                    self._save(done)
                for observer in self.observers:  # after the save: who asked to stop need not wait for an evaluation
                    observer.after_step(done, row)
                if stop:
                    raise KeyboardInterrupt
        self._save(done)
        return total

    def last_metrics(self) -> dict[str, float]:
        """Return the last row of metrics.jsonl without what depends on the machine's speed."""
        row = json.loads((self.folder / METRICS).read_text("utf-8").splitlines()[-1])
        return {key: value for key, value in row.items() if key != "tokens_per_second"}

    def _step(self, step: int) -> dict[str, Any]:
        started = time.monotonic()
        batch = [self.items[i] for i in self.plan.indices(step)]
        factor = lr_factor(step, self.plan.num_steps, self.settings.warmup_steps, self.settings.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.lr * factor
        loss = 0.0
        metrics: dict[str, float] = {}
        for micro in split_by_budget(batch, lambda item: item.num_tokens, self.settings.micro_batch_tokens):
            with autocast(self.model.device, self.settings.precision):
                value, parts = self.objective(self.model, micro, batch)
            if not torch.isfinite(value):
                ids = ", ".join(item.prompt_id for item in micro[:5])
                raise TrainingError(
                    f"step {step + 1}: the loss is {float(value.detach())} on examples of the prompts {ids}; "
                    "look at them with `tutelage trace`, or lower lr"
                )
            value.backward()  # type: ignore[no-untyped-call]
            loss += float(value.detach())
            metrics = {key: metrics.get(key, 0.0) + part for key, part in parts.items()}
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.max_grad_norm)
        if not torch.isfinite(norm):
            raise TrainingError(f"step {step + 1}: the gradient is {float(norm)}; lower lr")
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        tokens = sum(item.num_tokens for item in batch)
        return {
            "step": step + 1,
            "epoch": (step + 1) / self.plan.steps_per_epoch,
            "loss": loss,
            "lr": self.settings.lr * factor,
            "grad_norm": float(norm),
            "examples": len(batch),
            "tokens": tokens,
            "tokens_per_second": tokens / (time.monotonic() - started),
            **metrics,
        }

    def _save_is_due(self) -> bool:
        """Time for a save, but never so often that saving takes more than a twentieth of the time."""
        return time.monotonic() - self.saved_at >= max(self.settings.save_every_seconds, 20 * self.save_seconds)

    def _save(self, step: int) -> None:
        started = time.monotonic()
        state = {"step": step, "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        temporary = self.folder / (RESUME + ".tmp")
        try:
            torch.save(state, temporary)
        except RuntimeError as error:  # torch's zip writer reports a full disk as a RuntimeError
            raise StoreError(
                f"{temporary}: cannot be written ({str(error).splitlines()[0]}); free some space. "
                "The last saved step is kept; the same command goes on from there"
            ) from None
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(self.folder / RESUME)
        self.saved_at = time.monotonic()
        self.save_seconds = self.saved_at - started

    def _load(self) -> int:
        """Restore weights, optimizer and position; return the number of steps already done."""
        path = self.folder / RESUME
        step = 0
        state = _read_state(path, self.model.device)
        if state is not None:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            step = int(state["step"])
            say(f"  goes on after step {step} of {self.plan.num_steps}")
        keep_rows(self.folder / METRICS, step)
        return step


def _read_state(path: Path, device: Any) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # an empty file, a torn one and a foreign one each raise something else
        say(f"  {path} is damaged ({type(error).__name__}); training starts over")
        return None
    return state


def autocast(device: Any, precision: Literal["auto", "float32", "bfloat16"]) -> Any:
    """Compute in bfloat16 where asked (auto: on a GPU that has it); weights stay float32."""
    use = precision == "bfloat16" or (
        precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported()
    )
    return torch.autocast(device.type, dtype=torch.bfloat16) if use else nullcontext()
