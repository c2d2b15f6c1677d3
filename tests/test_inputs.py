"""What stages read: identity is content, never a path; what cannot be read is one error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tutelage.errors import DataError, ModelError, StoreError
from tutelage.inputs import Finished, Model, Rows, file_hash, folder_hash
from tutelage.store import Artifact, Made, Work


def make(root: Path, stage: str = "teach", seed: int = 1) -> Artifact:
    work = Work(root, stage, "run", {"seed": seed})
    with work.locked():
        return work.finish({}, {}, Made())


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_moved_file_is_the_same_input_and_an_edited_one_is_another(tmp_path: Path) -> None:
    here = Rows(path=str(write(tmp_path / "a.jsonl", "one")))
    there = Rows(path=str(write(tmp_path / "b" / "c.jsonl", "one")))
    edited = Rows(path=str(write(tmp_path / "d.jsonl", "two")))
    assert here.identity() == there.identity()
    assert here.identity() != edited.identity()


def test_an_edit_within_one_process_is_seen_even_if_the_size_stays(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", "one")
    before = file_hash(path)
    write(path, "two")
    os.utime(path, ns=(1, 1))
    assert file_hash(path) != before


def test_the_fields_that_are_read_are_part_of_a_files_identity(tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.jsonl", "one"))
    identities = [
        Rows(path=path),
        Rows(path=path, prompt_field="question"),
        Rows(path=path, completion_field="question"),
    ]
    assert len({str(rows.identity()) for rows in identities}) == 3


def test_an_artifact_is_its_fingerprint_as_rows_as_model_and_as_itself(tmp_path: Path) -> None:
    made = make(tmp_path, "sft")
    path = str(made.path)
    what = {"artifact": made.record.fingerprint, "content": made.record.content}
    all_of_it = {"part": None, "fraction": 1.0, "fraction_seed": 0, "max_prompts": None}
    assert Finished(path=path).identity() == what | all_of_it
    assert Rows(path=path).identity() == what | all_of_it
    assert Model(path=path).identity() == what | {"chat_format": None}
    assert Rows(path=path).record().artifact == made.record.fingerprint


def test_a_foreign_file_has_no_fingerprint_in_the_record(tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.jsonl", "one"))
    assert Rows(path=path).record().model_dump() == {"path": path, "artifact": None}


@pytest.mark.parametrize("name", ["nothing.jsonl", "a" * 5000, "nul\0byte", "folder"])
def test_rows_that_cannot_be_read_are_one_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises((DataError, StoreError)):
        Rows(path=str(tmp_path / name)).identity()


def test_a_prompt_given_in_place_of_a_file_is_one_error() -> None:
    with pytest.raises(DataError, match="cannot be read"):
        Rows(path="Tell me a story about a very old king. " * 10).identity()


def test_an_artifact_is_required_by_stage(tmp_path: Path) -> None:
    made = Finished(path=str(make(tmp_path, "label").path))
    assert made.require("sample", "label").record.stage == "label"
    with pytest.raises(StoreError, match="was made by label; expected an artifact of prefer or dpo"):
        made.require("prefer", "dpo")
    with pytest.raises(DataError, match="is a file; expected an artifact folder made by label"):
        Finished(path=str(write(tmp_path / "v.jsonl", "{}"))).require("label")
    with pytest.raises(StoreError, match="is a file; expected an artifact folder"):
        Finished(path=str(tmp_path / "v.jsonl")).identity()


# ---- models -----------------------------------------------------------------------------------------


def test_a_model_folder_is_its_files_and_not_its_place(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name / "config.json", "{}")
        write(tmp_path / name / "model.safetensors", "weights")
    write(tmp_path / "b" / ".cache", "noise")
    write(tmp_path / "b" / "checkpoint-1" / "model.safetensors", "older weights")
    first, second = (Model(path=str(tmp_path / name)) for name in ("a", "b"))
    assert first.identity() == second.identity()
    write(tmp_path / "b" / "model.safetensors", "other weights")
    assert first.identity() != second.identity()


def test_swapping_the_contents_of_two_files_is_another_model(tmp_path: Path) -> None:
    for folder, (one, two) in {"a": ("x", "y"), "b": ("y", "x")}.items():
        write(tmp_path / folder / "1", one)
        write(tmp_path / folder / "2", two)
    assert folder_hash(tmp_path / "a") != folder_hash(tmp_path / "b")


def test_a_file_name_that_is_no_text_can_be_hashed(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff", "wb") as file:  # noqa: PTH123 - a name in bytes
        file.write(b"x")
    assert len(folder_hash(tmp_path)) == 64


def test_the_chat_format_is_part_of_the_model_and_a_file_counts_by_content(tmp_path: Path) -> None:
    plain = Model(path="miniature")
    named = Model(path="miniature", chat_format="chatml")
    assert plain.identity() != named.identity()
    template = write(tmp_path / "mine.jinja", "{{ messages }}")
    before = Model(path="miniature", chat_format=str(template)).identity()
    copy = write(tmp_path / "copy.jinja", "{{ messages }}")
    assert Model(path="miniature", chat_format=str(copy)).identity() == before
    write(template, "{{ messages[0] }}")
    assert Model(path="miniature", chat_format=str(template)).identity() != before


def test_a_hub_name_is_its_name_and_revision() -> None:
    assert Model(path="org/model").identity() != Model(path="org/model", revision="abc").identity()
    assert Model(path="org/model").folder() == "org/model"


def test_the_miniature_comes_with_the_package() -> None:
    assert (Path(Model(path="miniature").folder()) / "config.json").is_file()
    assert "content" in Model(path="miniature").identity()


def test_an_artifact_without_a_checkpoint_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="a label artifact holds no language model"):
        Model(path=str(make(tmp_path, "label").path)).folder()


@pytest.mark.parametrize("stage", ["sft", "reward"])
def test_completions_are_signed_by_what_the_model_is(tmp_path: Path, stage: str) -> None:
    made = make(tmp_path, stage)
    (tmp_path / "moved").symlink_to(made.path)
    signed = Model(path=str(made.path)).author()
    assert signed == f"{stage}-{made.record.fingerprint[:8]}" == Model(path=str(tmp_path / "moved")).author()


def test_a_model_path_that_is_no_folder_is_refused_before_anything_runs() -> None:
    with pytest.raises(ModelError, match="no such model folder"):
        Model(path="./nowhere").identity()


@pytest.mark.parametrize("text", ["x" * 5000, "nul\0byte"])
def test_a_model_name_that_can_be_no_path_is_still_a_name(text: str) -> None:
    assert Model(path=text).identity()["path"] == text
    assert Model(path="miniature", chat_format=text).identity()["chat_format"] == text
