"""What becomes of training prompts that are evaluated: an error that shows them, or they are left out and counted.

`tutelage data leaks` lists all of them.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field

from tutelage.config import Group
from tutelage.data.artifacts import items_of_artifact
from tutelage.data.formats.item import Count, Row, count_nothing
from tutelage.data.leaks import KINDS, OVERLAP, Kind, Leak, Leakage, Leaks
from tutelage.data.reading import read_items
from tutelage.data.rows import read_prompts
from tutelage.data.writing import write_rows
from tutelage.disk import disk_errors, visible
from tutelage.errors import ConfigError, DataError
from tutelage.inputs import Prompts
from tutelage.records import Prompt

SHOWN = 3
"""Pairs of each kind that a message shows."""


@dataclass
class _Tally:
    """How many prompts leak, by kind, and the first of them."""

    num: int = 0
    kinds: Counter[Kind] = field(default_factory=Counter)
    evaluated: dict[Kind, set[str]] = field(default_factory=lambda: {kind: set() for kind in KINDS})
    first: dict[Kind, list[Leak]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def add(self, leaks: list[Leak]) -> None:
        """Count a training prompt by the nearest of what it leaks."""
        self.num += 1
        for leak in leaks:
            self.evaluated[leak.kind].add(leak.evaluated.id)
        if leaks:
            self.kinds[leaks[0].kind] += 1
            if len(self.first[leaks[0].kind]) < SHOWN:
                self.first[leaks[0].kind].append(leaks[0])

    def examples(self) -> str:
        """Show the first of each kind, both texts one above the other."""
        return "\n".join(
            f"  {leak.kind:10}  training:  {_line(leak.said)}\n{'':14}evaluated: {_line(leak.evaluated.text)}"
            for kind in KINDS
            for leak in self.first[kind]
        )

    def __str__(self) -> str:
        kinds = ", ".join(f"{self.kinds[kind]:,} {kind}" for kind in KINDS if self.kinds[kind])
        return f"{self.kinds.total():,} of {self.num:,} training prompts are evaluated too ({kinds})"


def apart(
    prompts: Iterable[Prompt],
    evaluated: Iterable[Prompt],
    leakage: Leakage,
    inputs: tuple[Prompts, Prompts | None],
    count: Count,
) -> list[Prompt]:
    """Return the training prompts that are not evaluated, in their order.

    Args:
        inputs: what the training prompts were read from, and the evaluated ones; None: they are a part of the same.
        count: is told how many are left out.

    Raises:
        DataError: some are evaluated, and are not to be removed; or none is left.
    """
    if leakage.action == "allow":
        return list(prompts)
    leaks, tally, kept = Leaks(evaluated, leakage.overlap), _Tally(), list[Prompt]()
    for prompt in prompts:
        found = leaks.of(prompt)
        tally.add(found)
        if not found:
            kept.append(prompt)
    if tally.kinds and leakage.action == "block":
        raise DataError(
            f"{inputs[0].path}: {tally}; a win rate on them says nothing. Leave them out with leakage.action=remove"
            f"{_all_of(*inputs, leakage.overlap)}. The first of each kind:\n{tally.examples()}"
        )
    for kind in KINDS:
        count(f"left out: prompts that are evaluated ({kind})", tally.kinds[kind])
    if tally.num and not kept:
        raise DataError(f"{inputs[0].path}: {tally}; none is left to train on")
    return kept


def _all_of(prompts: Prompts, evaluated: Prompts | None, overlap: float | None) -> str:
    if evaluated is None:
        return ""
    words = [*_words("prompts", prompts), *_words("evaluation", evaluated)]
    if overlap != Leakage().overlap:
        words.append(f"overlap={json.dumps(overlap)}")
    return f"; tutelage data leaks {shlex.join([*words, 'out=leaks.jsonl'])} lists all of them"


def _words(name: str, asked: Prompts) -> Iterator[str]:
    """Yield how a command line asks for the same prompts."""
    yield f"{name}={asked.path}"
    for key, its in Prompts.model_fields.items():
        value = getattr(asked, key)
        if key != "path" and value != its.default:
            yield f"{name}.{key}={json.dumps(value) if isinstance(value, tuple) else value}"


class LeaksConfig(Group):
    """Looks for training prompts that are evaluated: the same, the same but for how it is written, or nearly."""

    prompts: Prompts
    evaluation: Prompts
    overlap: float | None = OVERLAP
    out: Path | None = Field(None, description="file to write all of them to: .jsonl, .json, .csv or .parquet")
    fail: bool = Field(False, description="end with an error (status 2) if there are any")


def leaks(config: LeaksConfig) -> str:
    """Return a table of what was found, with examples; write every pair of prompts to `out`.

    Raises:
        ConfigError: out is there already.
        DataError: a file cannot be read; something was found, and the user wants to fail then.
    """
    tally, skipped = _Tally(), Counter[str]()
    evaluated = read_prompts(config.evaluation, count_nothing)
    found = Leaks(evaluated, config.overlap)
    rows = _rows(config.prompts, found, tally, lambda what, num: skipped.update({what: num}))
    if config.out is None:
        num_pairs = sum(1 for _ in rows)
    elif config.out.exists():
        raise ConfigError(f"{config.out}: is there already; give another name, or remove it")
    else:
        with disk_errors(config.out):
            num_pairs = write_rows(config.out, rows)
    lines = [f"{'':10}  {'training prompts':>16}  {'evaluated prompts':>17}"]
    lines += [f"{kind:10}  {tally.kinds[kind]:>16,}  {len(tally.evaluated[kind]):>17,}" for kind in KINDS]
    every = set().union(*tally.evaluated.values())
    lines += [f"{'together':10}  {tally.kinds.total():>16,}  {len(every):>17,}"]
    lines += [f"{'of':10}  {tally.num:>16,}  {len(evaluated):>17,}"]
    lines += [f"{num:,} rows: {what}" for what, num in skipped.items()]
    if tally.kinds:
        lines += ["The first of each kind:", tally.examples()]
    if config.out is not None:
        lines.append(f"{config.out}: {num_pairs:,} pairs of prompts")
    if tally.kinds and config.fail:
        print("\n".join(lines))
        raise DataError(f"{config.prompts.path}: {tally}")
    return "\n".join(lines)


def _rows(prompts: Prompts, leaks: Leaks, tally: _Tally, count: Count) -> Iterator[Row]:
    for prompt in _each(prompts, count):
        found = leaks.of(prompt)
        tally.add(found)
        for leak in found:
            yield _row(leak)


def _row(leak: Leak) -> dict[str, Any]:
    return {
        "kind": leak.kind,
        "overlap": round(leak.overlap, 3),
        "prompt_id": leak.prompt.id,
        "source": leak.prompt.source,
        "training": leak.said,
        "evaluated_id": leak.evaluated.id,
        "evaluated": leak.evaluated.text,
    }


def _each(prompts: Prompts, count: Count) -> Iterator[Prompt]:
    """Yield every prompt once; of those that came, a number is kept."""
    made, known = prompts.artifact(), set[int]()
    for item in read_items(prompts, count) if made is None else items_of_artifact(made, prompts, count):
        key = int(item.prompt.id, 16)
        if key not in known:
            known.add(key)
            yield item.prompt


def _line(text: str) -> str:
    """Return the beginning of a text in one line; of a long one the end too."""
    text = visible(" ".join(text.split()))
    return text if len(text) <= 160 else f"{text[:110]} … {text[-45:]}"
