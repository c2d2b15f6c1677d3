"""The prompts of an artifact by their id, read when they are asked for: a million of them take 16 MB."""

from __future__ import annotations

from array import array
from types import TracebackType
from typing import Self

from tutelage.data.formats.item import Count
from tutelage.data.rows import PROMPTS, placed_prompts
from tutelage.disk import row_at
from tutelage.inputs import Selected
from tutelage.records import Prompt
from tutelage.store import Artifact


class PromptsOnDisk:
    """Finds those prompts of `made` by their id that an input asks for; the others are counted.

    Raises:
        ConfigError, DataError: as `placed_prompts`.
    """

    def __init__(self, made: Artifact, asked: Selected, count: Count) -> None:
        import numpy as np

        keys, places = array("Q"), array("q")
        for place, prompt in placed_prompts(made, asked, count):
            keys.append(int(prompt.id, 16))
            places.append(place)
        order = np.argsort(np.array(keys, np.uint64), kind="stable")
        self._keys, self._places = np.array(keys, np.uint64)[order], np.array(places, np.int64)[order]
        self._file = made.file(PROMPTS).open("rb")
        self._last: Prompt | None = None

    def find(self, prompt_id: str) -> Prompt | None:
        """Return a prompt; None: it is not there, or not asked for."""
        if self._last is not None and self._last.id == prompt_id:  # rows of one prompt often stand together
            return self._last
        try:
            key = self._keys.dtype.type(int(prompt_id, 16))
        except (ValueError, OverflowError):  # no id of ours
            return None
        where = int(self._keys.searchsorted(key))
        if where == len(self._keys) or self._keys[where] != key:
            return None
        self._last = row_at(self._file, int(self._places[where]), Prompt)
        return self._last

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._file.close()
