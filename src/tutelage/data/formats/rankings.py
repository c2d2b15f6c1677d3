"""Rankings of two responses: rows with `preference` (a), (b) or equal, or one JSON object of pairs, the better first.

The object is `{prompt: {"sentences": [[better, worse], ...]}}`, for the training of reward models. Its prompts are in
Alpaca's template, which is taken off: a chat model has one of its own.
"""

from __future__ import annotations

import re
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
    judged,
    one_turn,
    shown,
    text_of,
)
from tutelage.data.formats.plain import read_prompt, with_input
from tutelage.errors import DataError
from tutelage.records import Completion, Outcome, Prompt

_OUTCOMES: dict[str, Outcome] = {"(a)": "LEFT", "(b)": "RIGHT", "equal": "TIE"}
_TEMPLATE = re.compile(
    r"Below is an instruction that describes a task.*?\n\n### Instruction:\n(.*?)"
    r"(?:\n\n### Input:\n(.*?))?\n\n### Response:\s*",
    re.DOTALL,
)


def _read_row(where: str, row: Row, options: Options, count: Count) -> Iterator[Item]:
    if "value" in row:
        key = text_of(where, row, "key")
        found = _TEMPLATE.fullmatch(key)
        prompt = one_turn(with_input(found[1], found[2] or "") if found else key, options)
        pairs = _pairs(where, row["value"])
        if not pairs:
            raise Skip("a prompt without ranked responses")
        for better, worse in pairs:
            if better == worse:  # of this pair alone nothing can be said
                count("left out: two responses with the same text", 1)
            else:
                yield _item(prompt, better, worse, "LEFT", "the first of two", options)
        return
    prompt = read_prompt(where, row, options)
    said = text_of(where, row, "preference").strip()
    if said not in _OUTCOMES:
        raise DataError(f"{where}: expected a preference (a), (b) or equal, found {shown(said)}")
    texts = text_of(where, row, "response1"), text_of(where, row, "response2")
    yield _item(prompt, *texts, _OUTCOMES[said], said, options)


def _read(rows: Iterable[tuple[str, Row]], options: Options, count: Count) -> Iterator[Item]:
    yield from each(lambda where, row, said: _read_row(where, row, said, count))(rows, options, count)


def _pairs(where: str, value: Any) -> list[tuple[str, str]]:
    found = value.get("sentences") if isinstance(value, dict) else None
    if isinstance(found, list) and all(_is_pair(pair) for pair in found):
        return [(better, worse) for better, worse in found]
    raise DataError(f"{where}: expected sentences, a list of [better, worse], found {shown(value)}")


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(isinstance(text, str) for text in value)


def _item(prompt: Prompt, left: str, right: str, outcome: Outcome, said: str, options: Options) -> Item:
    author = options.author or UNKNOWN
    one, other = (Completion(prompt_id=prompt.id, author=author, text=text) for text in (left, right))
    return judged(prompt, one, other, outcome, UNKNOWN, said)


def _fits(row: Row) -> bool:
    if row.keys() == {"key", "value"}:
        return isinstance(row["value"], dict) and "sentences" in row["value"]
    return {"response1", "response2", "preference"} <= row.keys()


FORMAT = Format(
    "rankings",
    "rankings: response1, response2, preference ((a), (b), equal), or {prompt: {sentences: [[better, worse], ...]}}",
    ("verdicts",),
    _fits,
    _read,
    columns=("prompt",),
)
