"""Artifacts: finished or not, found again or made anew, read back whole or refused by line."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tutelage import store
from tutelage.disk import disk_errors, dump_rows, read_rows, write_atomically
from tutelage.errors import DataError, StoreError
from tutelage.records import Completion, Prompt, Usage
from tutelage.store import RECORD, STAGES, Artifact, Made, Work, all_artifacts, changes, flatten, is_artifact

PROMPTS = [Prompt.of("Name a colour."), Prompt.of("Was hieß „größer“? 你好")]


def make(root: Path, label: str = "run", stage: str = "teach", **identity: Any) -> Artifact:
    work = Work(root, stage, label, identity)
    with work.locked():
        work.write("prompts.jsonl", PROMPTS)
        return work.finish({}, {}, Made())


# ---- finished means record.json ---------------------------------------------------------------------


def test_a_finished_artifact_opens_with_what_was_written(tmp_path: Path) -> None:
    work = Work(tmp_path, "teach", "run", {"seed": 1})
    with work.locked():
        work.write("prompts.jsonl", PROMPTS)
        work.count("prompts", 1)
        work.count("prompts", 1)
        work.finish({"seed": 1}, {}, Made(usage=Usage(dollars=None), summary={"note": "fine"}))
    opened = Artifact.open(work.path)
    assert opened.path.parent == tmp_path / "1-teach"
    assert opened.path.name == f"run-{work.fingerprint[:8]}"
    assert opened.record.fingerprint == work.fingerprint
    assert opened.record.identity == {"stage": "teach", "seed": 1}
    assert opened.record.counts == {"prompts": 2}
    assert opened.record.usage.dollars is None
    assert opened.rows("prompts.jsonl", Prompt) == PROMPTS
    assert sorted(p.name for p in opened.path.iterdir()) == ["prompts.jsonl", RECORD]


def test_the_record_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    real = store.write_atomically
    monkeypatch.setattr(store, "write_atomically", lambda path, text: (written.append(path.name), real(path, text)))
    make(tmp_path)
    assert written == ["prompts.jsonl", RECORD]


def test_a_folder_without_a_record_is_unfinished_and_goes_on(tmp_path: Path) -> None:
    work = Work(tmp_path, "teach", "run", {"seed": 1})
    with work.locked():
        work.write("prompts.jsonl", PROMPTS)
    assert work.finished() is None
    assert not is_artifact(work.path)
    assert Work(tmp_path, "teach", "run", {"seed": 1}).why() == "goes on where it stopped"
    with pytest.raises(StoreError, match="unfinished"):
        Artifact.open(work.path)


def test_the_same_settings_are_found_under_any_label_and_others_are_not(tmp_path: Path) -> None:
    made = make(tmp_path, label="first", seed=1)
    found = Work(tmp_path, "teach", "second", {"seed": 1}).finished()
    assert found is not None
    assert found.path == made.path
    assert Work(tmp_path, "teach", "first", {"seed": 2}).finished() is None
    assert Work(tmp_path, "sample", "first", {"seed": 1}).finished() is None


def test_a_finished_folder_is_preferred_to_one_that_a_crash_left_under_another_label(tmp_path: Path) -> None:
    made = make(tmp_path, label="z", seed=1)
    left = made.path.with_name(made.path.name.replace("z-", "a-"))
    left.mkdir()
    assert Work(tmp_path, "teach", "a", {"seed": 1}).path == made.path


def test_fingerprints_that_only_begin_alike_are_not_taken_for_each_other(tmp_path: Path) -> None:
    made = make(tmp_path, seed=1)
    record = json.loads((made.path / RECORD).read_text("utf-8"))
    record["fingerprint"] = made.record.fingerprint[:8] + "0" * 56
    (made.path / RECORD).write_text(json.dumps(record), "utf-8")
    with pytest.raises(StoreError, match="begins alike"):
        Work(tmp_path, "teach", "run", {"seed": 1}).finished()


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"null", b'{"stage": "teach"}', b"\xff\xfe", b"[" * 100_000], ids=repr
)
def test_an_unreadable_record_is_one_error_and_does_not_stop_other_artifacts(tmp_path: Path, damage: bytes) -> None:
    broken, whole = make(tmp_path, seed=1), make(tmp_path, seed=2)
    (broken.path / RECORD).write_bytes(damage)
    with pytest.raises(StoreError, match=r"record\.json: not a record of this version") as caught:
        Artifact.open(broken.path)
    assert "\n" not in str(caught.value)
    assert [a.path for a in all_artifacts(tmp_path)] == [whole.path]
    assert Work(tmp_path, "teach", "run", {"seed": 3}).why() == "seed 2 -> 3"


def test_a_record_with_an_unknown_field_is_refused_by_name(tmp_path: Path) -> None:
    made = make(tmp_path)
    record = json.loads((made.path / RECORD).read_text("utf-8")) | {"mood": "good"}
    (made.path / RECORD).write_text(json.dumps(record), "utf-8")
    with pytest.raises(StoreError, match="mood"):
        Artifact.open(made.path)


@pytest.mark.parametrize("name", ["nothing-here", "a" * 300, "nul\0byte", "file.txt", "file.txt/below"])
def test_what_is_no_artifact_folder_is_one_store_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.txt").write_text("text")
    assert not is_artifact(tmp_path / name)
    with pytest.raises(StoreError):
        Artifact.open(tmp_path / name)


def test_a_missing_file_of_an_artifact_is_one_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"this teach artifact has no verdicts\.jsonl"):
        make(tmp_path).rows("verdicts.jsonl", Prompt)


def test_artifacts_come_in_the_order_of_the_road_and_older_first(tmp_path: Path) -> None:
    late = make(tmp_path, label="b", stage="evaluate")
    first = make(tmp_path, label="z", seed=1)
    second = make(tmp_path, label="a", seed=2)
    for made, finished_at in ((first, "2026-01-01T00:00:00.001+00:00"), (second, "2026-01-01T00:00:00.002+00:00")):
        record = json.loads((made.path / RECORD).read_text("utf-8")) | {"finished_at": finished_at}
        (made.path / RECORD).write_text(json.dumps(record), "utf-8")
    (tmp_path / "1-teach" / "notes.txt").write_text("mine")
    assert [a.path for a in all_artifacts(tmp_path)] == [first.path, second.path, late.path]
    assert [a.path for a in all_artifacts(tmp_path, "evaluate")] == [late.path]
    assert list(all_artifacts(tmp_path / "nowhere")) == []


def test_records_say_when_in_one_time_zone_so_that_summer_time_moves_none(tmp_path: Path) -> None:
    assert make(tmp_path).record.finished_at.endswith("+00:00")


def test_an_artifact_explains_itself_without_our_code(tmp_path: Path) -> None:
    record = json.loads((make(tmp_path, seed=7).path / RECORD).read_text("utf-8"))
    assert record["stage"] == "teach"
    assert record["identity"]["seed"] == 7
    assert record["code"]["tutelage"]
    assert STAGES[0] == "teach"


# ---- one process at a time --------------------------------------------------------------------------


def test_a_second_worker_on_the_same_artifact_is_refused_until_the_first_is_done(tmp_path: Path) -> None:
    first, second = (Work(tmp_path, "teach", "run", {"seed": 1}) for _ in range(2))
    with first.locked():
        with pytest.raises(StoreError, match="another process is making this artifact"), second.locked():
            pass
        with Work(tmp_path, "teach", "run", {"seed": 2}).locked():
            pass
    with second.locked():
        pass


def test_another_process_is_refused_too_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    work = Work(tmp_path, "teach", "run", {"seed": 1})
    code = (
        "import sys, pathlib, tutelage.store as s\n"
        "with s.Work(pathlib.Path(sys.argv[1]), 'teach', 'run', {'seed': 1}).locked():\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match="another process"), work.locked():
            pass
        other.kill()
        other.wait()
    with work.locked():
        pass


def test_a_lock_that_was_removed_by_the_one_who_finished_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening the lock file and locking it, the other process may finish and remove it."""
    work = Work(tmp_path, "teach", "run", {"seed": 1})
    real = store.fcntl.flock

    def late(file: Any, how: int) -> None:
        (work.path / ".lock").unlink()
        real(file, how)

    monkeypatch.setattr(store.fcntl, "flock", late)
    with pytest.raises(StoreError, match="another process"), work.locked():
        pass


