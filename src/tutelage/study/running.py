"""Carrying out a study's tasks: one after the other, or several at once in processes. Stages do the rest.

What is made stays made: a study that was stopped, or of which an arm failed, goes on where it was when it is run
again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import active_children, get_context, parent_process
from typing import Any, NoReturn

from tutelage import stages
from tutelage.chat import Budget
from tutelage.config import Group, StageConfig
from tutelage.errors import BudgetError, StudyError, TutelageError
from tutelage.pipeline import within
from tutelage.progress import say
from tutelage.records import Usage
from tutelage.stages.asking import Asking, spent_so_far
from tutelage.stages.ranks import end_with
from tutelage.store import Artifact
from tutelage.study.ground import endpoint_of
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
    for_all = {task.key for each in (graph.split, graph.baseline) if each is not None for task in each.all()}
    recipe = graph.recipe
    with _runner(recipe.workers) as start:
        named = partial(_started, start, graph)
        _loop(waiting, done, for_all, named, recipe.workers, recipe.budget, recipe.name)
    return done


def look_up(graph: Graph) -> Done:
    """Return what is done already."""
    done = Done()
    for task in graph.all():
        done.num_found += task.found(done.made) is not None
    return done


Start = Callable[[str, StageConfig, Group], "Future[Artifact]"]


def _started(start: Start, graph: Graph, task: Task, config: StageConfig, inputs: Group) -> Future[Artifact]:
    label = graph.labels.get(task.key, graph.recipe.name)
    return start(task.stage, config.model_copy(update={"label": label}), inputs)


def _loop(
    waiting: list[Task],
    done: Done,
    for_all: set[str],
    start: Callable[[Task, StageConfig, Group], Future[Artifact]],
    workers: int,
    budget: Budget,
    name: str,
) -> None:
    """Start what can be started, take what is finished, until nothing is left."""
    limited = (budget.usd, budget.tokens) != (None, None)
    begun = spent_on(waiting, done.made) if limited else {}
    running: dict[Future[Artifact], Task] = {}
    while waiting or running:
        for task in list(waiting):
            if len(running) >= workers:
                break
            asks = isinstance(task.config, Asking)
            if limited and asks and any(isinstance(t.config, Asking) for t in running.values()):
                continue  # what one costs is what the next may not
            needs = [needed.key for _, needed in task.needs.values()]
            if broken := [done.failed[key] for key in needs if key in done.failed]:
                done.failed[task.key] = broken[0]
                waiting.remove(task)
            elif all(key in done.made for key in needs):
                waiting.remove(task)
                config: Any = task.config
                if asks:
                    others = [spent for key, spent in begun.items() if key not in (task.key, *done.made)]
                    config = within(budget, name, config, done.made.values(), others)
                running[start(task, config, task.inputs(done.made))] = task
        if not running:
            continue
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            task = running.pop(future)
            _take(future, task, done, for_all, budget)
            if limited and task.key in done.failed:
                begun |= spent_on([task], done.made)


def spent_on(tasks: Iterable[Task], made: Mapping[str, Artifact]) -> dict[str, Usage]:
    """Return what was spent for tasks that are not done, by their keys: where money ran out, for example."""
    found = {}
    for task in tasks:
        endpoint = endpoint_of(task)
        if endpoint is not None and all(needed.key in made for _, needed in task.needs.values()):
            work = task.does.work(task.config, task.inputs(made))
            found[task.key] = spent_so_far(endpoint, work)
    return found


def _take(future: Future[Artifact], task: Task, done: Done, for_all: set[str], budget: Budget) -> None:
    try:
        done.made[task.key] = future.result()
    except TutelageError as error:
        if task.key in for_all:
            raise
        done.failed[task.key] = f"{task.stage}: {error}{_of_study(error, budget)}"
        say(f"study: {task.stage} failed, the arms without it go on: {error}")


def _of_study(error: TutelageError, whole: Budget) -> str:
    """Say whose budget it is that ended: a stage has what the others left of the study's."""
    limits = {"usd": whole.usd, "tokens": whole.tokens}
    of = " and ".join(f"budget.{name}={limit}" for name, limit in limits.items() if limit is not None)
    return f" (what other stages left of the study's {of})" if of and isinstance(error, BudgetError) else ""


@contextlib.contextmanager
def _runner(workers: int) -> Iterator[Start]:
    """Lend what starts a stage: in this process if there is one worker, else in a process of a pool."""
    if workers == 1:
        yield _here
        return
    threads = max(1, (os.cpu_count() or 1) // workers)
    others = set(active_children())
    # a forked process would hold half of torch's threads
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin, (os.getpid(), threads))

    def start(stage: str, config: StageConfig, inputs: Group) -> Future[Artifact]:
        with _without_interrupt():
            return pool.submit(_make, stage, config, inputs)

    try:
        yield start
        pool.shutdown()
    except BrokenProcessPool:
        raise StudyError(
            f"one of workers={workers} processes ended without a word (often memory); give fewer. What was made is "
            "kept, and the same command goes on"
        ) from None
    except BaseException:
        for process in set(active_children()) - others:
            process.terminate()  # they save what they train, as on Ctrl-C
        pool.shutdown(cancel_futures=True)
        raise


@contextlib.contextmanager
def _without_interrupt() -> Iterator[None]:
    """Keep Ctrl-C, which reaches all of a terminal, from processes that are started here: we tell them to stop."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _here(stage: str, config: StageConfig, inputs: Group) -> Future[Artifact]:
    future: Future[Artifact] = Future()
    try:
        future.set_result(stages.get(stage).run(config, inputs))
    except TutelageError as error:
        future.set_exception(error)
    return future


_AT_WORK = threading.Event()
"""In a process of the pool: it is making something."""


def _begin(parent: int, threads: int) -> None:
    """Set up a process of the pool: quiet, its share of the cores, and stopped together with the one that made it."""
    os.environ["TUTELAGE_QUIET"] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()


def _stop(number: int, frame: Any) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a broken pool tells them again, while they save
    if not _AT_WORK.is_set():
        os._exit(1)
    raise KeyboardInterrupt


def _make(stage: str, config: StageConfig, inputs: Group) -> Artifact:
    _AT_WORK.set()
    try:
        return stages.get(stage).run(config, inputs)
    except KeyboardInterrupt:
        parent = parent_process()
        if parent is not None and not parent.is_alive():
            os._exit(1)  # it is saved, and nobody is there to hear of it
        raise
    finally:
        _AT_WORK.clear()
