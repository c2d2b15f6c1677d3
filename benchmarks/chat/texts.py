"""Made-up prompts and answers of realistic length, the same on every machine and for every client.

They are slices of one seeded text, so that making them costs little beside asking. Standard library only:
the peers' environments import this too.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

PROMPT_CHARS = 3_000
# Medians as in the AlpacaEval set, whose filled judge prompts are 5 to 6 kB; the spread too is about its own.
_MEDIAN_INSTRUCTION, _MEDIAN_ANSWER, _SPREAD, _LONGEST = 130, 1_500, 0.6, 6_000
_POOL_CHARS = 1 << 18
# A few accents, dashes and quotes: text from models is not ASCII, and some encoders are slow on what is not.
_SAMPLE = (
    "the of and to in that it is was for on are with as they at be this from have or by one had not but what all "
    "were when we there can an your which their said if do will each about how up out them then she many some so "
    "these would other into has more her two like him see time could no make than first been its who now people my "
    "made over did down only way find use may water long little very after words called just where most know café "
    'naïve – "model" answer: question, because example; therefore, instruction. important\n\nreason\n- step 1. 2. 3.'
)


def _pool() -> str:
    draw = random.Random("pool of words")
    return " ".join(draw.choices(_SAMPLE.split(" "), k=_POOL_CHARS // 4))[:_POOL_CHARS]


POOL = _pool()


def prompt(index: int) -> str:
    """Return the prompt number `index`, about 3 kB; no two are the same."""
    start = index * 7_919 % (_POOL_CHARS - PROMPT_CHARS)
    return f"{index}: {POOL[start : start + PROMPT_CHARS]}"


def prompts(num: int) -> Iterator[str]:
    """Yield the first `num` prompts; none is kept."""
    return map(prompt, range(num))


@dataclass(frozen=True)
class Texts:
    """What a pair is made of: an instruction and two answers."""

    instruction: str
    left: str
    right: str


def pairs(num: int) -> Iterator[Texts]:
    """Yield the first `num` instructions with two answers each; no two instructions are the same."""
    draw = random.Random("pairs")

    def text(median: int) -> str:
        length = min(_LONGEST, int(draw.lognormvariate(0.0, _SPREAD) * median) + 20)
        start = draw.randrange(_POOL_CHARS - length)
        return POOL[start : start + length].strip()

    for index in range(num):
        instruction, left, right = text(_MEDIAN_INSTRUCTION), text(_MEDIAN_ANSWER), text(_MEDIAN_ANSWER)
        yield Texts(f"{index}: {instruction}", left, right)
