"""What sft, dpo and reward do once they have a model, examples and an objective."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tutelage.errors import TrainingError
from tutelage.inputs import Model
from tutelage.store import Made, Work
from tutelage.train.checkpoint import CHECKPOINT, checkpoint_record, save_checkpoint
from tutelage.train.encode import Encoder
from tutelage.train.loop import RESUME, Objective, T, Trainer
from tutelage.train.settings import Training


def fit(
    source: Model,
    model: Any,
    encoder: Encoder,
    items: Sequence[T],
    objective: Objective[T],
    settings: Training,
    work: Work,
) -> Made:
    """Train `model` (loaded from `source`) in `work`'s folder and save checkpoint/ there.

    Raises:
        TrainingError: nothing to train on, or a loss that is not a number.
        StoreError: the disk is full.
        KeyboardInterrupt: asked to stop; the next call goes on.
    """
    if not items:
        counts = "; ".join(f"{num} {what}" for what, num in work.counts.items())
        raise TrainingError(f"there is nothing to train on: {counts}")
    work.remove_when_finished(work.path / RESUME)
    trainer = Trainer(model, items, objective, settings, work.path)
    steps = trainer.run(work.stage)
    save_checkpoint(model, encoder, work.path / CHECKPOINT)
    work.count("steps", steps)
    return Made(checkpoint=checkpoint_record(source, encoder, steps), summary=trainer.last_metrics())
