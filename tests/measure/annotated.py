"""Made-up annotations, a small set of instructions, and the files that go with them."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tutelage.measure.alpaca_eval import Instructions, instruction_key
from tutelage.measure.annotations import Annotation

NUM = 60


def annotation(index: int = 0, preference: float | None = 1.0, **fields: Any) -> Annotation:
    base: dict[str, Any] = {
        "instruction": f"Question {index}?",
        "output_1": "the baseline's",
        "output_2": "the policy's",
        "generator_1": "base",
        "generator_2": "mine",
        "annotator": "judge",
        "dataset": None,
    }
    return Annotation(preference=preference, **base | fields)


def row(**fields: Any) -> dict[str, Any]:
    """One row of a file, with `preference` 1."""
    names = ("instruction", "output_1", "output_2", "generator_1", "generator_2", "annotator")
    return {name: getattr(annotation(), name) for name in names} | {"preference": 1} | fields


def written(path: Path, rows: object) -> Path:
    path.write_text(json.dumps(rows), "utf-8")
    return path


def known(num: int = NUM) -> Instructions:
    """A set of instructions that stands where AlpacaEval's stand: Question 0? ... in two datasets."""
    return {instruction_key(f"Question {i}?"): (i, "even" if i % 2 == 0 else "odd") for i in range(num)}


def judged(num: int = NUM, seed: int = 0) -> list[Annotation]:
    """A judge who likes long completions, and a policy that writes longer ones than its baseline."""
    draw = random.Random(seed)
    rows = []
    for i in range(num):
        one, two = draw.randint(20, 200), draw.randint(60, 300)
        preference = 1 + min(1.0, max(0.0, 0.3 + 0.002 * (two - one) + draw.uniform(-0.2, 0.2)))
        rows.append(annotation(i, preference, output_1="x" * one, output_2="y" * two))
    return rows


def difficulties(num: int = NUM) -> list[float]:
    draw = random.Random(1)
    return [draw.gauss(0, 1) for _ in range(num)]


def table(path: Path, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    return path


def difficulty_file(path: Path, num: int = NUM) -> Path:
    return table(path, ["index", "instruction_difficulty"], list(enumerate(difficulties(num))))


def gamed_file(path: Path, num: int = NUM) -> Path:
    """A verbose policy, liked, and a concise one, not liked, against the same baseline."""
    draw, hard = random.Random(2), difficulties(num)
    head = ["model", "index", "preference", "std_delta_len", "instruction_difficulty", "not_gamed_baseline"]
    rows = []
    for model, sign, liked in (("verbose", -1, 0.7), ("concise", 1, 0.3)):
        for i in range(num):
            rows.append([model, i, liked + draw.uniform(-0.2, 0.2), sign * draw.uniform(0.2, 1.5), hard[i], False])
    return table(path, head, rows)


def weight_file(path: Path, **models: Sequence[float]) -> Path:
    head = ["", "np.tanh(std_delta_len)", "instruction_difficulty", "not_gamed_baseline.astype(float)"]
    return table(path, head, [[name, *numbers] for name, numbers in models.items()])
