"""Whether one text stands in another that is not the same: something was added, left out or changed.

All of it is counted, nothing estimated; the time is linear in the texts.
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from tutelage.data.normal import words_of

Gram = tuple[str, str, str]
"""Three words that stand together: single words are in every text."""
BETWEEN = 50
"""How many words may have been put between the others: a sentence or two."""
_FULL_STOPS = re.compile("[。！？；]")
_CLOSING = "\"'”’»)]*"


def grams_of(words: Sequence[str]) -> list[Gram]:
    """Return the grams of a text in their order, those of its beginning and its end too."""
    words = ["", "", *words, "", ""]
    return list(zip(words, words[1:], words[2:], strict=False))


def covered(inner: Sequence[str], outer: Sequence[Gram]) -> float:
    """Return how much of `inner` stands in another text: the share of its words that are in common grams.

    Those may stand in any order, but no further apart than `inner` is long, and `BETWEEN` words more.

    Args:
        inner: words.
        outer: the other text's grams, in their order.
    """
    words_in = defaultdict[Gram, list[int]](list)
    for start, gram in enumerate(grams_of(inner)):
        words_in[gram] += (start, start + 1, start + 2)
    hits = [(place, gram) for place, gram in enumerate(outer) if gram in words_in]
    inside = defaultdict[Gram, int](int)
    times = [1, 1, *(0 for _ in inner), 1, 1]  # what pads the text is no word to be found
    now = best = oldest = 0
    for place, gram in hits:
        inside[gram] += 1
        if inside[gram] == 1:
            for i in words_in[gram]:
                now += times[i] == 0
                times[i] += 1
        while place - hits[oldest][0] > len(inner) + BETWEEN:
            gone = hits[oldest][1]
            oldest += 1
            inside[gone] -= 1
            if inside[gone] == 0:
                for i in words_in[gone]:
                    times[i] -= 1
                    now -= times[i] == 0
        best = max(best, now)
    return best / len(inner)


@dataclass(frozen=True)
class Sentences:
    """The words of a text, and where among them sentences begin and end."""

    words: tuple[str, ...]
    begins: tuple[int, ...]
    ends: frozenset[int]

    @classmethod
    def of(cls, text: str) -> Sentences:
        """Split a text. A capital letter may begin a sentence too, since many a prompt has no full stop."""
        words: list[str] = []
        begins, ends = set[int](), set[int]()
        for line in text.splitlines():
            for part in _FULL_STOPS.split(line):
                begins.add(len(words))
                for written in part.split():
                    if written.lstrip("\"'“‘«([*")[:1].isupper():
                        begins.add(len(words))
                        ends.add(len(words))
                    words += words_of(written)
                    if written.rstrip(_CLOSING)[-1:] in (*".!?:;…",):
                        begins.add(len(words))
                        ends.add(len(words))
                ends.add(len(words))
        return cls(tuple(words), tuple(sorted(begins)), frozenset(ends))

    def hold(self, wanted: tuple[str, ...]) -> bool:
        """True if all of `wanted` is here as sentences: in one piece, or in two with `BETWEEN` words between."""
        size = len(wanted)
        heads = deque[tuple[int, int]]()
        for begin in self.begins:
            while heads and heads[0][0] + size + BETWEEN < begin:
                heads.popleft()
            here = self.words[begin : begin + size]
            for length in range(1, size + 1):
                if begin + length not in self.ends or here[:length] != wanted[size - length :]:
                    continue
                before = size - length
                if not before or any(same >= before and head + before < begin for head, same in heads):
                    return True
            same = next((i for i, (a, b) in enumerate(zip(here, wanted, strict=False)) if a != b), len(here))
            if same:
                heads.append((begin, same))
        return False
