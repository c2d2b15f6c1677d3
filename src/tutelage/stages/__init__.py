"""One file per arrow of the road, each with `run(config, inputs) -> Artifact`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # `tutelage --help` reads WHAT and must stay fast
    from tutelage.stages.base import Stage

WHAT = {
    "import": "a file or data set of any known format -> prompts, completions, verdicts",
    "split": "prompts -> parts for sft, preferences, validation and evaluation, frozen, without leaks",
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


_MODULES = {"import": "importing", "split": "splitting"}
"""Where the file cannot bear the stage's name, or would be misunderstood."""


def get(name: str) -> Stage[Any, Any]:
    """Import the stage `name`; nothing heavy comes with it before it runs."""
    stage: Stage[Any, Any] = importlib.import_module(f"tutelage.stages.{_MODULES.get(name, name)}").STAGE
    return stage
