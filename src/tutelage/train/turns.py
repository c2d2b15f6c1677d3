"""Which turns of the assistant carry loss where all of a conversation's do: each of them, and each once.

Rows share turns: a conversation of three is three rows, each the beginning of the next, and several completions of
one prompt have its history in common. The longest comes first and has all turns; the others have what is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

from tutelage.records import Completion, Message, Prompt
from tutelage.train.encode import Example

WITHIN = "trained within a longer conversation"
"""Why a row is left out whose turns are all learnt elsewhere."""


def longest_first(rows: Iterable[tuple[Prompt, Completion]]) -> list[tuple[Prompt, Completion]]:
    """Return `rows` in the order that `EarlierTurns` needs, those of equal length in the order given."""
    return sorted(rows, key=lambda row: -len(row[0].messages))


class EarlierTurns:
    """Remembers which turns in the histories of prompts are learnt already, by what was said up to and with them."""

    def __init__(self) -> None:
        self._learnt: set[bytes] = set()

    def left(self, prompt: Prompt) -> list[int]:
        """Return the places in the prompt's messages of the turns that no row has learnt yet, but for empty ones."""
        return [
            place
            for place, (message, key) in enumerate(zip(prompt.messages, _keys(prompt.messages), strict=True))
            if message.role == "assistant" and message.content.strip() and key not in self._learnt
        ]

    def has(self, prompt: Prompt, completion: Completion) -> bool:
        """True if a longer conversation begins with this one, and teaches all of it."""
        if not completion.ended or self.left(prompt):
            return False
        *_, key = _keys((*prompt.messages, Message(role="assistant", content=completion.text)))
        return key in self._learnt

    def add(self, prompt: Prompt, turns: Sequence[int], whole: Example, kept: Example) -> None:
        """Note that `turns` of the prompt are learnt in `kept`, as far as it was not cut from `whole`."""
        spans = dict(zip(turns, whole.learnt, strict=False))  # the last span is the completion
        for place, key in enumerate(_keys(prompt.messages)):
            if place in spans and spans[place] in kept.learnt:
                self._learnt.add(key)


def _keys(messages: Sequence[Message]) -> Iterator[bytes]:
    """Yield of each message a hash of what was said up to and with it."""
    said = blake2b(digest_size=16)
    for message in messages:
        content = message.content.encode("utf-8", "surrogatepass")
        said.update(f"{message.role} {len(content)} ".encode() + content)
        yield said.digest()
