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
from tutelage.train.fit import make_scorer
from tutelage.train.loop import METRICS, Plan, Trainer
from tutelage.train.objectives import DPOObjective, PairExample, SFTObjective
from tutelage.train.reference import reference_of
from tutelage.train.scorer import LogpScorer
from tutelage.train.settings import Training
from workloads import Case, Item, Workload


class Unsaved:
    """Stands for `ResumePoints` and keeps no weights: nobody's checkpoints are part of what is measured."""

    seconds = 0.0

    def load(self) -> int:
        """There is nothing to go on from."""
        return 0

    def save(self, step: int) -> None:
        """Keep nothing."""

    def finish(self) -> None:
        """Nothing is being written."""


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
    make = pair if workload.objective == "dpo" else example
    arranged = in_order([make(number, item) for number, item in enumerate(items)], settings)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with meter.part("layout"):
            scorer = make_scorer(LogpScorer, model, arranged, settings)
        if workload.objective == "dpo":
            with meter.part("reference"):
                values = reference_of(scorer, arranged, settings, folder, {"model": "random"}, "these tokens")
                arranged = [
                    replace(p, reference_chosen=chosen, reference_rejected=rejected)
                    for p, (chosen, rejected) in zip(arranged, values.tolist(), strict=True)
                ]
        objective = DPOObjective("sigmoid", workload.beta) if workload.objective == "dpo" else SFTObjective()
        with meter.part("train"):
            trainer = Trainer(scorer, arranged, objective, settings, folder)
            trainer.resume = Unsaved()
            trainer.run("benchmark")
        rows = [json.loads(line) for line in (folder / METRICS).read_text("utf-8").splitlines()]
    model.set_attn_implementation(scorer.loaded_attention)
    return {"losses": [row["loss"] for row in rows], "grad_norm": rows[0]["grad_norm"]}


def example(number: int, item: Item, side: int = 0) -> Example:
    """Return one completion as the training code takes it."""
    return Example(f"{number}-{side}", str(number), item.prompt, item.completions[side])


def pair(number: int, item: Item) -> PairExample:
    """Return a preference as the training code takes it."""
    return PairExample(str(number), example(number, item), example(number, item, 1))


def in_order(items: Sequence[Any], settings: Training) -> list[Any]:
    """Return `items` so arranged that the first epoch, which is shuffled, sees them in the order given."""
    plan = Plan(len(items), settings.batch_size, settings.epochs, settings.seed)
    order = [index for step in range(plan.steps_per_epoch) for index in plan.indices(step)]
    arranged = list(items)
    for item, index in zip(items, order, strict=True):
        arranged[index] = item
    return arranged
