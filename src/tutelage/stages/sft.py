"""completions -> a student that has learnt to write them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tutelage.config import Group, StageConfig
from tutelage.data.share import OfPrompts
from tutelage.extras import require
from tutelage.generate.settings import PolicyTraining
from tutelage.inputs import Model, Rows
from tutelage.stages.base import Stage
from tutelage.stages.holding_out import train_and_held_out
from tutelage.stages.preparing import prepared_completions, prompts_of
from tutelage.store import Made, Work
from tutelage.train.settings import OfConversations
from tutelage.train.trackers import check_trackers


class Config(StageConfig, PolicyTraining, OfPrompts, OfConversations):
    """How the student is trained, on which part of the prompts, and on what of a conversation."""

    loss: Literal["token_mean", "example_sum"] = Field(
        "token_mean",
        description="token_mean: every completion token counts alike; example_sum: the original's, a sum over each "
        "example's tokens and the mean over examples",
    )


class Inputs(Group):
    """The student before, and what it is to learn."""

    model: Model
    completions: Rows


def body(config: Config, inputs: Inputs, work: Work) -> Made:
    """Train on the completions and their end-of-turn tokens; write checkpoint/ and metrics.jsonl."""
    require("train", "tutelage sft")
    check_trackers(config.trackers)
    from tutelage.generate.policy_samples import PolicySampler
    from tutelage.train.checkpoint import check_vocabulary, load_encoder, load_model, usable_length
    from tutelage.train.fit import fit, make_scorer
    from tutelage.train.objectives import SFTObjective
    from tutelage.train.scorer import LogpScorer

    encoder = load_encoder(inputs.model)
    model = load_model(inputs.model)
    check_vocabulary(model, encoder, inputs.model.path)
    length = usable_length(model, config.max_length)
    examples = prepared_completions(inputs.completions, config, config, config.loss_on, encoder, length, work)
    train, held_out = train_and_held_out(examples, config, "completions", work)
    scorer = make_scorer(LogpScorer, model, examples, config)
    sampler = PolicySampler(scorer, encoder, prompts_of(held_out, inputs.completions), config, work.count)
    return fit(
        inputs.model, scorer, encoder, train, SFTObjective(config.loss), config, work, held_out, sampler, config.final
    )


STAGE = Stage("sft", Config, Inputs, body, trains=True)
run = STAGE.run
