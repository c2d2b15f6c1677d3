"""Conversations in OpenAI's messages: `{"messages": [{"role", "content"}, ...]}`, as its fine-tuning takes them.

TRL's language modelling takes the same rows. Every assistant turn is a completion of all that was said before it,
save those of `weight` 0, as OpenAI has it; a conversation that ends with the user is a prompt. Text in parts is
joined. Conversations with tools, images or audio are left out, and counted; the `name` of a speaker is not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tutelage.data.formats.conversations import conversations
from tutelage.data.formats.item import (
    UNKNOWN,
    WAITING,
    Count,
    Format,
    Item,
    Options,
    Row,
    Skip,
    each,
    messages_of,
    shown,
    targets,
)
from tutelage.errors import DataError


def _read(where: str, row: Row, options: Options) -> Iterator[Item]:
    if row.get("tools") or row.get("functions"):
        raise Skip("the conversation uses tools")
    messages = messages_of(where, row.get("messages"))
    learnt = {place for place, said in enumerate(row["messages"]) if _weight(where, said)}
    yield from targets(messages, options.author or UNKNOWN, options, learnt)


def _weight(where: str, said: Row) -> bool:
    weight = said.get("weight")
    if weight not in (None, 0, 1):
        raise DataError(f"{where}: a message of the weight {shown(weight)}; expected 0 (not to be learnt) or 1")
    return weight is None or bool(weight)


def _write(items: Iterable[Item], count: Count) -> Iterator[Row]:
    for found in conversations(items):
        if not found.learnt:
            count(WAITING, 1)
            continue
        said: list[dict[str, Any]] = [m.model_dump() for m in found.messages]
        for place, message in enumerate(said):
            if message["role"] == "assistant" and place not in found.learnt:
                message["weight"] = 0
        yield {"messages": said}


FORMAT = Format(
    "messages",
    "OpenAI's messages, as its fine-tuning and TRL's SFT take them: {messages: [{role, content}]}",
    ("prompts", "completions"),
    lambda row: "messages" in row and not {"prompt", "instruction", "chosen", "completion"} & row.keys(),
    each(_read),
    _write,
)
