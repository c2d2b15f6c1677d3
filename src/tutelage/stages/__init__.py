"""One file per arrow of the road, each with `run(config, inputs) -> Artifact`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # `tutelage --help` reads WHAT and must stay fast
    from tutelage.stages.base import Stage

WHAT = {
    "teach": "prompts -> teacher completions (asked from an API model, or imported)",
    "sft": "completions -> a student that has learnt to write them",
    "sample": "checkpoint + prompts -> student completions",
    "label": "completions -> a critic's verdicts on pairs of them",
    "panel": "verdicts of several critics -> one verdict a pair",
    "prefer": "verdicts -> preferences",
    "dpo": "preferences -> a policy that has learnt them",
    "reward": "preferences -> a reward model",
    "evaluate": "a policy against a baseline -> win rate",
    "audit": "a critic + pairs -> how it errs: position, length, consistency, gold labels, planted texts",
}


def get(name: str) -> Stage[Any, Any]:
    """Import the stage `name`; nothing heavy comes with it before it runs."""
    stage: Stage[Any, Any] = importlib.import_module(f"tutelage.stages.{name}").STAGE
    return stage
