"""Does `tutelage study miniature` find what is planted in its world, in time, with a report that is small enough?

Runs the study that comes with the package in a folder of its own, six arms and three seeds on two processes, and
checks: SFT on the weak teacher < feedback < SFT on the strong one, each difference with an interval that leaves out
0; random labels bring no gain; under 8 minutes; a report under 3 MB. Ends with status 1 if one of them fails.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tutelage.findings import ComparisonFound, Findings

MINUTES, MEGABYTES = 8, 3
ORDER = (("dpo-weak", "sft-weak-100"), ("sft-strong-100", "dpo-weak"))


def main() -> int:
    """Run, print, check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2, help="processes (2)")
    parser.add_argument("words", nargs="*", help="settings of the study, such as seeds=[0,1,2,3,4]")
    options = parser.parse_args()
    command = [sys.executable, "-m", "tutelage", "study", "miniature", f"workers={options.workers}", *options.words]
    with TemporaryDirectory() as folder:
        started = time.monotonic()
        said = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
        seconds = time.monotonic() - started
        out = Path(folder, "study-miniature")
        found, size = Findings.load(out), (out / "report.html").stat().st_size
    print(said.stdout)
    compared = {(c.first, c.second): c for c in found.comparisons if c.judge == found.judges[0]}
    at_random = compared["shuffled-weak", "sft-weak-10"]
    checks = [
        *(_check(f"{first} is better than {second}", _is_gain(compared[first, second])) for first, second in ORDER),
        _check("random labels bring no gain", at_random.outcome in ("harm", "no gain")),
        _check(f"{seconds:.0f} s, under {MINUTES} minutes", seconds < 60 * MINUTES),
        _check(f"the report has {size / 1e6:.2f} MB, under {MEGABYTES}", size < 1e6 * MEGABYTES),
    ]
    return 0 if all(checks) else 1


def _is_gain(found: ComparisonFound) -> bool:
    low = found.difference.low
    return found.outcome == "gain" and low is not None and low > 0


def _check(what: str, holds: bool) -> bool:
    print(f"{'ok  ' if holds else 'FAIL'} {what}")
    return holds


if __name__ == "__main__":
    sys.exit(main())
