"""The journal: whatever happens to the file, every whole row in it is found, and the next one is whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tutelage.chat.journal import Journal
from tutelage.errors import StoreError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "when" / "needed" / "replies.jsonl"


def test_what_was_appended_is_found_again_by_another_journal(path: Path) -> None:
    bodies = [b"", b"plain", b'{"a": "line\\nbreak"}', b"two\nlines\r\n", "Ünïcode 😀 \u2028".encode()]
    first = Journal(path)
    for i, body in enumerate(bodies):
        first.append(f"key{i}", body)
    first.close()
    again = Journal(path)
    assert [again.replies(f"key{i}") for i in range(len(bodies))] == [[b.decode()] for b in bodies]
    assert again.replies("other") == []
    assert again.num_unreadable == 0


def test_bytes_that_are_no_utf8_are_kept_as_they_are(path: Path) -> None:
    journal = Journal(path)
    journal.append("key", b"\xff\x00\xfe")
    assert journal.replies("key")[0].encode("utf-8", "surrogateescape") == b"\xff\x00\xfe"


def test_several_replies_to_one_question_come_oldest_first(path: Path) -> None:
    journal = Journal(path)
    for body in (b"1", b"2", b"3"):
        journal.append("key", body)
    assert journal.replies("key") == ["1", "2", "3"]


def test_a_journal_sees_what_another_one_appends_later(path: Path) -> None:
    one, other = Journal(path), Journal(path)
    assert one.replies("key") == []
    other.append("key", b"body")
    one.append("mine", b"mine")
    assert one.replies("key") == ["body"]
    assert other.replies("mine") == ["mine"]


def test_cut_at_every_byte_of_its_last_row_it_loses_at_most_that_row(path: Path) -> None:
    journal = Journal(path)
    for i in range(3):
        journal.append(f"key{i}", f'{{"text": "body {i} \\" }}"}}'.encode())
    journal.close()
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(last, len(whole) + 1):
        path.write_bytes(whole[:cut])
        torn = Journal(path)
        kept = [bool(torn.replies(f"key{i}")) for i in range(3)]
        # All that the last row can lack and still be read is its line break.
        assert kept == [True, True, cut >= len(whole) - 1], cut
        torn.append("new", b"new")
        torn.close()
        again = Journal(path)
        assert again.replies("new") == ["new"], cut
        assert [bool(again.replies(f"key{i}")) for i in range(3)] == kept, cut
        assert again.num_unreadable == (1 if last < cut < len(whole) - 1 else 0), cut


def test_a_torn_row_left_by_another_process_does_not_swallow_the_next(path: Path) -> None:
    journal = Journal(path)
    journal.append("a", b"a")
    with path.open("ab") as file:
        file.write(b'{"key": "torn')
    assert journal.replies("torn") == []
    journal.append("b", b"b")
    assert journal.replies("b") == ["b"]
    assert journal.num_unreadable == 1


@pytest.mark.parametrize("line", [b"not json", b"[]", b'{"key": 1, "body": "x"}', b'{"key": "k"}', b"[" * 9999])
def test_unreadable_lines_in_the_middle_are_counted_and_stepped_over(path: Path, line: bytes) -> None:
    Journal(path).append("a", b"a")
    with path.open("ab") as file:
        file.write(line + b"\n\n")
    journal = Journal(path)
    journal.append("b", b"b")
    assert (journal.replies("a"), journal.replies("b"), journal.num_unreadable) == (["a"], ["b"], 1)


def test_rows_larger_than_a_block_are_read_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tutelage.chat.journal._BLOCK", 16)
    journal = Journal(path)
    for i in range(20):
        journal.append(f"key{i}", b"x" * i * 7)
    assert [len(journal.replies(f"key{i}")[0]) for i in range(20)] == [i * 7 for i in range(20)]


def test_a_file_that_was_cut_while_open_is_read_anew(path: Path) -> None:
    journal = Journal(path)
    journal.append("a", b"a")
    size = path.stat().st_size
    journal.append("b", b"b")
    assert journal.replies("b") == ["b"]
    os.truncate(path, size)
    assert (journal.replies("a"), journal.replies("b")) == (["a"], [])
    Journal(path).append("c", b"c")
    assert [journal.replies(k) for k in "abc"] == [["a"], [], ["c"]]


def test_a_row_that_took_the_place_of_another_is_not_mistaken_for_it(path: Path) -> None:
    journal = Journal(path)
    journal.append("a", b"a")
    assert journal.replies("a") == ["a"]
    path.write_bytes(path.read_bytes().replace(b'"a"', b'"b"'))
    assert journal.replies("a") == []


def test_a_journal_can_be_used_after_it_was_closed(path: Path) -> None:
    journal = Journal(path)
    journal.append("a", b"a")
    journal.close()
    journal.close()
    assert journal.replies("a") == ["a"]


def test_a_full_disk_is_an_error_that_names_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(path)
    journal.append("a", b"a")
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:10]))
    with pytest.raises(StoreError, match=r"replies\.jsonl"):
        journal.append("b", b"b")
    monkeypatch.undo()
    journal.append("c", b"c")
    assert [journal.replies(k) for k in "abc"] == [["a"], [], ["c"]]


def test_a_path_that_is_a_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=str(tmp_path)):
        Journal(tmp_path).replies("a")
