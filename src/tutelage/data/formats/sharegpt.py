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

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from tutelage.data.formats.conversations import conversations
from tutelage.data.formats.item import Count, Format, Item, Options, Row, Skip, each, shown, targets
from tutelage.errors import DataError
from tutelage.records import Message, Prompt, Role

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
    turns = []
    for name, text in said:
        if name not in _READ:
            count("left out: turns of others than human and gpt", 1)
        elif turns and turns[-1][0] == _READ[name]:
            count("cut short: conversations with two turns of human, or of gpt, in a row", 1)
            break
        else:
            turns.append((_READ[name], text))
    if not turns:
        raise Skip("no turn of human or gpt")
    # The human's last word after an answer asks for nothing that is there: no message is made of it.
    needed = turns[:-1] if len(turns) > 1 and turns[-1][0] == "user" else turns
    messages = [Message(role=role, content=text) for role, text in needed]
    yield from targets(messages, options.author or AUTHOR, options)


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
