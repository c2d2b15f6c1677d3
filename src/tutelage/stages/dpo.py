"""preferences -> a policy that has learnt them (Rafailov et al. 2023, arXiv 2305.18290)."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from tutelage.config import Group, StageConfig
from tutelage.data.rows import PROMPTS
from tutelage.extras import require
from tutelage.inputs import Finished, Model
from tutelage.records import Preference, Prompt
from tutelage.stages.base import Stage
from tutelage.stages.prefer import PREFERENCES
from tutelage.store import Made, Work
from tutelage.train.settings import Training

REFERENCES = "references"
"""Folder of what references say of preferences, kept for every run that asks the same."""
NOISY = ("cdpo", "rdpo", "robust")


class Loss(Group):
    """What DPO minimises."""

    preset_group: ClassVar[str | None] = "loss"
    name: Literal["sigmoid", "ipo", "ipo_mean", "cdpo", "rdpo", "robust"] = Field(
        "sigmoid",
        description="sigmoid: DPO's own; ipo: on summed log-probabilities, ipo_mean: per token; cdpo, rdpo: for "
        "labels of which the share label_noise is wrong; robust: the original's form of cdpo (divided by beta)",
    )
    beta: float = Field(0.05, gt=0, description="how strongly the policy is held to the reference (paper: 0.05)")
    label_noise: float = Field(
        0.0, ge=0, lt=0.5, description="share of labels taken to be wrong, for cdpo, rdpo and robust"
    )
    reference_free: bool = Field(False, description="the loss ignores the reference; the metrics do not")
    importance_correction: bool = Field(
        False, description="weigh each pair by policy / reference of its rejected completion (not with ipo)"
    )
    sft_reg: float = Field(0.0, ge=0, description="so many times -log p(chosen) is added to the loss of a pair")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.label_noise and self.name not in NOISY:
            raise ValueError(f"label_noise is read by {', '.join(NOISY)}; {self.name} has none")
        if self.importance_correction and self.name.startswith("ipo"):
            raise ValueError("importance_correction is not defined for ipo; choose another loss")
        return self


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
    from tutelage.train.objectives import DPOObjective
    from tutelage.train.reference import with_reference
    from tutelage.train.scorer import LogpScorer

    preferred = inputs.preferences.require("prefer")
    encoder = load_encoder(inputs.model)
    preferences = preferred.rows(PREFERENCES, Preference)
    prompts = preferred.rows(PROMPTS, Prompt)
    model = load_model(inputs.model)
    check_vocabulary(model, encoder, inputs.model.path)
    length = usable_length(model, config.max_length)
    pairs = something(encode_preferences(encoder, prompts, preferences, length, work.count), work)
    work.count("preferences", len(pairs))
    scorer = make_scorer(LogpScorer, model, pairs, config)
    pairs = with_reference(scorer, pairs, config, config.artifacts / REFERENCES, inputs.model.identity())
    objective = DPOObjective(**config.loss.model_dump())
    return fit(inputs.model, scorer, encoder, pairs, objective, config, work)


STAGE = Stage("dpo", Config, Inputs, body)
run = STAGE.run
