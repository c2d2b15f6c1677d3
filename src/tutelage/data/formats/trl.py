"""TRL's columns for prompts, and for prompts with completions: `prompt`, `completion`, as lists of messages.

Read, a text is a turn too. Files of such rows are recognised as `plain`, which reads them just so; these names write
exactly TRL's columns, always as messages, for TRL takes texts as they are, without the chat format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tutelage.data.formats.item import WAITING, Count, Format, Item, Options, Row, each
from tutelage.data.formats.plain import COMPLETION, field_of, read_prompt, read_row
from tutelage.records import Prompt


def _read_prompt(where: str, row: Row, options: Options) -> Iterator[Item]:
    yield Item(read_prompt(where, row, options))


def _write_prompts(items: Iterable[Item], count: Count) -> Iterator[Row]:
    for item in items:
        yield _prompt(item.prompt)


def _read_both(where: str, row: Row, options: Options) -> Iterator[Item]:
    field_of(where, row, options.columns.get("completion"), COMPLETION, "completion_field")
    yield from read_row(where, row, options)


def _write_both(items: Iterable[Item], count: Count) -> Iterator[Row]:
    for item in items:
        if not item.completions:
            count(WAITING, 1)
        for completion in item.completions:
            yield _prompt(item.prompt) | {"completion": [{"role": "assistant", "content": completion.text}]}


def _prompt(prompt: Prompt) -> dict[str, list[dict[str, str]]]:
    return {"prompt": [m.model_dump() for m in prompt.messages]}


PROMPT_ONLY = Format(
    "trl_prompt_only",
    "TRL's column prompt; files that are read are recognised as plain",
    ("prompts",),
    lambda row: False,
    each(_read_prompt),
    _write_prompts,
    columns=("prompt",),
)
PROMPT_COMPLETION = Format(
    "trl_prompt_completion",
    "TRL's columns prompt and completion; files that are read are recognised as plain",
    ("prompts", "completions"),
    lambda row: False,
    each(_read_both),
    _write_both,
    columns=("prompt", "completion"),
)
