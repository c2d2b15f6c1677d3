"""completions -> a student that has learnt to write them."""

from __future__ import annotations

from pydantic import Field

from tutelage.config import Group, StageConfig
from tutelage.data.rows import Share, in_share, read_completions
from tutelage.inputs import Model, Rows
from tutelage.stages.base import Stage
from tutelage.store import Made, Work
from tutelage.train.settings import Training


class Config(StageConfig, Training):
    """How the student is trained, and on which part of the prompts."""

    share: Share = Field(
        (0.0, 1.0),
        description="part of the prompts, [from, to) of a seeded order: [0,0.1] is the paper's 10 %",
    )
    share_seed: int = Field(0, ge=0, description="of that order; the same in every stage of a road")


class Inputs(Group):
    """The student before, and what it is to learn."""

    model: Model
    completions: Rows


def body(config: Config, inputs: Inputs, work: Work) -> Made:
    """Train on the completions and their end-of-turn tokens; write checkpoint/ and metrics.jsonl."""
    from tutelage.train.checkpoint import (
        CHECKPOINT,
        checkpoint_record,
        load_encoder,
        load_model,
        save_checkpoint,
        usable_length,
    )
    from tutelage.train.examples import encode_completions
    from tutelage.train.loop import Trainer
    from tutelage.train.objectives import sft_objective

    encoder = load_encoder(inputs.model)
    prompts, completions = read_completions(inputs.completions, None, work.count)
    kept = [c for c in completions if in_share(c.prompt_id, config.share, config.share_seed)]
    work.count("completions", len(kept))
    model = load_model(inputs.model)
    length = usable_length(model, config.max_length)
    examples = encode_completions(encoder, prompts, kept, length, work.count)
    trainer = Trainer(model, examples, sft_objective, config, work.path)
    steps = trainer.run("sft")
    save_checkpoint(model, encoder, work.path / CHECKPOINT)
    trainer.forget()
    work.count("steps", steps)
    return Made(checkpoint=checkpoint_record(inputs.model, encoder, steps), summary=trainer.last_metrics())


STAGE = Stage("sft", Config, Inputs, body)
run = STAGE.run
