"""What a judge said of each showing of a pair, and what is known of the pair from elsewhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tutelage.errors import DataError

Label = Literal["LEFT", "RIGHT", "TIE"]


@dataclass(frozen=True)
class Observation:
    """One reply about one showing of one pair."""

    pair_id: str
    first_is_left: bool
    repeat: int
    first_won: float | None
    """1 the one shown first, 0 the second, .5 a tie, or the probability of the first; None unreadable."""


@dataclass(frozen=True)
class PairFacts:
    """What is known of a pair without asking the judge."""

    pair_id: str
    words_left: int
    words_right: int
    author_left: str
    author_right: str
    gap: float | None = None
    """Known quality of the left completion minus that of the right one."""
    gold: Label | None = None
    """A label of a person or an oracle."""


@dataclass(frozen=True)
class Swap:
    """One pair asked in both orders, both replies readable: P(first wins) with left, then right, shown first."""

    pair_id: str
    repeat: int
    left_first: float
    right_first: float

    @property
    def first_won(self) -> float:
        """The share of the slot that is shown first."""
        return (self.left_first + self.right_first) / 2

    @property
    def left_won(self) -> float:
        """The share of the left completion, whatever the slot."""
        return (self.left_first + 1 - self.right_first) / 2

    @property
    def calls(self) -> tuple[Label, Label]:
        """The two verdicts as a label would have them: what is likelier than not."""
        return _call(self.left_first), _call(1 - self.right_first)

    @property
    def label(self) -> Label:
        """Both verdicts together: what they agree on, else a tie (as `label` with order=both has it)."""
        one, other = self.calls
        return one if one == other else "TIE"


def _call(left: float) -> Label:
    return "TIE" if left == 0.5 else "LEFT" if left > 0.5 else "RIGHT"


def check(observations: Sequence[Observation], facts: Mapping[str, PairFacts]) -> None:
    """Refuse observations that cannot be: two of one showing, no share, or of a pair that nobody knows.

    Raises:
        DataError: names the pair.
    """
    seen: set[tuple[str, bool, int]] = set()
    for o in observations:
        key = (o.pair_id, o.first_is_left, o.repeat)
        if o.pair_id not in facts:
            raise DataError(f"audit: a showing is of the pair {o.pair_id}, of which nothing else is known")
        if key in seen:
            raise DataError(f"audit: repeat {o.repeat} of pair {o.pair_id} has two replies for the same order")
        if o.first_won is not None and not 0 <= o.first_won <= 1:
            raise DataError(f"audit: pair {o.pair_id}: found {o.first_won} as a share of wins; expected 0 to 1")
        seen.add(key)


def swaps_of(observations: Sequence[Observation]) -> list[Swap]:
    """Return the pairs that were asked in both orders within a repeat and readable in both."""
    found: defaultdict[tuple[str, int], dict[bool, float]] = defaultdict(dict)
    for o in observations:
        if o.first_won is not None:
            found[o.pair_id, o.repeat][o.first_is_left] = o.first_won
    return [Swap(*key, both[True], both[False]) for key, both in found.items() if len(both) == 2]


def per_pair(values: Sequence[tuple[str, float]]) -> list[float]:
    """Return one value per pair, the mean of its values."""
    grouped: defaultdict[str, list[float]] = defaultdict(list)
    for pair_id, value in values:
        grouped[pair_id].append(value)
    return [sum(group) / len(group) for group in grouped.values()]
