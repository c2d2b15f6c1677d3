"""Reads a file in one way, in a process of its own, and prints what that took as JSON: client.py WAY FILE FOLDER.

Imports tutelage only for tutelage's own ways: the others run in an environment that does not have it.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def json_load(path: Path, folder: Path) -> tuple[int, str]:
    """The standard library; holds everything."""
    with path.open(encoding="utf-8") as file:
        return len(json.load(file)), ""


def orjson_loads(path: Path, folder: Path) -> tuple[int, str]:
    """orjson; holds everything."""
    import orjson

    return len(orjson.loads(path.read_bytes())), orjson.__version__


def ijson_items(path: Path, folder: Path) -> tuple[int, str]:
    """ijson with its C backend, a row at a time; numbers as floats, which is faster than its default."""
    import ijson

    assert ijson.backend == "yajl2_c", ijson.backend
    lines = path.suffix == ".jsonl"
    with path.open("rb") as file:
        rows = ijson.items(file, "" if lines else "item", use_float=True, multiple_values=lines)
        return sum(1 for _ in rows), ijson.__version__


def datasets_streaming(path: Path, folder: Path) -> tuple[int, str]:
    """datasets, streaming."""
    import datasets

    rows = datasets.load_dataset("json", data_files=str(path), split="train", streaming=True, cache_dir=str(folder))
    return sum(1 for _ in rows), datasets.__version__


def tutelage_rows(path: Path, folder: Path) -> tuple[int, str]:
    """What tutelage reads: a row at a time."""
    import tutelage
    from tutelage.data.sources import read_objects

    return sum(1 for _ in read_objects(path)), tutelage.__version__


def tutelage_items(path: Path, folder: Path) -> tuple[int, str]:
    """The same as prompts and completions, checked and identified."""
    return _items(path, None)


def tutelage_all_turns(path: Path, folder: Path) -> tuple[int, str]:
    """The same for every turn: each is a prompt with all that was said before."""
    return _items(path, 1000)


def _items(path: Path, num_turns: int | None) -> tuple[int, str]:
    import tutelage
    from tutelage.data.reading import read_items
    from tutelage.inputs import Source

    skipped = 0

    def count(what: str, num: int) -> None:
        nonlocal skipped
        skipped += num * what.startswith("skipped")

    found = sum(1 for _ in read_items(Source(path=str(path), format="sharegpt", num_turns=num_turns), count))
    return found + skipped, tutelage.__version__


def tutelage_import(path: Path, folder: Path) -> tuple[int, str]:
    """The command, from start to end: two files of records."""
    import tutelage

    command = [
        sys.executable,
        "-m",
        "tutelage",
        "import",
        f"rows={path}",
        "rows.format=sharegpt",
        f"artifacts={folder}",
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=dict(os.environ, TUTELAGE_QUIET="1"))
    record = json.loads(next(folder.rglob("record.json")).read_text("utf-8"))
    skipped = sum(num for what, num in record["counts"].items() if what.startswith("skipped"))
    return record["counts"]["prompts"] + skipped, tutelage.__version__


WAYS: dict[str, Callable[[Path, Path], tuple[int, str]]] = {
    f.__name__: f
    for f in (
        json_load,
        orjson_loads,
        ijson_items,
        datasets_streaming,
        tutelage_rows,
        tutelage_items,
        tutelage_all_turns,
        tutelage_import,
    )
}


def measured(way: str, path: Path, folder: Path) -> dict[str, Any]:
    """Return rows, CPU seconds (of a command that is run: the command's), wall seconds, and peak RSS in MB."""
    who = resource.RUSAGE_CHILDREN if way == "tutelage_import" else resource.RUSAGE_SELF
    before, wall = resource.getrusage(who), time.perf_counter()
    rows, version = WAYS[way](path, folder)
    after, wall = resource.getrusage(who), time.perf_counter() - wall
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"rows": rows, "version": version, "cpu": cpu, "wall": wall, "peak": after.ru_maxrss / 1024}


if __name__ == "__main__":
    print(json.dumps(measured(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))
