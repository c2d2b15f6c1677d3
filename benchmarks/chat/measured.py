"""What one client process used, counted from after its imports. Standard library only, for the peers' sake."""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak_rss_mb() -> float:
    # Not ru_maxrss: Linux carries that one over from the process that started this one.
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmHWM; the benchmarks need Linux")


class Measured:
    """From construction to `report`: CPU seconds of all threads, wall seconds, and peak memory of the process."""

    def __init__(self) -> None:
        self.import_cpu = _cpu_seconds()
        self._cpu, self._wall = _cpu_seconds(), time.perf_counter()

    def report(self, num_replies: int, **versions: str) -> None:
        """Print one line of JSON: what was used for `num_replies` replies."""
        line: dict[str, Any] = {
            "replies": num_replies,
            "cpu": _cpu_seconds() - self._cpu,
            "wall": time.perf_counter() - self._wall,
            "rss": _peak_rss_mb(),
            "import_cpu": self.import_cpu,
            "versions": versions,
        }
        print(json.dumps(line), flush=True)


def arguments(doc: str | None) -> argparse.Namespace:
    """Read what every client is told: where to ask, how much, and how much at once."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", help="which of this file's clients")
    parser.add_argument("--url", required=True, help="address of quick_server.py")
    parser.add_argument("--num", type=int, required=True, help="requests, or pairs")
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="for what the client keeps")
    return parser.parse_args()
