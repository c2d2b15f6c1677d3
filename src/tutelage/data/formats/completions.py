"""Completions by prompt, one JSON object: `{prompt: [completion, ...]}`, as the research code kept its teachers'.

Its files are `*claude_completions.json` and `*gpt4_completions.json`. It learnt from the first completion of a
prompt; here all are kept, and numbered. Nothing in the file says who wrote them: give author=NAME.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tutelage.data.formats.item import (
    UNKNOWN,
    WAITING,
    Count,
    Format,
    Item,
    Options,
    Row,
    each,
    one_turn,
    shown,
    text_of,
)
from tutelage.errors import DataError
from tutelage.records import Completion, Prompt

KEY, VALUE = "key", "value"
"""The fields of a row that stands for one pair of a JSON object."""


def texts_of(where: str, row: Row) -> list[str]:
    """Return the completions of a row.

    Raises:
        DataError: they are no list of texts.
    """
    texts = row.get(VALUE)
    if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
        return texts
    raise DataError(f"{where}: expected a list of completions for each prompt, found {shown(texts)}")


def answered(prompt: Prompt, texts: Iterable[str], options: Options) -> Item:
    """Return the prompt with its completions."""
    author = options.author or UNKNOWN
    return Item(prompt, tuple(Completion(prompt_id=prompt.id, author=author, text=text) for text in texts))


def by_key(items: Iterable[Item], key_of: Callable[[Prompt], str | None], count: Count) -> Iterator[dict[str, Any]]:
    """Yield a row per key with all its completions, in the order of the first; an object has each key once.

    Args:
        key_of: the key of a prompt; None: there is none that would stand for it.
    """
    found: dict[str, list[str]] = {}
    for item in items:
        key = key_of(item.prompt)
        if not item.completions:
            count(WAITING, 1)
        elif key is None:
            count("not written: completions of prompts that the format cannot hold", len(item.completions))
        else:
            found.setdefault(key, []).extend(c.text for c in item.completions)
    for key, texts in found.items():
        yield {KEY: key, VALUE: texts}


def is_transcript(key: Any) -> bool:
    """True if a key is a whole transcript, as in the research code's samples, and no bare prompt."""
    return isinstance(key, str) and key.startswith("Human: ") and key.endswith("\n\nAssistant: ")


def fits(row: Row) -> bool:
    """True if a row is one pair of an object, a list its value."""
    return row.keys() == {KEY, VALUE} and isinstance(row[VALUE], list)


def _read(where: str, row: Row, options: Options) -> Iterator[Item]:
    yield answered(one_turn(text_of(where, row, KEY), options), texts_of(where, row), options)


def _write(items: Iterable[Item], count: Count) -> Iterator[Row]:
    return by_key(items, lambda prompt: prompt.text if len(prompt.messages) == 1 else None, count)


FORMAT = Format(
    "completions",
    "the research code's teachers, one JSON object: {prompt: [completion, ...]}",
    ("prompts", "completions"),
    lambda row: fits(row) and not is_transcript(row[KEY]),
    each(_read),
    _write,
    container="object",
)
