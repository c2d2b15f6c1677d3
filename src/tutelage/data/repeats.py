"""Which texts come for several prompts, without keeping the texts."""

from __future__ import annotations

from collections import defaultdict


class Repeats:
    """Knows the prompts of texts that several have in common; of the other texts, their hashes alone."""

    def __init__(self, shown: int = 60) -> None:
        self.shown = shown
        self.prompts: defaultdict[int, set[int]] = defaultdict(set)
        """By the hash of a repeated text."""
        self._first: dict[int, int] = {}
        self._texts: dict[int, str] = {}

    def add(self, text: str, prompt: int) -> None:
        """Take note of a text and the id of its prompt."""
        key = hash(text)
        first = self._first.setdefault(key, prompt)
        if first != prompt:
            self.prompts[key] |= {first, prompt}
            self._texts.setdefault(key, text[: self.shown])

    def most(self, num: int = 3) -> list[tuple[str, int]]:
        """Return the beginnings of the texts that most prompts have in common, and how many have them."""
        keys = sorted(self.prompts, key=lambda key: (-len(self.prompts[key]), self._texts[key]))[:num]
        return [(self._texts[key], len(self.prompts[key])) for key in keys]
