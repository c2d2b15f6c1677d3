"""The oracle: what a completion is worth, 0 to 10, from the text alone.

    correct                +5        closer                      +1
    in a full sentence     +1        each filler                 -1, at most -2
    support that is true   +2        rambling                    -1
    support that is false  -1        ended by itself             +1

A piece is rambling if it is none of the above or says again what was said: a second statement, a
second support, a second closer. Whatever its length, rambling costs one point. An empty
completion is worth nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from tutelage.errors import DataError
from tutelage.miniature.teachers import CLOSERS, FILLERS
from tutelage.miniature.world import Task, read_task

BEST = 10.0
_MAX_FRAGMENT_WORDS = 4
"""A piece that is no sentence of the family still counts as the solution if it is this short."""
_PIECES = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class Reading:
    """What a completion says, piece by piece."""

    solution: str | None = None
    """The solution given, right or wrong, in lower case."""
    correct: bool = False
    sentence: bool = False
    support: bool | None = None
    """True or false as what it says is; None if there is none."""
    closer: bool = False
    num_fillers: int = 0
    rambling: bool = False

    def score(self, ended: bool) -> float:
        """Return the points, 0 to 10."""
        points = 5.0 * self.correct + self.sentence + self.closer + ended - min(self.num_fillers, 2)
        points += {True: 2.0, False: -1.0, None: 0.0}[self.support] - self.rambling
        return min(max(points, 0.0), BEST)


@lru_cache(maxsize=4096)
def _form(template: str, subject: str, field: str) -> re.Pattern[str]:
    before, after = template.split("{" + field + "}")
    before, after = before.replace("{subject}", subject), after.replace("{subject}", subject)
    return re.compile(f"{re.escape(before)}(.+){re.escape(after)}", re.IGNORECASE)


def read(task: Task, completion: str) -> Reading:
    """Take a completion apart."""
    statement = _form(task.family.statement, task.subject, "solution")
    support = _form(task.family.support, task.subject, "detail")
    solution: str | None = None
    backed: bool | None = None
    sentence = closer = rambling = False
    num_fillers = 0
    for piece in _PIECES.split(completion.strip()):
        stated, detailed = statement.fullmatch(piece), support.fullmatch(piece)
        if piece in FILLERS:
            num_fillers += 1
        elif piece in CLOSERS:
            rambling, closer = rambling or closer, True
        elif detailed is not None:
            rambling = rambling or backed is not None
            if backed is None:
                backed = detailed[1].lower() == task.family.detail(task.subject).lower()
        elif stated is not None and solution is None:
            solution, sentence = stated[1].lower(), True
        elif solution is None and 0 < len(piece.split()) <= _MAX_FRAGMENT_WORDS:
            solution = piece.rstrip(".!?").lower()
        elif piece:
            rambling = True
    correct = solution == task.solution.lower()
    return Reading(solution, correct, sentence, backed, closer, num_fillers, rambling)


def grade(prompt: str, completion: str, ended: bool = True) -> float:
    """Return what `completion` is worth, 0 to 10; `ended` is false if it ran into the token limit.

    Raises:
        DataError: `prompt` is not of this world.
    """
    task = read_task(prompt)
    if task is None:
        raise DataError(f"the oracle grades only prompts of the miniature world, found {prompt[:80]!r}")
    return read(task, completion).score(ended and bool(completion.strip()))
