"""Pairs of the teachers' completions with their known worth, to audit a critic whose faults are known.

A critic's slope per word can be told from its taste for quality only if the two vary apart. So each pair is
chosen for a gap in points, -2 to 2 in turn (beyond, a good critic is always right and shows nothing), and
among the pairs with that gap for how much longer one completion is, all differences alike.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from random import Random
from typing import Any

from tutelage.miniature.oracle import grade
from tutelage.miniature.teachers import TEACHERS, write
from tutelage.miniature.world import make_prompts

_GAPS = (0, 1, -1, 2, -2)
_NUM_EACH = 4
"""Completions that each teacher writes to a prompt; the pair is chosen among them."""


@dataclass(frozen=True)
class Written:
    """A teacher's completion and what the oracle gives for it."""

    author: str
    text: str
    score: float

    @property
    def num_words(self) -> int:
        """Its length as the critic counts it."""
        return len(self.text.split())


def make_pairs(num: int, seed: int) -> list[dict[str, Any]]:
    """Return `num` rows as alpaca_eval's annotations have them, one pair per prompt, and the two scores.

    `preference` is 2 if `output_2` has more points, 1 if `output_1` has, 1.5 if they are equal.

    Raises:
        DataError: the world has not that many prompts.
    """
    rng = Random(f"pairs {seed}")
    rows = []
    for place, prompt in enumerate(make_prompts(num, seed)):
        one, two = _choose(_candidates(prompt, seed), _GAPS[place % len(_GAPS)], rng)
        rows.append(
            {
                "instruction": prompt,
                "output_1": one.text,
                "output_2": two.text,
                "generator_1": one.author,
                "generator_2": two.author,
                "score_1": one.score,
                "score_2": two.score,
                "preference": 1.5 + 0.5 * ((two.score > one.score) - (two.score < one.score)),
            }
        )
    return rows


def _candidates(prompt: str, seed: int) -> list[Written]:
    """Return different texts; one that several teachers wrote is the first one's."""
    found: dict[str, Written] = {}
    for teacher in TEACHERS.values():
        for index in range(_NUM_EACH):
            text = write(teacher, prompt, seed, index)
            found.setdefault(text, Written(f"miniature/{teacher.name}", text, grade(prompt, text)))
    return list(found.values())


def _choose(candidates: list[Written], gap: int, rng: Random) -> tuple[Written, Written]:
    """Return two completions, the second `gap` points better than the first, or as nearly so as can be."""
    ordered = [pair for one, two in combinations(candidates, 2) for pair in ((one, two), (two, one))]
    nearest = min(abs(two.score - one.score - gap) for one, two in ordered)
    by_words: defaultdict[int, list[tuple[Written, Written]]] = defaultdict(list)
    for one, two in ordered:
        if abs(two.score - one.score - gap) == nearest:
            by_words[two.num_words - one.num_words].append((one, two))
    return rng.choice(by_words[rng.choice(sorted(by_words))])
