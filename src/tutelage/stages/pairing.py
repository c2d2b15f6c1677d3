"""Which pairs of completions are judged: the completions of one prompt among themselves, or two authors'."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations, product
from typing import Literal

from pydantic import Field

from tutelage.config import Group
from tutelage.data.formats.item import Count
from tutelage.data.rows import read_completions
from tutelage.errors import DataError
from tutelage.inputs import Rows
from tutelage.records import Completion, Pair, Prompt, digest

Shape = Literal["all", "first", "star"]


class Pairing(Group):
    """Which pairs are judged."""

    pairing: Shape = Field(
        "all",
        description="of each prompt, all: every two completions (with against=, each with each); first: one pair; "
        "star: the first completion with each other one",
    )
    max_pairs_per_prompt: int | None = Field(
        None, ge=1, description="judge at most this many pairs of a prompt, drawn by seed; null: all"
    )
    max_pairs: int | None = Field(None, ge=1, description="judge exactly this many pairs, drawn by seed; null: all")


def pairs_within(completions: Iterable[Completion], count: Count, pairing: Shape = "all") -> list[Pair]:
    """Pair the completions of each prompt with each other; the same text or pair twice is skipped and counted."""
    pairs = _Pairs(count)
    for group in _by_prompt(completions).values():
        pairs.add(combinations(group, 2), pairing, group[0])
    return pairs.kept


def pairs_between(
    left: Iterable[Completion], right: Iterable[Completion], count: Count, pairing: Shape = "all"
) -> list[Pair]:
    """Pair completions of `left` with those of `right` for the same prompt; what is skipped is counted."""
    groups, others = _by_prompt(left), _by_prompt(right)
    for one, other in ((groups, others), (others, groups)):
        if missing := len(one.keys() - other.keys()):
            count("prompts without a completion to compare with", missing)
    pairs = _Pairs(count)
    for prompt_id, group in groups.items():
        pairs.add(product(group, others.get(prompt_id, [])), pairing, group[0])
    return pairs.kept


def _by_prompt(completions: Iterable[Completion]) -> dict[str, list[Completion]]:
    """Group by prompt, the samples of an author in the order they were drawn."""
    groups: defaultdict[str, list[Completion]] = defaultdict(list)
    for completion in completions:
        groups[completion.prompt_id].append(completion)
    return {prompt_id: sorted(group, key=lambda c: c.index) for prompt_id, group in groups.items()}


class _Pairs:
    """The pairs kept so far, each once."""

    def __init__(self, count: Count) -> None:
        self.count = count
        self.kept: list[Pair] = []
        self._seen: set[frozenset[str]] = set()

    def add(self, candidates: Iterable[tuple[Completion, Completion]], pairing: Shape, centre: Completion) -> None:
        """Keep those of one prompt's `candidates` that `pairing` asks for."""
        for left, right in candidates:
            if pairing == "star" and left.id != centre.id:
                continue
            both = frozenset((left.id, right.id))
            if left.text == right.text:
                self.count("skipped: both completions are the same text", 1)
            elif both in self._seen:
                self.count("skipped: the same pair again", 1)
            else:
                self._seen.add(both)
                self.kept.append(Pair(left=left, right=right))
                if pairing == "first":
                    return


def draw(pairs: list[Pair], settings: Pairing, seed: int, count: Count) -> list[Pair]:
    """Return as many of `pairs` as `settings` allow, drawn by seeded hashes of their ids, in their own order."""
    kept = pairs
    if (most := settings.max_pairs_per_prompt) is not None:
        by_prompt: defaultdict[str, list[Pair]] = defaultdict(list)
        for pair in pairs:
            by_prompt[pair.prompt_id].append(pair)
        # salted: the draw of max_pairs must not favour prompts of which the lowest hashes were kept here
        kept = [p for group in by_prompt.values() for p in _lowest(group, most, [seed, "max_pairs_per_prompt"])]
        count("left out: more than max_pairs_per_prompt", len(pairs) - len(kept))
    if settings.max_pairs is not None and len(kept) > settings.max_pairs:
        count("left out: more than max_pairs", len(kept) - settings.max_pairs)
        kept = _lowest(kept, settings.max_pairs, [seed])
    ids = {p.id for p in kept}
    return [p for p in pairs if p.id in ids]


def _lowest(pairs: list[Pair], num: int, salt: list[object]) -> list[Pair]:
    return pairs if len(pairs) <= num else sorted(pairs, key=lambda p: digest([*salt, p.id]))[:num]


def read_pairs(
    completions: Rows, against: Rows | None, settings: Pairing, seed: int, count: Count
) -> tuple[dict[str, Prompt], list[Pair]]:
    """Return the prompts by id, and the pairs to judge.

    Raises:
        DataError: there is nothing to compare.
    """
    prompts, own = read_completions(completions, count)
    if against is None:
        pairs = pairs_within(own, count, settings.pairing)
    else:
        pairs = pairs_between(own, read_completions(against, count)[1], count, settings.pairing)
    if not pairs:
        raise DataError(
            f"{completions.path}: nothing to compare: no prompt has two different completions "
            "(sample with num_samples=2, or give against=)"
        )
    return {p.id: p for p in prompts}, draw(pairs, settings, seed, count)
