"""What a format is: a way to read rows of a file as records, and records as rows of a file."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from reprlib import Repr
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from tutelage.disk import visible
from tutelage.errors import DataError
from tutelage.records import Completion, Message, Outcome, Pair, Prompt, Role, Verdict

Read = TypeVar("Read")
Count = Callable[[str, int], None]
"""Hears what is left out, and how many."""
Row = Mapping[str, Any]
Holds = Literal["prompts", "completions", "verdicts"]
UNKNOWN = "unknown"
"""Who wrote a completion where nothing says it."""
MOST_REASONS = 20
"""So many reasons why rows cannot be read are told apart: a reason may quote the row, and rows are millions."""
WAITING = "not written: prompts without a completion"
_ROLES: Mapping[object, Role] = {
    "system": "system",
    "developer": "system",  # OpenAI's later word for it
    "user": "user",
    "assistant": "assistant",
}
_SHORT = Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 3, 60, 60


def count_nothing(what: str, num: int) -> None:
    """Be a `Count` for a look ahead, or a second one: who reads the rows in earnest counts."""


@dataclass(frozen=True)
class Item:
    """What a row says: a prompt, completions of it to learn from, or a verdict about two completions of it.

    The two of a verdict are no completions to learn from: one of them lost.
    """

    prompt: Prompt
    completions: tuple[Completion, ...] = ()
    verdict: Verdict | None = None
    gap: float | None = None
    """Score of the verdict's left completion minus that of the right one, where the row has scores."""


@dataclass(frozen=True)
class Options:
    """What is said of a file beside its format.

    columns: field names where they are not the format's own, by what they hold: prompt, completion, chosen,
    rejected, author. num_turns: how many of a conversation's assistant turns are read, None: all. author: who wrote
    completions of which the rows say nothing. source: where prompts come from, as they will say. without: texts of
    which an item must hold none; the reader looks itself only where the whole row is meant. skip_bad: a row that
    cannot be read is counted and left out, instead of an error.
    """

    source: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    num_turns: int | None = None
    author: str | None = None
    without: tuple[str, ...] = ()
    skip_bad: bool = False


Reader = Callable[[Iterable[tuple[str, Row]], Options, Count], Iterator[Item]]
"""(where, row) for each row -> items; `where` is the file and line for an error to name."""
Writer = Callable[[Iterable[Item], Count], Iterator[Row]]
"""Items -> rows; what a format cannot say is counted."""


@dataclass(frozen=True)
class Format:
    """A way to write rows that somebody else has chosen.

    fits: whether a row looks like one, so that a file can be recognised; no two formats fit the same row.
    num_turns: what is read of a conversation if the user does not say; None: all of it.
    columns: which of `Options.columns` it reads; its other fields have the names they have.
    container: of a file that is written: rows, or one JSON object {prompt: [completions]} (rows of key and value).
    """

    name: str
    says: str
    holds: tuple[Holds, ...]
    fits: Callable[[Row], bool]
    read: Reader
    write: Writer | None = None
    num_turns: int | None = None
    container: Literal["rows", "object"] = "rows"
    columns: tuple[str, ...] = ()


class Skip(Exception):  # noqa: N818 - not an error: a row that is left out and counted under this reason
    """A row that is whole but of no use; the message is the reason it is counted under."""


def each(
    read_row: Callable[[str, Row, Options], Iterable[Read]],
) -> Callable[[Iterable[tuple[str, Row]], Options, Count], Iterator[Read]]:
    """Return a reader of rows that stand for themselves; `read_row` raises `Skip` for one that is of no use.

    One row in a thousand that is unreadable is no reason to read none, if the user says so (`skip_bad`).
    """

    def read(rows: Iterable[tuple[str, Row]], options: Options, count: Count) -> Iterator[Read]:
        reasons: set[str] = set()
        for where, row in rows:
            try:
                yield from read_row(where, row, options)
            except Skip as reason:
                count(f"skipped: {reason}", 1)
            except DataError as error:
                if not options.skip_bad:
                    raise
                said = visible(str(error).removeprefix(where + ": "))[:120]
                if said not in reasons and len(reasons) == MOST_REASONS:
                    said = "cannot be read for yet another reason"
                else:
                    reasons.add(said)
                count(f"skipped: {said}", 1)

    return read


def text_of(where: str, row: Row, *names: str) -> str:
    """Return the text in the first of the fields `names` that the row has.

    Raises:
        DataError: it has none of them, or what is there is no text.
    """
    for name in names:
        if name in row:
            if isinstance(row[name], str):
                return str(row[name])
            raise DataError(f"{where}: {name!r} is no text but {shown(row[name])}")
    raise DataError(
        f"{where}: no field {' or '.join(map(repr, names))} (found: {', '.join(map(str, row))[:200] or 'none'})"
    )


def shown(value: Any) -> str:
    """Return the beginning of a value as it may stand in a message; of a nested one only what lies on top."""
    return repr((value if isinstance(value, str) else _SHORT.repr(value))[:60])


