"""Rows that compare two completions, and artifacts with verdicts -> pairs with what is known of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from example_rows_preferences import EXAMPLES
from tutelage.data.pairs import read_pairs
from tutelage.errors import DataError, StoreError
from tutelage.inputs import Pairs, Source
from tutelage.stages import importing

Write = Callable[[str, list[Any]], Path]
ROW = {
    "instruction": "Why?",
    "output_1": "Because.",
    "output_2": "Why not.",
    "generator_1": "base",
    "generator_2": "me",
}


def read(path: Path) -> tuple[list[Any], Counter[str]]:
    counts: Counter[str] = Counter()
    return read_pairs(Pairs(path=str(path)), lambda what, num: counts.update({what: num})), counts


def test_left_is_the_policys_output_2_and_right_the_baselines_output_1(write_rows: Write) -> None:
    row = ROW | {"score_1": 3, "score_2": 4.5, "preference": 2}
    ((known,), _) = read(write_rows("p.jsonl", [row]))
    assert (known.pair.left.text, known.pair.left.author) == ("Why not.", "me")
    assert (known.pair.right.text, known.pair.right.author) == ("Because.", "base")
    assert (known.prompt.text, known.gap, known.gold) == ("Why?", 1.5, "LEFT")


@pytest.mark.parametrize(
    ("preference", "gold"),
    [
        (1, "RIGHT"),
        (2.0, "LEFT"),
        (1.5, "TIE"),
        (0, "TIE"),
        (1.2, "RIGHT"),
        (-1, None),
        (None, None),
        (float("nan"), None),
    ],
)
def test_a_preference_is_read_as_alpaca_eval_means_it(write_rows: Write, preference: Any, gold: str | None) -> None:
    ((known,), _) = read(write_rows("p.jsonl", [ROW | {"preference": preference}]))
    assert known.gold == gold


def test_a_row_needs_no_names_scores_or_preference(write_rows: Write) -> None:
    ((known,), _) = read(write_rows("p.jsonl", [{"prompt": "Why?", "output_1": "a", "output_2": "b"}]))
    assert (known.gap, known.gold, known.pair.left.author) == (None, None, "unknown")


def test_what_cannot_be_compared_is_skipped_and_counted(write_rows: Write) -> None:
    rows = [ROW, ROW, ROW | {"output_2": "Because."}, ROW | {"instruction": " "}]
    found, counts = read(write_rows("p.jsonl", rows))
    assert len(found) == 1
    assert counts == {
        "skipped: the same pair again": 1,
        "skipped: both completions are the same text": 1,
        "skipped: the prompt is empty or only white space": 1,
    }


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"instruction": "Why?", "output": "x"}, "a file in the format plain has no verdicts to read"),
        ({"instruction": "Why?", "output_1": "x"}, "fields instruction, output_1, which is no format that is known"),
        (ROW | {"output_2": 3}, "'output_2' is no text but '3'"),
        ({"output_1": "a", "output_2": "b"}, "prompt_field=NAME"),
        (ROW | {"score_1": 1}, "one of score_1 and score_2"),
        (ROW | {"score_1": "high", "score_2": 1}, "'score_1' is no number but 'high'"),
        (ROW | {"score_1": True, "score_2": 1}, "'score_1' is no number"),
        (ROW | {"preference": 3}, r"a preference of '3' \(int\); expected a number from 1"),
        (ROW | {"preference": "output_2"}, "a preference of 'output_2'"),
        (ROW | {"preference": True}, "a preference of 'True'"),
        (ROW | {"instruction": ""}, "holds no usable pair"),
    ],
)
def test_a_row_that_cannot_be_is_one_error_that_names_it(write_rows: Write, row: Any, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        read(write_rows("p.jsonl", [row]))
    assert "p.jsonl" in str(caught.value)


def test_pairs_of_any_format_keep_what_the_rows_know_of_them(write_rows: Write) -> None:
    texts = [
        {"chosen": f"\n\nHuman: Why?\n\nAssistant: {end}", "rejected": "\n\nHuman: Why?\n\nAssistant: No."}
        for end in "ab"
    ]
    found, _ = read(write_rows("hh.jsonl", texts))
    assert [(k.prompt.text, k.pair.left.text, k.pair.right.text, k.gap, k.gold) for k in found] == [
        ("Why?", end, "No.", None, "LEFT") for end in "ab"
    ]
    ((known,), _) = read(write_rows("shp.jsonl", EXAMPLES["shp"][:1]))
    assert (known.gap, known.gold) == (8.0, "LEFT")


def test_columns_of_the_users_own_are_read_by_their_names(write_rows: Write) -> None:
    path = write_rows("own.jsonl", [{"q": "Why?", "good": "So.", "bad": "No."}])
    names = {"prompt_field": "q", "chosen_field": "good", "rejected_field": "bad"}
    (known,) = read_pairs(Pairs(path=str(path), **names), lambda what, num: None)
    assert (known.pair.left.text, known.gold) == ("So.", "LEFT")


def test_verdicts_that_were_imported_are_known_and_those_of_a_critic_are_not(
    write_rows: Write, tmp_path: Path
) -> None:
    config = importing.Config(artifacts=tmp_path / "a")
    path = write_rows("p.jsonl", [ROW | {"instruction": f"{p}?", "preference": p} for p in (1, 2, 1.5, None)])
    made = importing.run(config, importing.Inputs(rows=Source(path=str(path))))
    found, _ = read(made.path)
    assert {k.prompt.text: k.gold for k in found} == {"1?": "RIGHT", "2?": "LEFT", "1.5?": "TIE", "None?": None}
    (one,) = read_pairs(Pairs(path=str(made.path), max_prompts=1), lambda what, num: None)
    assert one in found


def test_a_folder_that_is_no_artifact_is_refused(tmp_path: Path) -> None:
    with pytest.raises((StoreError, DataError)):
        read(tmp_path)
