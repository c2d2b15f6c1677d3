"""preferences -> a reward model: a sequence classifier with one output, trained by Bradley-Terry."""

from __future__ import annotations

from collections import defaultdict

from pydantic import Field

from tutelage.config import Group, StageConfig
from tutelage.extras import require
from tutelage.inputs import Finished, Model
from tutelage.measure.calibration import calibration
from tutelage.measure.win_rate import mean_and_error
from tutelage.stages.base import Stage
from tutelage.stages.holding_out import train_and_held_out
from tutelage.stages.preparing import prepared_preferences
from tutelage.store import Made, Work
from tutelage.train.settings import Training
from tutelage.train.trackers import check_trackers


class Config(StageConfig, Training):
    """How the reward model is trained, and what it is tested on."""

    epochs: int = Field(1, ge=1, description="passes over the data")
    held_out: float = Field(0.1, ge=0, lt=1, description="share of the prompts that is not trained on but tested")


class Inputs(Group):
    """The model the reward model starts from, and an artifact of prefer."""

    model: Model
    preferences: Finished


def body(config: Config, inputs: Inputs, work: Work) -> Made:
    """Write checkpoint/ and metrics.jsonl; the record states accuracy and calibration on held-out prompts."""
    require("train", "tutelage reward")
    check_trackers(config.trackers)
    from tutelage.train.checkpoint import load_encoder, usable_length
    from tutelage.train.fit import fit, make_scorer
    from tutelage.train.objectives import reward_objective
    from tutelage.train.reference import numbers
    from tutelage.train.reward_model import load_reward_model
    from tutelage.train.scorer import RewardScorer

    inputs.preferences.require("prefer")
    encoder = load_encoder(inputs.model)
    model = load_reward_model(inputs.model, encoder, config.seed)
    length = usable_length(model, config.max_length)
    pairs = prepared_preferences(inputs.preferences, config, encoder, length, work)
    train, test = train_and_held_out(pairs, config, "preferences", work)
    scorer = make_scorer(RewardScorer, model, pairs, config)
    made = fit(inputs.model, scorer, encoder, train, reward_objective, config, work, test)
    if not test:
        return made
    by_prompt: defaultdict[bytes, list[float]] = defaultdict(list)  # pairs of one prompt are no independent trials
    scores = numbers(scorer, test, config.micro_batch_tokens, config.precision, "held out")
    margins = (scores[:, 0] - scores[:, 1]).tolist()
    for prompt_id, margin in zip(test.column("prompt_id").tolist(), margins, strict=True):
        by_prompt[prompt_id].append(float(margin > 0))
    accuracy, error = mean_and_error([sum(group) / len(group) for group in by_prompt.values()])
    tested = {
        "held_out_accuracy": accuracy,
        "held_out_standard_error": error if len(by_prompt) > 1 else None,
        "held_out_calibration": calibration(margins),
    }
    return made.model_copy(update={"summary": made.summary | tested})


STAGE = Stage("reward", Config, Inputs, body, trains=True)
run = STAGE.run
