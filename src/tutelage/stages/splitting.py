"""prompts -> parts for SFT, preferences, validation and evaluation, frozen in an artifact.

Later stages take a part of it: `prompts=SPLIT prompts.part=sft`, or of rows about the same prompts
`completions=TAUGHT completions.part=sft completions.part_of=SPLIT`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tutelage.config import Group, StageConfig
from tutelage.data.formats.item import count_nothing
from tutelage.data.gate import apart
from tutelage.data.leaks import Leakage
from tutelage.data.normal import group_of
from tutelage.data.rows import PROMPTS, read_prompts
from tutelage.data.split import PARTS, PARTS_FILE, InPart, Sizes, assign
from tutelage.inputs import Part, Prompts
from tutelage.progress import say
from tutelage.records import Prompt
from tutelage.stages.base import Stage
from tutelage.store import Made, Work

LEARNT: tuple[Part, ...] = ("sft", "preference")
"""The parts that something learns from; the others measure."""


class Config(StageConfig, Sizes):
    """How large the parts are, and what becomes of prompts that are evaluated too."""

    leakage: Leakage = Leakage()


class Inputs(Group):
    """The prompts to divide, and those that are evaluated whatever is in them (AlpacaEval's, for example)."""

    prompts: Prompts
    evaluated: Prompts | None = None


def body(config: Config, inputs: Inputs, work: Work) -> Made:
    """Write prompts.jsonl (all of them, in their order) and parts.jsonl (the part of each)."""
    prompts = _without_evaluated(config, inputs, work)
    groups = {p.id: group_of(p) for p in prompts}
    part_of = _without_own(prompts, assign(groups, config), config, inputs, work)
    work.write(PROMPTS, prompts)
    work.write(PARTS_FILE, [InPart(prompt_id=p.id, part=part_of[p.id]) for p in prompts])
    parts: dict[str, Any] = {}
    for part in (*PARTS, None):
        ids = [prompt_id for prompt_id, its in part_of.items() if its == part]
        name = part or "no part"
        parts[name] = {"prompts": len(ids), "groups": len({groups[i] for i in ids})}
        work.count(f"prompts for {part}" if part else "prompts in no part", len(ids))
        if ids:
            share = 100 * len(ids) / len(prompts)
            say(f"  {name:10} {len(ids):>9,} prompts ({share:.1f} %), {parts[name]['groups']:,} begin differently")
        if part and isinstance(size := config.size_of(part), int) and len(ids) < size:
            say(f"  note: {part} is smaller than {size}: conversations that begin alike stay together")
    return Made(summary={"parts": parts, "largest_group": max(Counter(groups.values()).values())})


def _without_evaluated(config: Config, inputs: Inputs, work: Work) -> list[Prompt]:
    """Return the prompts to divide. What is left out here is in no part at all.

    Raises:
        DataError: some are evaluated, and are not to be removed.
    """
    prompts = read_prompts(inputs.prompts, work.count)
    if inputs.evaluated is None:
        return prompts
    evaluated = read_prompts(inputs.evaluated, count_nothing)
    return apart(prompts, evaluated, config.leakage, (inputs.prompts, inputs.evaluated), work.count)


def _without_own(
    prompts: Sequence[Prompt], part_of: dict[str, Part | None], config: Config, inputs: Inputs, work: Work
) -> dict[str, Part | None]:
    """Return the parts, where what is nearly the same as a prompt that is evaluated or validated on is in none.

    Raises:
        DataError: there are some, and they are not to be removed.
    """
    learnt = [p for p in prompts if part_of[p.id] in LEARNT]
    measured = [p for p in prompts if part_of[p.id] not in (*LEARNT, None)]
    if not measured:
        return part_of
    kept = {p.id for p in apart(learnt, measured, config.leakage, (inputs.prompts, None), work.count)}
    return {name: part if part not in LEARNT or name in kept else None for name, part in part_of.items()}


STAGE = Stage("split", Config, Inputs, body)
run = STAGE.run
