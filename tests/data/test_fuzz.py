"""Whatever a row holds, a reader yields items, counts a skip, or gives one error that names the row; nothing else."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from example_rows import EXAMPLES
from tutelage.data.formats import FORMATS, recognise
from tutelage.data.formats.item import MOST_REASONS, Options, Row
from tutelage.errors import DataError

NUM_ROWS = 10_000
IN_TWOS = {"trl_kto"}
"""Formats of which two rows are one item."""
WHERE = "rows.jsonl, line 7"


def nested(kind: str, depth: int = 5000) -> Any:
    """Deeper than what may call itself goes; parsers that are not Python's have other limits."""
    value: Any = "core"
    for _ in range(depth):
        value = [value] if kind == "list" else {"content": value}
    return value


VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    1.5,
    10**30,
    float("nan"),
    float("inf"),
    "",
    " \n",
    "Hi.",
    "\ud800",
    "a\0b",
    "x" * 20_000,
    "Human: ",
    "\n\nHuman: a\n\nAssistant: b",
    "Human: a\n\nAssistant: ",
    "user",
    "gpt",
    [],
    {},
    [[]],
    [None],
    ["Hi.", 7],
    [{"role": "user"}],
    [{"role": "assistant", "content": "Hi."}],
    [{"role": "tool", "content": "7"}],
    {"role": "user", "content": [{"type": "text", "text": "Hi."}]},
    {"role": "user", "content": [{"type": "image_url"}]},
    {"from": "human", "value": "Hi."},
    {"content": "", "weight": 0.5},
    nested("list"),
    nested("dict"),
]


def mutated(value: Any, chance: random.Random) -> Any:
    """A copy of `value` with one change in one place of it."""
    if isinstance(value, dict) and value and chance.random() < 0.95:
        return _changed_fields(value, chance)
    if isinstance(value, list) and value and chance.random() < 0.9:
        return _changed_list(value, chance)
    if isinstance(value, str) and value and chance.random() < 0.4:
        place = chance.randrange(len(value) + 1)
        return value[:place] + chance.choice(("", "\ud800", "\n\nHuman: ", "</s>", value)) + value[place:]
    return chance.choice(VALUES)


def _changed_fields(value: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    row, name = dict(value), chance.choice(list(value))
    match chance.randrange(8):
        case 0:
            del row[name]
        case 1:
            row[chance.choice((name + "s", name.upper(), "", "\ud800", "text", "prompt", "label"))] = row.pop(name)
        case 2:
            other = chance.choice(list(value))
            row[name], row[other] = row[other], row[name]
        case 3:
            row[chance.choice(("messages", "tools", "weight", "author", "input", "tool_calls"))] = chance.choice(
                VALUES
            )
        case _:
            row[name] = mutated(row[name], chance)
    return row


def _changed_list(value: list[Any], chance: random.Random) -> list[Any]:
    place = chance.randrange(len(value))
    match chance.randrange(5):
        case 0:
            return value[:place] + value[place + 1 :]
        case 1:
            return [*value[: place + 1], *value[place:]]
        case 2:
            return value[::-1]
        case _:
            return [*value[:place], mutated(value[place], chance), *value[place + 1 :]]


def rows_like(rows: list[dict[str, Any]], seed: str, num: int) -> list[dict[str, Any]]:
    """So many rows, each one of `rows` with a few changes."""
    chance = random.Random(seed)
    found = []
    for _ in range(num):
        row: Any = chance.choice(rows)
        for _ in range(chance.randint(1, 3)):
            row = mutated(row, chance)
        found.append(row if isinstance(row, dict) else {})
    return found


def options_of(place: int, name: str, skip_bad: bool) -> Options:
    """One way or another to read the row in this place."""
    return Options(
        source="rows.jsonl",
        num_turns=(FORMATS[name].num_turns, 2, None)[place % 3],
        author=(None, "me")[place % 2],
        without=((), ("</s>",))[place % 2],
        skip_bad=skip_bad,
    )


def read(name: str, rows: list[tuple[str, Row]], options: Options) -> tuple[int, Counter[str]]:
    """How many items the rows give, and what was counted."""
    counted: Counter[str] = Counter()
    items = FORMATS[name].read(rows, options, lambda what, num: counted.update({what: num}))
    return sum(1 for _ in items), counted


def error_of(name: str, row: Row, options: Options) -> str | None:
    """What the error says that the row gives; None: it gives none."""
    try:
        read(name, [(WHERE, row)], options)
    except DataError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", FORMATS)
def test_ten_thousand_mutated_rows_give_items_a_count_or_an_error_that_names_the_row(name: str) -> None:
    outcomes: Counter[str] = Counter()
    for place, row in enumerate(rows_like(EXAMPLES[name], name, NUM_ROWS)):
        error = error_of(name, row, options_of(place, name, skip_bad=False))
        num, counted = read(name, [(WHERE, row)], options_of(place, name, skip_bad=True))
        outcomes["error" if error else "items" if num else "counted"] += 1
        assert num or counted, row
        if error:
            assert error.startswith(f"{WHERE}: ")
            assert len(error) < 600
            assert counted, row
            assert not any(WHERE in reason for reason in counted)
    assert outcomes["items"] > NUM_ROWS / 100 or name in IN_TWOS
    assert outcomes["error"] > NUM_ROWS / 100


@pytest.mark.parametrize("name", FORMATS)
def test_rows_that_cannot_be_read_are_left_out_of_a_file_and_their_reasons_stay_few(name: str) -> None:
    rows = rows_like(EXAMPLES[name], name, 2000)
    num, counted = read(name, [(f"line {n}", row) for n, row in enumerate(rows)], options_of(0, name, skip_bad=True))
    assert num
    assert sum(counted.values()) >= len(rows) - num * (2 if name in IN_TWOS else 1)
    assert len(counted) < MOST_REASONS + 20


def test_whatever_a_file_begins_with_it_is_recognised_or_one_error() -> None:
    found: Counter[str] = Counter()
    for name, rows in EXAMPLES.items():
        for row in rows_like(rows, name, 1000):
            if sum(f.fits(row) for f in FORMATS.values()) == 1:
                found[recognise("rows.jsonl", row).name] += 1
            else:
                found["error"] += 1
                with pytest.raises(DataError, match=r"^rows\.jsonl: the first row"):
                    recognise("rows.jsonl", row)
    assert set(found) >= {"error", "messages", "plain", "sharegpt", "completions"}
