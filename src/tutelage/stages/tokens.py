"""`tutelage data tokens`: the tokens that training would see of some rows, and which of them carry loss."""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from pydantic import Field

from tutelage.config import Group
from tutelage.data.formats.item import Count, Item, decided
from tutelage.data.show import items_of
from tutelage.errors import DataError
from tutelage.extras import require
from tutelage.inputs import Model, Source
from tutelage.records import Completion, Preference, Prompt
from tutelage.train.settings import Lengths, OfConversations

if TYPE_CHECKING:
    from tutelage.train.encode import Encoder
    from tutelage.train.examples import Cut
    from tutelage.train.tokens import TokenView

    Row = Cut[Completion] | Cut[Preference]

_LOOKED_AT = 256
"""Rows that are encoded: with loss_on=all a row is learnt in one that comes later, though not far, in any file."""


_UNDECIDED = "skipped: the verdict prefers neither"


class _Shown(Group):
    rows: Source = Field(description="completions, or preferences: an artifact, or a file or data set")
    model: Model = Field(description="whose tokenizer and chat template")
    num: int = Field(3, ge=1, le=_LOOKED_AT, description="how many are shown", json_schema_extra={"unit": "examples"})
    ids: bool = Field(False, description="show the number of every token beside it")


class TokensConfig(Lengths, OfConversations, _Shown):  # the last one's settings are the first of the help
    """Shows the tokens that training sees of the first rows, and which of them carry loss."""


def tokens(config: TokensConfig) -> str:
    """Return the first examples, token by token, with a legend before them and counts after.

    Raises:
        DataError: there is neither a completion nor a preference, or none of them can be used.
        ModelError: no such model, or it has no chat template.
        ConfigError: see `truncate`.
    """
    require("train", "tutelage data tokens")
    from tutelage.train.checkpoint import load_encoder, usable_length, without_weights
    from tutelage.train.tokens import Style, TokenView

    encoder = load_encoder(config.model)
    length = usable_length(without_weights(config.model), config.max_length)
    counts: Counter[str] = Counter()
    cuts, looked_at = _cut(config, encoder, length, lambda what, num: counts.update({what: num}))
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    width = shutil.get_terminal_size((100, 24)).columns
    view = TokenView(encoder, Style(colour, config.ids, width))
    lines = [view.legend()]
    for number, cut in enumerate(cuts[: config.num], 1):
        lines += ["", *_example(view, number, cut)]
    said = [f"{num:,} {what}" for what, num in counts.items() if num]
    if not cuts:
        raise DataError(
            f"{config.rows.path}: none of the first {looked_at:,} rows can be trained on ({'; '.join(said)})"
        )
    lines += ["", f"of the first {looked_at:,} rows {len(cuts):,} are examples of at most {length:,} tokens"]
    return "\n".join([*lines, *(f"  {each}" for each in said)])


def _cut(config: TokensConfig, encoder: Encoder, length: int, count: Count) -> tuple[list[Row], int]:
    """Return the first rows as they would be cut, in their order, and how many rows there were."""
    from tutelage.train.examples import cut_completions, cut_preferences

    rows = list(islice(_rows(items_of(config.rows, count), count), _LOOKED_AT))
    if not rows:
        raise DataError(f"{config.rows.path}: holds neither a completion nor a preference; give rows that do")
    completions = [(prompt, row) for prompt, row in rows if isinstance(row, Completion)]
    preferences = [(prompt, row) for prompt, row in rows if isinstance(row, Preference)]
    cuts: list[Row] = []
    cuts += cut_completions(encoder, completions, length, config.truncation, count, config.loss_on)
    cuts += cut_preferences(encoder, preferences, length, config.truncation, count)
    places = {row.id: place for place, (_, row) in enumerate(rows)}
    return sorted(cuts, key=lambda cut: places[cut.row.id]), len(rows)


def _rows(items: Iterable[Item], count: Count) -> Iterator[tuple[Prompt, Completion | Preference]]:
    for item in items:
        yield from ((item.prompt, completion) for completion in item.completions)
        if item.verdict is not None:
            for prompt, chosen, rejected in decided([item], lambda what, num: count(_UNDECIDED, num)):
                ids = (item.verdict.id,)
                yield prompt, Preference(prompt_id=prompt.id, chosen=chosen, rejected=rejected, verdict_ids=ids)


def _example(view: TokenView, number: int, cut: Row) -> Iterator[str]:
    if isinstance(cut.row, Completion):
        yield f"{number}. prompt {cut.prompt.id}, completion {cut.row.id}"
        yield from view.lines(cut.whole[0], cut.kept[0])
        return
    sides = zip(("chosen", "rejected"), (cut.row.chosen, cut.row.rejected), cut.whole, cut.kept, strict=True)
    for word, row, whole, kept in sides:
        yield f"{number}. prompt {cut.prompt.id}, {word} {row.id}" + (
            " (after the same prompt)" * (word == "rejected")
        )
        yield from view.lines(whole, kept, with_prompt=word == "chosen")
