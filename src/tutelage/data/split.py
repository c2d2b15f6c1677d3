"""A split: which prompts are for what. Drawn once by seeded hashes of their groups, and frozen in an artifact."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from tutelage.config import Group
from tutelage.data.share import first_groups, position
from tutelage.errors import ConfigError, DataError
from tutelage.inputs import Finished, Part, Selected
from tutelage.records import Record
from tutelage.store import Artifact

PARTS_FILE = "parts.jsonl"
PARTS: tuple[Part, ...] = get_args(Part)


class InPart(Record):
    """Which part a prompt is in; null: in none."""

    prompt_id: str
    part: Part | None


def _size(value: Any) -> float | int:
    """Tell a fraction from a count: one has a dot, the other has none."""
    if isinstance(value, str) and re.fullmatch(r"\d+", value):
        value = int(value)
    elif isinstance(value, str) and re.fullmatch(r"\d*\.\d+|\d+\.|\d+(\.\d*)?e-\d+", value):
        value = float(value)
    if type(value) is int and value == 1:
        raise ValueError("1 may be one prompt or all of them; write 1.0 for all, or a count of 2 or more")
    if type(value) is int and value > 1:
        return value
    if type(value) in (int, float) and 0 <= value <= 1:
        return float(value)
    raise ValueError("expected a fraction with a dot, 0.0 to 1.0, or a count of prompts, 2 or more")


Size = Annotated[float | int, BeforeValidator(_size)]
"""How large a part is: a fraction (a float) or a count (an int)."""


class Sizes(Group):
    """How large the parts are: a fraction, written with a dot, or a count of prompts.

    Counts are drawn first; fractions are of the prompts that no count takes.
    """

    sft: Size = Field(0.1, description="for SFT: a fraction (with a dot) or a count; 0.1 is the paper's")
    preference: Size = Field(0.9, description="for feedback: the same; 0.9 is the paper's")
    validation: Size = Field(0.0, description="to choose settings by: the same")
    evaluation: Size = Field(0.0, description="to evaluate on: the same")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="of the order that the parts are drawn in")

    def size_of(self, part: Part) -> float | int:
        """Return how large a part is."""
        size: float | int = getattr(self, part)
        return size

    @model_validator(mode="after")
    def _is_at_most_all(self) -> Self:
        fractions = {part: size for part in PARTS if isinstance(size := self.size_of(part), float) and size}
        if round(sum(fractions.values()), 9) > 1:
            said = " + ".join(f"{part} {size:g}" for part, size in fractions.items())
            raise ValueError(f"{said} is {sum(fractions.values()):g}; fractions are at most 1 together")
        return self


def assign(groups: Mapping[str, str], sizes: Sizes) -> dict[str, Part | None]:
    """Return the part of each prompt, by its id; prompts of one group are in one part.

    Fractions are stretches of one seeded order: sft from its beginning, then preference; evaluation from its end, and
    validation before it. So no prompt moves from one of them to another when rows are added or reordered. Each count
    is drawn by an order of its own; when rows are added, some prompts may enter it, and others leave it.

    Args:
        groups: the group of each prompt (`normal.group_of`), by the prompt's id.

    Raises:
        DataError: counts ask for more prompts than there are, or nothing falls into a part.
    """
    left = Counter(groups.values())
    counted = {part: size for part in reversed(PARTS) if isinstance(size := sizes.size_of(part), int)}
    if sum(counted.values()) > len(groups):
        said = " + ".join(f"{part}={size}" for part, size in counted.items())
        raise DataError(f"{said}: there are only {len(groups)} prompts; ask for fewer")
    part_of: dict[str, Part] = {}
    for part, size in counted.items():
        for group in first_groups(left, size, f"split, {part}, {sizes.seed}"):
            part_of[group] = part
            del left[group]
    stretches = _stretches(sizes)
    for group in left:
        place = position(group, f"split, {sizes.seed}")
        for part, (begin, end) in stretches.items():
            if begin <= place < end:
                part_of[group] = part
    found = set(part_of.values())
    for part in PARTS:
        if (asked := sizes.size_of(part)) and part not in found:
            raise DataError(
                f"{part}={asked:g}: none of {len(groups)} prompts ({len(set(groups.values()))} begin differently) "
                "falls into this part; give more prompts, a larger part, or another seed"
            )
    return {prompt_id: part_of.get(group) for prompt_id, group in groups.items()}


def _stretches(sizes: Sizes) -> dict[Part, tuple[float, float]]:
    """Return [from, to) of each part that is a fraction. Rounded: 0.1 + 0.2 + 0.7 is less than 1 otherwise."""
    of: dict[Part, float] = {part: size if isinstance(size := sizes.size_of(part), float) else 0.0 for part in PARTS}
    ends = {
        "sft": (0.0, of["sft"]),
        "preference": (of["sft"], of["sft"] + of["preference"]),
        "validation": (1 - of["evaluation"] - of["validation"], 1 - of["evaluation"]),
        "evaluation": (1 - of["evaluation"], 1.0),
    }
    return {part: (round(ends[part][0], 9), round(ends[part][1], 9)) for part in PARTS}


def parts_of(asked: Selected) -> dict[str, Part | None]:
    """Return the part of each prompt of the split that an input names (`part_of`), or is.

    Raises:
        ConfigError: it names none, and is none.
        StoreError: what it names is none.
    """
    if asked.part_of is None and not is_split(asked.artifact()):
        raise ConfigError(
            f"part={asked.part}: {asked.path} is no artifact of split; say which split is meant: part_of=FOLDER"
        )
    made = Finished(path=asked.part_of or asked.path).require("split")
    return {row.prompt_id: row.part for row in made.rows(PARTS_FILE, InPart)}


def is_split(made: Artifact | None) -> bool:
    """True for an artifact of split."""
    return made is not None and made.record.stage == "split"
