"""`tutelage` as a user runs it: as a process, or as several of one training.

Most are forked from a server that has imported what takes seconds; tests of what a process is (killed, stopped, in
another environment) start `command` themselves.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

SECONDS = 300
HEAVY = [
    "tutelage.pipeline",
    "tutelage.stages.ranks",
    "tutelage.train.fit",
    "tutelage.generate.policy_samples",
    "transformers.models.llama.modeling_llama",
]
"""What the stages import late, as each of it takes a second or so."""

FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(HEAVY)


def command(*words: object) -> list[str]:
    """The command line of `tutelage` with these words."""
    return [sys.executable, "-m", "tutelage", *map(str, words)]


def tutelage(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run the command in `folder`; it must succeed."""
    done = ended(folder, *words)
    assert done.returncode == 0, done.stderr
    return done


def ended(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run the command in `folder`, however it ends."""
    return _all_ended(folder, words, [{}])[0]


def together(folder: Path, num: int, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a training stage in `num` processes, as torchrun starts them; they must succeed. Return the first."""
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": str(num)}
    all_done = _all_ended(folder, words, [common | {"RANK": str(i), "LOCAL_RANK": str(i)} for i in range(num)])
    for done in all_done:
        assert done.returncode == 0, done.stderr
    return all_done[0]


def in_two(call: Callable[[int, Path, int], None], folder: Path) -> None:
    """Call a function of a test module in two processes with their ranks, `folder` and a port to meet at."""
    from torch.multiprocessing import start_processes

    start_processes(call, (folder, _free_port()), nprocs=2, start_method="forkserver")


def narrating() -> dict[str, str]:
    """The environment of a user: with narration."""
    return {k: v for k, v in os.environ.items() if k != "TUTELAGE_QUIET"}


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _all_ended(
    folder: Path, words: Sequence[object], variables: Sequence[Mapping[str, str]]
) -> list[subprocess.CompletedProcess[str]]:
    """Run the command once for each set of environment variables, all at the same time."""
    given = [str(word) for word in words]
    with TemporaryDirectory() as said:
        texts = [(Path(said, f"{i}.out"), Path(said, f"{i}.err")) for i in range(len(variables))]
        processes = [
            FORKED.Process(target=_main, args=(given, folder, narrating() | more, *paths))
            for more, paths in zip(variables, texts, strict=True)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(SECONDS)
        late = [process for process in processes if process.exitcode is None]
        for process in late:
            process.kill()
        assert not late, f"still running after {SECONDS} s: {given}"
        return [
            subprocess.CompletedProcess(given, p.exitcode, out.read_text("utf-8"), err.read_text("utf-8"))
            for p, (out, err) in zip(processes, texts, strict=True)
        ]


def _main(words: list[str], folder: Path, environment: dict[str, str], out: Path, err: Path) -> None:
    """What a forked process does: become what `command` would have started."""
    from tutelage.cli import main

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, path in ((1, out), (2, err)):
        with path.open("wb") as file:
            os.dup2(file.fileno(), number)
    sys.argv = ["tutelage", *words]
    sys.exit(main())
