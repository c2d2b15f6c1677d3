"""Which prompts of an input are taken, with all their rows: a part of a frozen split, a fraction, a count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tutelage.data.normal import group_of
from tutelage.data.share import first_groups, position
from tutelage.data.split import parts_of
from tutelage.inputs import Selected
from tutelage.records import Prompt


@dataclass(frozen=True)
class Selection:
    """Takes prompts that are in the part asked for, and whose group is among those that are taken.

    The order is one of its own: in that of the shares, a fraction of 10 % would be just the share [0,0.1].
    """

    fraction: float
    order: str
    part: str | None = None
    parts: Mapping[str, str | None] | None = None
    """The part of each prompt, by its id."""
    groups: frozenset[str] | None = None
    """Those that max_prompts leaves; None: all."""

    @property
    def takes_all(self) -> bool:
        """True if no prompt is refused."""
        return self.parts is None and self.fraction >= 1.0 and self.groups is None

    def refuses(self, prompt: Prompt) -> str | None:
        """Return why the prompt is left out, in words that can be counted; None: it is taken."""
        if self.parts is not None:
            if prompt.id not in self.parts:
                return "that the split does not know"
            if self.parts[prompt.id] != self.part:
                return "of other parts of the split"
        if self.fraction < 1.0 or self.groups is not None:
            group = group_of(prompt)
            if position(group, self.order) >= self.fraction:
                return "beyond the fraction"
            if self.groups is not None and group not in self.groups:
                return "beyond max_prompts"
        return None


def selection_of(asked: Selected, prompts: Callable[[], Iterable[Prompt]]) -> Selection:
    """Return what an input asks for.

    Args:
        prompts: yields those that there are, some perhaps twice; it is called only if they are to be counted.

    Raises:
        StoreError: part_of is no artifact of split.
        ConfigError: a part is asked for, but no split is given.
    """
    order = f"fraction, {asked.fraction_seed}"
    parts = parts_of(asked) if asked.part is not None else None
    whole = Selection(asked.fraction, order, asked.part, parts)
    if asked.max_prompts is None:
        return whole
    seen: set[int] = set()  # ids are hashes: as numbers they take less memory
    sizes: Counter[str] = Counter()
    for prompt in prompts():
        if (number := int(prompt.id, 16)) not in seen and whole.refuses(prompt) is None:
            sizes[group_of(prompt)] += 1
            seen.add(number)
    if len(seen) <= asked.max_prompts:
        return whole
    groups = frozenset(first_groups(sizes, asked.max_prompts, order))
    return Selection(asked.fraction, order, asked.part, parts, groups)
