"""TRL's unpaired preferences: `prompt`, `completion`, and a `label` that says whether it is desirable.

A verdict is about two: each desirable completion goes with an undesirable one of the same prompt, the first that has
no partner yet. Those that find none say nothing that a verdict could, and are counted; they are kept in memory until
the end.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tutelage.data.formats.item import UNKNOWN, Count, Format, Item, Options, Row, decided, each, preferred, shown
from tutelage.data.formats.plain import field_of, read_prompt
from tutelage.data.formats.turns import last_turn
from tutelage.errors import DataError
from tutelage.records import Message, Prompt

_LABELS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class _Labelled:
    prompt: Prompt
    text: str
    desirable: bool


def _read_row(where: str, row: Row, options: Options) -> Iterator[_Labelled]:
    label = field_of(where, row, None, ("label",), "label")
    known = str(label).lower() if isinstance(label, bool | str) or label in (0, 1) else ""
    if known not in _LABELS:
        raise DataError(f"{where}: expected a label true or false, found {shown(label)}")
    prompt = read_prompt(where, row, options)
    value = field_of(where, row, options.columns.get("completion"), ("completion",), "completion_field")
    yield _Labelled(prompt, last_turn(where, value, prompt), _LABELS[known])


_labelled = each(_read_row)


def _read(rows: Iterable[tuple[str, Row]], options: Options, count: Count) -> Iterator[Item]:
    waiting: defaultdict[tuple[str, bool], deque[str]] = defaultdict(deque)
    for one in _labelled(rows, options, count):
        partners = waiting[one.prompt.id, not one.desirable]
        partner = next((text for text in partners if text != one.text), None)
        if partner is None:
            waiting[one.prompt.id, one.desirable].append(one.text)
            continue
        partners.remove(partner)
        chosen, rejected = (one.text, partner) if one.desirable else (partner, one.text)
        yield preferred(one.prompt, chosen, rejected, options, UNKNOWN, "desirable and undesirable")
    for desirable, one_of, what in ((True, "an undesirable", "desirable"), (False, "a desirable", "undesirable")):
        left = sum(len(texts) for (_, kind), texts in waiting.items() if kind == desirable)
        if left:
            to_do = "; to learn from them, give them alone, without label" if desirable else ""
            count(f"skipped: {what} completions without {one_of} one of the same prompt{to_do}", left)


def _write(items: Iterable[Item], count: Count) -> Iterator[Row]:
    for prompt, *both in decided(items, count):
        said = [m.model_dump() for m in prompt.messages]
        for completion, label in zip(both, (True, False), strict=True):
            answer = Message(role="assistant", content=completion.text).model_dump()
            yield {"prompt": said, "completion": [answer], "label": label}


FORMAT = Format(
    "trl_kto",
    "TRL's unpaired preferences: prompt, completion, label; a desirable and an undesirable one make a verdict",
    ("verdicts",),
    lambda row: {"completion", "label"} <= row.keys(),
    _read,
    _write,
    columns=("prompt", "completion"),
)
