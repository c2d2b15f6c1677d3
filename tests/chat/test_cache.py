"""`tutelage cache`: what is kept is told, handed on, and removed only when asked for."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from tutelage.chat.cache import Export, Prune, Stats, export, prune, stats
from tutelage.chat.journal import Journal
from tutelage.errors import ConfigError, StoreError
from tutelage.records import digest

BODY = b'{"choices": [{"message": {"content": "Hi"}}], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}'
CLAUDE = b'{"content": [], "usage": {"input_tokens": 5, "output_tokens": 7}}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A journal with three replies of two models, one attempt of each other end, and a torn line."""
    journal = Journal(tmp_path / "replies.jsonl", "me")
    for number, (model, body) in enumerate((("gpt", BODY), ("gpt", b"<html>"), ("claude", CLAUDE))):
        key = digest(f"{number}", 64)
        journal.sent(key, f"run-{number}", (10, 10))
        journal.reply(key, f"run-{number}", b'{"messages":[]}', body, model, batch=model == "claude")
    for number, end in ((3, "failed"), (4, "lost"), (5, "none")):
        journal.sent(digest(end, 64), f"run-{number}", (10, 10))
        if end == "failed":
            journal.failed(digest(end, 64), f"run-{number}", "HTTP 429")
        if end == "lost":
            journal.lost(digest(end, 64), f"run-{number}", (10, 10), "hung up")
    journal.close()
    with (tmp_path / "replies.jsonl").open("ab") as file:
        file.write(b'{"reply":"torn\n')
    return tmp_path


def rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines() if line.endswith(b"}")]


def test_stats_count_replies_and_tokens_by_model_and_every_end_of_an_attempt(folder: Path) -> None:
    said = [" ".join(line.split()) for line in stats(Stats(artifacts=folder)).splitlines()]
    assert said[2] == "claude 1 1 0 5 7"
    assert said[3] == "gpt 2 0 1 3 2"
    assert said[4] == (
        "attempts: 6, of which 1 refused (not billed), 1 lost and 1 cut off with their process "
        "(perhaps billed); torn lines: 1"
    )


def test_export_hands_on_requests_and_replies_and_overwrites_nothing(folder: Path) -> None:
    out = folder / "out.jsonl"
    assert export(Export(artifacts=folder, out=out)) == f"{out}: 3 replies"
    first, second, third = rows(out)
    assert first["reply"] == json.loads(BODY)
    assert first["request"] == {"messages": []}
    assert (first["model"], first["payer"], first["batch"]) == ("gpt", "me", False)
    assert (second["reply"], third["batch"]) == ("<html>", True)
    with pytest.raises(StoreError, match="is there already"):
        export(Export(artifacts=folder, out=out))
    assert export(Export(artifacts=folder, out=folder / "o", model="claude")).endswith("1 replies")


def test_prune_without_a_choice_removes_only_what_cannot_be_read(folder: Path) -> None:
    before = rows(folder / "replies.jsonl")
    assert "0 replies and 1 torn lines removed, 3 replies kept" in prune(Prune(artifacts=folder))
    assert rows(folder / "replies.jsonl") == before
    assert "0 replies and 0 torn lines" in prune(Prune(artifacts=folder))


def test_prune_by_model_leaves_the_others_as_they_are(folder: Path) -> None:
    assert "2 replies and 1 torn lines would go" in prune(Prune(artifacts=folder, model="gpt", dry_run=True))
    assert len(rows(folder / "replies.jsonl")) == 11
    assert "2 replies and 1 torn lines removed, 1 replies kept" in prune(Prune(artifacts=folder, model="gpt"))
    journal = Journal(folder / "replies.jsonl", "me")
    assert [len(journal.replies(digest(f"{n}", 64))) for n in range(3)] == [0, 0, 1]
    assert journal.unfinished() == {"run-4": (10, 10), "run-5": (10, 10)}


def test_prune_by_age_keeps_what_is_younger(folder: Path) -> None:
    path = folder / "replies.jsonl"
    path.write_bytes(re.sub(rb'"at":\d+', b'"at":%d' % (time.time() - 3 * 86_400), path.read_bytes()))
    journal = Journal(path)
    journal.reply(digest("new", 64), "run-9", b"{}", BODY, "gpt")
    journal.close()
    assert "1 replies kept" in prune(Prune(artifacts=folder, older_than_days=2))
    assert [row["try"] for row in rows(path)] == ["run-9"]


def test_nothing_is_pruned_while_somebody_asks_and_nobody_asks_while_it_is_pruned(folder: Path) -> None:
    asking = Journal(folder / "replies.jsonl")
    asking.replies(digest("0", 64))
    with pytest.raises(StoreError, match="another process is asking or pruning now"):
        prune(Prune(artifacts=folder))
    asking.close()
    prune(Prune(artifacts=folder))
    # the file is another one now; a journal that is opened again writes to that
    asking.reply(digest("after", 64), "run-9", b"{}", BODY, "gpt")
    assert rows(folder / "replies.jsonl")[-1]["try"] == "run-9"


def test_a_folder_without_replies_is_an_error_that_says_what_to_give(tmp_path: Path) -> None:
    for act, config in (
        (stats, Stats(artifacts=tmp_path)),
        (prune, Prune(artifacts=tmp_path)),
        (export, Export(artifacts=tmp_path, out=tmp_path / "o")),
    ):
        with pytest.raises(ConfigError, match="give artifacts=FOLDER"):
            act(config)  # type: ignore[operator]
