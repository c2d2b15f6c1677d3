"""preferences -> a policy that has learnt them: by DPO (Rafailov et al. 2023, arXiv 2305.18290), or another loss."""

from __future__ import annotations

from pydantic import Field

from tutelage.config import Group, StageConfig
from tutelage.extras import require
from tutelage.generate.settings import PolicyTraining
from tutelage.inputs import Finished, Model
from tutelage.stages.base import Stage
from tutelage.stages.holding_out import train_and_held_out
from tutelage.stages.loss import Loss
from tutelage.stages.preparing import prepared_preferences, prompts_of
from tutelage.store import MARGINS, Made, Work
from tutelage.train.trackers import check_trackers

REFERENCES = "references"
"""Folder of what references say of preferences, kept for every run that asks the same."""


class Config(StageConfig, PolicyTraining):
    """How the policy is trained."""

    lr: float = Field(1e-7, gt=0, description="peak learning rate")
    loss: Loss = Field(Loss(), description="what is minimised")


class Inputs(Group):
    """The student before (it is the reference), and an artifact of prefer."""

    model: Model
    preferences: Finished


def body(config: Config, inputs: Inputs, work: Work) -> Made:
    """Write checkpoint/, metrics.jsonl and margins.jsonl.

    Margins are those of the weights after the last step, also where final=best makes others the checkpoint.
    """
    require("train", "tutelage dpo")
    check_trackers(config.trackers)
    from tutelage.generate.policy_samples import PolicySampler
    from tutelage.train import parallel
    from tutelage.train.checkpoint import check_vocabulary, load_encoder, load_model, usable_length
    from tutelage.train.fit import fit, make_scorer
    from tutelage.train.margins import margins
    from tutelage.train.reference import reference_of
    from tutelage.train.scorer import LogpScorer

    inputs.preferences.require("prefer")
    encoder = load_encoder(inputs.model)
    model = load_model(inputs.model)
    check_vocabulary(model, encoder, inputs.model.path)
    length = usable_length(model, config.max_length)
    pairs = prepared_preferences(inputs.preferences, config, encoder, length, work)
    train, held_out = train_and_held_out(pairs, config, "preferences", work)
    scorer = make_scorer(LogpScorer, model, pairs, config)
    objective = config.loss.objective(encoder.end_id)
    if objective.needs_reference:
        folder, model_id, both = config.artifacts / REFERENCES, inputs.model.identity(), train.together(held_out)
        values = reference_of(scorer, both, config, folder, model_id, both.content)
        train, held_out = (part.with_references(both, values) for part in (train, held_out))
    sampler = PolicySampler(scorer, encoder, prompts_of(held_out, inputs.preferences), config, work.count)
    made = fit(inputs.model, scorer, encoder, train, objective, config, work, held_out, sampler, config.final)
    found = margins(scorer, train, objective, config, work.count)
    if parallel.is_first():
        work.write(MARGINS, found)
    return made


STAGE = Stage("dpo", Config, Inputs, body, trains=True)
run = STAGE.run
