"""preferences -> a policy that has learnt them (Rafailov et al. 2023, arXiv 2305.18290)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tutelage.config import Group, StageConfig
from tutelage.data.rows import PROMPTS
from tutelage.disk import disk_errors, write_atomically
from tutelage.extras import require
from tutelage.generate.settings import PolicyTraining
from tutelage.inputs import Finished, Model
from tutelage.records import Preference, Prompt
from tutelage.stages.base import Stage
from tutelage.stages.holding_out import prompts_of, train_and_held_out
from tutelage.stages.prefer import PREFERENCES
from tutelage.store import Made, Work
from tutelage.train.trackers import check_trackers

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


class Config(StageConfig, PolicyTraining):
    """How the policy is trained."""

    lr: float = Field(1e-7, gt=0, description="peak learning rate")
    loss: Loss = Field(Loss(), description="what is minimised")


class Inputs(Group):
    """The student before (it is the reference), and an artifact of prefer."""

    model: Model
    preferences: Finished


def body(config: Config, inputs: Inputs, work: Work) -> Made:
    """Write reference.json, checkpoint/ and metrics.jsonl."""
    require("train", "tutelage dpo")
    check_trackers(config.trackers)
    from tutelage.generate.policy_samples import PolicySampler
    from tutelage.train.checkpoint import check_vocabulary, load_encoder, load_model, usable_length
    from tutelage.train.examples import encode_preferences
    from tutelage.train.fit import fit
    from tutelage.train.objectives import DPOObjective

    preferred = inputs.preferences.require("prefer")
    encoder = load_encoder(inputs.model)
    preferences = preferred.rows(PREFERENCES, Preference)
    prompts = preferred.rows(PROMPTS, Prompt)
    model = load_model(inputs.model)
    check_vocabulary(model, encoder, inputs.model.path)
    length = usable_length(model, config.max_length)
    pairs = encode_preferences(encoder, prompts, preferences, length, work.count)
    train, held_out = train_and_held_out(pairs, config, "preferences", work)
    pairs = with_reference(model, [*train, *held_out], config, work)
    train, held_out = pairs[: len(train)], pairs[len(train) :]
    objective = DPOObjective(**config.loss.model_dump())
    sampler = PolicySampler(model, encoder, prompts_of(held_out, prompts), config, work.count)
    return fit(inputs.model, model, encoder, train, objective, config, work, held_out, sampler)


def with_reference(model: Any, pairs: list[Any], config: Config, work: Work) -> list[Any]:
    """Fill in the reference's log-probabilities: those of the policy itself, before its first step.

    They are kept in reference.json, so that a resumed run compares with the same numbers.
    """
    from tutelage.train.reference import reference_logps

    path = work.path / "reference.json"
    if path.is_file():
        logps = json.loads(path.read_text("utf-8"))
    else:
        logps = reference_logps(model, pairs, config)
        with disk_errors(path):
            write_atomically(path, json.dumps(logps))
    return [replace(pair, reference_chosen=logps[pair.id][0], reference_rejected=logps[pair.id][1]) for pair in pairs]


STAGE = Stage("dpo", Config, Inputs, body)
run = STAGE.run
