"""Items -> whole conversations, for formats whose rows are such: one answer more is no row more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tutelage.data.formats.item import Item
from tutelage.records import Message


@dataclass(frozen=True)
class Conversation:
    """Messages, and the places of those that are completions to learn from; none: it waits for an answer."""

    messages: tuple[Message, ...]
    learnt: frozenset[int] = frozenset()

    @property
    def all_learnt(self) -> bool:
        """True if every turn of the assistant is to be learnt, as formats have it that cannot say which."""
        return self.learnt == {place for place, m in enumerate(self.messages) if m.role == "assistant"}


def conversations(items: Iterable[Item]) -> Iterator[Conversation]:
    """Yield a conversation for each completion, or one for all those that follow upon each other.

    The items of a row come one after the other, each with more of the same conversation. So rows that were read are
    written as they were.
    """
    last: Conversation | None = None
    for item in items:
        if not item.completions:
            if last is not None:
                yield last
            last = None
            yield Conversation(item.prompt.messages)
        for completion in item.completions:
            before = item.prompt.messages
            learnt = frozenset({len(before)})
            if last is not None:
                if last.messages == before[: len(last.messages)]:
                    learnt |= last.learnt
                else:
                    yield last
            last = Conversation((*before, Message(role="assistant", content=completion.text)), learnt)
    if last is not None:
        yield last
