"""Measures how a large ShareGPT file is read: speed and memory, against other readers of JSON, in one run.

    python benchmarks/data/read.py [--gigabytes 2] [--turns 1] [--layout indented|compact|lines] [--only WAY,WAY]

Prints a Markdown table. `../peers.py` makes the environment of the others; those that are not there are left out.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from client import WAYS

HERE = Path(__file__).parent
PEERS_PYTHON = HERE / ".peers" / "readers" / "bin" / "python"
NAMES = {
    "json_load": "json.load",
    "orjson_loads": "orjson.loads",
    "ijson_items": "ijson (yajl2_c)",
    "datasets_streaming": "datasets, streaming",
    "tutelage_rows": "tutelage: rows",
    "tutelage_items": "tutelage: prompts and completions",
    "tutelage_all_turns": "tutelage: the same of all turns",
    "tutelage_import": "`tutelage import`",
}
MOST_MEMORY = 600
HALF = 0.5
DIFFERENT = 2000
WORDS = [
    "the",
    "of",
    "and",
    "a",
    "to",
    "in",
    "is",
    "you",
    "that",
    "it",
    "for",
    "as",
    "with",
    "on",
    "this",
    "be",
    "are",
    "can",
    "would",
    "like",
    "code",
    "function",
    "data",
    "answer",
]


@dataclass(frozen=True)
class Run:
    """What one way of reading took."""

    rows: int
    version: str
    cpu: float
    wall: float
    peak: float


def conversations(seed: int = 1) -> Iterator[dict[str, object]]:
    """Yield made-up conversations, as long as those of ShareGPT (seven turns, 7 kB); three in ten begin with gpt."""
    draw = random.Random(seed)
    while True:
        turns, who = [], "gpt" if draw.random() < 0.3 else "human"
        for _ in range(1 + min(30, int(draw.expovariate(1 / 6)))):
            length = int(draw.lognormvariate(3.5, 1.8) if who == "human" else draw.lognormvariate(5.35, 0.9)) + 1
            words = draw.choices(WORDS, k=min(length, 2000))
            lines = ["\n\n" if draw.random() < 0.03 else ' "' if draw.random() < 0.01 else " " for _ in words]
            turns.append({"from": who, "value": "".join(w + s for w, s in zip(words, lines, strict=True)).strip()})
            who = "human" if who == "gpt" else "gpt"
        turns[0]["value"] = f"@@@ {turns[0]['value']}"
        yield {"id": "@@@", "conversations": turns}


def write(path: Path, size: int, layout: str) -> int:
    """Write a file of `size` bytes; every conversation begins in its own way. Returns how many there are."""
    indent = 2 if layout == "indented" else None
    made = conversations()
    texts = [json.dumps(next(made), indent=indent) for _ in range(DIFFERENT)]
    opening, between, closing = ("", "\n", "\n") if layout == "lines" else ("[\n", ",\n", "\n]\n")
    written = rows = 0
    with path.open("w", encoding="utf-8") as file:
        file.write(opening)
        while written < size:
            text = texts[rows % DIFFERENT].replace("@@@", f"{rows:07}")
            written += file.write(f"{between if rows else ''}{text}")
            rows += 1
        file.write(closing)
    return rows


def python_of(way: str) -> str | None:
    """Return the Python that has a way of reading; None: it is not installed."""
    if way.startswith("tutelage") or way == "json_load":
        return sys.executable
    return str(PEERS_PYTHON) if PEERS_PYTHON.exists() else None


def run(way: str, path: Path) -> Run | None:
    """Read the file in a new process."""
    python = python_of(way)
    if python is None:
        return None
    environment = dict(os.environ, HF_HUB_OFFLINE="1", HF_DATASETS_DISABLE_PROGRESS_BARS="1")
    if python != sys.executable:
        environment.pop("PYTHONPATH", None)
    print(f"  {NAMES[way]}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command = [python, str(HERE / "client.py"), way, str(path), folder]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{NAMES[way]} failed:\n{done.stderr[-2000:]}")
    return Run(**json.loads(done.stdout.splitlines()[-1]))


def table(runs: dict[str, list[Run]], megabytes: float) -> str:
    """Return the Markdown table: medians over the turns."""
    cpu = {way: statistics.median(r.cpu for r in found) for way, found in runs.items() if found}
    others = [way for way in cpu if not way.startswith("tutelage")]
    fastest = min(others, key=lambda way: cpu[way], default=None)
    against = f"of {NAMES[fastest]}" if fastest else "of the fastest"
    head = f"| who | rows | CPU s | MB per CPU-second | {against} | wall s | peak RSS MB |"
    lines = [head, "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for way, found in runs.items():
        if not found:
            lines.append(
                f"| {NAMES[way]} | not measured (not installed: `python benchmarks/peers.py data`) | | | | | |"
            )
            continue
        share = f"{cpu[fastest] / cpu[way]:.2f}" if fastest else ""
        wall, peak = (statistics.median(getattr(r, what) for r in found) for what in ("wall", "peak"))
        speed = megabytes / cpu[way]
        cells = (NAMES[way], f"{found[0].rows:,}", f"{cpu[way]:.1f}", f"{speed:,.0f}", share, f"{wall:.1f}")
        lines.append(f"| {' | '.join(cells)} | {peak:,.0f} |")
    return "\n".join([*lines, "", *targets(runs, cpu, fastest)])


def targets(runs: dict[str, list[Run]], cpu: dict[str, float], fastest: str | None) -> Iterator[str]:
    """Yield a line for each number that has to be reached."""
    for way in ("tutelage_items", "tutelage_import"):
        if runs.get(way):
            peak = max(r.peak for r in runs[way])
            yield f"- {NAMES[way]}: peak RSS in MB <= {MOST_MEMORY}: {peak:.0f}, {_met(peak <= MOST_MEMORY)}"
    if fastest and "tutelage_items" in cpu:
        share = cpu[fastest] / cpu["tutelage_items"]
        yield f"- {NAMES['tutelage_items']}: speed >= {HALF} of {NAMES[fastest]}: {share:.2f}, {_met(share >= HALF)}"


def _met(is_met: bool) -> str:
    return "met" if is_met else "MISSED"


def machine() -> str:
    """Return the hardware, the Python and the date."""
    info = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in info if line.startswith("model name")]
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    return f"{len(names)} x {names[0] if names else platform.machine()}; CPython {platform.python_version()}; {today}"


def main() -> None:
    """Write the file, read it in every way, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--turns", type=int, default=1, help="how often everything is read, in turns")
    parser.add_argument("--layout", choices=("indented", "compact", "lines"), default="indented")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(WAYS), help=",".join(WAYS))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sharegpt.jsonl" if asked.layout == "lines" else "sharegpt.json")
        rows = write(path, int(asked.gigabytes * 1e9), asked.layout)
        megabytes = path.stat().st_size / 1e6
        runs: dict[str, list[Run]] = {way: [] for way in asked.only}
        for _ in range(asked.turns):
            for way in asked.only:
                if (found := run(way, path)) is not None:
                    runs[way].append(found)
    print(f"### reading {megabytes:,.0f} MB, {rows:,} conversations, {asked.layout}\n\n{table(runs, megabytes)}\n")
    versions = {f"{NAMES[way]} {found[0].version}" for way, found in runs.items() if found and found[0].version}
    print(f"{machine()}; {', '.join(sorted(versions))}.")


if __name__ == "__main__":
    main()
