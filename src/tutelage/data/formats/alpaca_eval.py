"""alpaca_eval's instructions, and its model_outputs.json: `{"dataset", "instruction", "output", "generator"}`.

The part of AlpacaEval that an instruction is from (`dataset`) becomes the prompt's source, and comes back from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tutelage.data.formats.alpaca import SEVERAL
from tutelage.data.formats.item import Count, Format, Item, Options, Row, each
from tutelage.data.formats.plain import NOT_PLAIN, read_row

DATASETS = ("helpful_base", "koala", "oasst", "selfinstruct", "vicuna")


def _read(where: str, row: Row, options: Options) -> Iterator[Item]:
    dataset = row.get("dataset")
    yield from read_row(where, row, replace(options, source=dataset) if dataset in DATASETS else options)


def _write(items: Iterable[Item], count: Count) -> Iterator[Row]:
    for item in items:
        if len(item.prompt.messages) > 1:
            count(SEVERAL, 1)
            continue
        row = {"dataset": item.prompt.source} if item.prompt.source in DATASETS else {}
        row["instruction"] = item.prompt.text
        yield from (row | {"output": c.text, "generator": c.author} for c in item.completions)
        if not item.completions:
            yield row


FORMAT = Format(
    "alpaca_eval",
    "alpaca_eval's instructions and model_outputs.json: {dataset, instruction, output, generator}",
    ("prompts", "completions"),
    lambda row: (
        "instruction" in row
        and bool({"dataset", "generator"} & row.keys())
        and not (NOT_PLAIN | {"prompt", "input"}) & row.keys()
    ),
    each(_read),
    _write,
)
