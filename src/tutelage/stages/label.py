"""completions -> verdicts: a critic, or a reward model, says which of two completions of one prompt is better."""

from __future__ import annotations

from pydantic import Field

from tutelage.config import Group, StageConfig, preset_names
from tutelage.data.formats.item import count_nothing
from tutelage.data.rows import PROMPTS
from tutelage.errors import ConfigError, DataError
from tutelage.inputs import RewardModel, Rows
from tutelage.records import Bill, Usage
from tutelage.stages.asking import Asking
from tutelage.stages.base import Plan, Stage
from tutelage.stages.judging import Critic, Judging, judge_pairs, judge_requests
from tutelage.stages.pairing import Pairing, read_pairs
from tutelage.stages.scoring import Scoring, score_pairs
from tutelage.store import Made, Work

VERDICTS = "verdicts.jsonl"


class Config(StageConfig, Asking, Judging, Pairing):
    """Who the critic is and how it is asked, or how the reward model scores."""

    critic: Critic | None = Field(None, description="the model that judges pairs, or an evaluator of alpaca_eval")
    scoring: Scoring = Field(Scoring(), description="how the reward model scores, if it is the critic")


class Inputs(Group):
    """Completions to compare among themselves, or with those of another author; a reward model that scores them."""

    completions: Rows
    against: Rows | None = None
    reward_model: RewardModel | None = None


def critic_of(config: Config, inputs: Inputs) -> Critic | RewardModel:
    """Return who decides.

    Raises:
        ConfigError: there are two of them, or none.
    """
    critics = [critic for critic in (config.critic, inputs.reward_model) if critic is not None]
    if len(critics) != 1:
        raise ConfigError(
            f"tutelage label: {'two critics' if critics else 'no critic'}; give critic= (a model that is asked: "
            f"{', '.join(preset_names('api'))}) or reward_model= (a model that scores), one of them"
        )
    return critics[0]


def plan(config: Config, inputs: Inputs) -> Plan | None:
    """Return what `body` will ask; a reward model is not asked, it scores."""
    critic = critic_of(config, inputs)
    if isinstance(critic, RewardModel):
        return None
    prompts, pairs = read_pairs(inputs.completions, inputs.against, config, config.seed, count_nothing)
    return Plan(critic, judge_requests(critic, config, pairs, prompts)[1])


def body(config: Config, inputs: Inputs, work: Work) -> Made:
    """Write prompts.jsonl and verdicts.jsonl."""
    by = critic_of(config, inputs)
    prompts, pairs = read_pairs(inputs.completions, inputs.against, config, config.seed, work.count)
    bill: Bill | None = None
    if isinstance(by, RewardModel):
        critic, verdicts = score_pairs(by, config.scoring, pairs, prompts, work, config.max_invalid)
    else:
        judged = judge_pairs(by, config, config, pairs, prompts, work)
        critic, verdicts, bill = judged.critic, judged.verdicts, judged.bill
    if not verdicts:
        raise DataError(f"{critic}: not one pair was judged; every request failed")
    ids = {v.pair.prompt_id for v in verdicts}
    work.write(PROMPTS, [p for p in prompts.values() if p.id in ids])
    work.write(VERDICTS, verdicts)
    work.count("verdicts", len(verdicts))
    for outcome in ("LEFT", "RIGHT", "TIE", "INVALID"):
        work.count(outcome, sum(v.outcome == outcome for v in verdicts))
    return Made(usage=Usage.total(v.usage for v in verdicts), bill=bill, summary={"critic": critic})


STAGE = Stage("label", Config, Inputs, body, plan)
run = STAGE.run
