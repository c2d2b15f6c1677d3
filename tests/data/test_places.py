"""Where data is looked for: the path, $TUTELAGE_DATA, the cache of the Hub. Nothing is downloaded here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tutelage.data.sources import open_rows
from tutelage.errors import DataError
from tutelage.inputs import Prompts

pytest.importorskip("datasets")
NAME, COMMIT, OTHER = "owner/data-set", "a" * 40, "b" * 40


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("TUTELAGE_DATA", raising=False)


def read(path: str, **fields: str) -> list[object]:
    return [row for _, row in open_rows(Prompts(path=path, **fields))]


def downloaded(cache: Path, commit: str = COMMIT, branch: str = "main", **files: str) -> Path:
    """Lay files down as `hf download --repo-type dataset` does."""
    repository = cache / "hub" / "datasets--owner--data-set"
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    (repository / "refs" / branch).write_text(commit)
    folder = repository / "snapshots" / commit
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def row(text: str) -> str:
    return json.dumps({"prompt": text}) + "\n"


def test_a_file_is_found_below_the_folder_of_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "owner" / "data-set").mkdir(parents=True)
    (tmp_path / "data" / "a.jsonl").write_text(row("a"))
    (tmp_path / "data" / "owner" / "data-set" / "b.jsonl").write_text(row("b"))
    monkeypatch.setenv("TUTELAGE_DATA", str(tmp_path / "data"))
    assert read("a.jsonl") == [{"prompt": "a"}]
    assert read(NAME) == [{"prompt": "b"}]
    here = Prompts(path=str(tmp_path / "data" / "a.jsonl")).identity()
    assert Prompts(path="a.jsonl").identity() == here
    assert Prompts(path=NAME).identity()["content"] != here["content"]


def test_the_path_itself_goes_before_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "a.jsonl").write_text(row("here"))
    (tmp_path / "data" / "a.jsonl").write_text(row("there"))
    monkeypatch.setenv("TUTELAGE_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    assert read("a.jsonl") == [{"prompt": "here"}]


def test_what_is_nowhere_is_one_error_that_names_every_place_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError) as caught:
        read("a.jsonl")
    assert "looked in the path itself and $TUTELAGE_DATA (not set: a folder of data sets)" in str(caught.value)
    monkeypatch.setenv("TUTELAGE_DATA", str(tmp_path / "data"))
    with pytest.raises(DataError) as caught:
        Prompts(path=NAME, revision="v1").identity()
    said = str(caught.value)
    assert said.startswith(f"{NAME}: no such file, folder or downloaded data set; looked in the path itself")
    for place in (f"{tmp_path}/data/{NAME}", f"the Hugging Face cache {tmp_path}/hub"):
        assert place in said
    assert f"`hf download --repo-type dataset {NAME} --revision v1`" in said


def test_a_data_set_that_was_downloaded_is_read_and_known_by_its_commit(tmp_path: Path) -> None:
    downloaded(tmp_path, train_DOT_jsonl=row("train"), test_DOT_jsonl=row("test"))
    assert read(NAME) == [{"prompt": "train"}]
    assert read(NAME, split="test") == [{"prompt": "test"}]
    identity = Prompts(path=NAME).identity()
    assert (identity["path"], identity["revision"]) == (NAME, COMMIT)
    assert identity != Prompts(path=NAME, split="test").identity()


def test_a_branch_and_the_commit_it_stands_at_are_the_same_input(tmp_path: Path) -> None:
    downloaded(tmp_path, OTHER, "v2", a_DOT_jsonl=row("second"))
    assert read(NAME, revision="v2") == read(NAME, revision=OTHER) == [{"prompt": "second"}]
    assert Prompts(path=NAME, revision="v2").identity() == Prompts(path=NAME, revision=OTHER).identity()


def test_one_file_of_a_data_set_that_was_downloaded_is_read(tmp_path: Path) -> None:
    downloaded(tmp_path, train_DOT_jsonl=row("train"), test_DOT_jsonl=row("test"))
    assert read(f"{NAME}/test.jsonl") == [{"prompt": "test"}]
    assert Prompts(path=f"{NAME}/test.jsonl").identity()["revision"] == COMMIT
    with pytest.raises(DataError, match=f"commit {COMMIT} there is without this file.*dataset {NAME} other.json`"):
        read(f"{NAME}/other.json")


def test_of_several_subsets_one_has_to_be_named(tmp_path: Path) -> None:
    card = (
        "---\nconfigs:\n- config_name: first\n  data_files: one.jsonl\n- config_name: second\n  data_files:\n"
        "  - split: dev\n    path: two.jsonl\n---\n"
    )
    folder = downloaded(tmp_path, README_DOT_md=card, one_DOT_jsonl=row("one"), two_DOT_jsonl=row("two"))
    with pytest.raises(DataError, match="has several subsets; give subset= one of: first, second"):
        read(NAME)
    with pytest.raises(DataError, match=r"has no subset 'third' \(there are: first, second\)"):
        read(NAME, subset="third")
    assert read(NAME, subset="first") == read(str(folder), subset="first") == [{"prompt": "one"}]
    assert read(NAME, subset="second") == read(str(folder), subset="second", split="dev") == [{"prompt": "two"}]


def test_files_that_only_datasets_can_read_are_read_by_it(tmp_path: Path) -> None:
    downloaded(tmp_path, train_DOT_txt="one\ntwo\n")
    assert read(NAME) == [{"text": "one"}, {"text": "two"}]


def test_a_script_is_not_run(tmp_path: Path) -> None:
    downloaded(tmp_path, **{"data-set_DOT_py": "raise SystemExit('ran')", "a_DOT_jsonl": row("a")})
    with pytest.raises(DataError, match=r"is a data set that a script has to make \(data-set\.py\)"):
        read(NAME)


def test_a_data_set_of_which_a_file_was_not_downloaded_is_not_read(tmp_path: Path) -> None:
    downloaded(tmp_path, **{"train-00000-of-00002_DOT_jsonl": row("a")})
    with pytest.raises(DataError, match=r"1 of 2 files are missing .*train-00001-of-00002\.jsonl"):
        read(NAME)


@pytest.mark.parametrize("card", ["", "---\nconfigs: [\n---\n"])
def test_a_data_set_without_anything_to_read_is_one_error(tmp_path: Path, card: str) -> None:
    downloaded(tmp_path, README_DOT_md=card, notes_DOT_bin="x")
    with pytest.raises(DataError, match="cannot be read as a data set"):
        read(NAME)
