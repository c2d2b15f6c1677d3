"""verdicts -> preferences: what a critic decided, without ties, unreadable replies and contradictions.

Asks nobody and takes seconds, so the same verdicts can be turned into preferences in many ways.
"""

from __future__ import annotations

from tutelage.config import Group, StageConfig
from tutelage.data.rows import COMPLETIONS, PROMPTS
from tutelage.errors import DataError
from tutelage.inputs import Finished
from tutelage.records import Prompt, Verdict
from tutelage.stages.base import Stage
from tutelage.stages.choosing import Choosing, preferences_of, winners_of
from tutelage.stages.label import VERDICTS
from tutelage.store import Made, Work

PREFERENCES = "preferences.jsonl"


class Config(StageConfig, Choosing):
    """Which verdicts count, and what is made of them."""


class Inputs(Group):
    """Artifact of label or panel."""

    verdicts: Finished


def body(config: Config, inputs: Inputs, work: Work) -> Made:
    """Write prompts.jsonl, preferences.jsonl and completions.jsonl: the best of each prompt, for sft."""
    labelled = inputs.verdicts.require("label", "panel")
    preferences = preferences_of(labelled.rows(VERDICTS, Verdict), config, work.count)
    if not preferences:
        dropped = ", ".join(f"{num} {what.partition(': ')[2]}" for what, num in work.counts.items() if num)
        raise DataError(f"{inputs.verdicts.path}: no verdict is left to learn from; dropped: {dropped}")
    ids = {p.prompt_id for p in preferences}
    work.write(PROMPTS, [p for p in labelled.rows(PROMPTS, Prompt) if p.id in ids])
    work.write(PREFERENCES, preferences)
    work.write(COMPLETIONS, winners_of(preferences, config.seed))
    work.count("preferences", len(preferences))
    return Made()


STAGE = Stage("prefer", Config, Inputs, body)
run = STAGE.run
