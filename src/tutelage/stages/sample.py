"""checkpoint + prompts -> student completions."""

from __future__ import annotations

from pydantic import Field

from tutelage.config import Group, StageConfig
from tutelage.data.rows import COMPLETIONS, PROMPTS, read_prompts
from tutelage.data.share import OfPrompts
from tutelage.extras import require
from tutelage.generate.settings import Drawing
from tutelage.inputs import Model, Prompts
from tutelage.records import Usage
from tutelage.stages.base import Stage
from tutelage.store import Made, Work


class Config(StageConfig, Drawing, OfPrompts):
    """How many completions, and for which part of the prompts."""

    num_samples: int = Field(2, ge=1, description="completions per prompt")
    temperature: float = Field(1.0, ge=0, description="0: the most likely token always")


class Inputs(Group):
    """Who answers, and what is asked."""

    model: Model
    prompts: Prompts


def body(config: Config, inputs: Inputs, work: Work) -> Made:
    """Write prompts.jsonl and completions.jsonl; an interrupted call goes on after its last batch."""
    require("train", "tutelage sample")
    from tutelage.generate.sample import sample

    prompts = config.part_of(read_prompts(inputs.prompts, work.count), inputs.prompts.path, work.count)
    work.count("prompts", len(prompts))
    completions = sample(inputs.model, prompts, config, config.num_samples, work)
    kept = {c.prompt_id for c in completions}
    work.write(PROMPTS, [p for p in prompts if p.id in kept])
    work.write(COMPLETIONS, completions)
    work.count("completions", len(completions))
    return Made(usage=Usage.total(c.usage for c in completions))


STAGE = Stage("sample", Config, Inputs, body)
run = STAGE.run
