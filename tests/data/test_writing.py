"""Rows -> files of every container: what is written reads back, is whole or not there, the same bytes again."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tutelage.data.writing import write_rows
from tutelage.errors import ConfigError, DataError

ROWS: list[dict[str, Any]] = [
    {"prompt": "größer\n,\"'", "completion": "a\u2028b", "score": 1.5},
    {"prompt": "</s> 👩‍👩‍👧", "completion": "", "score": None},
]


def read(path: Path) -> list[Any]:
    data = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
    text = data.decode()
    if ".jsonl" in path.name:
        return [json.loads(line) for line in text.split("\n")[:-1]]
    return list(json.loads(text))


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.jsonl.gz", "a.json.gz"])
@pytest.mark.parametrize("num", [0, 1, 2])
def test_json_of_both_kinds_reads_back_and_is_the_same_bytes_again(tmp_path: Path, name: str, num: int) -> None:
    assert write_rows(tmp_path / name, iter(ROWS[:num])) == num
    assert read(tmp_path / name) == ROWS[:num]
    before = (tmp_path / name).read_bytes()
    write_rows(tmp_path / name, iter(ROWS[:num]))
    assert (tmp_path / name).read_bytes() == before


def test_an_object_is_written_as_one(tmp_path: Path) -> None:
    rows = [{"key": 'a "quoted"\nkey', "value": ["x", "y"]}, {"key": "b", "value": []}]
    write_rows(tmp_path / "a.json", rows, "object")
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {'a "quoted"\nkey': ["x", "y"], "b": []}
    write_rows(tmp_path / "b.json", [], "object")
    assert json.loads((tmp_path / "b.json").read_text("utf-8")) == {}
    with pytest.raises(ConfigError, match=r"one JSON object; give a name that ends in \.json"):
        write_rows(tmp_path / "a.jsonl", rows, "object")


def test_a_table_keeps_texts_with_quotes_commas_and_line_ends(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.csv", ROWS)
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert [(row["prompt"], row["completion"], row["score"]) for row in found] == [
        (ROWS[0]["prompt"], "a\u2028b", "1.5"),
        (ROWS[1]["prompt"], "", ""),
    ]


def test_parquet_reads_back_with_lists_of_messages(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{"prompt": [{"role": "user", "content": str(i)}], "score": float(i)} for i in range(25_000)]
    assert write_rows(tmp_path / "a.parquet", iter(rows)) == 25_000
    assert parquet.read_table(tmp_path / "a.parquet").to_pylist() == rows
    assert parquet.ParquetFile(tmp_path / "a.parquet").num_row_groups == 3


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_row_with_other_fields_does_not_fit_a_table_and_leaves_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="row 2 has the fields prompt, the first one has prompt, completion, score"):
        write_rows(tmp_path / name, [ROWS[0], {"prompt": "x"}])
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_says_no_container_is_one_error(tmp_path: Path) -> None:
    for name in ("a", "a.txt", "a.parquet.gz", "a.gz"):
        with pytest.raises(ConfigError, match="unknown kind of file"):
            write_rows(tmp_path / name, ROWS)


def test_an_error_in_the_middle_leaves_what_was_there(tmp_path: Path) -> None:
    def rows() -> Any:
        yield ROWS[0]
        raise RuntimeError

    (tmp_path / "a.jsonl").write_text("old")
    with pytest.raises(RuntimeError):
        write_rows(tmp_path / "a.jsonl", rows())
    assert [p.name for p in tmp_path.iterdir()] == ["a.jsonl"]
    assert (tmp_path / "a.jsonl").read_text() == "old"


def test_half_a_character_is_written_as_its_escape(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [{"prompt": "a\ud83d"}])
    assert read(tmp_path / "a.jsonl") == [{"prompt": "a\ud83d"}]


def test_what_only_later_rows_of_a_table_have_within_a_field_is_no_silent_loss(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    rows = [{"messages": [{"role": "user"}]}] * 10_000 + [{"messages": [{"role": "user", "weight": 0}]}]
    with pytest.raises(DataError, match=r"later rows have messages\.weight, which the first 10,000 lack"):
        write_rows(tmp_path / "a.parquet", rows)
    assert list(tmp_path.iterdir()) == []


def test_a_csv_takes_neither_lists_which_would_read_back_as_text_nor_half_a_character(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 1: prompt is a list, and \.csv holds texts; write \.jsonl"):
        write_rows(tmp_path / "a.csv", [{"prompt": [{"role": "user", "content": "Hi."}]}])
    for name in ("a.csv", "a.csv.gz", "a.parquet"):
        with pytest.raises(DataError, match=r"half a character|does not fit"):
            write_rows(tmp_path / name, [{"prompt": "a\ud83d"}])
    assert list(tmp_path.iterdir()) == []
