"""Rows of one prompt each, with or without a completion, under names that are usual or that the user gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tutelage.data.formats.item import (
    UNKNOWN,
    Count,
    Format,
    Item,
    Options,
    Row,
    Skip,
    each,
    messages_of,
    name_of,
    one_turn,
    prompt_of,
    shown,
    text_of,
)
from tutelage.errors import DataError
from tutelage.records import Completion, Prompt

NOT_PLAIN = {"chosen", "rejected", "output_1", "label", "completions", "responses", "response1", "annotator1"}
"""Fields of other formats, whose rows have a prompt too."""
PROMPT, COMPLETION = ("prompt", "instruction", "messages"), ("completion", "output")
AUTHOR = ("author", "generator", "teacher")


def read_prompt(where: str, row: Row, options: Options) -> Prompt:
    """Return the prompt of a row: a text, or a list of messages; of `instruction`, with what `input` gives to it.

    Raises:
        Skip: it is of no use.
        DataError: there is none, or it is something else.
    """
    name = options.columns.get("prompt")
    value = field_of(where, row, name, PROMPT, "prompt_field")
    if isinstance(value, str):
        if name is None and "prompt" not in row and row.get("input") is not None:
            value = with_input(value, text_of(where, row, "input"))
        return one_turn(value, options)
    if not isinstance(value, list | tuple):
        raise DataError(f"{where}: a prompt is a text or a list of messages, and no {shown(value)}")
    return prompt_of(messages_of(where, value), options)


def with_input(instruction: str, given: str) -> str:
    """Return the text of a prompt: what is given to an instruction stands a blank line below it."""
    return "\n\n".join(part for part in (instruction, given) if part)


def field_of(where: str, row: Row, name: str | None, names: tuple[str, ...], setting: str) -> Any:
    """Return the value of the field `name`, or of the first of `names` that the row has.

    Raises:
        DataError: names the fields that it has, and the setting that names the right one.
    """
    for candidate in (name,) if name else names:
        if candidate in row:
            return row[candidate]
    wanted = repr(name) if name else " or ".join(map(repr, names))
    found = ", ".join(map(str, row))[:200] or "none"
    raise DataError(f"{where}: no field {wanted} (found: {found}); name the right one, for example {setting}=NAME")


def author_of(row: Row, options: Options) -> str:
    """Return who wrote a row's completion: whom the user names, else the row, else nobody knows."""
    own = options.columns.get("author")
    found = (row.get(name) for name in ((own,) if own else AUTHOR))
    return options.author or next((name for value in found if (name := name_of(value)) != UNKNOWN), UNKNOWN)


def read_row(where: str, row: Row, options: Options) -> Iterator[Item]:
    """Yield the prompt of a row, with its completion if it has one.

    Raises:
        Skip: the row is of no use.
        DataError: a field is missing, or holds something else.
    """
    if "chosen" in row and "rejected" in row:
        raise DataError(
            f"{where}: holds a preference (chosen and rejected) among rows of one completion or none; give "
            "format=trl_preference, or take the file apart"
        )
    prompt = read_prompt(where, row, options)
    name = options.columns.get("completion")
    if name is None and not any(c in row for c in COMPLETION):
        yield Item(prompt)
        return
    text = field_of(where, row, name, COMPLETION, "completion_field")
    if isinstance(text, list):  # a conversation's next message
        said = messages_of(where, text)
        if len(said) != 1 or said[0].role != "assistant":
            raise Skip("the completion is more than one message of the assistant")
        text = said[0].content
    if not isinstance(text, str):
        raise DataError(f"{where}: the completion is no text but {shown(text)}")
    yield Item(prompt, (Completion(prompt_id=prompt.id, author=author_of(row, options), text=text),))


def _write(items: Iterable[Item], count: Count) -> Iterator[Row]:
    for item in items:
        said = [m.model_dump() for m in item.prompt.messages]
        prompt = {"prompt": item.prompt.text if len(said) == 1 else said}
        for completion in item.completions:
            yield prompt | {"completion": completion.text, "author": completion.author}
        if not item.completions:
            yield prompt


def _fits(row: Row) -> bool:
    if NOT_PLAIN & row.keys():
        return False
    if "prompt" in row:
        return "messages" not in row or "completion" in row
    return "instruction" in row and not {"input", "dataset", "generator"} & row.keys()


FORMAT = Format(
    "plain",
    "one prompt a row: prompt or instruction, a text or messages; completion or output, author or teacher",
    ("prompts", "completions"),
    _fits,
    each(read_row),
    _write,
    columns=("prompt", "completion", "author"),
)
