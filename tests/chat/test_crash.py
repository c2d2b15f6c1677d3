"""Killed, interrupted, or sharing a journal: no reply that was received is asked for again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from asking import Serve

ASKER = Path(__file__).with_name("asker.py")
STUB = Path(__file__).with_name("stub_server.py")


def start(url: str, journal: Path, num: int, concurrency: int, first: int = 0) -> subprocess.Popen[str]:
    words = [str(word) for word in (ASKER, url, journal, num, concurrency, first)]
    return subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(counts: Counter[str], num: int) -> None:
    """Wait until `counts` holds `num` different questions."""
    deadline = time.monotonic() + 15
    while len(counts) < num:
        assert time.monotonic() < deadline, "waited 15 s in vain"
        time.sleep(0.005)


def rows(journal: Path) -> list[Any]:
    """Return the rows of the journal that are whole."""
    return [json.loads(line) for line in journal.read_bytes().split(b"\n")[:-1] if line]


def kept(journal: Path) -> set[str]:
    """Return the questions whose replies are in the journal."""
    bodies = [json.loads(row["body"]) for row in rows(journal) if "reply" in row]
    return {body["choices"][0]["message"]["content"].removeprefix("you said: ") for body in bodies}


def test_after_kill_9_no_reply_in_the_journal_is_asked_for_again(serve: Serve, tmp_path: Path) -> None:
    server, journal, concurrency = serve(latency=0.01), tmp_path / "replies.jsonl", 8
    for goal in (40, 130):
        process = start(server.openai_url, journal, 200, concurrency)
        wait_for(server.replied, goal)
        process.kill()
        process.communicate()
        have, before = kept(journal), server.asked.copy()
        assert goal - concurrency <= len(have) < 200
    process = start(server.openai_url, journal, 200, concurrency)
    assert process.communicate()[0].strip() == "200"
    assert not [q for q in have if server.asked[q] != before[q]]
    # Each kill costs at most what was in flight.
    assert sum(server.asked.values()) <= 200 + 2 * concurrency
    assert len(kept(journal)) == 200


def test_ctrl_c_waits_for_the_replies_in_flight_and_asks_nothing_further(serve: Serve, tmp_path: Path) -> None:
    journal = tmp_path / "replies.jsonl"
    server = serve(latency=1.0)
    process = start(server.openai_url, journal, 50, 4)
    wait_for(server.asked, 4)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out.strip()) == (130, "interrupted")
    assert "Traceback" not in err
    assert kept(journal) == set(server.asked) == {f"question {i}" for i in range(4)}


def test_a_second_ctrl_c_drops_what_is_in_flight_and_says_what_it_may_cost(serve: Serve, tmp_path: Path) -> None:
    journal = tmp_path / "replies.jsonl"
    server = serve(fault=lambda text, _nth: "hang" if int(text.split()[1]) >= 20 else None)
    process = start(server.openai_url, journal, 50, 4)
    wait_for(server.asked, 24)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    begin = time.monotonic()
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out.strip()) == (130, "interrupted")
    assert "Traceback" not in err
    assert time.monotonic() - begin < 2
    assert kept(journal) == {f"question {i}" for i in range(20)}
    assert [row["why"] for row in rows(journal) if "lost" in row] == ["cancelled"] * 4


def test_four_processes_share_a_journal_and_lose_no_row(serve: Serve, tmp_path: Path) -> None:
    server, journal = serve(lambda m: f"you said: {m[-1]['content']}" + " " * 20_000), tmp_path / "r.jsonl"
    four = [start(server.openai_url, journal, 150, 16, first) for first in (0, 100, 200, 300)]
    for process in four:
        process.communicate()
        assert process.returncode == 0
    replies = [row for row in rows(journal) if "reply" in row]
    assert len({row["reply"] for row in replies}) == 450
    assert len(replies) == sum(server.replied.values())
    before = sum(server.asked.values())
    assert start(server.openai_url, journal, 450, 16).wait() == 0
    assert sum(server.asked.values()) == before


def test_the_stub_server_runs_as_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text("def reply(messages): return 'you said: ' + messages[-1]['content']\n")
    words = ["--seed", "1", "--faults", "server_error=0.1,drop=0.1", "--reply", f"{tmp_path / 'my.py'}:reply"]
    server = subprocess.Popen([sys.executable, str(STUB), *words], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        url = server.stdout.readline().strip()
        asker = start(f"{url}/v1", tmp_path / "replies.jsonl", 20, 20)
        assert asker.communicate()[0].strip() == "20"
        with urllib.request.urlopen(f"{url}/counts") as reply:
            counts = json.load(reply)
        assert len(counts["replied"]) == 20 < sum(counts["asked"].values())
    finally:
        server.kill()
        server.communicate()


def test_importing_chat_loads_neither_aiohttp_nor_torch_nor_an_sdk() -> None:
    heavy = "aiohttp", "torch", "openai", "anthropic", "transformers"
    code = f"import sys, tutelage.chat; print([m for m in {heavy!r} if m in sys.modules])"
    env = {**os.environ, "PYTHONSTARTUP": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    assert done.stdout.strip() == "[]"
