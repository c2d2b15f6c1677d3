"""Samples of a policy, one JSON object: `{"Human: ...\\n\\nAssistant: ": [completion, ...]}`, `fastforward*.json`.

The keys are the whole prompts as the research code's models saw them. They are parsed: "\\n\\nAssistant: " and
"\\n\\nHuman: " must come in turn, from "Human: " to "Assistant: ". A key where they do not, because somebody wrote
these words within a turn, could be read in several ways; it is skipped and counted, and such a prompt is not written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tutelage.data.formats.completions import KEY, answered, by_key, fits, is_transcript, texts_of
from tutelage.data.formats.item import Count, Format, Item, Options, Row, Skip, each, prompt_of, shown, text_of
from tutelage.errors import DataError
from tutelage.records import Message, Prompt

_MARK = re.compile(r"\n\n(Human|Assistant): ")


def _read(where: str, row: Row, options: Options) -> Iterator[Item]:
    key = text_of(where, row, KEY)
    if not is_transcript(key):
        raise DataError(
            f"{where}: expected a prompt 'Human: ... Assistant: ', found {shown(key)}; "
            "of bare prompts, format=completions reads the file"
        )
    texts = texts_of(where, row)
    messages = _messages(key)
    if messages is None:
        raise Skip("the turns of Human and Assistant do not come in turn")
    yield answered(prompt_of(messages, options), texts, options)


def _messages(key: str) -> tuple[Message, ...] | None:
    """Return the turns of a transcript; None: they do not come in turn."""
    parts = _MARK.split("\n\n" + key)  # '', name, text, name, text, ..., 'Assistant', ''
    names, texts = parts[1::2], parts[2::2]
    if parts[0] or texts[-1] or any(n != ("Human", "Assistant")[i % 2] for i, n in enumerate(names)):
        return None
    roles = ("user" if name == "Human" else "assistant" for name in names[:-1])
    return tuple(Message(role=role, content=text) for role, text in zip(roles, texts, strict=False))


def _key(prompt: Prompt) -> str | None:
    if prompt.messages[0].role == "system":
        return None
    said = (f"{'Human' if m.role == 'user' else 'Assistant'}: {m.content}" for m in prompt.messages)
    key = "\n\n".join(said) + "\n\nAssistant: "
    return key if _messages(key) == prompt.messages else None


def _write(items: Iterable[Item], count: Count) -> Iterator[Row]:
    return by_key(items, _key, count)


FORMAT = Format(
    "samples",
    "the research code's samples, one JSON object: {'Human: ...\\n\\nAssistant: ': [completion, ...]}",
    ("prompts", "completions"),
    lambda row: fits(row) and is_transcript(row[KEY]),
    each(_read),
    _write,
    container="object",
)
