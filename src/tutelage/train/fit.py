"""What sft, dpo and reward do once they have a model, examples and an objective."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tutelage.errors import TrainingError
from tutelage.inputs import Model
from tutelage.store import Made, Work
from tutelage.train.checkpoint import CHECKPOINT, checkpoint_record, save_checkpoint
from tutelage.train.encode import Encoder
from tutelage.train.held_out import Evaluation, Sampler
from tutelage.train.loop import RESUME, Objective, Observer, Plan, T, Trainer
from tutelage.train.settings import Training
from tutelage.train.trackers import RUN_ID, open_trackers


def fit(
    source: Model,
    model: Any,
    encoder: Encoder,
    items: Sequence[T],
    objective: Objective[T],
    settings: Training,
    work: Work,
    held_out: Sequence[T] = (),
    sampler: Sampler | None = None,
) -> Made:
    """Train `model` (loaded from `source`) in `work`'s folder and save checkpoint/ there.

    `held_out` is evaluated meanwhile (eval.jsonl), and `sampler` completes prompts then (samples.jsonl).

    Raises:
        TrainingError: nothing to train on, or a loss that is not a number.
        StoreError: the disk is full.
        KeyboardInterrupt: asked to stop; the next call goes on.
    """
    if not items:
        counts = "; ".join(f"{num} {what}" for what, num in work.counts.items())
        raise TrainingError(f"there is nothing to train on: {counts}")
    for name in (RESUME, RUN_ID):
        work.remove_when_finished(work.path / name)
    run_name = f"{work.stage}-{work.path.name}"
    trackers = open_trackers(settings.trackers, work.path, run_name, work.identity, settings.project)
    plan = Plan(len(items), settings.batch_size, settings.epochs, settings.seed)
    evaluation = Evaluation(model, held_out, objective, settings, plan, work.path, trackers, sampler)
    observers: list[Observer] = [trackers, evaluation] if held_out else [trackers]
    trainer = Trainer(model, items, objective, settings, work.path, observers)
    try:
        steps = trainer.run(work.stage)
        save_checkpoint(model, encoder, work.path / CHECKPOINT)
    finally:
        trackers.close()
    work.count("steps", steps)
    summary = trainer.last_metrics() | evaluation.last()
    return Made(checkpoint=checkpoint_record(source, encoder, steps), summary=summary)
