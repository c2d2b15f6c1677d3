"""A training stage in several processes: started here for `devices=N`, or by torchrun on one machine or many.

The first process does what a single one does: it holds the lock, writes the files and the record. The others
compute their share of the same body, and write nothing.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.errors import ConfigError, TrainingError, TutelageError
from tutelage.store import Artifact

if TYPE_CHECKING:
    from tutelage.stages.base import Stage

JOB = "TUTELAGE_JOB"
"""Environment variable that holds the folder through which a process we started tells what went wrong."""

GRACE_SECONDS = 30
"""What is left to save when the process that started us is gone; torchrun gives as much."""


MOST_PER_CORE = 4
"""Processes for a core of a machine without GPUs: each takes half a gigabyte for its libraries alone."""


def under_torchrun() -> bool:
    """True in one of several processes that torchrun started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def run_as_rank(stage: Stage[Any, Any], config: Any, inputs: Any) -> Artifact:
    """Return the artifact, made together with the other processes.

    Raises:
        ConfigError: the stage trains nothing, so there is nothing to share.
    """
    from tutelage.train import parallel

    if not stage.trains:
        raise ConfigError(f"tutelage {stage.name} runs in one process; torchrun is for sft, dpo and reward")
    parallel.start()
    if not parallel.is_first():
        return _follow(stage, config, inputs)
    told = False

    def tell() -> None:
        nonlocal told
        told = parallel.from_first(True)

    try:
        artifact = stage.make(config, inputs, tell)
    finally:
        if not told:  # it was there already, or something was wrong before the work began
            parallel.from_first(False)
    parallel.wait_for_all()
    return artifact


def _follow(stage: Stage[Any, Any], config: Any, inputs: Any) -> Artifact:
    """Compute along with the first process, once it says that there is something to compute."""
    from tutelage.train import parallel

    go = parallel.from_first(False)
    work = stage.work(config, inputs)
    if go:
        stage.body(config, inputs, work)
    parallel.wait_for_all()
    done = stage.work(config, inputs).finished()
    if done is None:
        raise SystemExit(2)  # the first process says why
    return done


def launch(stage: Stage[Any, Any], config: Any, inputs: Any) -> Artifact:
    """Start `config.devices` processes on this machine, wait, and return what they made.

    Raises:
        ConfigError: there are not so many GPUs, or cores.
        TutelageError: whatever stopped them.
        KeyboardInterrupt: asked to stop; what was done is saved.
    """
    import torch
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    gpus, devices = torch.cuda.device_count(), config.devices
    if 0 < gpus < devices:
        raise ConfigError(f"devices={devices}: this machine has {gpus} GPUs; give at most {gpus}")
    cores = os.cpu_count() or 1
    if not gpus and devices > MOST_PER_CORE * cores:
        raise ConfigError(
            f"devices={devices}: this machine has no GPU and {cores} cores, which share its memory; "
            f"give at most {MOST_PER_CORE * cores}"
        )
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # one error is enough, and it is ours
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // devices)))
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder)
        said = {"stage": stage.name, "config": _dump(config), "inputs": _dump(inputs)}
        (job / "job.json").write_text(json.dumps(said), "utf-8")
        os.environ[JOB] = folder
        launcher = elastic_launch(
            LaunchConfig(
                1, 1, devices, None, job.name, rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0
            ),
            sys.executable,
        )
        try:
            launcher("-m", "tutelage.stages.rank")
        except ChildFailedError as error:
            raise _what_went_wrong(job, error) from None
        except SignalException:
            raise KeyboardInterrupt from None
        finally:
            del os.environ[JOB]
    done = stage.work(config, inputs).finished()
    assert done is not None, "the processes ended well"
    return done


def _dump(group: Any) -> dict[str, Any]:
    """Return the settings as they were given: without what pydantic fills in."""
    return group.model_dump(mode="json")  # type: ignore[no-any-return]


def _what_went_wrong(job: Path, error: Any) -> BaseException:
    """Return what the first process that failed has to say.

    The others fail for its sake, in many ways: it no longer answers, or they are told to stop. So what one knows to
    be wrong comes first, then who was killed, then what came first of code that failed and a request to stop.
    """
    said = sorted(job.glob("error-*"), key=lambda path: int(path.suffix[1:]))
    if said:
        return TutelageError(said[0].read_text("utf-8"))
    goes_on = "the same command goes on from the last saved step"
    killed = [(rank, f) for rank, f in error.failures.items() if f.exitcode < 0 and f.exitcode != -signal.SIGTERM]
    left = sorted([*job.glob("trace-*"), *job.glob("stopped")], key=lambda path: path.stat().st_mtime_ns)
    if killed or not left:
        rank, failure = killed[0] if killed else error.get_first_failure()
        return TrainingError(
            f"process {rank} ended without a word (exit code {failure.exitcode}; -9 is often memory); {goes_on}"
        )
    if left[0].name == "stopped":
        return KeyboardInterrupt()
    return TrainingError(
        f"process {left[0].suffix[1:]} failed, by a mistake of tutelage or of what it is built on; {goes_on}.\n"
        + left[0].read_text("utf-8")
    )


def end_with(parent: int) -> None:
    """If the process that started us is killed, stop as on SIGTERM: save, end, and let go of the folder's lock.

    It is asked and not left to a signal of the kernel, as others of us may have ended before: then we wait for
    them in vain.
    """
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)


def run_job(run: Callable[[str, dict[str, Any], dict[str, Any]], object]) -> int:
    """Run the job of this process's folder; leave there what went wrong, for the process that started us."""
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    job, rank = Path(os.environ[JOB]), os.environ["RANK"]
    said = json.loads((job / "job.json").read_text("utf-8"))
    try:
        run(said["stage"], said["config"], said["inputs"])
    except TutelageError as error:
        (job / f"error-.{rank}").write_text(str(error), "utf-8")
        return 2
    except KeyboardInterrupt:
        (job / "stopped").touch()
        return 130
    except Exception:  # ours, or that of another process that is gone: who started us finds out which
        (job / f"trace-.{rank}").write_text(traceback.format_exc(), "utf-8")
        return 1
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # we end anyway, and in peace
    return 0