def test_a_disk_that_knows_no_locks_is_one_store_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: Any, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(store.fcntl, "flock", refuse)
    with pytest.raises(StoreError, match="No locks available"), Work(tmp_path, "teach", "run", {}).locked():
        pass


# ---- what cannot be written -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EFBIG, "free some space"),
        (errno.EROFS, "choose another folder"),
        (errno.EACCES, "choose another folder"),
    ],
)
def test_a_full_or_read_only_disk_is_one_store_error_with_what_to_do(number: int, hint: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=hint) as caught, disk_errors(tmp_path):
        raise OSError(number, os.strerror(number))
    assert str(tmp_path) in str(caught.value)
    assert os.strerror(number) in str(caught.value)


@pytest.mark.parametrize(
    "error", [ConnectionResetError(104, "reset"), TimeoutError(110, "late"), OSError("no number")]
)
def test_what_is_not_the_disk_is_not_called_the_disk(error: OSError, tmp_path: Path) -> None:
    with pytest.raises(type(error)), disk_errors(tmp_path):
        raise error


def test_a_target_that_is_a_file_is_one_store_error(tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("not a folder")
    work = Work(tmp_path / "artifacts", "teach", "run", {})
    assert work.why() == "new"
    with pytest.raises(StoreError, match="Not a directory"), work.locked():
        pass


def test_a_label_longer_than_the_disk_allows_is_one_store_error(tmp_path: Path) -> None:
    work = Work(tmp_path, "teach", "ü" * 200, {})
    assert work.finished() is None
    assert work.why() == "new"
    with pytest.raises(StoreError, match="File name too long"), work.locked():
        pass


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl"
    write_atomically(path, "old\n")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new\n")
    assert path.read_text() == "old\n"


# ---- rows -------------------------------------------------------------------------------------------

# Everything JSON or Python can hold, half surrogate pairs too; two halves in a row would be one character.
ANY_TEXT = st.text(st.characters(exclude_categories=())).filter(
    lambda text: not re.search("[\ud800-\udbff][\udc00-\udfff]", text)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ANY_TEXT, max_size=4))
