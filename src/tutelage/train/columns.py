"""What is known of many items at once, as arrays: of a million rows on disk it is there without building one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Name = Literal["id", "prompt_id", "weight", "lengths", "num_labels", "num_tokens"]


class Columns(ABC):
    """Items that know their columns."""

    @abstractmethod
    def column(self, name: Name) -> NDArray[Any]:
        """Return `name` of every item: lengths are those of the prompt and of each completion, (N, 1 + K)."""


_OF: Mapping[Name, Callable[[Any], Any]] = {
    "id": lambda item: item.id,
    "prompt_id": lambda item: item.prompt_id,
    "weight": lambda item: getattr(item, "weight", 1.0),
    "lengths": lambda item: [len(item.branches[0].prompt_ids), *(len(b.completion_ids) for b in item.branches)],
    "num_labels": lambda item: [b.num_labels for b in item.branches],
    "num_tokens": lambda item: item.num_tokens,
}


def column(items: Sequence[Any], name: Name) -> NDArray[Any]:
    """Return `name` of every item, see `Columns`; of items that are held it is asked one by one."""
    if isinstance(items, Columns):
        return items.column(name)
    if not len(items) and name in ("lengths", "num_labels"):
        return np.zeros((0, 2), np.int64)
    return np.array([_OF[name](item) for item in items])
