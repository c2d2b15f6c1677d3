"""Killed twenty times: what was paid for is asked for once, the result is the same, and the bill adds up."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from running import command
from stub_server import read_log

STUB = Path(__file__).with_name("stub_server.py")
NUM, CONCURRENCY, KILLS = 2000, 32, 20
MAX_TOKENS = 40


@contextlib.contextmanager
def stub_process(*words: object) -> Iterator[str]:
    """A server that outlives its clients; yields its address."""
    server = subprocess.Popen(
        [sys.executable, str(STUB), *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert server.stdout is not None
    try:
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.communicate()


def counts(url: str) -> dict[str, Any]:
    """Return what a server says that it was asked and has billed."""
    with urllib.request.urlopen(f"{url}/counts") as reply:
        said: dict[str, Any] = json.load(reply)
    return said


def tokens(usage: dict[str, Any]) -> int:
    return int(usage["input_tokens"]) + int(usage["output_tokens"])


def billed(url: str) -> int:
    """Return the tokens a server has billed, delivered or not."""
    return tokens(counts(url)["billed"])


def teach(folder: Path, url: str, *words: object, concurrency: int = CONCURRENCY) -> subprocess.Popen[str]:
    """Start `tutelage teach` in `folder`, which has the prompts."""
    asked = ["prompts=prompts.jsonl", "teacher=local", f"teacher.base_url={url}/v1", "teacher.model=stub"]
    limits = [f"teacher.max_concurrency={concurrency}", f"max_tokens={MAX_TOKENS}"]
    return subprocess.Popen(
        command("teach", *asked, *limits, *words),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )


def prompts(folder: Path, num: int, more: str = "") -> None:
    folder.mkdir(exist_ok=True)
    rows = "".join(json.dumps({"prompt": f"question {i}{more}"}) + "\n" for i in range(num))
    (folder / "prompts.jsonl").write_text(rows)


def rows(journal: Path) -> list[Any]:
    """Return the rows of a journal, those left out that a kill has torn."""
    found = []
    for line in journal.read_bytes().split(b"\n") if journal.exists() else []:
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


def kill_at(process: subprocess.Popen[str], journal: Path, num_rows: int) -> bool:
    """Kill -9 once the journal has so many rows. Return False if the process was done before."""
    num, read = 0, 0
    while process.poll() is None:
        if journal.exists():
            with journal.open("rb") as file:
                file.seek(read)
                block = file.read()
            num, read = num + block.count(b"\n"), read + len(block)
        if num >= num_rows:
            process.kill()
            process.communicate()
            return True
        time.sleep(0.002)
    return False


def reply_tokens(row: Any) -> int:
    usage = json.loads(row["body"])["usage"]
    return int(usage["prompt_tokens"]) + int(usage["completion_tokens"])


def answered(kept: list[Any]) -> set[str]:
    """Return the keys of the replies; none of them was asked for again once its reply was in the journal."""
    found: set[str] = set()
    for row in kept:
        assert row.get("sent") not in found
        found |= {row["reply"]} if "reply" in row else set()
    return found


def in_flight(kept: list[Any]) -> list[Any]:
    """Return the attempts that were sent and never ended."""
    ended = {row["try"] for row in kept if "sent" not in row}
    return [row for row in kept if "sent" in row and row["try"] not in ended]


def the_artifact(folder: Path) -> Path:
    [made] = (folder / "artifacts" / "1-teach").iterdir()
    return made


@pytest.mark.slow
def test_twenty_kills_repeat_at_most_what_was_in_flight_and_change_neither_result_nor_bill(tmp_path: Path) -> None:
    killed, whole, log = tmp_path / "killed", tmp_path / "whole", tmp_path / "log.jsonl"
    prompts(killed, NUM)
    prompts(whole, NUM)
    journal = killed / "artifacts" / "replies.jsonl"
    drawn = random.Random(20)
    moments = sorted(drawn.sample(range(2 * NUM), KILLS))  # two rows a request: sent, reply
    latency = ("--latency", "0.01,0.05")
    with stub_process(*latency, "--log", log) as url:
        num_kills = 0
        for moment in moments:
            if kill_at(teach(killed, url), journal, moment):
                num_kills += 1
                time.sleep(drawn.uniform(0, 0.05))
        last = teach(killed, url)
        _, err = last.communicate(timeout=120)
        assert last.returncode == 0, err
        total_billed = billed(url)
    assert num_kills == KILLS

    made = the_artifact(killed)
    record = json.loads((made / "record.json").read_text())
    bill, kept = record["bill"], rows(journal)
    assert {row["payer"] for row in kept} == {record["fingerprint"][:16]}

    assert len(answered(kept)) == NUM
    open_attempts = in_flight(kept)
    asked = Counter(entry["text"] for entry in read_log(log) if entry["path"] == "/v1/chat/completions")
    assert len(asked) == NUM
    repeats = sum(asked.values()) - NUM
    print(f"{num_kills} kills, {repeats} requests repeated, {len(open_attempts)} were in flight")
    assert repeats <= len(open_attempts) <= KILLS * CONCURRENCY

    paid, lost = tokens(bill["paid"]), tokens(bill["lost"])
    assert paid == sum(reply_tokens(row) for row in kept if "reply" in row)
    assert bill["lost"]["requests"] == len(open_attempts)
    assert paid <= total_billed <= paid + lost

    with stub_process(*latency) as url:
        uninterrupted = teach(whole, url)
        _, err = uninterrupted.communicate(timeout=120)
        assert uninterrupted.returncode == 0, err
    once = the_artifact(whole)
    for name in ("completions.jsonl", "prompts.jsonl"):
        assert (made / name).read_bytes() == (once / name).read_bytes()


def test_a_budget_holds_through_kills_and_a_larger_one_repeats_nothing(tmp_path: Path) -> None:
    num = 60
    prompts(tmp_path, num, " word" * 200)
    journal = tmp_path / "artifacts" / "replies.jsonl"
    with stub_process("--latency", "0.02,0.05") as url:
        for moment in (20, 50):
            assert kill_at(teach(tmp_path, url, "budget.tokens=100000", concurrency=4), journal, moment)
        kept = rows(journal)
        spent = sum(reply_tokens(row) for row in kept if "reply" in row)
        feared = sum(sum(row["most"]) for row in in_flight(kept))
        budget = spent + feared + 3000  # for a request that may cost 1,400, some more that cost 242, and then none
        stopped = teach(tmp_path, url, f"budget.tokens={budget}", concurrency=4)
        _, err = stopped.communicate(timeout=60)
        assert stopped.returncode == 2
        assert f"the budget ends here (budget.tokens={budget}" in err
        assert "Traceback" not in err
        assert len(answered(kept)) < len(answered(rows(journal))) < num
        assert billed(url) <= budget
        finished = teach(tmp_path, url, "budget.tokens=100000", concurrency=4)
        _, err = finished.communicate(timeout=60)
        assert finished.returncode == 0, err
        total_billed = billed(url)
    record = json.loads((the_artifact(tmp_path) / "record.json").read_text())
    assert len(answered(rows(journal))) == num
    assert len(in_flight(rows(journal))) == record["bill"]["lost"]["requests"] > 0
    paid, lost = (tokens(record["bill"][what]) for what in ("paid", "lost"))
    assert paid == sum(reply_tokens(row) for row in rows(journal) if "reply" in row)
    assert paid <= total_billed <= paid + lost
