"""The ten families of tasks: how each is asked, what solves it, and what can be said about it.

A task's `subject` is the words that stand in the question ("3 plus 4", "lamp, cow, door"). All else
follows from family and subject, so a prompt can be read back from its text alone: `read_task` is the
inverse of `Task.ask`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from tutelage.errors import DataError
from tutelage.miniature.encyclopedia import (
    ANIMALS,
    HOMES,
    NOUNS,
    OPPOSITES,
    SUBJECT_MATTER,
    TOWNS,
    VERBS,
    YOUNG,
)

LEAD_INS = ("", "Quick question: ", "Hello! ", "For my homework: ", "A friend asks: ", "Just curious: ")


@dataclass(frozen=True)
class Family:
    """One kind of task. The texts hold `{subject}`, `{solution}` and `{detail}` as open fields."""

    name: str
    phrasings: tuple[str, str, str]
    statement: str
    """The solution in a full sentence."""
    support: str
    """A second sentence, of another fact, that can be checked."""
    draw: Callable[[Random], str]
    """Draws a subject."""
    knows: Callable[[str], bool]
    """Whether a text is a subject of this family."""
    solve: Callable[[str], str]
    detail: Callable[[str], str]
    """What makes `support` true."""
    mistake: Callable[[str, Random], str]
    """Draws a solution that is wrong, but of the right kind."""
    slip: Callable[[str, Random], str]
    """Draws a detail that makes `support` false."""


@dataclass(frozen=True)
class Task:
    """A family and the words asked about."""

    family: Family
    subject: str

    @property
    def solution(self) -> str:
        """The right solution, in lower case unless it is a name."""
        return self.family.solve(self.subject)

    def ask(self, phrasing: int, lead_in: str = "") -> str:
        """Return the prompt in one of its three wordings."""
        return lead_in + self.family.phrasings[phrasing].format(self.subject)

    def state(self, solution: str) -> str:
        """Return the full sentence that says `solution`."""
        return self.family.statement.format(subject=self.subject, solution=solution)

    def back(self, detail: str) -> str:
        """Return the supporting sentence that says `detail`."""
        return self.family.support.format(subject=self.subject, detail=detail)


def _other(values: Collection[str], right: str, rng: Random) -> str:
    return rng.choice([value for value in values if value != right])


def _named(words: Collection[str]) -> str:
    """Return "the lamp and the door"."""
    return " and ".join(f"the {word}" for word in words)


def _look_up(
    name: str,
    phrasings: tuple[str, str, str],
    statement: str,
    support: str,
    solutions: dict[str, str],
    details: dict[str, str],
) -> Family:
    """Return a family whose solutions and details are read in two tables."""
    subjects = tuple(solutions)
    kinds, others = sorted(set(solutions.values())), sorted(set(details.values()))
    return Family(
        name,
        phrasings,
        statement,
        support,
        draw=lambda rng: rng.choice(subjects),
        knows=solutions.__contains__,
        solve=solutions.__getitem__,
        detail=details.__getitem__,
        mistake=lambda subject, rng: _other(kinds, solutions[subject], rng),
        slip=lambda subject, rng: _other(others, details[subject], rng),
    )


def _animals_in(subject: str) -> list[str]:
    return [word for word in subject.split(", ") if word in ANIMALS]


def _things_in(subject: str) -> list[str]:
    return [word for word in subject.split(", ") if word in NOUNS]


def _draw_list(rng: Random, num_animals: int, num_things: int) -> str:
    words = rng.sample(ANIMALS, num_animals) + rng.sample(NOUNS, num_things)
    rng.shuffle(words)
    return ", ".join(words)


def _knows_list(subject: str, animals: range, things: range) -> bool:
    words = subject.split(", ")
    num_animals, num_things = len(_animals_in(subject)), len(_things_in(subject))
    known = num_animals + num_things == len(words) == len(set(words))
    return known and num_animals in animals and num_things in things


def _swap_one(words: list[str], pool: Collection[str], rng: Random) -> str:
    """Return the words named, with one of them exchanged for one that is not among them."""
    changed = list(words)
    changed[rng.randrange(len(words))] = rng.choice([word for word in pool if word not in words])
    return _named(changed)


_COUNT = Family(
    "count",
    (
        "How many animals are in this list: {}?",
        "Count the animals in this list: {}.",
        "In this list, how many words are animals: {}?",
    ),
    "The number of animals in the list is {solution}.",
    "I found {detail}.",
    draw=lambda rng: _draw_list(rng, rng.randint(1, 3), rng.randint(1, 2)),
    knows=lambda subject: _knows_list(subject, range(1, 4), range(1, 3)),
    solve=lambda subject: str(len(_animals_in(subject))),
    detail=lambda subject: _named(_animals_in(subject)),
    mistake=lambda subject, rng: _other("1234", str(len(_animals_in(subject))), rng),
    slip=lambda subject, rng: _swap_one(_animals_in(subject), ANIMALS, rng),
)

_PICK = Family(
    "pick",
    (
        "Which word in this list is an animal: {}?",
        "Find the animal in this list: {}.",
        "One of these words is an animal. Which one: {}?",
    ),
    "The animal in the list is the {solution}.",
    "The things in the list are {detail}.",
    draw=lambda rng: _draw_list(rng, 1, 2),
    knows=lambda subject: _knows_list(subject, range(1, 2), range(2, 3)),
    solve=lambda subject: _animals_in(subject)[0],
    detail=lambda subject: _named(_things_in(subject)),
    mistake=lambda subject, rng: rng.choice(_things_in(subject)),
    slip=lambda subject, rng: _swap_one(_things_in(subject), NOUNS, rng),
)


def _sum(subject: str) -> int:
    one, other = subject.split(" plus ")
    return int(one) + int(other)


_ADD = Family(
    "add",
    ("What is {}?", "How much is {}?", "Work out {}."),
    "The sum of {subject} is {solution}.",
    "That is an {detail} number.",
    draw=lambda rng: f"{rng.randint(1, 6)} plus {rng.randint(1, 6)}",
    knows=lambda subject: re.fullmatch(r"[1-6] plus [1-6]", subject) is not None,
    solve=lambda subject: str(_sum(subject)),
    detail=lambda subject: "odd" if _sum(subject) % 2 else "even",
    mistake=lambda subject, rng: str(_sum(subject) + rng.choice((-1, 1, 2))),
    slip=lambda subject, rng: "even" if _sum(subject) % 2 else "odd",
)

_REQUEST = re.compile(rf"({'|'.join(VERBS)}) the ({'|'.join(NOUNS)})")


def _misheard(subject: str, rng: Random) -> str:
    """Return another polite request: the verb or the noun has changed."""
    verb, _, noun = subject.split()
    if rng.random() < 0.5:
        return f"please {_other(VERBS, verb, rng)} the {noun}"
    return f"please {verb} the {_other(NOUNS, noun, rng)}"


_POLITE = Family(
    "polite",
    ("Make this polite: {}.", "Say this politely: {}.", "How do I ask this politely: {}?"),
    "A polite way to say it is: {solution}.",
    "The request is about the {detail}.",
    draw=lambda rng: f"{rng.choice(VERBS)} the {rng.choice(NOUNS)}",
    knows=lambda subject: _REQUEST.fullmatch(subject) is not None,
    solve=lambda subject: f"please {subject}",
    detail=lambda subject: subject.split()[-1],
    mistake=_misheard,
    slip=lambda subject, rng: _other(NOUNS, subject.split()[-1], rng),
)

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        _look_up(
            "trade",
            (
                "What do the people of {} live from?",
                "Which trade feeds the town of {}?",
                "How does {} earn its living?",
            ),
            "The people of {subject} live from {solution}.",
            "The town lies in {detail}.",
            {name: town.trade for name, town in TOWNS.items()},
            {name: town.region for name, town in TOWNS.items()},
        ),
        _look_up(
            "region",
            ("In which region does {} lie?", "Where is the town of {}?", "Which region does {} belong to?"),
            "The town of {subject} lies in {solution}.",
            "Its flag is {detail}.",
            {name: town.region for name, town in TOWNS.items()},
            {name: town.flag for name, town in TOWNS.items()},
        ),
        _look_up(
            "flag",
            (
                "What colour is the flag of {}?",
                "Which colour does {} show on its flag?",
                "Name the colour of the flag of {}.",
            ),
            "The flag of {subject} is {solution}.",
            "Its people live from {detail}.",
            {name: town.flag for name, town in TOWNS.items()},
            {name: town.trade for name, town in TOWNS.items()},
        ),
        _COUNT,
        _PICK,
        _look_up(
            "opposite",
            (
                "What is the opposite of {}?",
                "Name the opposite of {}.",
                "Which word means the opposite of {}?",
            ),
            "The opposite of {subject} is {solution}.",
            "Both words are about {detail}.",
            OPPOSITES,
            SUBJECT_MATTER,
        ),
        _look_up(
            "young",
            (
                "What is the young of a {} called?",
                "What do you call the young of a {}?",
                "Name the young of a {}.",
            ),
            "The young of a {subject} is called a {solution}.",
            "A {subject} sleeps in a {detail}.",
            YOUNG,
            HOMES,
        ),
        _ADD,
        _look_up(
            "letter",
            (
                "What is the first letter of {}?",
                "Which letter does the word {} begin with?",
                "Name the first letter of {}.",
            ),
            "The word {subject} begins with the letter {solution}.",
            "It has {detail} letters.",
            {noun: noun[0].upper() for noun in NOUNS},
            {noun: str(len(noun)) for noun in NOUNS},
        ),
        _POLITE,
    )
}


def draw_task(rng: Random) -> Task:
    """Draw a family, all ten alike, and a subject."""
    family = rng.choice(tuple(FAMILIES.values()))
    return Task(family, family.draw(rng))


def make_prompts(num: int, seed: int, exclude: Collection[str] = ()) -> list[str]:
    """Return `num` prompts, all different and none of them in `exclude`; the families are about alike.

    Raises:
        DataError: the world has not that many prompts left.
    """
    rng = Random(f"prompts {seed}")
    excluded = frozenset(exclude)
    prompts: dict[str, None] = {}
    tries = 0
    while len(prompts) < num:
        prompt = draw_task(rng).ask(rng.randrange(3), rng.choice(LEAD_INS))
        if prompt not in excluded:
            prompts[prompt] = None
        tries += 1
        if tries > 100 * (num + 100):
            raise DataError(
                f"the miniature world has no {num} prompts beside the {len(excluded)} excluded ones: "
                f"{len(prompts)} found; ask for fewer"
            )
    return list(prompts)


def _wording(phrasing: str) -> re.Pattern[str]:
    before, after = phrasing.split("{}")
    return re.compile(f"{re.escape(before)}([\\w, ]+){re.escape(after)}")


_WORDINGS = [(family, _wording(text)) for family in FAMILIES.values() for text in family.phrasings]


@lru_cache(maxsize=65536)
def read_task(prompt: str) -> Task | None:
    """Recover the task from the text of a prompt, or None if this is not a prompt of this world."""
    text = prompt.strip()
    for lead_in in LEAD_INS:
        if lead_in:
            text = text.removeprefix(lead_in)
    for family, wording in _WORDINGS:
        match = wording.fullmatch(text)
        if match is not None and family.knows(match[1]):
            return Task(family, match[1])
    return None
