"""Where a study's stages run: in this process, or several at once in processes that end with it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, current_process, get_context, parent_process
from typing import Any, NoReturn

from tutelage import stages
from tutelage.config import Group, StageConfig
from tutelage.errors import StudyError, TutelageError
from tutelage.stages.ranks import end_with
from tutelage.store import Artifact

_GUARD = 'put what runs the study into a file, under `if __name__ == "__main__":`'
Start = Callable[[str, StageConfig, Group], "Future[Artifact]"]
"""Start a stage by its name, with settings and inputs."""


def refuse_a_second_start() -> None:
    """Refuse to begin in a process of a pool that is only about to: it runs the script again that started it.

    Raises:
        StudyError: says what the script needs.
    """
    # what multiprocessing asks itself before it refuses a process that starts processes too early
    if getattr(current_process(), "_inheriting", False):
        raise StudyError(f"workers: their processes read this script again, and must not run it again; {_GUARD}")


@contextlib.contextmanager
def runner(workers: int) -> Iterator[Start]:
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
            f"one of workers={workers} processes ended without a word. Often it is memory: give fewer. In a script "
            f"of yours: {_GUARD}. What was made is kept, and the same command goes on"
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
