"""Conversations in OpenAI's messages: `{"messages": [{"role", "content"}, ...]}`, as its fine-tuning takes them.

Every assistant turn is a completion of all that was said before it; one that ends with the user is a prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tutelage.data.formats.item import UNKNOWN, Count, Format, Item, Options, Row, each, messages_of, targets


def _read(where: str, row: Row, options: Options) -> Iterator[Item]:
    yield from targets(messages_of(where, row.get("messages")), options.author or UNKNOWN, options)


def _write(items: Iterable[Item], count: Count) -> Iterator[Row]:
    for item in items:
        said = [m.model_dump() for m in item.prompt.messages]
        for completion in item.completions:
            yield {"messages": [*said, {"role": "assistant", "content": completion.text}]}


FORMAT = Format(
    "messages",
    "OpenAI's messages, as its fine-tuning takes them: {messages: [{role, content}]}",
    ("prompts", "completions"),
    lambda row: "messages" in row and not {"prompt", "chosen", "completion"} & row.keys(),
    each(_read),
    _write,
)