def test_any_text_survives_being_written_and_read(tmp_path: Path, texts: list[str]) -> None:
    rows = [Completion(prompt_id="p", author=text, text=text, index=i) for i, text in enumerate(texts)]
    write_atomically(tmp_path / "rows.jsonl", dump_rows(rows))
    assert read_rows(tmp_path / "rows.jsonl", Completion) == rows
    assert len((tmp_path / "rows.jsonl").read_bytes().split(b"\n")) == len(rows) + 1


def test_a_setting_with_half_a_character_does_not_make_the_record_unreadable(tmp_path: Path) -> None:
    made = make(tmp_path, system="a\ud83d")
    assert Artifact.open(made.path).record.identity["system"] == "a\ud83d"
    assert Work(tmp_path, "teach", "run", {"system": "a\ud83d"}).finished() is not None


def test_rows_are_readable_text_for_people_and_grep(tmp_path: Path) -> None:
    path = make(tmp_path).path / "prompts.jsonl"
    text = path.read_text("utf-8")
    assert "größer“? 你好" in text
    assert text.startswith(f'{{"id": "{PROMPTS[0].id}"')


GOOD = dump_rows(PROMPTS[:1]).encode()


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (GOOD[:-10] + b"\n", "line 2: not a valid Prompt"),
        (b"[1]\n", "line 2: not a valid Prompt"),
        (b"null\n", "line 2: not a valid Prompt"),
        (b'{"messages": []}\n', "needs a user message"),
        (b'{"messages": 3}\n', "messages:"),
        (GOOD.replace(b"colour", b"city"), "does not belong to this content"),
        (GOOD[:-2] + b', "score": 1}\n', "score"),
        (b"\xff\n", "line 2: not UTF-8"),
        (b"[" * 100_000 + b"\n", "line 2: not a valid Prompt"),
    ],
    ids=["torn", "list", "null", "no turns", "number", "edited", "extra", "bytes", "deep"],
)
def test_a_broken_row_is_refused_by_file_and_line(tmp_path: Path, bad: bytes, says: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(GOOD + bad)
    with pytest.raises(DataError, match=says) as caught:
        read_rows(path, Prompt)
    assert str(caught.value).startswith(f"{path}, line 2: ")
    assert "\n" not in str(caught.value)


def test_a_last_line_without_its_line_break_is_read(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(GOOD + GOOD.rstrip() + b"\n\n" + GOOD.rstrip())
    assert len(read_rows(path, Prompt)) == 3


def test_a_missing_file_or_a_folder_in_its_place_is_one_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_rows(tmp_path / "nothing.jsonl", Prompt)
    with pytest.raises(DataError, match="cannot be read"):
        read_rows(tmp_path, Prompt)


# ---- what changed -----------------------------------------------------------------------------------


def test_groups_flatten_to_dotted_names() -> None:
    assert flatten({"a": {"b": {"c": 1}, "d": None}, "e": [1, 2]}) == {"a.b.c": 1, "a.d": None, "e": [1, 2]}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"loss.beta": 0.1}, {"loss.beta": 0.05}, ["loss.beta 0.1 -> 0.05"]),
        ({"a": 1, "b": 2}, {"a": 1, "b": 2}, []),
        ({"share": [0, 1]}, {"share": [0, 0.1]}, ["share [0, 1] -> [0, 0.1]"]),
        ({"prompts.content": "aa"}, {"prompts.content": "bb"}, ["prompts changed"]),
        ({"prompts.content": "aa"}, {"prompts.artifact": "bb"}, ["prompts changed"]),
        ({"prompts": None}, {"prompts.content": "bb", "prompts.prompt_field": None}, ["prompts changed"]),
        ({"teacher": None}, {"teacher.model": "x"}, ["teacher.model None -> x"]),
        ({"b": 1, "a": 1}, {"b": 2, "a": 2}, ["a 1 -> 2", "b 1 -> 2"]),
    ],
)
def test_changes_are_said_in_words(old: dict[str, Any], new: dict[str, Any], said: list[str]) -> None:
    assert changes(old, new) == said


def test_a_long_or_hostile_setting_is_cut_and_escaped_in_what_is_said() -> None:
    (said,) = changes({"system": None}, {"system": "be\n\x1b[2Jnice " + "x" * 10_000})
    assert said.startswith(r"system None -> be\n\x1b[2Jnice xxx")
    assert len(said) < 100


def test_a_stage_says_that_it_is_new_or_what_changed_since_the_last_of_its_label(tmp_path: Path) -> None:
    assert Work(tmp_path, "dpo", "run", {"seed": 1}).why() == "new"
    make(tmp_path, stage="dpo", seed=1)
    assert Work(tmp_path, "dpo", "run", {"seed": 2}).why() == "seed 1 -> 2"
    assert Work(tmp_path, "dpo", "other", {"seed": 2}).why() == "new"
    assert Work(tmp_path, "sft", "run", {"seed": 2}).why() == "new"
