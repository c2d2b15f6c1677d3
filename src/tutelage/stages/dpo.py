"""preferences -> a policy that has learnt them: by DPO (Rafailov et al. 2023, arXiv 2305.18290), or another loss."""

from __future__ import annotations

from pydantic import Field

from tutelage.config import Group, StageConfig
from tutelage.data.rows import PROMPTS
from tutelage.extras import require
from tutelage.inputs import Finished, Model
from tutelage.records import Preference, Prompt
from tutelage.stages.base import Stage
from tutelage.stages.loss import Loss
from tutelage.stages.prefer import PREFERENCES
from tutelage.store import Made, Work
from tutelage.train.settings import Training

REFERENCES = "references"
"""Folder of what references say of preferences, kept for every run that asks the same."""


class Config(StageConfig, Training):
    """How the policy is trained."""

    lr: float = Field(1e-7, gt=0, description="peak learning rate")
    loss: Loss = Field(Loss(), description="what is minimised")


class Inputs(Group):
    """The student before (it is the reference), and an artifact of prefer."""

    model: Model
    preferences: Finished


def body(config: Config, inputs: Inputs, work: Work) -> Made:
    """Write checkpoint/ and metrics.jsonl."""
    require("train", "tutelage dpo")
    from tutelage.train.checkpoint import check_vocabulary, load_encoder, load_model, usable_length
    from tutelage.train.examples import encode_preferences
    from tutelage.train.fit import fit, make_scorer, something
    from tutelage.train.reference import with_reference
    from tutelage.train.scorer import LogpScorer

    preferred = inputs.preferences.require("prefer")
    encoder = load_encoder(inputs.model)
    preferences = preferred.rows(PREFERENCES, Preference)
    prompts = preferred.rows(PROMPTS, Prompt)
    model = load_model(inputs.model)
    check_vocabulary(model, encoder, inputs.model.path)
    length = usable_length(model, config.max_length)
    pairs = something(encode_preferences(encoder, prompts, preferences, length, config.truncation, work.count), work)
    work.count("preferences", len(pairs))
    scorer = make_scorer(LogpScorer, model, pairs, config)
    objective = config.loss.objective(encoder.end_id)
    if objective.needs_reference:
        pairs = with_reference(scorer, pairs, config, config.artifacts / REFERENCES, inputs.model.identity())
    return fit(inputs.model, scorer, encoder, pairs, objective, config, work)


STAGE = Stage("dpo", Config, Inputs, body)
run = STAGE.run
