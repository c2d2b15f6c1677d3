"""Alpaca: `{"instruction", "input", "output"}`; what there is of input stands a blank line below the instruction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tutelage.data.formats.item import Count, Format, Item, Options, Row, each, one_turn, text_of
from tutelage.data.formats.plain import NOT_PLAIN, author_of, with_input
from tutelage.records import Completion

SEVERAL = "not written: conversations, of which the format holds one turn"


def _read(where: str, row: Row, options: Options) -> Iterator[Item]:
    text = text_of(where, row, "instruction")
    if row.get("input") is not None:
        text = with_input(text, text_of(where, row, "input"))
    prompt = one_turn(text, options)
    if "output" not in row:
        yield Item(prompt)
    else:
        said = text_of(where, row, "output")
        yield Item(prompt, (Completion(prompt_id=prompt.id, author=author_of(row, options), text=said),))


def _write(items: Iterable[Item], count: Count) -> Iterator[Row]:
    for item in items:
        if len(item.prompt.messages) > 1:
            count(SEVERAL, 1)
            continue
        row = {"instruction": item.prompt.text, "input": ""}
        yield from (row | {"output": c.text} for c in item.completions)
        if not item.completions:
            yield row


FORMAT = Format(
    "alpaca",
    "Alpaca: {instruction, input, output}; input is put a blank line below the instruction",
    ("prompts", "completions"),
    lambda row: {"instruction", "input"} <= row.keys() and not (NOT_PLAIN | {"prompt"}) & row.keys(),
    each(_read),
    _write,
    columns=("author",),
)
