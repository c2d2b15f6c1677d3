"""Training prompts that are evaluated: the same, the same but for how it is written, or nearly the same.

Near: all words of the evaluated prompt but one in fifty (`overlap`) stand in the training prompt, in runs of three or
more within a passage of its own length and a sentence or two (or the other way round, if the training prompt is at
least half as long). Of a prompt under eight words all must stand there, where sentences begin and end.

An index of the evaluated prompts' words answers exactly. MinHash was measured against it: it estimates resemblance,
which one added sentence brings below that of two questions of one template (`benchmarks/data/leaks.py --minhash`).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field

from tutelage.config import Group
from tutelage.data.near import Gram, Sentences, covered, grams_of
from tutelage.data.normal import words_of
from tutelage.records import Prompt

Kind = Literal["exact", "normalised", "near"]
KINDS: tuple[Kind, ...] = ("exact", "normalised", "near")
SHORT = 8
"""Words. Of a shorter text all must be found, as sentences: a few words are a part of many a text."""
SHORTEST = 3
"""Words. Of a still shorter one ("Hi") nothing but the same counts."""


OVERLAP = Field(
    0.98,
    gt=0.5,
    le=1,
    description="share of a prompt's words in another that makes the two nearly the same; null: only the same words "
    "count (in any case, white space and punctuation)",
)
"""Two questions of one template differ in a word or two: below 0.98, one of 40 words would be a leak of the other."""


class Leakage(Group):
    """What becomes of training prompts that are evaluated."""

    action: Literal["block", "remove", "allow"] = Field(
        "block", description="block: stop and list them; remove: leave them out and count them; allow: do not look"
    )
    overlap: float | None = OVERLAP


@dataclass(frozen=True)
class Leak:
    """A training prompt that says what an evaluated one asks."""

    kind: Kind
    prompt: Prompt
    said: str
    """The user turn of the training prompt that does; all of them, if only together they do."""
    evaluated: Prompt
    overlap: float


@dataclass
class _Target:
    """What is looked for: one text, of one or more evaluated prompts that are the same."""

    words: tuple[str, ...]
    prompts: list[Prompt] = field(default_factory=list)
    least: int = 0
    """How many of its different grams must be found, at the least, for enough of it to be covered."""


@dataclass(frozen=True)
class _Found:
    target: _Target
    kind: Kind
    overlap: float


class Leaks:
    """Finds the evaluated prompts in training prompts, one training prompt at a time.

    Every user turn of a training prompt is compared with the last user turn of an evaluated one; where that is short
    and not the first ("Shorter, please"), all user turns are compared together with all.
    """

    def __init__(self, evaluated: Iterable[Prompt], overlap: float | None = 0.98) -> None:
        self.overlap = overlap
        self._exact: dict[str, list[Prompt]] = {}
        self._targets: dict[str, _Target] = {}
        self._together = False
        for prompt in evaluated:
            turns = _user_turns(prompt)
            together = len(turns) > 1 and len(words_of(turns[-1])) < SHORT
            self._together |= together
            text = "\n".join(turns) if together else turns[-1]
            words = words_of(text)
            target = self._targets.setdefault(_letters(words, text), _Target(tuple(words)))
            target.prompts.append(prompt)
            self._exact.setdefault(text, []).append(prompt)
        self._by_gram = defaultdict[Gram, list[_Target]](list)
        self._by_word = defaultdict[str, list[_Target]](list)
        if overlap is not None:
            self._index(overlap)
        self._known: dict[int, list[_Found]] = {}

    def of(self, prompt: Prompt) -> list[Leak]:
        """Return the evaluated prompts that a training prompt holds, each once."""
        turns = _user_turns(prompt)
        if self._together and len(turns) > 1:
            turns.append("\n".join(turns))
        leaks: dict[str, Leak] = {}
        for turn in turns:
            for found in self._look_up(turn):
                for evaluated in found.target.prompts:
                    same = found.kind == "normalised" and evaluated in self._exact.get(turn, ())
                    leak = Leak("exact" if same else found.kind, prompt, turn, evaluated, found.overlap)
                    known = leaks.get(evaluated.id)
                    if known is None or KINDS.index(leak.kind) < KINDS.index(known.kind):
                        leaks[evaluated.id] = leak
        return sorted(leaks.values(), key=lambda leak: (KINDS.index(leak.kind), -leak.overlap))

    def _index(self, overlap: float) -> None:
        short: list[_Target] = []
        for target in self._targets.values():
            if len(target.words) >= SHORT:
                target.least = _least(target.words, overlap)
                for gram in {g for g in grams_of(target.words) if "" not in g}:
                    self._by_gram[gram].append(target)
            elif len(target.words) >= SHORTEST:
                short.append(target)
        usual = Counter(word for target in self._targets.values() for word in set(target.words))
        for target in short:
            self._by_word[min(target.words, key=lambda word: usual[word])].append(target)

    def _look_up(self, turn: str) -> list[_Found]:
        # The continuations of a conversation bring its earlier turns again and again.
        key = hash(turn)
        if key not in self._known:
            if len(self._known) >= 100_000:
                self._known.clear()
            words = words_of(turn)
            same = self._targets.get(_letters(words, turn))
            found = [] if same is None else [_Found(same, "normalised", 1.0)]
            found += [f for f in (*self._near(words), *self._short(turn, words)) if f.target is not same]
            self._known[key] = found
        return self._known[key]

    def _near(self, words: Sequence[str]) -> Iterator[_Found]:
        by_gram, overlap = self._by_gram, self.overlap
        common = {gram for gram in zip(words, words[1:], words[2:], strict=False) if gram in by_gram}
        if not common or overlap is None:
            return
        number = Counter(id(target) for gram in common for target in by_gram[gram])
        targets = {id(target): target for gram in common for target in by_gram[gram]}
        places: dict[int, Gram] = {}
        least = _least(words, overlap) if len(words) >= SHORT else math.inf
        for name, num in number.items():
            target = targets[name]
            backwards = num >= least and len(words) < len(target.words) <= 2 * len(words)
            if num < target.least and not backwards:
                continue
            places = places or {
                i: gram for i, gram in enumerate(grams_of(words)) if gram in common or "" in (gram[0], gram[2])
            }
            share = covered(target.words, places)
            if share < overlap and backwards:
                share = covered(words, dict(enumerate(grams_of(target.words))))
            if share >= overlap:
                yield _Found(target, "near", share)

    def _short(self, turn: str, words: Sequence[str]) -> Iterator[_Found]:
        said = set(words)
        likely = [t for word in self._by_word.keys() & said for t in self._by_word[word] if said.issuperset(t.words)]
        if likely:
            sentences = Sentences.of(turn)
            yield from (_Found(target, "near", 1.0) for target in likely if sentences.hold(target.words))


def _least(words: Sequence[str], overlap: float) -> int:
    """Return how many different grams cover `overlap` of the words, at the least: each covers three where it stands.

    Two words at either end may be covered by those that hold the text's beginning and end, which are in every text.
    """
    often = sorted(Counter(gram for gram in grams_of(words) if "" not in gram).values(), reverse=True)
    wanted, num = overlap * len(words) - 4, 0
    while wanted > 0 and num < len(often):
        wanted -= 3 * often[num]
        num += 1
    return num


def _letters(words: Sequence[str], text: str) -> str:
    """Return what of a text has to be the same: nothing between the letters, so that well-known is wellknown too."""
    return "".join(words) or text.strip()


def _user_turns(prompt: Prompt) -> list[str]:
    return [message.content for message in prompt.messages if message.role == "user"]
