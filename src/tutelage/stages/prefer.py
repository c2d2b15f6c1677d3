"""verdicts -> preferences: what a critic decided, without ties and unreadable replies."""

from __future__ import annotations

from pydantic import Field

from tutelage.config import Group, StageConfig
from tutelage.data.rows import PROMPTS
from tutelage.errors import DataError
from tutelage.inputs import Finished
from tutelage.records import Preference, Prompt, Verdict, digest
from tutelage.stages.base import Stage
from tutelage.stages.label import VERDICTS
from tutelage.store import Made, Work

PREFERENCES = "preferences.jsonl"


class Config(StageConfig):
    """Which verdicts count."""

    max_pairs: int | None = Field(None, ge=1, description="keep this many, drawn by `seed`; null: all")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="of the draw")


class Inputs(Group):
    """Artifact of label."""

    verdicts: Finished


def preference_of(verdict: Verdict) -> Preference | None:
    """Return the preference a verdict states, or None for a tie or an unreadable reply."""
    match verdict.outcome:
        case "LEFT":
            chosen, rejected = verdict.pair.left, verdict.pair.right
        case "RIGHT":
            chosen, rejected = verdict.pair.right, verdict.pair.left
        case "TIE" | "INVALID":
            return None
    return Preference(prompt_id=chosen.prompt_id, chosen=chosen, rejected=rejected, verdict_ids=(verdict.id,))


def body(config: Config, inputs: Inputs, work: Work) -> Made:
    """Write prompts.jsonl and preferences.jsonl."""
    labelled = inputs.verdicts.require("label")
    verdicts = labelled.rows(VERDICTS, Verdict)
    for outcome, what in (("TIE", "dropped: ties"), ("INVALID", "dropped: unreadable verdicts")):
        work.count(what, sum(v.outcome == outcome for v in verdicts))
    preferences = [p for v in verdicts if (p := preference_of(v)) is not None]
    if config.max_pairs is not None and len(preferences) > config.max_pairs:
        work.count("dropped: more than max_pairs", len(preferences) - config.max_pairs)
        drawn = sorted(preferences, key=lambda p: digest([config.seed, p.id]))[: config.max_pairs]
        kept = {p.id for p in drawn}
        preferences = [p for p in preferences if p.id in kept]
    if not preferences:
        raise DataError(f"{inputs.verdicts.path}: every verdict is a tie or unreadable; nothing to learn from")
    ids = {p.prompt_id for p in preferences}
    work.write(PROMPTS, [p for p in labelled.rows(PROMPTS, Prompt) if p.id in ids])
    work.write(PREFERENCES, preferences)
    work.count("preferences", len(preferences))
    return Made()


STAGE = Stage("prefer", Config, Inputs, body)
run = STAGE.run
