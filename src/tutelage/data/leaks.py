"""Training prompts that are evaluated: the same, the same but for how it is written, or nearly the same.

Near: all words of the evaluated prompt but one in fifty (`overlap`) stand in the training prompt, in runs of three or
more within a passage of its own length and a sentence or two (or the other way round, if the training prompt is at
least half as long). Of a prompt under eight words all must stand there, where sentences begin and end.

An index of the evaluated prompts' words answers exactly. MinHash was measured against it: it estimates resemblance,
which one added sentence brings below that of two questions of one template (`benchmarks/data/leaks.py --minhash`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import islice
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
REMEMBERED = 100_000
"""Turns whose answer is kept, as numbers."""


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
    """The user turn or system message of the training prompt that does; several turns, if only together they do."""
    evaluated: Prompt
    overlap: float


@dataclass(frozen=True, eq=False)
class _Target:
    """What is looked for: one text, of one or more evaluated prompts that are the same."""

    words: tuple[str, ...]
    different: frozenset[str]
    prompts: list[Prompt] = field(default_factory=list)


@dataclass(frozen=True)
class _Found:
    target: _Target
    kind: Kind
    overlap: float


class Leaks:
    """Finds the evaluated prompts in training prompts, one training prompt at a time.

    Every user turn and system message of a training prompt is compared with the last user turn of an evaluated one;
    where that is short and not the first ("Shorter, please"), all user turns together are compared with the first
    two, three, ... together.
    """

    def __init__(self, evaluated: Iterable[Prompt], overlap: float | None = 0.98) -> None:
        self.overlap = overlap
        self._exact: dict[str, set[str]] = defaultdict(set)
        self._targets: dict[str, _Target] = {}
        self._together = False
        for prompt in evaluated:
            turns = _user_turns(prompt)
            together = len(turns) > 1 and len(words_of(turns[-1])) < SHORT
            self._together |= together
            text = "\n".join(turns) if together else turns[-1]
            words = words_of(text)
            target = self._targets.setdefault(_letters(words, text), _Target(tuple(words), frozenset(words)))
            target.prompts.append(prompt)
            self._exact[text].add(prompt.id)
        self._by_word = defaultdict[str, list[_Target]](list)
        self._by_rare_word = defaultdict[str, list[_Target]](list)
        if overlap is not None:
            self._index()
        self._known: dict[int, tuple[_Found, ...]] = {}

    def of(self, prompt: Prompt) -> list[Leak]:
        """Return the evaluated prompts that a training prompt holds, each once, the nearest first."""
        turns = _user_turns(prompt)
        if self._together:  # an evaluated conversation may go on
            turns += ["\n".join(turns[:num]) for num in range(2, len(turns) + 1)]
        turns += (message.content for message in prompt.messages if message.role == "system")
        leaks: dict[str, Leak] = {}
        for turn in turns:
            for found in self._look_up(turn):
                for evaluated in found.target.prompts:
                    kind = "exact" if evaluated.id in self._exact.get(turn, ()) else found.kind
                    known = leaks.get(evaluated.id)
                    if known is None or KINDS.index(kind) < KINDS.index(known.kind):
                        leaks[evaluated.id] = Leak(kind, prompt, turn, evaluated, found.overlap)
        return sorted(leaks.values(), key=lambda leak: (KINDS.index(leak.kind), -leak.overlap))

    def _index(self) -> None:
        """Index every text by its words; and by its rarest, of which another must hold one to hold enough of it."""
        for target in self._targets.values():
            if len(target.words) >= SHORTEST:
                for word in target.different:
                    self._by_word[word].append(target)
        for target in self._targets.values():
            if len(target.words) >= SHORTEST:
                for word in self._rarest(target.words, target.different):
                    self._by_rare_word[word].append(target)

    def _rarest(self, words: Sequence[str], different: Set[str]) -> list[str]:
        """Return the words that are rare among the evaluated, one more than may be missing."""
        return nsmallest(self._spare(words) + 1, different, key=lambda word: (len(self._by_word.get(word, ())), word))

    def _spare(self, words: Sequence[str]) -> int:
        """Return how many of the words may be missing."""
        if self.overlap is None or len(words) < SHORT:
            return 0
        return int((1 - self.overlap) * len(words) + 1e-9)

    def _look_up(self, turn: str) -> tuple[_Found, ...]:
        # The continuations of a conversation bring its earlier turns again and again.
        key = hash(turn)
        if key not in self._known:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            words = words_of(turn)
            same = self._targets.get(_letters(words, turn))
            whole = () if same is None else (_Found(same, "normalised", 1.0),)
            self._known[key] = (*whole, *(near for near in self._near(turn, words) if near.target is not same))
        return self._known[key]

    def _near(self, turn: str, words: list[str]) -> Iterator[_Found]:
        said = set(words)
        sentences: Sentences | None = None
        grams: list[Gram] = []
        for target in self._likely(said):
            if len(target.words) < SHORT:
                sentences = sentences or Sentences.of(turn)
                share = float(sentences.hold(target.words))
            else:
                grams = grams or grams_of(words)
                share = covered(target.words, grams)
            if share >= (self.overlap or 1):
                yield _Found(target, "near", share)
        for target in self._likely_around(words, said):
            share = covered(words, grams_of(target.words))
            if share >= (self.overlap or 1):
                yield _Found(target, "near", share)

    def _likely(self, said: set[str]) -> Iterator[_Target]:
        """Yield the texts whose words are there, but for those that may be missing."""
        likely = {
            id(target): target for word in said & self._by_rare_word.keys() for target in self._by_rare_word[word]
        }
        for target in likely.values():
            if len(target.different - said) <= self._spare(target.words):
                yield target

    def _likely_around(self, words: Sequence[str], said: set[str]) -> Iterator[_Target]:
        """Yield the texts that hold these words, but for those that may be missing, and are at most twice as long."""
        spare = self._spare(words)
        unknown = (word for word in said if word not in self._by_word)
        if len(words) < SHORT or next(islice(unknown, spare, None), None) is not None:
            return
        around = {id(target): target for word in self._rarest(words, said) for target in self._by_word.get(word, ())}
        for target in around.values():
            if len(words) < len(target.words) <= 2 * len(words) and len(said - target.different) <= spare:
                yield target


def _letters(words: Sequence[str], text: str) -> str:
    """Return what of a text has to be the same: nothing between the letters, so that well-known is wellknown too."""
    return "".join(words) or text.strip()


def _user_turns(prompt: Prompt) -> list[str]:
    return [message.content for message in prompt.messages if message.role == "user"]
