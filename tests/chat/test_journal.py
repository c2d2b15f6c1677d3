"""The journal: whatever happens to the file, every whole row in it is found, and the next one is whole."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from tutelage.chat.journal import Journal
from tutelage.chat.table import OffsetTable
from tutelage.errors import StoreError


def key(name: str) -> str:
    """Return a key as requests have them, to be told apart by `name`."""
    return hashlib.sha256(name.encode()).hexdigest()


def add(journal: Journal, name: str, body: bytes) -> None:
    journal.reply(key(name), "run-1", b'{"messages":[]}', body, "model")


def bodies(journal: Journal, name: str) -> list[str]:
    return [kept.body for kept in journal.replies(key(name))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "when" / "needed" / "replies.jsonl"


def test_what_was_appended_is_found_again_by_another_journal(path: Path) -> None:
    said = [b"", b"plain", b'{"a": "line\\nbreak"}', b"two\nlines\r\n", "Ünïcode 😀 \u2028".encode()]
    first = Journal(path)
    for i, body in enumerate(said):
        add(first, f"key{i}", body)
    first.close()
    again = Journal(path)
    assert [bodies(again, f"key{i}") for i in range(len(said))] == [[b.decode()] for b in said]
    assert bodies(again, "other") == []
    assert again.num_unreadable == 0


def test_bytes_that_are_no_utf8_are_kept_as_they_are(path: Path) -> None:
    journal = Journal(path)
    add(journal, "key", b"\xff\x00\xfe")
    assert bodies(journal, "key")[0].encode("utf-8", "surrogateescape") == b"\xff\x00\xfe"


def test_several_replies_to_one_question_come_oldest_first(path: Path) -> None:
    journal = Journal(path)
    for body in (b"1", b"2", b"3"):
        add(journal, "key", body)
    assert bodies(journal, "key") == ["1", "2", "3"]


def test_a_journal_sees_what_another_one_appends_later(path: Path) -> None:
    one, other = Journal(path), Journal(path)
    assert bodies(one, "key") == []
    add(other, "key", b"body")
    add(one, "mine", b"mine")
    assert bodies(one, "key") == ["body"]
    assert bodies(other, "mine") == ["mine"]


def test_cut_at_every_byte_of_its_last_row_it_loses_at_most_that_row(path: Path) -> None:
    journal = Journal(path)
    for i in range(3):
        add(journal, f"key{i}", f'{{"text": "body {i} \\" }}"}}'.encode())
    journal.close()
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(last, len(whole) + 1):
        path.write_bytes(whole[:cut])
        torn = Journal(path)
        kept = [bool(bodies(torn, f"key{i}")) for i in range(3)]
        # All that the last row can lack and still be read is its line break.
        assert kept == [True, True, cut >= len(whole) - 1], cut
        add(torn, "new", b"new")
        torn.close()
        again = Journal(path)
        assert bodies(again, "new") == ["new"], cut
        assert [bool(bodies(again, f"key{i}")) for i in range(3)] == kept, cut
        assert again.num_unreadable == (1 if last < cut < len(whole) - 1 else 0), cut


def test_a_torn_row_left_by_another_process_does_not_swallow_the_next(path: Path) -> None:
    journal = Journal(path)
    add(journal, "a", b"a")
    with path.open("ab") as file:
        file.write(b'{"reply":"%s","try":"' % key("torn").encode())
    assert bodies(journal, "torn") == []
    add(journal, "b", b"b")
    assert bodies(journal, "b") == ["b"]
    assert journal.num_unreadable == 1


@pytest.mark.parametrize("line", [b"not json", b"[]", b'{"key": 1, "body": "x"}', b'{"key": "k"}', b"[" * 9999])
def test_unreadable_lines_in_the_middle_are_counted_and_stepped_over(path: Path, line: bytes) -> None:
    add(Journal(path), "a", b"a")
    with path.open("ab") as file:
        file.write(line + b"\n\n")
    journal = Journal(path)
    add(journal, "b", b"b")
    assert (bodies(journal, "a"), bodies(journal, "b"), journal.num_unreadable) == (["a"], ["b"], 1)


def test_rows_larger_than_a_block_are_read_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tutelage.chat.journal._BLOCK", 16)
    journal = Journal(path)
    for i in range(20):
        add(journal, f"key{i}", b"x" * i * 7)
    assert [len(bodies(journal, f"key{i}")[0]) for i in range(20)] == [i * 7 for i in range(20)]


def test_a_file_that_was_cut_while_open_is_read_anew(path: Path) -> None:
    journal = Journal(path)
    add(journal, "a", b"a")
    size = path.stat().st_size
    add(journal, "b", b"b")
    assert bodies(journal, "b") == ["b"]
    os.truncate(path, size)
    assert (bodies(journal, "a"), bodies(journal, "b")) == (["a"], [])
    add(Journal(path), "c", b"c")
    assert [bodies(journal, k) for k in "abc"] == [["a"], [], ["c"]]


def test_a_row_that_took_the_place_of_another_is_not_mistaken_for_it(path: Path) -> None:
    journal = Journal(path)
    add(journal, "a", b"a")
    assert bodies(journal, "a") == ["a"]
    path.write_bytes(path.read_bytes().replace(key("a").encode(), key("b").encode()))
    assert bodies(journal, "a") == []


def test_a_journal_can_be_used_after_it_was_closed(path: Path) -> None:
    journal = Journal(path)
    add(journal, "a", b"a")
    journal.close()
    journal.close()
    assert bodies(journal, "a") == ["a"]


def test_a_full_disk_is_an_error_that_names_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(path)
    add(journal, "a", b"a")
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:10]))
    with pytest.raises(StoreError, match=r"replies\.jsonl"):
        add(journal, "b", b"b")
    monkeypatch.undo()
    add(journal, "c", b"c")
    assert [bodies(journal, k) for k in "abc"] == [["a"], [], ["c"]]


def test_a_path_that_is_a_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=str(tmp_path)):
        bodies(Journal(tmp_path), "a")


# ---- attempts ---------------------------------------------------------------------------------------


def test_attempts_that_never_ended_well_are_known_to_their_payer_alone(path: Path) -> None:
    before = Journal(path, "me")
    for number, end in enumerate(("reply", "failed", "lost", "none")):
        before.sent(key(end), f"run-{number}", (10, number))
        if end == "reply":
            before.reply(key(end), f"run-{number}", b"{}", b"body", "model")
        elif end == "failed":
            before.failed(key(end), f"run-{number}", "HTTP 429")
        elif end == "lost":
            before.lost(key(end), f"run-{number}", (10, number), "hung up")
    assert Journal(path, "me").unfinished() == {"run-2": (10, 2), "run-3": (10, 3)}
    assert Journal(path, "other").unfinished() == {}
    assert [kept.body for kept, _, _ in Journal(path, "me").paid_before()] == ["body"]
    assert list(Journal(path, "other").paid_before()) == []


def test_a_reply_says_who_paid_for_it_and_is_new_once(path: Path) -> None:
    Journal(path, "me").reply(key("a"), "run-1", b"{}", b"body", "model", batch=True)
    other = Journal(path, "other")
    first, again = other.replies(key("a")) + other.replies(key("a"))
    assert (first.payer, first.batch, first.is_new, again.is_new) == ("me", True, True, False)


def test_a_row_can_be_read_by_itself(path: Path) -> None:
    Journal(path, "me").reply(key("a"), "run-1", '{"messages":"Ü"}'.encode(), b"\xff", "m\u2028")
    row = json.loads(path.read_bytes())
    assert (row["reply"], row["payer"], row["request"], row["model"]) == (
        key("a"),
        "me",
        {"messages": "Ü"},
        "m\u2028",
    )
    assert row["at"] > 1.7e9


def test_of_many_rows_each_is_found_and_memory_stays_small(path: Path) -> None:
    table = OffsetTable()
    keys = [key(f"{i}") for i in range(5000)]
    for i, name in enumerate(keys):
        table.add(name, 100 * i)
        table.add(name, 100 * i)
    assert len(table) == 5000
    assert [table.find(name) for name in keys] == [[100 * i] for i in range(5000)]
    assert table.find(key("none")) == []
    assert [table.mark(keys[7], 700), table.mark(keys[7], 700)] == [True, False]
    table.add(keys[7], 5)
    assert table.find(keys[7]) == [5, 700]


@pytest.mark.slow
def test_the_last_4_kb_cut_at_every_byte_load_and_lose_at_most_one_reply(path: Path) -> None:
    journal = Journal(path, "me")
    for i in range(12):
        journal.sent(key(f"{i}"), f"run-{i}", (1, 1))
        journal.reply(key(f"{i}"), f"run-{i}", b'{"q":"%s"}' % (b"x" * 300), b'{"text":"}\\"}"}', "model")
    journal.close()
    whole = path.read_bytes()
    ends = [i + 1 for i in range(len(whole)) if whole[i : i + 1] == b"\n"]
    for cut in range(len(whole) - 4096, len(whole) + 1):
        path.write_bytes(whole[:cut])
        torn = Journal(path, "me")
        found = sum(bool(bodies(torn, f"{i}")) for i in range(12))
        # of two rows, `sent` and `reply`, the second is a reply; it may lack its line break alone
        assert found == sum(end - 1 <= cut for end in ends[1::2]), cut
        assert len(torn.unfinished()) <= 1
        torn.close()
