"""Runs one client against one server, each a process of its own on a core of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PEERS = HERE / ".peers"
LONGEST_SECONDS = 3_600.0

_CORES = sorted(os.sched_getaffinity(0))
CLIENT_CORE, SERVER_CORE = _CORES[0], _CORES[-1]


class FailedError(Exception):
    """A client that did not do what was asked: then there is nothing to measure."""


@dataclass(frozen=True)
class Client:
    """Something that asks: a script of this folder, one of the clients in it, and the environment it needs."""

    name: str
    script: str
    what: str
    needs: str = ""
    """The package that has to be importable; '' is the project itself."""
    environment: str = ""
    """The folder of `.peers/` that holds it; '' is the running Python."""

    @property
    def python(self) -> str | None:
        """The Python to run it with, or None if it is not installed."""
        own = PEERS / self.environment / "bin" / "python"
        if self.environment and own.exists():
            return str(own)
        found = not self.needs or importlib.util.find_spec(self.needs) is not None
        return sys.executable if found else None


@dataclass(frozen=True)
class Case:
    """One measurement: who asks, how much, how many at once, and how long the server takes to answer."""

    client: Client
    num: int
    connections: int
    latency: float = 0.0


@dataclass(frozen=True)
class Run:
    """What one run of a case used. CPU and wall seconds count from after the imports."""

    num: int
    cpu: float
    wall: float
    rss: float
    import_cpu: float
    num_at_server: int
    server_share: float
    """How much of the wall time the server was busy: near 1, it would be the bottleneck."""
    versions: dict[str, str]

    @property
    def rate(self) -> float:
        """Requests per CPU-second."""
        return self.num / self.cpu


@dataclass(frozen=True)
class Runs:
    """All turns of one case."""

    case: Case
    turns: tuple[Run, ...]

    def median(self, name: str) -> float:
        """Return the median over the turns of one of `Run`'s numbers."""
        return statistics.median(self.values(name))

    def values(self, name: str) -> list[float]:
        """Return one of `Run`'s numbers for every turn."""
        return [float(getattr(run, name)) for run in self.turns]


@contextmanager
def serving(latency: float) -> Iterator[str]:
    """Run a fresh `quick_server.py`; give its address."""
    command = [sys.executable, str(HERE / "quick_server.py"), "--latency", str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=_on(SERVER_CORE)) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def run(url: str, case: Case, folder: Path, num_asked: int | None = None) -> Run:
    """Run `case` once against the server at `url`, keeping what the client keeps in `folder`.

    Args:
        url: of a `serving` server; asking it twice is how replies of an earlier run are found again.
        case: what is run. Its client has to be installed.
        folder: empty, or what an earlier run has left.
        num_asked: how many requests have to arrive at the server; None is all of them.

    Raises:
        FailedError: the client failed, or the replies or requests are not as many as they should be.
    """
    assert case.client.python is not None
    before = _counts(url)
    options = {"url": url, "num": case.num, "connections": case.connections, "folder": folder}
    command = [case.client.python, str(HERE / case.client.script), case.client.what]
    command += [f"--{name}={value}" for name, value in options.items()]
    environment = dict(os.environ)
    if case.client.python != sys.executable:
        # The project's own path is none of theirs.
        environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=environment,
        timeout=LONGEST_SECONDS,
        preexec_fn=_on(CLIENT_CORE),
    )
    if done.returncode:
        raise FailedError(f"{case.client.name} failed:\n{done.stderr[-2_000:]}")
    after = _counts(url)
    found = json.loads(done.stdout.splitlines()[-1])
    num_at_server = after["requests"] - before["requests"]
    expected = case.num if num_asked is None else num_asked
    if (found["replies"], num_at_server) != (case.num, expected):
        raise FailedError(
            f"{case.client.name}: {found['replies']} replies, {num_at_server} requests at the server; "
            f"expected {case.num} and {expected}"
        )
    return Run(
        num=case.num,
        cpu=found["cpu"],
        wall=found["wall"],
        rss=found["rss"],
        import_cpu=found["import_cpu"],
        num_at_server=num_at_server,
        server_share=(after["cpu_seconds"] - before["cpu_seconds"]) / found["wall"],
        versions=found["versions"],
    )


def interleaved(cases: Sequence[Case], turns: int) -> list[Runs]:
    """Run all `cases` in turn, `turns` times: what else the machine does then hits all of them alike.

    Cases whose client is not installed come back without turns.
    """
    results: dict[Case, list[Run]] = {case: [] for case in cases}
    for turn in range(turns):
        for case in cases:
            if case.client.python is None:
                continue
            narrate(f"{case.client.name}: {case.num:,} at {case.connections} connections, {turn + 1} of {turns}")
            with serving(case.latency) as url, tempfile.TemporaryDirectory() as folder:
                results[case].append(run(url, case, Path(folder)))
    return [Runs(case, tuple(found)) for case, found in results.items()]


def narrate(text: str) -> None:
    """Say on standard error what is going on; standard output is for the tables."""
    print(f"  {text}", file=sys.stderr, flush=True)


def _on(core: int) -> Any:
    return partial(os.sched_setaffinity, 0, {core})


def _counts(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/counts", timeout=10) as reply:
        counts: dict[str, Any] = json.loads(reply.read())
    return counts
