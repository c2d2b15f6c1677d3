"""What sft, dpo and reward do once they have a model, examples and an objective."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import torch

from tutelage.errors import TrainingError
from tutelage.inputs import Model
from tutelage.progress import say
from tutelage.store import Made, Work
from tutelage.train import parallel
from tutelage.train.blocks import checkpoint_activations, transformer_blocks
from tutelage.train.columns import column
from tutelage.train.encode import Encoder
from tutelage.train.held_out import Evaluation, Sampler
from tutelage.train.kept import Checkpoints
from tutelage.train.layout import fit_layout
from tutelage.train.loop import Objective, Observer, Plan, Trainer
from tutelage.train.lora import add_adapters
from tutelage.train.memory import check_memory, out_of_memory
from tutelage.train.resume import RESUME
from tutelage.train.rows import Item, T
from tutelage.train.saving import checkpoint_record
from tutelage.train.scorer import Scorer
from tutelage.train.settings import Training
from tutelage.train.trackers import RUN_ID, open_trackers

S = TypeVar("S", bound=Scorer)
Rows = TypeVar("Rows", bound=Sequence[Any])


def make_scorer(kind: type[S], model: Any, items: Sequence[Item], settings: Training) -> S:
    """Return `model` ready to train on `items`: layers wrapped, weights sharded, rows laid out so as to be exact.

    Raises:
        MissingExtraError: LoRA without peft.
        ModelError: the architecture cannot be trained here.
        TrainingError: it would not fit into memory.
    """
    if settings.lora.rank:
        add_adapters(model, settings)
    memory = check_memory(model, settings, items, parallel.num_processes(), parallel.device())
    if settings.activation_checkpointing != "off":
        checkpoint_activations(transformer_blocks(model), settings.activation_checkpointing)
    if settings.compile:
        for block in transformer_blocks(model):
            block.compile()
    scorer = kind(model)
    scorer.memory = memory
    parallel.shard(scorer, settings.shard_over)
    lengths = column(items, "lengths")
    longest = (lengths[:, :1] + lengths[:, 1:]).max(initial=0)
    fit_layout(scorer, int(longest), settings.rows, settings.precision)
    return scorer


def fit(
    source: Model,
    scorer: Scorer,
    encoder: Encoder,
    items: Sequence[T],
    objective: Objective[T],
    settings: Training,
    work: Work,
    held_out: Sequence[T] = (),
    sampler: Sampler | None = None,
    final: Literal["last", "best"] = "last",
) -> Made:
    """Train what `scorer` holds (loaded from `source`) in `work`'s folder and save checkpoint/ there.

    `held_out` is evaluated meanwhile (eval.jsonl), and `sampler` completes prompts then (samples.jsonl).
    With LoRA checkpoint/ has the sum of both, and adapter/ what was trained.

    Raises:
        TrainingError: a loss that is not a number, or no memory left.
        StoreError: the disk is full.
        KeyboardInterrupt: asked to stop; the next call goes on.
    """
    if len(items) < settings.batch_size:
        say(f"  {len(items)} examples are fewer than batch_size={settings.batch_size}: an epoch is one step")
    for name in (RESUME, RUN_ID):
        work.remove_when_finished(work.path / name)
    shown_by = settings.trackers if parallel.is_first() else ()
    run_name = f"{work.stage}-{work.path.name}"
    trackers = open_trackers(shown_by, work.path, run_name, work.identity, settings.project)
    plan = Plan(len(items), settings.batch_size, settings.epochs, settings.seed)
    evaluation = Evaluation(scorer, held_out, objective, settings, plan, work.path, trackers, sampler)
    base = source.archive or source.folder()
    kept = Checkpoints(scorer, encoder, settings, work.path, evaluation, final, base)
    observers: list[Observer] = [trackers, evaluation, kept] if held_out else [trackers, kept]
    trainer = Trainer(scorer, items, objective, settings, work.path, observers)
    try:
        steps = trainer.run(work.stage)
        step = kept.finish(steps)
    except torch.OutOfMemoryError:
        raise out_of_memory(scorer.memory) from None
    finally:
        trackers.close()
    work.count("steps", steps)
    parallel.wait_for_all()
    summary = trainer.last_metrics() | evaluation.found_at(step)
    return Made(checkpoint=checkpoint_record(source, encoder, step), summary=summary)


def something(items: Rows, work: Work) -> Rows:
    """Return `items`, of which there must be some.

    Raises:
        TrainingError: says what became of everything that was given.
    """
    if not items:
        counts = "; ".join(f"{num} {what}" for what, num in work.counts.items())
        raise TrainingError(f"there is nothing to train on: {counts or 'what was given has no rows'}")
    return items
