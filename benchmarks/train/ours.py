"""tutelage's own training code as a contender: the one file of these benchmarks that knows its interfaces."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from metering import Meter
from tutelage.train.encode import Example
from tutelage.train.loop import METRICS, Plan, Trainer
from tutelage.train.objectives import DPOObjective, PairExample, SFTObjective
from tutelage.train.reference import reference_logps
from tutelage.train.settings import Training
from workloads import Case, Item, Workload


class Unsaved(Trainer[Any]):
    """Keeps no weights: nobody's checkpoints are part of what is measured."""

    def _save(self, step: int) -> None:
        pass


def train(case: Case, workload: Workload, model: Any, meter: Meter) -> dict[str, Any]:
    """Train `model`; return the loss of every step and the norm of the gradient at the first."""
    settings = Training(
        lr=workload.lr,
        epochs=workload.epochs,
        batch_size=workload.batch_size,
        max_grad_norm=workload.clip,
        max_length=workload.lengths.max_length,
        precision=case.precision,
        save_every_seconds=1e9,
    )
    items = workload.items()
    if workload.objective == "dpo":
        pairs = in_order([pair(number, item) for number, item in enumerate(items)], settings)
        with meter.part("reference"):
            logps = reference_logps(model, pairs, settings)
            pairs = [replace(p, reference_chosen=logps[p.id][0], reference_rejected=logps[p.id][1]) for p in pairs]
        return fit(model, pairs, DPOObjective("sigmoid", workload.beta), settings, meter)
    examples = in_order([example(str(number), item, 0) for number, item in enumerate(items)], settings)
    return fit(model, examples, SFTObjective(), settings, meter)


def example(name: str, item: Item, side: int) -> Example:
    """Return one completion as the training code takes it."""
    return Example(f"{name}-{side}", name, item.prompt, item.completions[side])


def pair(number: int, item: Item) -> PairExample:
    """Return a preference as the training code takes it."""
    return PairExample(str(number), example(str(number), item, 0), example(str(number), item, 1))


def in_order(items: Sequence[Any], settings: Training) -> list[Any]:
    """Return `items` so arranged that the first epoch, which is shuffled, sees them in the order given."""
    plan = Plan(len(items), settings.batch_size, settings.epochs, settings.seed)
    order = [index for step in range(plan.steps_per_epoch) for index in plan.indices(step)]
    arranged = list(items)
    for item, index in zip(items, order, strict=True):
        arranged[index] = item
    return arranged


def fit(model: Any, items: list[Any], objective: Any, settings: Training, meter: Meter) -> dict[str, Any]:
    """Train on encoded items."""
    with tempfile.TemporaryDirectory() as folder:
        with meter.part("train"):
            Unsaved(model, items, objective, settings, Path(folder)).run("benchmark")
        rows = [json.loads(line) for line in (Path(folder) / METRICS).read_text("utf-8").splitlines()]
    return {"losses": [row["loss"] for row in rows], "grad_norm": rows[0]["grad_norm"]}
