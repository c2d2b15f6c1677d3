"""Files, folders and data sets: whatever rows lie in, they are the same; what is damaged is named by its line."""

from __future__ import annotations

import gzip
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.data import text
from tutelage.data.json_rows import parse
from tutelage.data.sources import open_rows, read_objects
from tutelage.errors import ConfigError, DataError, StoreError
from tutelage.inputs import Prompts

pyarrow = pytest.importorskip("pyarrow")
datasets = pytest.importorskip("datasets")

ROWS = [{"prompt": f'Nenne {i} Städte,\n"bitte".', "completion": "Köln, 東京"} for i in range(5)]


def read(path: Path | str, **fields: Any) -> list[dict[str, Any]]:
    return [row for _, row in open_rows(Prompts(path=str(path), **fields))]


def as_csv(rows: list[dict[str, Any]], delimiter: str = ",") -> str:
    def quoted(values: Any) -> str:
        return delimiter.join('"' + str(v).replace('"', '""') + '"' for v in values)

    return "\r\n".join([quoted(rows[0]), *(quoted(row.values()) for row in rows)]) + "\r\n"


def write_all(folder: Path) -> list[Path]:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    texts = {
        "a.jsonl": lines,
        "lines.json": lines,
        "compact.json": json.dumps(ROWS, separators=(",", ":")),
        "indented.json": json.dumps(ROWS, indent=2, ensure_ascii=False),
        "a.csv": as_csv(ROWS),
        "a.tsv": as_csv(ROWS, "\t"),
    }
    for name, content in texts.items():
        (folder / name).write_bytes(content.encode())
        (folder / f"{name}.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + content.encode(), mtime=0))
    datasets.Dataset.from_list(ROWS).to_parquet(folder / "a.parquet")
    datasets.Dataset.from_list(ROWS).save_to_disk(folder / "saved")
    return [
        *(folder / name for name in texts),
        *(folder / f"{name}.gz" for name in texts),
        folder / "a.parquet",
        folder / "saved",
    ]


def test_the_same_rows_come_out_of_every_container(tmp_path: Path) -> None:
    for path in write_all(tmp_path):
        assert read(path) == ROWS, path.name


@pytest.mark.parametrize("piece", [1, 7, 64])
def test_where_a_file_is_cut_into_pieces_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    paths = write_all(tmp_path)
    monkeypatch.setattr(text, "PIECE", piece)
    monkeypatch.setattr("tutelage.data.json_rows.PIECE", piece)
    for path in paths:
        assert read(path) == ROWS, path.name
    numbers = tmp_path / "numbers.json"
    numbers.write_text(
        '{"a": 12345678901234567890123, "b": -1.5e+3, "c": NaN, "d": [-Infinity], "e": "\\ud83d\\ude00"}'
    )
    values = {row["key"]: row["value"] for row in read(numbers)}
    assert math.isnan(values.pop("c"))
    assert values == {"a": 12345678901234567890123, "b": -1500.0, "d": [-math.inf], "e": "😀"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(JSON, st.booleans())
def test_the_fast_parser_reads_what_json_reads(value: Any, ascii_only: bool) -> None:
    written = json.dumps(value, ensure_ascii=ascii_only)
    if not ascii_only:
        written = written.encode("utf-8", "replace").decode()
    assert repr(parse(written)) == repr(json.loads(written))


@given(st.text(st.sampled_from('[]{}",:\\ 0123456789.eE+-aNInfinytrues\n\tud8é\x00\x7f'), max_size=30))
def test_the_fast_parser_refuses_what_json_refuses(written: str) -> None:
    def outcome(load: Callable[[str], Any]) -> str:
        try:
            return repr(load(written))
        except ValueError:
            return "refused"

    assert outcome(parse) == outcome(json.loads)


@settings(max_examples=30)
@given(
    st.lists(st.dictionaries(st.sampled_from(["a", "b", "{"]), JSON, max_size=3), max_size=8),
    st.sampled_from([None, 1]),
)
def test_elements_of_any_list_are_those_that_json_finds(rows: list[dict[str, Any]], indent: int | None) -> None:
    """Where an element ends is guessed from the one before; here they look alike, nest, and differ."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.json")
        nested = [row | {"inner": rows[:2]} for row in rows]
        path.write_text(json.dumps(nested, indent=indent))
        if rows:
            assert repr([row for _, row in read_objects(path)]) == repr(json.loads(path.read_text()))


def test_an_object_of_many_keys_is_a_row_a_key(tmp_path: Path) -> None:
    path = tmp_path / "completions.json"
    path.write_text(json.dumps({"Hi.": ["Hello."], "Bye.": ["Bye!", "See you."]}, indent=1))
    assert read(path) == [{"key": "Hi.", "value": ["Hello."]}, {"key": "Bye.", "value": ["Bye!", "See you."]}]
    path.write_text("{}")
    assert read(path) == []


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.json", b'[{"a": 1},\n{"a": 2}', "line 2: not JSON .Expecting ',' delimiter.*jsonl"),
        ("a.json", b'[{"a": 1},\n]', "line 2: not JSON"),
        ("a.json", b'[{"a": 1}\n{"a": 2}]', "line 2: not JSON"),
        ("a.json", b'[{"a": 1}]\n\n[{"a": 2}]', "line 3: not JSON .Extra data"),
        ("a.json", b'{"a": 1, "b": 1} x', "line 1: not JSON .Extra data"),
        ("a.json", b'{"a": \n"a" "b"}', "line 2: not JSON"),
        ("a.json", b'{"a": 1,\n 2: 3}', "line 2: not JSON .Expecting property name"),
        ("a.json", b'{"a"\n 2}', "line 2: not JSON .Expecting ':'"),
        ("a.json", b'[\n"' + b"a" * 5000, "line 2: not JSON .Unterminated string"),
        ("a.json", b'[{"a": "x"},\n\n\n{"a": "\xff"}]', "line 4: not UTF-8 .byte 22"),
        ("a.json", b'[1, "a"]', "row 1: expected an object"),
        ("a.csv", b"", "is empty; expected a header"),
        ("a.csv", b"\n\r\n", "is empty; expected a header"),
        ("a.csv", b'a,b\n1,"2\n2"\n1,2,3\n', "line 4: 3 fields, but the header has 2 fields .a, b"),
        ("a.csv", b"a,b\n\n1\n", "line 3: 1 field, but the header has 2 fields"),
        ("a.csv", b'a,b\n1,2\n1,"torn\n\n', "line 3: the row that begins here is not CSV"),
        ("a.csv", b'a,b\n1,"x"y\n', "line 2: the row that begins here is not CSV"),
        ("a.csv", b"a,,b\n", "line 1: expected a header .* found a column without a name"),
        ("a.csv", b"a,b,a\n", "line 1: expected a header .* found two columns named 'a'"),
        ("a.csv", b"a,b\n1,\xff\n", "line 2: not UTF-8 .byte 6"),
        ("a.tsv", b"a\tb\n1,2\n", "line 2: 1 field"),
        ("a.parquet", b"", "cannot be read as Parquet after row 0"),
        ("a.parquet", b"PAR1" + b"x" * 100, "cannot be read as Parquet after row 0"),
        ("a.parquet.gz", b"PAR1", "cannot be read as Parquet"),
    ],
)
def test_damage_is_one_error_that_names_file_and_line(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=says) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < len(str(path)) + 400


def test_what_is_torn_says_so_wherever_it_is_torn(tmp_path: Path) -> None:
    whole = {path.name: path.read_bytes() for path in write_all(tmp_path) if path.is_file()}
    for name, data in whole.items():
        if name in ("a.jsonl", "lines.json", "a.csv", "a.tsv"):
            continue  # torn between two rows, these are whole
        for end in (len(data) // 3, len(data) // 2, len(data) - 9):
            (tmp_path / f"torn-{name}").write_bytes(data[:end])
            with pytest.raises(DataError):
                read(tmp_path / f"torn-{name}")


def test_what_has_no_end_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "LONGEST", 5000)
    monkeypatch.setattr(text, "PIECE", 1000)
    monkeypatch.setattr("tutelage.data.json_rows.LONGEST", 5000)
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n' + '"' + "a" * 20_000)
    with pytest.raises(DataError, match="line 2: is longer than"):
        read(tmp_path / "a.jsonl")
    (tmp_path / "a.json").write_text('[{"a": 1},\n' + '"' + "a" * 20_000)
    with pytest.raises(DataError, match="line 2: the element that begins here is longer than"):
        read(tmp_path / "a.json")


def test_a_large_field_of_csv_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"a\n{'x' * 1_000_000}\n")
    assert read(tmp_path / "a.csv") == [{"a": "x" * 1_000_000}]


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"big.{kind}"
    row = {"id": 1, "conversations": json.dumps("Say it again, please.\n" * 100)}
    one = {"json": json.dumps(row, indent=1) + ",\n", "jsonl": json.dumps(row) + "\n"}.get(kind, as_csv([row])[22:])
    with path.open("w") as file:
        file.write({"json": "[", "jsonl": "", "csv": "id,conversations\n"}[kind])
        for _ in range(60):
            file.write(one * (1_000_000 // len(one)))
        file.write("{}]" if kind == "json" else "")
    code = f"""
import resource, sys
from pathlib import Path
from tutelage.data.sources import read_objects
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
num = sum(1 for _ in read_objects(Path({str(path)!r})))
print(num, peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    num, kilobytes = map(int, done.stdout.split())
    assert num >= 60 * (1_000_000 // len(one))
    assert kilobytes < 30_000


# ---- folders ----------------------------------------------------------------------------------------


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.json", "c/a.csv", "B.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            {".json": '[{"from": "a.json"}]', ".csv": "from\nc/a.csv\n"}.get(path.suffix, f'{{"from": "{name}"}}\n')
        )
    (tmp_path / "notes.txt").write_text("not rows")
    (tmp_path / ".hidden.jsonl").write_text("not rows")
    assert [row["from"] for row in read(tmp_path)] == ["B.jsonl", "a.json", "b.jsonl", "c/a.csv"]


def test_a_folder_without_rows_is_explained(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"has no record\.json"):
        read(tmp_path)
    with pytest.raises(StoreError, match=r"has no record\.json"):
        Prompts(path=str(tmp_path)).identity()


def test_an_artifact_that_is_not_finished_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "Hi."}\n')
    assert Prompts(path=str(tmp_path)).identity()["content"]
    (tmp_path / ".lock").touch()
    with pytest.raises(StoreError, match=r"has no record\.json"):
        Prompts(path=str(tmp_path)).identity()


def test_a_file_that_is_missing_of_several_is_named(tmp_path: Path) -> None:
    for number in (0, 2):
        (tmp_path / f"part-0000{number}-of-00003.jsonl").write_text('{"prompt": "Hi."}\n')
    with pytest.raises(DataError, match=r"1 of 3 files are missing .*part-00001-of-00003\.jsonl"):
        read(tmp_path)


def test_of_several_splits_one_is_read(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps({"split": split}) + "\n")
    assert read(tmp_path) == [{"split": "train"}]
    assert read(tmp_path, split="test") == [{"split": "test"}]
    with pytest.raises(DataError, match=r"has no split 'dev' \(there are: test, train\)"):
        read(tmp_path, split="dev")
    (tmp_path / "train.jsonl").rename(tmp_path / "validation.jsonl")
    with pytest.raises(DataError, match="has several splits; give split= one of: test, validation"):
        read(tmp_path)


def test_a_saved_data_set_is_read_by_its_splits(tmp_path: Path) -> None:
    one = datasets.Dataset.from_list([{"split": "train"}])
    other = datasets.Dataset.from_list([{"split": "test"}])
    datasets.DatasetDict({"train": one, "test": other}).save_to_disk(tmp_path / "several")
    assert read(tmp_path / "several") == [{"split": "train"}]
    assert read(tmp_path / "several", split="test") == [{"split": "test"}]
    with pytest.raises(DataError, match="has no split 'dev'"):
        read(tmp_path / "several", split="dev")
    one.save_to_disk(tmp_path / "single")
    assert read(tmp_path / "single") == [{"split": "train"}]
    before = Prompts(path=str(tmp_path / "single")).identity()["content"]
    (tmp_path / "single" / "cache-123.arrow").touch()
    assert Prompts(path=str(tmp_path / "single")).identity()["content"] == before
    next((tmp_path / "single").glob("data-*.arrow")).write_bytes(b"x")
    with pytest.raises(DataError, match="cannot be read as a data set that was saved"):
        read(tmp_path / "single")


def test_a_subset_of_a_file_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "Hi."}\n')
    with pytest.raises(ConfigError, match="is a file; subset, split is for data sets"):
        read(tmp_path / "a.jsonl", subset="a", split="train")


def test_a_table_without_a_line_of_names_is_read_under_those_that_are_given(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('Hi.,"Hello, you."\nBye.,Farewell.\n', "utf-8")
    rows = [row for _, row in open_rows(Prompts(path=str(path), header=("prompt", "completion")))]
    assert rows == [{"prompt": "Hi.", "completion": "Hello, you."}, {"prompt": "Bye.", "completion": "Farewell."}]
    with pytest.raises(DataError, match=r"line 1: 2 fields, but the header has 1 field"):
        list(open_rows(Prompts(path=str(path), header=("prompt",))))
    path.rename(tmp_path / "a.jsonl")
    with pytest.raises(ConfigError, match="header is for tables"):
        list(open_rows(Prompts(path=str(tmp_path / "a.jsonl"), header=("prompt",))))
