"""What several formats have in common: completions inside a conversation, and numbers."""

from __future__ import annotations

import math
from itertools import takewhile
from typing import Any

from tutelage.data.formats.item import Options, Row, Skip, messages_of, prompt_of, shown
from tutelage.errors import DataError
from tutelage.records import Prompt


def last_turn(where: str, value: Any, prompt: Prompt) -> str:
    """Return a completion that is a text, a message of the assistant, or the whole conversation with it.

    Raises:
        Skip: it is several messages, or none of the assistant's.
    """
    if isinstance(value, str):
        return value
    messages = messages_of(where, value)
    if messages[: len(prompt.messages)] == prompt.messages:
        messages = messages[len(prompt.messages) :]
    if [m.role for m in messages] != ["assistant"]:
        raise Skip("a completion is more, or less, than one message of the assistant")
    return messages[0].content


def split_prompt(where: str, chosen: Any, rejected: Any, options: Options) -> tuple[Prompt, str, str]:
    """Return the prompt that two conversations begin with, and the last turn of each, which follows it.

    Raises:
        Skip: they differ before the last turn, or that is not the assistant's.
    """
    one, other = messages_of(where, chosen), messages_of(where, rejected)
    common = [a for a, _ in takewhile(lambda two: two[0] == two[1], zip(one[:-1], other[:-1], strict=False))]
    if not len(common) + 1 == len(one) == len(other):
        raise Skip("the conversations differ before the last turn")
    prompt = prompt_of(common, options)
    if {one[-1].role, other[-1].role} != {"assistant"}:
        raise Skip("the conversations do not end with the assistant")
    return prompt, one[-1].content, other[-1].content


def number_of(where: str, row: Row, name: str) -> float | None:
    """Return the number in a field; None: there is none (no such field, null, or NaN).

    Raises:
        DataError: it is something else.
    """
    value = row.get(name)
    if value is None or value != value:  # only NaN is not itself
        return None
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError:  # a whole number of hundreds of digits
        pass
    raise DataError(f"{where}: {name!r} is no number but {shown(value)}")
