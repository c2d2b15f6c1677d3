"""What is only seen across decided pairs: contradictions, cycles, copies, and who and what is always chosen.

Of a pair some numbers are kept, none of its text: a million pairs take less than 100 MB.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import sqrt
from typing import Literal

from tutelage.data.faults import Decided

Edge = tuple[int, int]
"""The hash of a text that was chosen, and of the one that was rejected."""
Conflict = Literal["contradiction", "cycle", "again", "copies"]
MIN_WORDS, MIN_PROMPTS = 5, 3
"""A shorter text ("Yes.") may well be right for many prompts; so may one for two that are alike."""


@dataclass(frozen=True)
class Involved:
    """A pair that is part of a conflict; `side` is the completion it is about, None: both."""

    conflict: Conflict
    prompt_id: str
    chosen_id: str
    rejected_id: str
    verdict: int
    """The verdict's id as a number."""
    side: Literal["chosen", "rejected"] | None = None


class Pairs:
    """Numbers of decided pairs, from which conflicts are found in the end."""

    def __init__(self) -> None:
        self.prompts, self.verdicts = array("Q"), array("Q")
        self.ids = array("Q"), array("Q")
        """Of the chosen and the rejected completions."""
        self.chosen, self.rejected = array("q"), array("q")
        self._long = {"chosen": bytearray(), "rejected": bytearray()}

    def add(self, pair: Decided) -> None:
        """Keep what is needed of a pair."""
        self.prompts.append(int(pair.prompt.id, 16))
        self.verdicts.append(int(pair.id, 16))
        self.ids[0].append(int(pair.chosen.id, 16))
        self.ids[1].append(int(pair.rejected.id, 16))
        self.chosen.append(hash(pair.chosen.text))
        self.rejected.append(hash(pair.rejected.text))
        for side, completion in (("chosen", pair.chosen), ("rejected", pair.rejected)):
            self._long[side].append(len(completion.text.split(None, MIN_WORDS)) >= MIN_WORDS)

    def conflicts(self) -> Iterator[Involved]:
        """Yield every pair that contradicts others, says again what another said, or is about a copied text."""
        order = sorted(range(len(self.prompts)), key=self.prompts.__getitem__)
        for _, group in groupby(order, key=self.prompts.__getitem__):
            edges: defaultdict[Edge, list[int]] = defaultdict(list)
            for at in group:
                edges[self.chosen[at], self.rejected[at]].append(at)
            yield from (self._involved(conflict, at) for conflict, at in of_prompt(edges))
        yield from self._copies()

    def _involved(self, conflict: Conflict, at: int, side: Literal["chosen", "rejected"] | None = None) -> Involved:
        prompt, chosen, rejected = (f"{column[at]:016x}" for column in (self.prompts, *self.ids))
        return Involved(conflict, prompt, chosen, rejected, self.verdicts[at], side)

    def _copies(self) -> Iterator[Involved]:
        num = len(self.prompts)
        texts = self.chosen + self.rejected
        long = self._long["chosen"] + self._long["rejected"]
        order = sorted((at for at in range(2 * num) if long[at]), key=texts.__getitem__)
        for _, group in groupby(order, key=texts.__getitem__):
            places = list(group)
            if len({self.prompts[at % num] for at in places}) >= MIN_PROMPTS:
                yield from (self._involved("copies", at % num, "chosen" if at < num else "rejected") for at in places)


def of_prompt(edges: dict[Edge, list[int]]) -> Iterator[tuple[Conflict, int]]:
    """Yield (conflict, pair) of one prompt's pairs, given by the edge that they are for.

    Contradiction: A over B and B over A. Cycle: A over B over C over A, once the contradictions are set aside. Again:
    what another pair said before; the first of them is none.
    """
    for pairs in edges.values():
        yield from (("again", pair) for pair in pairs[1:])
    if len(edges) < 2:
        return
    against = {edge for edge in edges if (edge[1], edge[0]) in edges and edge[0] != edge[1]}
    yield from (("contradiction", pair) for edge in edges if edge in against for pair in edges[edge])
    in_cycles = cyclic(edge for edge in edges if edge not in against and edge[0] != edge[1])
    yield from (("cycle", pair) for edge in edges if edge in in_cycles for pair in edges[edge])


def cyclic(edges: Iterable[Edge]) -> set[Edge]:
    """Return the edges that lie on a cycle: whose end leads back to their beginning."""
    after: defaultdict[int, set[int]] = defaultdict(set)
    for chosen, rejected in edges:
        after[chosen].add(rejected)
    while True:  # what leads nowhere is on no cycle; mostly nothing is left after this
        dead = {end for ends in after.values() for end in ends if not after.get(end)}
        if not dead:
            break
        after = defaultdict(set, {node: ends - dead for node, ends in after.items() if ends - dead})
    return {(node, end) for node, ends in after.items() for end in ends if node in _reached(end, after)}


def _reached(start: int, after: dict[int, set[int]]) -> set[int]:
    seen, waiting = {start}, [start]
    while waiting:
        new = after.get(waiting.pop(), set()) - seen
        seen |= new
        waiting += new
    return seen


# ---- shares -----------------------------------------------------------------------------------------


@dataclass
class Share:
    """How often one of two things came."""

    yes: int = 0
    num: int = 0

    def add(self, yes: bool) -> None:
        """Count one."""
        self.yes += yes
        self.num += 1

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % score interval (Wilson 1927), as if the pairs were independent."""
        if not self.num:
            return 0.0, 1.0
        z2, p = 1.959964**2, self.yes / self.num
        half = sqrt(z2 * (p * (1 - p) + z2 / (4 * self.num)) / self.num)
        centre, scale = p + z2 / (2 * self.num), 1 + z2 / self.num
        return max((centre - half) / scale, 0.0), min((centre + half) / scale, 1.0)

    def is_beyond(self, share: float) -> bool:
        """True if the whole interval is above `share`, or below what is left of one."""
        low, high = self.interval
        return low > share or high < 1 - share

    def __str__(self) -> str:
        low, high = self.interval
        share = self.yes / self.num if self.num else 0.0
        return f"{self.yes:,} of {self.num:,}, {share:.1%} (95 % interval {low:.1%} to {high:.1%})"


@dataclass
class Skews:
    """What is chosen for what it is like: its length, its author."""

    longer: Share = field(default_factory=Share)
    """Pairs whose longer completion, in words, was chosen; of those that differ in length."""
    words: int = 0
    """Words of the chosen ones less words of the rejected ones."""
    authors: defaultdict[str, Share] = field(default_factory=lambda: defaultdict(Share))
    """How often an author was chosen over another one."""

    def add(self, pair: Decided) -> None:
        """Take note of a pair."""
        more = len(pair.chosen.text.split()) - len(pair.rejected.text.split())
        self.words += more
        if more:
            self.longer.add(more > 0)
        if pair.chosen.author != pair.rejected.author:
            self.authors[pair.chosen.author].add(True)
            self.authors[pair.rejected.author].add(False)

    def one_sided(self, share: float) -> Sequence[str]:
        """Return the authors whose share of wins is surely beyond `share`, or below what is left of one."""
        return [name for name, wins in self.authors.items() if wins.is_beyond(share)]
