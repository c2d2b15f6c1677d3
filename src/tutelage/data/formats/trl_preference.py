"""TRL's preference columns: `prompt`, `chosen`, `rejected`; texts or messages, which may hold the prompt.

Two texts without a prompt are refused: where the prompt ends in them would be a guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tutelage.data.formats.hh import is_hh
from tutelage.data.formats.item import UNKNOWN, Count, Format, Item, Options, Row, decided, each, preferred
from tutelage.data.formats.plain import PROMPT, field_of, read_prompt
from tutelage.data.formats.turns import last_turn, split_prompt
from tutelage.data.formats.ultrafeedback import is_ultrafeedback
from tutelage.errors import DataError
from tutelage.records import Message


def _read(where: str, row: Row, options: Options) -> Iterator[Item]:
    names = options.columns
    chosen, rejected = (
        field_of(where, row, names.get(name), (name,), f"{name}_field") for name in ("chosen", "rejected")
    )
    if "prompt" in names or any(name in row for name in PROMPT):
        prompt = read_prompt(where, row, options)
        better, worse = (last_turn(where, value, prompt) for value in (chosen, rejected))
    elif isinstance(chosen, str) or isinstance(rejected, str):
        raise DataError(
            f"{where}: chosen and rejected are texts, and there is no prompt; name its field (prompt_field=NAME), or "
            "give both as messages, which begin alike"
        )
    else:
        prompt, better, worse = split_prompt(where, chosen, rejected, options)
    yield preferred(prompt, better, worse, options, UNKNOWN, "chosen")


def _write(items: Iterable[Item], count: Count) -> Iterator[Row]:
    for prompt, *both in decided(items, count):
        said = [[Message(role="assistant", content=c.text).model_dump()] for c in both]
        yield {"prompt": [m.model_dump() for m in prompt.messages], "chosen": said[0], "rejected": said[1]}


FORMAT = Format(
    "trl_preference",
    "TRL's preferences: prompt, chosen, rejected, texts or messages; without prompt, messages that begin alike",
    ("verdicts",),
    lambda row: {"chosen", "rejected"} <= row.keys() and not is_hh(row) and not is_ultrafeedback(row),
    each(_read),
    _write,
    columns=("prompt", "chosen", "rejected"),
)
