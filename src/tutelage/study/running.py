"""Carrying out a study's tasks: one after the other, or several at once in processes. Stages do the rest.

What is made stays made: a study that was stopped, or of which an arm failed, goes on where it was when it is run
again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Any

from tutelage.chat import Budget
from tutelage.errors import BudgetError, TutelageError
from tutelage.pipeline import within
from tutelage.progress import say
from tutelage.records import Usage
from tutelage.stages.asking import Asking, spent_so_far
from tutelage.store import Artifact
from tutelage.study.ground import endpoint_of
from tutelage.study.processes import Start, runner
from tutelage.study.tasks import Graph, Task


@dataclass
class Done:
    """What came of the tasks, by their keys."""

    made: dict[str, Artifact] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    """Why a task is not done: its own error, or that of a task it needs."""
    num_found: int = 0
    """Tasks that were done before."""


def carry_out(graph: Graph) -> Done:
    """Do every task that is not done yet.

    A task that fails fails the arms that need it; the others go on.

    Raises:
        TutelageError: of a task that every arm needs.
        KeyboardInterrupt: asked to stop; what is done is kept.
    """
    done = look_up(graph)
    waiting = [task for task in graph.all() if task.key not in done.made]
    if not waiting:
        say(f"study: nothing to run: all {done.num_found} artifacts are there")
        return done
    say(f"study: {len(waiting)} of {len(waiting) + done.num_found} stages to run, {done.num_found} are done")
    with runner(graph.recipe.workers) as start:
        _Course(graph, done, waiting, start).run()
    return done


def look_up(graph: Graph) -> Done:
    """Return what is done already."""
    done = Done()
    for task in graph.all():
        done.num_found += task.found(done.made) is not None
    return done


class _Course:
    """The tasks that wait, those that run, and what becomes of them."""

    def __init__(self, graph: Graph, done: Done, waiting: list[Task], start: Start) -> None:
        self.graph, self.done, self.waiting, self.start = graph, done, waiting, start
        self.running: dict[Future[Artifact], Task] = {}
        self.making: dict[str, str] = {}
        """Of the tasks that run, by their keys: the fingerprint of the artifact."""
        budget = graph.recipe.budget
        self.is_limited = (budget.usd, budget.tokens) != (None, None)
        self.begun = spent_on(waiting, done.made) if self.is_limited else {}
        every = [each for each in (graph.split, graph.baseline) if each is not None]
        self.for_all = {task.key for each in every for task in each.all()}

    def run(self) -> None:
        """Start what can be started, take what is finished, until nothing is left."""
        while self.waiting or self.running:
            for task in list(self.waiting):
                self._look_at(task)
            if self.running:
                for future in wait(self.running, return_when=FIRST_COMPLETED).done:
                    self._take(future, self.running.pop(future))

    def _look_at(self, task: Task) -> None:
        """Start a task that waits, if it can begin; give it up if one that it needs failed."""
        needs = [needed.key for _, needed in task.needs.values()]
        if broken := [self.done.failed[key] for key in needs if key in self.done.failed]:
            self.done.failed[task.key] = broken[0]
            self.waiting.remove(task)
        elif len(self.running) < self.graph.recipe.workers and all(key in self.done.made for key in needs):
            asks = isinstance(task.config, Asking)
            if asks and self.is_limited and any(isinstance(t.config, Asking) for t in self.running.values()):
                return  # what one costs is what the next may not
            inputs = task.inputs(self.done.made)
            makes = task.does.work(task.config, inputs).fingerprint
            if makes in self.making.values():
                return  # two that differ in name alone (a model under two names): it is found when that is done
            self.waiting.remove(task)
            config: Any = task.config
            if asks:
                others = [spent for key, spent in self.begun.items() if key not in (task.key, *self.done.made)]
                recipe = self.graph.recipe
                config = within(recipe.budget, recipe.name, config, self.done.made.values(), others)
            label = self.graph.labels.get(task.key, self.graph.recipe.name)
            config = config.model_copy(update={"label": label})
            self.making[task.key] = makes
            self.running[self.start(task.stage, config, inputs)] = task

    def _take(self, future: Future[Artifact], task: Task) -> None:
        del self.making[task.key]
        try:
            self.done.made[task.key] = future.result()
        except TutelageError as error:
            if task.key in self.for_all:
                raise
            self.done.failed[task.key] = f"{task.stage}: {error}{_of_study(error, self.graph.recipe.budget)}"
            say(f"study: {task.stage} failed, the arms without it go on: {error}")
            if self.is_limited:
                self.begun |= spent_on([task], self.done.made)


def spent_on(tasks: Iterable[Task], made: Mapping[str, Artifact]) -> dict[str, Usage]:
    """Return what was spent for tasks that are not done, by their keys: where money ran out, for example."""
    found = {}
    for task in tasks:
        endpoint = endpoint_of(task)
        if endpoint is not None and all(needed.key in made for _, needed in task.needs.values()):
            work = task.does.work(task.config, task.inputs(made))
            found[task.key] = spent_so_far(endpoint, work)
    return found


def _of_study(error: TutelageError, whole: Budget) -> str:
    """Say whose budget it is that ended: a stage has what the others left of the study's."""
    limits = {"usd": whole.usd, "tokens": whole.tokens}
    of = " and ".join(f"budget.{name}={limit}" for name, limit in limits.items() if limit is not None)
    return f" (what other stages left of the study's {of})" if of and isinstance(error, BudgetError) else ""
