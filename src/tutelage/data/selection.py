"""Which prompts of an input are taken, with all their rows: a part of a frozen split, a fraction, a count."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tutelage.data.normal import group_of
from tutelage.data.share import position
from tutelage.data.split import parts_of
from tutelage.inputs import Selected
from tutelage.records import Prompt


@dataclass(frozen=True)
class Selection:
    """Takes prompts whose group stands before `end` in a seeded order, and is in the part that is asked for.

    The order is one of its own: in that of the shares, a fraction of 10 % would be just the share [0,0.1].
    """

    end: float
    order: str
    part: str | None = None
    parts: Mapping[str, str | None] | None = None
    """The part of each prompt, by its id."""

    def takes(self, prompt: Prompt) -> bool:
        """True if the prompt is taken."""
        if self.parts is not None and self.parts.get(prompt.id) != self.part:
            return False
        return self.end >= 1.0 or position(group_of(prompt), self.order) < self.end


def selection_of(asked: Selected, prompts: Callable[[], Iterable[Prompt]]) -> Selection:
    """Return what an input asks for. `prompts` yields those that there are; it is called if they are to be counted.

    Raises:
        DataError: max_prompts is more than there are.
        StoreError: part_of is no artifact of split.
    """
    order = f"fraction, {asked.fraction_seed}"
    parts = parts_of(asked) if asked.part is not None else None
    if asked.max_prompts is None:
        return Selection(asked.fraction, order, asked.part, parts)
    open_ended = Selection(asked.fraction, order, asked.part, parts)
    places = {p.id: position(group_of(p), order) for p in prompts() if open_ended.takes(p)}
    if len(places) <= asked.max_prompts:
        return open_ended
    # The first that is not taken ends them; conversations that begin alike stand at one place, and go together.
    return Selection(heapq.nsmallest(asked.max_prompts + 1, places.values())[-1], order, asked.part, parts)
