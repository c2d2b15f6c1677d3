"""completions -> verdicts: a critic says which of two completions of one prompt is better."""

from __future__ import annotations

from pydantic import Field

from tutelage.config import Group, StageConfig
from tutelage.data.rows import PROMPTS
from tutelage.errors import DataError
from tutelage.inputs import Rows
from tutelage.records import Usage
from tutelage.stages.asking import Asking
from tutelage.stages.base import Plan, Stage
from tutelage.stages.judging import Critic, Judging, judge_pairs, judge_requests
from tutelage.stages.pairing import Pairing, read_pairs
from tutelage.store import Made, Work

VERDICTS = "verdicts.jsonl"


class Config(StageConfig, Asking, Judging, Pairing):
    """Who the critic is and how it is asked."""

    critic: Critic = Field(description="the model that judges pairs, or an evaluator of alpaca_eval")


class Inputs(Group):
    """Completions to compare among themselves, or with those of another author."""

    completions: Rows
    against: Rows | None = None


def plan(config: Config, inputs: Inputs) -> Plan:
    """Return what `body` will ask."""
    prompts, pairs = read_pairs(inputs.completions, inputs.against, config, config.seed, lambda what, num: None)
    return Plan(config.critic, judge_requests(config.critic, config, pairs, prompts)[1])


def body(config: Config, inputs: Inputs, work: Work) -> Made:
    """Write prompts.jsonl and verdicts.jsonl."""
    prompts, pairs = read_pairs(inputs.completions, inputs.against, config, config.seed, work.count)
    judged = judge_pairs(config.critic, config, config, pairs, prompts, work)
    verdicts = judged.verdicts
    if not verdicts:
        raise DataError(f"{judged.critic}: not one pair was judged; every request failed")
    ids = {v.pair.prompt_id for v in verdicts}
    work.write(PROMPTS, [p for p in prompts.values() if p.id in ids])
    work.write(VERDICTS, verdicts)
    work.count("verdicts", len(verdicts))
    for outcome in ("LEFT", "RIGHT", "TIE", "INVALID"):
        work.count(outcome, sum(v.outcome == outcome for v in verdicts))
    return Made(usage=Usage.total(v.usage for v in verdicts), bill=judged.bill, summary={"critic": judged.critic})


STAGE = Stage("label", Config, Inputs, body, plan)
run = STAGE.run
