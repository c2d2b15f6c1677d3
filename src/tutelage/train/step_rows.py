"""JSON lines with the step they belong to, such as metrics.jsonl: written as training goes, taken up after a kill."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tutelage.disk import write_atomically


def finite(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return `row` with null for numbers that JSON does not have: infinite ones, and what is not a number."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append `rows`, see `finite`."""
    with path.open("a", encoding="utf-8") as file:
        file.write(_lines(rows))


def keep_rows(path: Path, last_step: int) -> list[dict[str, Any]]:
    """Return the rows up to `last_step`, and drop the others from the file: those steps will be done again.

    A line that a kill tore goes too.
    """
    if not path.is_file():
        return []
    kept = []
    for line in path.read_text("utf-8", errors="replace").split("\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row["step"] <= last_step:
            kept.append(row)
    write_atomically(path, _lines(kept))
    return kept


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(finite(row), ensure_ascii=False) + "\n" for row in rows)