def name_of(value: Any) -> str:
    """Return who or what a field names: a text, or a number as one; what is neither names nobody."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
        return str(value)
    return value if isinstance(value, str) and value else UNKNOWN


def messages_of(where: str, value: Any) -> tuple[Message, ...]:
    """Return a list of {'role', 'content'} as messages; content is a text, or a list of parts that are texts.

    Raises:
        DataError: it is something else.
        Skip: there is more to it than a message can say: calls of tools, images.
    """
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        found = [_message(m) for m in value]
        said = tuple(m for m in found if m is not None)
        if len(said) == len(found):
            return said
    raise DataError(
        f"{where}: expected a list of {{'role', 'content'}} messages, role one of system, user, assistant; "
        f"found {shown(value)}"
    )


def _message(said: Any) -> Message | None:
    if not isinstance(said, Mapping):
        return None
    role, content = said.get("role"), said.get("content")
    if role in ("tool", "function") or said.get("tool_calls") or said.get("function_call"):
        raise Skip("the conversation uses tools")
    if isinstance(content, list) and content and all(isinstance(part, Mapping) for part in content):
        if any(part.get("type") != "text" for part in content):
            raise Skip("a message is more than text")
        texts = [part.get("text") for part in content]
        content = "".join(texts) if all(isinstance(text, str) for text in texts) else None
    if not (isinstance(role, str) and role in _ROLES and isinstance(content, str)):
        return None
    return Message(role=_ROLES[role], content=content)


def prompt_of(messages: Sequence[Message], options: Options) -> Prompt:
    """Return the prompt of these messages.

    Raises:
        Skip: they are none: empty, or they begin or end with the assistant.
    """
    try:
        return Prompt(messages=tuple(messages), source=options.source)
    except ValidationError as error:
        raise Skip(str(error.errors()[0]["msg"]).removeprefix("Value error, ")) from None


def one_turn(text: str, options: Options) -> Prompt:
    """Return the prompt that asks `text`; see `prompt_of`."""
    return prompt_of([Message(role="user", content=text)], options)


def targets(
    messages: Sequence[Message], author: str, options: Options, learnt: Container[int] | None = None
) -> Iterator[Item]:
    """Yield every assistant turn, up to `num_turns`, as a completion of all that was said before it.

    A conversation that waits for an answer is a prompt alone.

    Args:
        learnt: the places of the assistant turns that are to be learnt; None: all of them.

    Raises:
        Skip: the conversation begins with the assistant, a turn answers nothing, or none is to be learnt.
    """
    if next((m.role for m in messages if m.role != "system"), None) == "assistant":
        raise Skip("the conversation starts with the assistant; a prompt starts with the user")
    found = [place for place, message in enumerate(messages) if message.role == "assistant"]
    kept = [place for place in found[: options.num_turns] if learnt is None or place in learnt]
    for place in kept:
        prompt = prompt_of(messages[:place], options)
        yield Item(prompt, (Completion(prompt_id=prompt.id, author=author, text=messages[place].content),))
    if found and not kept:
        raise Skip("no turn of the assistant is to be learnt")
    if not found:
        yield Item(prompt_of(messages, options))


def judged(
    prompt: Prompt,
    left: Completion,
    right: Completion,
    outcome: Outcome,
    critic: str,
    said: str,
    probability: float | None = None,
    gap: float | None = None,
) -> Item:
    """Return the verdict of somebody who compared two completions; `said` is how the file says what it is.

    Raises:
        Skip: the two are one text, of which neither can be better.
    """
    if left.text == right.text:
        raise Skip("both completions are the same text")
    verdict = Verdict(
        pair=Pair(left=left, right=right),
        orders=("unknown",),
        outcome=outcome,
        critic=critic,
        replies=(said,),
        probability=probability,
    )
    return Item(prompt, verdict=verdict, gap=gap)


def preferred(
    prompt: Prompt, chosen: str, rejected: str, options: Options, critic: str, said: str, gap: float | None = None
) -> Item:
    """Return the verdict of a row that says only which of two texts is the better one; see `judged`."""
    author = options.author or UNKNOWN
    left, right = (Completion(prompt_id=prompt.id, author=author, text=text) for text in (chosen, rejected))
    return judged(prompt, left, right, "LEFT", critic, said, gap=gap)


def decided(items: Iterable[Item], count: Count) -> Iterator[tuple[Prompt, Completion, Completion]]:
    """Yield prompt, better and worse completion, for a writer whose rows can say nothing else; counts the rest."""
    for item in items:
        if item.verdict is None:
            count("not written: prompts and completions without a verdict", 1)
            continue
        left, right = item.verdict.pair.left, item.verdict.pair.right
        match item.verdict.outcome:
            case "LEFT":
                yield item.prompt, left, right
            case "RIGHT":
                yield item.prompt, right, left
            case "TIE":
                count("not written: ties", 1)
            case "INVALID":
                count("not written: verdicts that cannot be read", 1)
