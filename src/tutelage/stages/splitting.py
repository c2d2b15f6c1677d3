"""prompts -> parts for SFT, preferences, validation and evaluation, frozen in an artifact.

Later stages take a part of it: `prompts=SPLIT prompts.part=sft`, or of rows about the same prompts
`completions=TAUGHT completions.part=sft completions.part_of=SPLIT`.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from tutelage.config import Group, StageConfig
from tutelage.data.normal import group_of
from tutelage.data.rows import PROMPTS, read_prompts
from tutelage.data.split import PARTS, PARTS_FILE, InPart, Sizes, assign, check_apart
from tutelage.inputs import Prompts
from tutelage.progress import say
from tutelage.records import Prompt
from tutelage.stages.base import Stage
from tutelage.store import Made, Work


class Config(StageConfig, Sizes):
    """How large the parts are: a fraction, written with a dot, or a count of prompts."""


class Inputs(Group):
    """The prompts to divide, and those that are evaluated whatever is in them (AlpacaEval's, for example)."""

    prompts: Prompts
    evaluated: Prompts | None = None


def body(config: Config, inputs: Inputs, work: Work) -> Made:
    """Write prompts.jsonl (all of them, in their order) and parts.jsonl (the part of each)."""
    prompts = _without_evaluated(inputs, work)
    groups = {p.id: group_of(p) for p in prompts}
    part_of = assign(groups, config)
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


def _without_evaluated(inputs: Inputs, work: Work) -> list[Prompt]:
    """Return the prompts to divide. What is left out here is in no part at all.

    Raises:
        DataError: some are evaluated.
    """
    prompts = read_prompts(inputs.prompts, work.count)
    if inputs.evaluated is not None:
        check_apart(prompts, read_prompts(inputs.evaluated, lambda what, num: None), inputs.prompts.path)
    return prompts


STAGE = Stage("split", Config, Inputs, body)
run = STAGE.run
