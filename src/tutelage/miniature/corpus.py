"""The text the base model is pre-trained on: articles, school lessons, and a forum of mixed quality.

No document shows the chat format, and no line of one is a prompt of the road: the forum greets before
it asks. But the world is small, and behind the greeting stand the wordings the road also uses, so most
evaluation prompts have been asked in the forum, with a completion of the forum's quality. What the road
measures is what a student makes of its teacher and its critic, not whether it has seen a question.
"""

from __future__ import annotations

from random import Random

from tutelage.miniature.encyclopedia import TOWNS, YOUNG
from tutelage.miniature.teachers import TEACHERS, compose
from tutelage.miniature.world import FAMILIES, LEAD_INS, Family, Task, draw_task

GREETINGS = ("Hi all. ", "Dear forum. ", "Good morning. ", "Sorry to ask. ")
"""Every question of the forum opens with one, and no prompt does."""
_FORUM = TEACHERS["forum"]
_LESSON_WEIGHTS = {"count": 2.0, "pick": 1.5, "polite": 1.5, "add": 1.5, "opposite": 2.5}
"""What has to be computed or copied takes more practice than what is remembered; opposites are many."""


def write_documents(num: int, seed: int) -> list[str]:
    """Return `num` documents: 15 % articles, 35 % lessons, 50 % forum."""
    rng = Random(f"pre-training text {seed}")
    kinds = rng.choices((_article, _lesson, _forum), (15, 35, 50), k=num)
    return [kind(rng) for kind in kinds]


def question(prompt: str) -> str:
    """Return the opening of a forum document, up to where the reply begins."""
    return f"Question\n{prompt}\nReply\n"


def draw_forum_prompt(rng: Random, task: Task) -> str:
    """Return the task in the words of the forum."""
    return rng.choice(GREETINGS) + task.ask(rng.randrange(3), rng.choice(LEAD_INS))


def _forum(rng: Random) -> str:
    task = draw_task(rng)
    return question(draw_forum_prompt(rng, task)) + compose(_FORUM, task, rng)


def _lesson(rng: Random) -> str:
    """Return three worked examples of one family, without a mistake."""
    weights = [_LESSON_WEIGHTS.get(name, 1.0) for name in FAMILIES]
    family = rng.choices(tuple(FAMILIES.values()), weights)[0]
    return "\n".join(["Lesson", *(_example(family, rng) for _ in range(3))])


def _example(family: Family, rng: Random) -> str:
    task = Task(family, family.draw(rng))
    return f"{task.subject}\n{task.state(task.solution)} {task.back(family.detail(task.subject))}"


def _article(rng: Random) -> str:
    """Return an article on a town, or now and then on an animal."""
    if rng.random() < 0.2:
        subject, facts = rng.choice(tuple(YOUNG)), ["young"]
    else:
        subject, facts = rng.choice(tuple(TOWNS)), ["trade", "region", "flag"]
        rng.shuffle(facts)
    tasks = [Task(FAMILIES[name], subject) for name in facts]
    sentences = [task.state(task.solution) for task in tasks]
    if facts == ["young"]:
        sentences.append(tasks[0].back(tasks[0].family.detail(subject)))
    return f"Article: {subject}\n" + " ".join(sentences)
