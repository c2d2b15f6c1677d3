"""What sft, dpo and reward do once they have a model, examples and an objective."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from tutelage.errors import TrainingError
from tutelage.inputs import Model
from tutelage.store import Made, Work
from tutelage.train import parallel
from tutelage.train.blocks import checkpoint_activations, transformer_blocks
from tutelage.train.checkpoint import CHECKPOINT, checkpoint_record, save_checkpoint
from tutelage.train.encode import Encoder
from tutelage.train.layout import fit_layout
from tutelage.train.loop import Objective, Trainer
from tutelage.train.resume import RESUME
from tutelage.train.rows import Item, T
from tutelage.train.scorer import Scorer
from tutelage.train.settings import Training

S = TypeVar("S", bound=Scorer)


def make_scorer(kind: type[S], model: Any, items: Sequence[Item], settings: Training) -> S:
    """Return `model` ready to train on `items`: layers wrapped, weights sharded, rows laid out so as to be exact.

    Raises:
        ModelError: the architecture cannot be trained here.
    """
    blocks = transformer_blocks(model)
    checkpoint_activations(blocks, settings.activation_checkpointing)
    if settings.compile:
        for block in blocks:
            block.compile()
    scorer = kind(model)
    parallel.shard(scorer, settings.precision, settings.shard_over)
    longest = max((b.num_tokens for item in items for b in item.branches), default=0)
    fit_layout(scorer, longest, settings.rows, settings.precision)
    return scorer


def fit(
    source: Model,
    scorer: Scorer,
    encoder: Encoder,
    items: Sequence[T],
    objective: Objective[T],
    settings: Training,
    work: Work,
) -> Made:
    """Train what `scorer` holds (loaded from `source`) in `work`'s folder and save checkpoint/ there.

    Raises:
        TrainingError: nothing to train on, or a loss that is not a number.
        StoreError: the disk is full.
        KeyboardInterrupt: asked to stop; the next call goes on.
    """
    work.remove_when_finished(work.path / RESUME)
    trainer = Trainer(scorer, items, objective, settings, work.path)
    steps = trainer.run(work.stage)
    save_checkpoint(scorer, encoder, work.path / CHECKPOINT)
    work.count("steps", steps)
    parallel.wait_for_all()
    return Made(checkpoint=checkpoint_record(source, encoder, steps), summary=trainer.last_metrics())


def something(items: Sequence[T], work: Work) -> Sequence[T]:
    """Return `items`, of which there must be some.

    Raises:
        TrainingError: says what became of everything that was given.
    """
    if not items:
        counts = "; ".join(f"{num} {what}" for what, num in work.counts.items())
        raise TrainingError(f"there is nothing to train on: {counts}")
    return items
