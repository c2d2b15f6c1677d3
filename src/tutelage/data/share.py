"""Parts of the prompts, by a seeded hash: disjoint shares have no prompt in common, whatever the file's order.

What is drawn is a group: conversations that begin alike (`normal.group_of`) are always on one side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

from tutelage.config import Group
from tutelage.data.normal import group_of
from tutelage.errors import DataError
from tutelage.records import Prompt, digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


def _is_a_share(share: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= share[0] < share[1] <= 1:
        raise ValueError("a share is [from,to] with 0 <= from < to <= 1, such as [0,0.1]")
    return share


Share = Annotated[tuple[float, float], AfterValidator(_is_a_share)]
"""[from, to): the prompts whose group's `position` is at least the first number and below the second."""


class OfPrompts(Group):
    """Which part of the prompts a stage works on."""

    share: Share = Field(
        (0.0, 1.0),
        description="part of the prompts, [from, to) of a seeded order: [0,0.1] and [0.1,1] are the paper's "
        "10 % for SFT and the other 90 % for feedback",
    )
    share_seed: int = Field(0, ge=0, le=2**31 - 1, description="of that order; the same in every stage of a road")

    def takes(self, prompt: Prompt) -> bool:
        """True if the prompt belongs to this part; all conversations that begin as it does then do."""
        return in_share(group_of(prompt), self.share, self.share_seed)

    def part_of(self, prompts: Sequence[Prompt], path: str, count: Callable[[str, int], None]) -> list[Prompt]:
        """Return the prompts that belong to this part; those that do not are counted.

        Raises:
            DataError: none of the prompts of `path` does.
        """
        kept = [p for p in prompts if self.takes(p)]
        if len(kept) < len(prompts):
            count("left out: prompts outside the share", len(prompts) - len(kept))
        if not kept:
            raise DataError(f"{path}: no prompt falls into the share {list(self.share)}")
        return kept


def position(group: str, seed: int | str) -> float:
    """Return where a group stands in [0, 1): a seeded hash, so adding or moving rows moves no group."""
    return int(digest([seed, group], 13), 16) / 16**13


def in_share(group: str, share: tuple[float, float], seed: int | str) -> bool:
    """True if the group falls into the share [from, to). Shares that do not overlap have no group in common."""
    return share[0] <= position(group, seed) < share[1]


def first_groups(sizes: Mapping[str, int], num: int, seed: int | str) -> set[str]:
    """Return the first groups of a seeded order that make at most `num` prompts together.

    A group that is larger than what is left to fill is passed over: one that is larger than all that is wanted would
    leave nothing otherwise.

    Args:
        sizes: how many prompts each group has.
    """
    taken = set()
    for group in sorted(sizes, key=lambda g: (position(g, seed), g)):
        if sizes[group] <= num:
            taken.add(group)
            num -= sizes[group]
    return taken


def hold_out(ids: Array, groups: Array, share: float, seed: int) -> tuple[Array, Array]:
    """Return which rows to train on, in their order, and which belong to the `share` of groups that is held out.

    Which groups those are depends on `seed` alone: adding or moving rows moves none. The held-out rows come in the
    seeded order of their groups, so that the first of them are a fair sample of all.

    Args:
        ids: of each row.
        groups: of each row's prompt, as texts in ASCII.
    """
    import numpy as np

    if not share:
        return np.arange(len(ids)), np.arange(0)
    # An order of its own: in the road's, the prompts of the feedback share all stand beyond the first part.
    order = f"held out, {seed}"
    names, which = np.unique(groups, return_inverse=True)
    places = np.array([position(name, order) for name in names.astype(str).tolist()])[which]
    in_order = np.lexsort((ids, places))
    return np.flatnonzero(places >= share), in_order[places[in_order] < share]
