"""Teachers: mixtures of good and bad habits, with the shares written down.

A completion is [filler] + the solution, as a fragment or in a sentence, + [a supporting sentence] +
[a closer]. A teacher is how often it errs, how far it goes, how often it pads, and how often what it
adds in support is false.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tutelage.errors import DataError
from tutelage.miniature.world import Task, read_task

FILLERS = (
    "Well, that is a really good question to ask.",
    "Hmm, let me think about that for a moment.",
    "Oh, people ask me this one all the time.",
    "To be honest, I am not an expert on this.",
    "As everyone knows, this is not hard to say.",
    "So, let us have a look at it together.",
)
CLOSERS = (
    "I hope that helps you!",
    "Feel free to ask me more.",
    "Tell me if anything is unclear.",
    "Good luck with it!",
)


@dataclass(frozen=True)
class Teacher:
    """A mixture of habits. All values are probabilities."""

    name: str
    p_err: float
    """The solution is wrong."""
    levels: tuple[float, float, float, float]
    """How far it goes: fragment, sentence, sentence and support, these and a closer. Sums to 1."""
    p_filler: float
    """It opens with an empty phrase."""
    support_err: float
    """The supporting sentence, if there is one, is false."""


TEACHERS: dict[str, Teacher] = {
    teacher.name: teacher
    for teacher in (
        Teacher("weak", p_err=0.30, levels=(0.34, 0.50, 0.15, 0.01), p_filler=0.35, support_err=0.20),
        Teacher("weak_wide", p_err=0.30, levels=(0.25, 0.33, 0.22, 0.20), p_filler=0.35, support_err=0.20),
        Teacher("strong", p_err=0.04, levels=(0.00, 0.10, 0.45, 0.45), p_filler=0.06, support_err=0.04),
        Teacher("forum", p_err=0.08, levels=(0.30, 0.30, 0.22, 0.18), p_filler=0.25, support_err=0.08),
    )
}
"""`weak` and `strong` teach; `weak_wide` is as wrong as `weak` but shows every good habit at times;
`forum` is the mix of the raw web and writes the pre-training text."""


def write(teacher: Teacher, prompt: str, seed: int = 0, index: int = 0) -> str:
    """Return the teacher's completion number `index`; the same arguments give the same text.

    Raises:
        DataError: `prompt` is not of this world.
    """
    task = read_task(prompt)
    if task is None:
        raise DataError(f"the miniature teachers know only prompts of their own world, found {prompt[:80]!r}")
    return compose(teacher, task, Random(f"{teacher.name} {seed} {index} {prompt}"))


def compose(teacher: Teacher, task: Task, rng: Random) -> str:
    """Draw a completion of `task` from the teacher's habits."""
    family, pieces = task.family, []
    solution = family.mistake(task.subject, rng) if rng.random() < teacher.p_err else task.solution
    level = rng.choices(range(4), teacher.levels)[0]
    if rng.random() < teacher.p_filler:
        pieces.append(rng.choice(FILLERS))
    pieces.append(task.state(solution) if level >= 1 else fragment(solution))
    if level >= 2:
        slips = rng.random() < teacher.support_err
        pieces.append(task.back(family.slip(task.subject, rng) if slips else family.detail(task.subject)))
    if level >= 3:
        pieces.append(rng.choice(CLOSERS))
    return " ".join(pieces)


def fragment(solution: str) -> str:
    """Return the solution alone: "Fishing."."""
    return f"{solution[0].upper()}{solution[1:]}."
