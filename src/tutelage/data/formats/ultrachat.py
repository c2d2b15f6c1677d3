"""UltraChat as the Hub has it (HuggingFaceH4/ultrachat_200k): `{"prompt", "prompt_id", "messages"}`.

The messages are read, as the research code did: they must begin with the user and ChatGPT's answer, and of them the
first turn counts, unless `num_turns` says more. `prompt` is the first of them once again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tutelage.data.formats.conversations import conversations
from tutelage.data.formats.item import WAITING, Count, Format, Item, Options, Row, Skip, each, messages_of, targets
from tutelage.records import Prompt

AUTHOR = "chatgpt"


def _read(where: str, row: Row, options: Options) -> Iterator[Item]:
    messages = messages_of(where, row.get("messages"))
    if [m.role for m in messages[:2]] != ["user", "assistant"]:
        raise Skip("does not begin with the user and the assistant's answer")
    yield from targets(messages, options.author or AUTHOR, options)


def _write(items: Iterable[Item], count: Count) -> Iterator[Row]:
    for found in conversations(items):
        if not found.learnt:
            count(WAITING, 1)
        elif found.messages[0].role != "user":
            count("not written: conversations with a system message", 1)
        else:
            if not found.all_learnt:
                count("written with turns that were not to be learnt, which the format cannot say", 1)
            yield {
                "prompt": found.messages[0].content,
                "prompt_id": Prompt(messages=found.messages[:1]).id,
                "messages": [m.model_dump() for m in found.messages],
            }


FORMAT = Format(
    "ultrachat",
    "UltraChat 200k: {prompt, prompt_id, messages}; the first turn, unless num_turns says more",
    ("prompts", "completions"),
    lambda row: {"prompt", "messages"} <= row.keys() and not {"chosen", "completion"} & row.keys(),
    each(_read),
    _write,
    num_turns=1,
)
