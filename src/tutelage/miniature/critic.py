"""The miniature's critic: it reads what a language model would read and errs by known amounts.

With s the oracle's score and w the number of words of each completion,

    logit P(first) = (s_first - s_second) / temp + position_bias + verbosity_bias * (w_first - w_second)

It cannot see whether a completion ended by itself, so it takes one that closes with a full stop, an
exclamation mark or a question mark to have done so. It never calls a tie.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from random import Random
from typing import Literal

from tutelage.errors import ConfigError
from tutelage.miniature.oracle import Reading, read
from tutelage.miniature.world import read_task

Slot = Literal["A", "B"]


@dataclass(frozen=True)
class Knobs:
    """How good the critic is. The measured biases of an audit should come out near these."""

    temp: float = 1.0
    """How many points of the oracle make one unit of log-odds: higher is noisier."""
    position_bias: float = 0.25
    """Log-odds added for the completion shown first."""
    verbosity_bias: float = 0.04
    """Log-odds added per word that a completion is longer than the other."""
    malformed: float = 0.01
    """The share of replies that hold no readable verdict."""

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        bad = [f.name for f in fields(self) if not math.isfinite(getattr(self, f.name))]
        if bad or self.temp <= 0 or not 0 <= self.malformed <= 1:
            raise ConfigError(f"critic knobs {self}: temp must be above 0 and malformed between 0 and 1")


CRITICS: dict[str, Knobs] = {
    "critic": Knobs(),
    "critic_unbiased": Knobs(position_bias=0.0, verbosity_bias=0.0),
    "critic_biased": Knobs(position_bias=1.0, verbosity_bias=0.15),
    "critic_noisy": Knobs(temp=3.0),
}
JUDGING: dict[str, Knobs] = CRITICS | {
    "weak": CRITICS["critic_noisy"],
    "weak_wide": CRITICS["critic_noisy"],
    "forum": CRITICS["critic_noisy"],
    "strong": CRITICS["critic"],
}
"""Whoever can be asked which of two completions is better: a teacher judges about as well as it writes."""

_MALFORMED = (
    "Both have something to say for themselves, and I would not like to choose.",
    "They differ a little.\n\nVerdict: A\nVerdict: B",
    "The better one is the one that serves the person who asked.",
    "",
)


def judge(instruction: str, first: str, second: str, knobs: Knobs = CRITICS["critic"], seed: int | str = 0) -> str:
    """Return the critic's reply: a sentence and a verdict line, or now and then something unreadable.

    The same arguments give the same reply. An instruction of another world gets no verdict.
    """
    task = read_task(instruction)
    if task is None:
        return "I do not know enough of this subject to compare the two."
    rng = Random("\0".join((str(seed), instruction, first, second)))
    if rng.random() < knobs.malformed:
        return rng.choice(_MALFORMED)
    readings = {"A": read(task, first), "B": read(task, second)}
    gap = readings["A"].score(_looks_ended(first)) - readings["B"].score(_looks_ended(second))
    longer = len(first.split()) - len(second.split())
    logit = gap / knobs.temp + knobs.position_bias + knobs.verbosity_bias * longer
    best: Slot = "A" if rng.random() < _sigmoid(logit) else "B"
    other: Slot = "B" if best == "A" else "A"
    return f"{_reason(best, readings[best], readings[other])}\n\nVerdict: {best}"


def _looks_ended(completion: str) -> bool:
    return completion.rstrip().endswith((".", "!", "?"))


def _sigmoid(x: float) -> float:
    # exp of minus the absolute value cannot overflow, whatever the knobs
    small = math.exp(-abs(x))
    return 1 / (1 + small) if x >= 0 else small / (1 + small)


def _reason(slot: Slot, best: Reading, other: Reading) -> str:
    """Return a reason that is true of the two readings; if the verdict was luck, it is a vague one."""
    if best.correct and not other.correct:
        return f"Answer {slot} is right and the other one is not."
    if best.support and not other.support:
        return f"Answer {slot} adds a fact that is true and useful."
    if other.support is False and best.support is not False:
        return f"Answer {slot} keeps clear of the false remark in the other one."
    if best.num_fillers < other.num_fillers:
        return f"Answer {slot} comes to the point sooner."
    if best.sentence and not other.sentence:
        return f"Answer {slot} says it in a full sentence."
    if best.closer and not other.closer:
        return f"Answer {slot} ends on a friendlier note."
    return f"Answer {slot} serves the person who asked a little better."
