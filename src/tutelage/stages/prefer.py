"""verdicts -> preferences: what a critic decided, without ties, unreadable replies and contradictions.

Asks nobody and takes seconds, so the same verdicts can be turned into preferences in many ways.
"""

from __future__ import annotations

from tutelage.config import Group, StageConfig
from tutelage.data.rows import COMPLETIONS, PROMPTS, selected_rows
from tutelage.errors import ConfigError, DataError
from tutelage.inputs import Finished
from tutelage.records import Verdict
from tutelage.stages.base import Stage
from tutelage.stages.choosing import Choosing, preferences_of, winners_of
from tutelage.stages.label import VERDICTS
from tutelage.store import Made, Work

PREFERENCES = "preferences.jsonl"


class Config(StageConfig, Choosing):
    """Which verdicts count, and what is made of them."""


class Inputs(Group):
    """Artifact of label or panel, or of import if what was imported compares completions."""

    verdicts: Finished


def body(config: Config, inputs: Inputs, work: Work) -> Made:
    """Write prompts.jsonl, preferences.jsonl and completions.jsonl: the best of each prompt, for sft."""
    labelled = inputs.verdicts.require("label", "panel", "import")
    # the orders alone cannot tell: two critics, each asked once, look like one that was asked twice
    if config.consistent_only and not labelled.record.summary.get("both_orders", True):
        raise ConfigError(
            f"consistent_only: not every critic of {inputs.verdicts.path} was asked in both orders, or what was "
            "imported does not say so; label with order=both for each, or leave consistent_only out"
        )
    prompts, verdicts = selected_rows(labelled, inputs.verdicts, VERDICTS, Verdict, work.count)
    preferences = preferences_of(verdicts, config, work.count)
    if not preferences:
        dropped = ", ".join(f"{num} {what.partition(': ')[2]}" for what, num in work.counts.items() if num)
        raise DataError(
            f"{inputs.verdicts.path}: no verdict is left to learn from; dropped: {dropped}; label with "
            "another critic or template, or more prompts"
        )
    ids = {p.prompt_id for p in preferences}
    work.write(PROMPTS, [p for p in prompts if p.id in ids])
    work.write(PREFERENCES, preferences)
    work.write(COMPLETIONS, winners_of(preferences, config.seed))
    work.count("preferences", len(preferences))
    return Made()


STAGE = Stage("prefer", Config, Inputs, body)
run = STAGE.run
