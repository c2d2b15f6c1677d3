"""`tutelage study recipe.yaml --dry-run`: what will be made, what it costs, how long it takes, what it can show.

Nothing is asked or trained, and nothing is written into the artifacts folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from textwrap import fill

from tutelage.chat.estimate import Estimate, table
from tutelage.progress import human_seconds
from tutelage.study.cautions import cautions
from tutelage.study.design import Way, ways
from tutelage.study.expected import Expected, expected
from tutelage.study.foreseen import MOST, Foreseen
from tutelage.study.ground import Ground, looked_at
from tutelage.study.pace import Pace
from tutelage.study.questions import Question, in_words, questions
from tutelage.study.smallest import smallest
from tutelage.study.tasks import Graph, Task
from tutelage.study.terminal import WIDTH

_DOES = {
    "split": "split",
    "opponent": "teach (the opponent)",
    "teach": "teach",
    "sft": "sft",
    "sample": "sample",
    "label": "label",
    "prefer": "prefer",
    "dpo": "dpo",
    "best": "sft on what was chosen",
    "draw": "sample to evaluate",
    "evaluate": "evaluate",
    "agree": "label by the judges",
}


def plan(graph: Graph) -> str:
    """Return the plan of a study, for people.

    Raises:
        TutelageError: as `check`: something is wrong with the recipe.
    """
    found = ways(graph.recipe)
    asks = questions(graph.recipe, found)
    with looked_at(graph) as ground:
        foreseen = Foreseen(ground)
        pace = Pace(ground, foreseen)
        costs = expected(ground, foreseen, pace)
        estimates = foreseen.estimates()
        recipe = graph.recipe
        shown = smallest(recipe, len(ground.evaluated), len(asks))
        title = f"Study {recipe.name}: {len(found)} arms, seeds {', '.join(map(str, recipe.seeds))}"
        sections = {
            "Arms": _arms(ground, found),
            "Stages": _stages(ground),
            "Asked over APIs": _asked(ground, estimates),
            "Time": _time(pace, recipe.workers),
            "What it can show": shown.lines,
            f"What the training data of each arm takes, a run (match: {recipe.match})": _costs(costs),
            f"Comparisons ({len(asks)})": _comparisons(graph, asks, costs),
            "Take care": cautions(ground, found, foreseen, estimates, shown.least),
        }
    parts = ["\n".join([name, *map(_indented, lines)]) for name, lines in sections.items() if lines]
    return "\n\n".join([title, *parts, "Nothing was asked or trained, and no artifact was made."])


def _indented(line: str) -> str:
    """Return a line of a section; a sentence is broken where it is too long for a screen, a row of a table is not."""
    if "  " in line.strip() or len(line) <= WIDTH:
        return f"  {line}".rstrip()
    return fill(line, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)


def _arms(ground: Ground, found: Sequence[Way]) -> list[str]:
    graph, above = ground.graph, set[str]()
    rows: list[tuple[str, ...]] = [("arm", "what it is", "stages", "shared with arms above", "made")]
    several = len(graph.recipe.models) > 1
    apart = 0
    for way in found:
        own: dict[str, Task] = {}
        for seed in graph.recipe.seeds:
            run = {task.key: task for each in graph.runs[way.name, seed].values() for task in each.all()}
            apart += len(run)
            own |= run
        made = sum(ground.is_made(task) for task in own.values())
        numbers = (len(own), len(above & own.keys()), made)
        rows.append((way.name, in_words(way, several), *(f"{num:,}" for num in numbers)))
        above |= own.keys()
    num, of_sft = len(ground.tasks), sum(task.stage == "sft" for task in ground.tasks)
    alone = sum(task.stage == "sft" for run in graph.runs.values() for task in run.values())
    return [
        *columns(rows, left=2),
        f"Together {num:,} stages; {apart:,} if each arm and seed made its own (sft: {of_sft} in place of {alone}).",
    ]


def _stages(ground: Ground) -> list[str]:
    """Return what is to run and what is made, by what it is for."""
    roles: dict[str, str] = {ground.graph.split.key: "split"}
    if ground.graph.baseline is not None:
        roles[ground.graph.baseline.key] = "opponent"
    for run in ground.graph.runs.values():
        for name, task in run.items():
            roles.setdefault(task.key, name.partition(":")[0])
    made = Counter(roles[task.key] for task in ground.tasks if ground.is_made(task))
    every = Counter(roles[task.key] for task in ground.tasks)
    rows = [("stage", "to run", "made")]
    rows += [(_DOES[r], f"{every[r] - made[r]:,}", f"{made[r]:,}") for r in _DOES if every[r]]
    rows.append(("together", f"{every.total() - made.total():,}", f"{made.total():,}"))
    return columns(rows, left=1)


def _asked(ground: Ground, estimates: Sequence[Estimate]) -> list[str]:
    if not estimates:
        return ["Nothing is left to ask."]
    lines = table(estimates)
    if all(each.note.startswith("in this process") for each in estimates):
        lines.append("Nothing of this is paid: all that is asked are programs in this process.")
    if max(len(ground.prompts), len(ground.evaluated)) > MOST:
        lines.append(f"Where texts are yet to be drawn, {MOST:,} prompts at most stand for all of them.")
    return lines


def _time(pace: Pace, workers: int) -> list[str]:
    time = pace.time()
    lines = []
    if time.num_seen:
        lines.append(
            f"About {human_seconds(time.seconds)} of work, as {time.num_seen} finished artifacts of the same stages "
            f"and models took{', and more:' if time.unknown else '.'}"
        )
        if workers > 1:
            least = max(time.longest, time.seconds / workers)
            lines.append(f"With workers={workers} about {human_seconds(least)}, if they do not slow each other down.")
    if time.unknown:
        lines.append(
            f"Nothing is known yet of {', '.join(time.unknown)} with these models; the first arm will tell: "
            "--dry-run again once it is made."
        )
    return lines or ["Everything is made."]


def _costs(costs: dict[str, Expected]) -> list[str]:
    rows: list[tuple[str, ...]] = [
        ("arm", "taught", "labelled", "prompts", "tokens trained on", "teacher", "critic", "dollars")
    ]
    for name, cost in costs.items():
        tokens = "not known yet" if cost.tokens is None else f"~{cost.tokens:,.0f}"
        nums = (f"{cost.taught:,.0f}", f"{cost.labelled:,.0f}", f"{cost.prompts:,.0f}")
        rows.append((name, *nums, tokens, *map(dollars, (cost.teacher, cost.critic, cost.dollars))))
    lines = columns(rows, left=1)
    if any(cost.tokens is None for cost in costs.values()):
        lines.append("Tokens are known once an arm with the same model has been trained.")
    return [*lines, "Prompts and dollars are the most: what fails, or is the same text twice, is left out."]


def _comparisons(graph: Graph, asks: Sequence[Question], costs: dict[str, Expected]) -> list[str]:
    if not asks:
        return ["None: no arm has feedback. Give comparisons: [[first, second]] to have arms compared."]
    rule, lines = graph.recipe.match, []
    for number, question in enumerate(asks, 1):
        first, second = (_amount(rule, costs[name]) for name in (question.first, question.second))
        equal = f"equal {rule}: {first}" if first == second else f"{rule}: {first} against {second}"
        lines += [f"{number:>2}. {question.asked.question}", f"    {question.first} - {question.second}; {equal}"]
    return lines


def _amount(rule: str, cost: Expected) -> str:
    if rule == "dollars":
        return dollars(cost.dollars)
    value = cost.prompts if rule == "prompts" else cost.tokens
    return "not known yet" if value is None else f"{value:,.0f}"


def dollars(value: float | None) -> str:
    """Return at most so many dollars, for people."""
    if not value:
        return "unknown" if value is None else "$0"
    return f"<= ${value:,.2f}" if value >= 1 else f"<= ${value:.4f}"


def columns(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Return rows as lines, the first `left` columns flush left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
