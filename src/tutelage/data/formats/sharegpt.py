"""ShareGPT: `{"id", "conversations": [{"from": "human" | "gpt", "value"}, ...]}`, chats with ChatGPT.

The research code's rules, and where they would make nonsense, ours:

- The first `2 * num_turns + 1` turns are read. Every gpt turn among them is a completion of all that was said before.
- A conversation that begins with gpt is skipped, as it was.
- Turns of others (system, tools) are left out, though they are among the first turns, as they were; they are counted.
- Two human turns in a row, or two of gpt: the research code made one text of them that has two "Assistant: " and no
  "Human: " between. Here the conversation ends before the second, and is counted.
- One of the texts of `without` in any turn drops the conversation, as it did.
- It kept the last of several completions of one prompt. Here all are kept, and numbered (`data.rows.Numbered`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from tutelage.data.formats.conversations import conversations
from tutelage.data.formats.item import Count, Format, Item, Options, Row, Skip, each, one_turn, prompt_of, shown
from tutelage.errors import DataError
from tutelage.records import Completion, Message, Prompt, Role

_READ: Mapping[str, Role] = {"human": "user", "gpt": "assistant"}
_WRITTEN: Mapping[Role, str] = {"system": "system", "user": "human", "assistant": "gpt"}
AUTHOR = "chatgpt"


def _read(rows: Iterable[tuple[str, Row]], options: Options, count: Count) -> Iterator[Item]:
    yield from each(partial(_read_row, count=count))(rows, options, count)


def _read_row(where: str, row: Row, options: Options, count: Count) -> Iterator[Item]:
    turns = row.get("conversations")
    if not isinstance(turns, list):
        raise DataError(f"{where}: expected 'conversations', a list of {{'from', 'value'}}; found {shown(turns)}")
    said = [_turn(where, turn) for turn in turns]
    for unwanted in options.without:
        if any(unwanted in text for _, text in said):
            raise Skip(f"contains {unwanted}")
    if options.num_turns is not None:
        said = said[: 2 * options.num_turns + 1]
    kept: list[tuple[Role, str]] = []
    for name, text in said:
        if name not in _READ:
            count("left out: turns of others than human and gpt", 1)
        elif kept and kept[-1][0] == _READ[name]:
            count("cut short: conversations with two turns of human, or of gpt, in a row", 1)
            break
        else:
            kept.append((_READ[name], text))
    if not kept:
        raise Skip("no turn of human or gpt")
    if kept[0][0] == "assistant":
        raise Skip("the conversation starts with the assistant; a prompt starts with the user")
    yield from _answers(kept, options)


def _answers(turns: Sequence[tuple[Role, str]], options: Options) -> Iterator[Item]:
    """Do what `targets` does for turns that take turns; of an answer that is in no prompt, no message is made."""
    messages: list[Message] = []
    texts, before = [text for _, text in turns], ""
    for question, answer in zip(texts[::2], texts[1::2], strict=False):
        if messages:
            messages.append(Message(role="assistant", content=before))
        messages.append(Message(role="user", content=question))
        prompt = prompt_of(messages, options)
        yield Item(prompt, (Completion(prompt_id=prompt.id, author=options.author or AUTHOR, text=answer),))
        before = answer
    if len(texts) == 1:
        yield Item(one_turn(texts[0], options))


def _turn(where: str, turn: Any) -> tuple[str, str]:
    # Files hold millions of these: looking whether one is some kind of Mapping would take as long as all the rest.
    name, text = (turn.get("from"), turn.get("value")) if type(turn) is dict else (None, None)
    if type(name) is str and type(text) is str:
        return name, text
    raise DataError(f"{where}: expected turns {{'from', 'value'}}, both texts; found {shown(turn)}")


def _write(items: Iterable[Item], count: Count) -> Iterator[Row]:
    for found in conversations(items):
        if not found.all_learnt:
            count("written with turns that were not to be learnt, which the format cannot say", 1)
        first = min(found.learnt, default=len(found.messages))
        turns = [{"from": _WRITTEN[m.role], "value": m.content} for m in found.messages]
        yield {"id": Prompt(messages=found.messages[:first]).id, "conversations": turns}


FORMAT = Format(
    "sharegpt",
    "ShareGPT: {id, conversations: [{from: human or gpt, value}]}; the first turn, unless num_turns says more",
    ("prompts", "completions"),
    lambda row: "conversations" in row,
    _read,
    _write,
    num_turns=1,
)
