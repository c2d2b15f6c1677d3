"""Anthropic's HH: two transcripts, `{"chosen", "rejected"}`, that differ in the assistant's last turn.

A turn begins with a blank line and "Human: " or "Assistant: "; the same words elsewhere are part of a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tutelage.data.formats.item import (
    Count,
    Format,
    Item,
    Options,
    Row,
    Skip,
    decided,
    each,
    preferred,
    prompt_of,
    text_of,
)
from tutelage.records import Message, Prompt

_NAMES = {"user": "Human", "assistant": "Assistant"}
_TURN = re.compile(r"\n\n(Human|Assistant):(?: |\Z|(?=\n\n(?:Human|Assistant):))")
"""The beginning of a turn; without the space where there is no text either."""


def _turns(transcript: str) -> list[Message]:
    """Return the turns of a transcript, which take turns.

    Raises:
        Skip: they do not, or one is empty.
    """
    before, *found = _TURN.split(transcript if transcript.startswith("\n\n") else "\n\n" + transcript)
    if before or not found:
        raise Skip("the transcript does not begin with a turn, 'Human: '")
    turns = [
        Message(role="user" if name == "Human" else "assistant", content=text)
        for name, text in zip(found[::2], found[1::2], strict=True)
    ]
    if any(turn.role != ("user", "assistant")[place % 2] for place, turn in enumerate(turns)):
        raise Skip("the turns of the transcript are not the human's and the assistant's in turn")
    if turns[-1].role == "user":
        raise Skip("the transcript ends with the human's turn")
    if not turns[-1].content.strip():
        raise Skip("the last turn of the transcript is empty")
    return turns


def _read(where: str, row: Row, options: Options) -> Iterator[Item]:
    names = options.columns
    said, other = (_turns(text_of(where, row, names.get(name, name))) for name in ("chosen", "rejected"))
    if said[:-1] != other[:-1]:
        raise Skip("the transcripts differ before the last turn")
    prompt = prompt_of(said[:-1], options)
    yield preferred(prompt, said[-1].content, other[-1].content, options, "people asked by Anthropic", "chosen")


def _write(items: Iterable[Item], count: Count) -> Iterator[Row]:
    for prompt, chosen, rejected in decided(items, count):
        if any(m.role == "system" for m in prompt.messages):
            count("not written: conversations with a system message", 1)
        else:
            yield {name: _transcript(prompt, c.text) for name, c in (("chosen", chosen), ("rejected", rejected))}


def _transcript(prompt: Prompt, answer: str) -> str:
    turns = (*prompt.messages, Message(role="assistant", content=answer))
    return "".join(f"\n\n{_NAMES[turn.role]}: {turn.content}" for turn in turns)


def is_hh(row: Row) -> bool:
    """True if a row holds two transcripts and no prompt beside them."""
    texts = (row.get(name) for name in ("chosen", "rejected"))
    return "prompt" not in row and all(isinstance(t, str) and t.lstrip("\n").startswith("Human:") for t in texts)


FORMAT = Format(
    "hh",
    "Anthropic's HH: chosen and rejected, transcripts of Human: and Assistant: that differ in the last turn",
    ("verdicts",),
    is_hh,
    each(_read),
    _write,
    columns=("chosen", "rejected"),
)
