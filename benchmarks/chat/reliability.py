"""What becomes of paid replies when servers misbehave and processes die: counted, against a server that counts too.

    python benchmarks/chat/reliability.py [faults kills limit budget]

Prints one Markdown table each. The server is tests/chat/stub_server.py as a process of its own; it bills like a
provider (whatever it generated, delivered or not) and logs every request before it answers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tables import Target, machine, table
from tutelage.chat import Budget, ChatFailure, ChatReply, ChatRequest, Endpoint, HttpClient, ask_each
from tutelage.errors import BudgetError
from tutelage.records import Message, Sampling

SERVER = Path(__file__).parents[2] / "tests" / "chat" / "stub_server.py"
FAULTS = "rate_limited=0.05,server_error=0.05,malformed=0.02,hang=0.01,drop=0.01"


@contextmanager
def serving(**options: object) -> Iterator[str]:
    """Run a fresh server; give its address."""
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    with subprocess.Popen([sys.executable, str(SERVER), *words], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def counts(url: str) -> dict[str, Any]:
    """Return what the server has counted."""
    with urllib.request.urlopen(f"{url}/counts", timeout=10) as reply:
        found: dict[str, Any] = json.loads(reply.read())
    return found


def asked(url: str, folder: Path, num: int, budget: Budget | None = None, **settings: Any) -> tuple[int, HttpClient]:
    """Ask `num` questions; return how many were answered rightly, and the client with its bill."""
    endpoint = Endpoint(provider="openai", model="stub", base_url=f"{url}/v1", **settings)
    client = HttpClient(endpoint, folder / "replies.jsonl", payer="benchmark", budget=budget)
    num_right = 0

    def count(index: int, reply: ChatReply | ChatFailure) -> None:
        nonlocal num_right
        num_right += isinstance(reply, ChatReply) and reply.text == f"you said: question {index}"

    requests = (
        ChatRequest(messages=(Message(role="user", content=f"question {i}"),), sampling=Sampling(max_tokens=30))
        for i in range(num)
    )

    async def run() -> None:
        try:
            await ask_each(client, requests, count)
        except BudgetError:
            pass
        finally:
            await client.close()

    asyncio.run(run())
    return num_right, client


def faults() -> None:
    """Ten seeds of faults: nothing is lost, and little is asked twice."""
    num, rows, worst, lost = 805, [], 0.0, 0
    for seed in range(10):
        with serving(seed=seed, faults=FAULTS, latency=0.2) as url, tempfile.TemporaryDirectory() as folder:
            start = time.monotonic()
            right, _ = asked(url, Path(folder), num, max_concurrency=64, timeout_seconds=5)
            wall, attempts = time.monotonic() - start, sum(counts(url)["asked"].values())
            again, _ = asked(url, Path(folder), num, max_concurrency=64)
            repeated = sum(counts(url)["asked"].values()) - attempts
        worst, lost = max(worst, attempts / num), lost + (num - right) + (num - again) + repeated
        rows.append([str(seed), str(right), str(attempts), f"{attempts / num:.3f}", f"{wall:.1f}", str(repeated)])
    _print(
        "faults",
        f"{num} requests, 64 connections, 200 ms, 5 % 429 (Retry-After 1), 5 % 500, 2 % malformed, 1 % hang "
        "(time-out 5 s), 1 % cut mid-body.",
        table(["seed", "right replies", "attempts", "attempts per request", "wall s", "asked by a second run"], rows),
        [Target("attempts per request", worst, 1.2, digits=3), Target("replies lost", lost, 0, digits=0)],
    )


def kills() -> None:
    """kill -9 at 20 random moments of `tutelage teach`: nothing that was received is asked for again."""
    num, connections, rng = 2_000, 16, random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder, in_flight, asked_again = Path(name), 0, 0
        rows = "".join(json.dumps({"prompt": f"question {i}"}) + "\n" for i in range(num))
        (folder / "prompts.jsonl").write_text(rows)
        with serving(latency=0.2, log=folder / "log.jsonl") as url:
            kept: set[str] = set()
            num_logged = num_kills = 0
            while num_kills < 20:
                process = _teach(folder, url, "killed", connections)
                try:
                    process.wait(timeout=rng.uniform(1.0, 2.2))
                    break  # finished before it was killed often enough; then the table says so
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                num_kills += 1
                log = _rows(folder / "log.jsonl")
                asked_again += sum(row["text"] in kept for row in log[num_logged:])
                num_logged = len(log)
                journal = _rows(folder / "killed" / "replies.jsonl")
                kept = {row["request"]["messages"][-1]["content"] for row in journal if "reply" in row}
                ended = {row["try"] for row in journal if "sent" not in row}
                in_flight = sum("sent" in row and row["try"] not in ended for row in journal)
            _teach(folder, url, "killed", connections).wait()
            log = _rows(folder / "log.jsonl")
            asked_again += sum(row["text"] in kept for row in log[num_logged:])
            repeats = len(log) - num
            _teach(folder, url, "whole", connections, seed_only=True).wait()
        whole, killed = (
            next(folder.glob(f"{artifacts}/1-teach/*/completions.jsonl")).read_bytes()
            for artifacts in ("whole", "killed")
        )
        same = whole == killed
    _print(
        "kills",
        f"`tutelage teach`, {num:,} requests, {connections} connections, 200 ms, killed at random moments.",
        table(
            ["kills", "in flight at the kills", "asked twice", "asked again though kept", "same completions.jsonl"],
            [[str(num_kills), str(in_flight), str(repeats), str(asked_again), "yes" if same else "NO"]],
        ),
        [
            Target("replies asked for again though they were kept", asked_again, 0, digits=0),
            Target("asked twice, in units of what was in flight", repeats / max(1, in_flight), 1, digits=2),
            Target("differing artifacts", not same, 0, digits=0),
        ],
    )


def _teach(folder: Path, url: str, artifacts: str, connections: int, seed_only: bool = False) -> Any:
    words = ["teach", "prompts=prompts.jsonl", "teacher=local", "teacher.model=stub", "max_tokens=30"]
    words += [f"teacher.base_url={url}/v1", f"teacher.max_concurrency={256 if seed_only else connections}"]
    command = [sys.executable, "-m", "tutelage", *words, f"artifacts={artifacts}"]
    environment = {**os.environ, "TUTELAGE_QUIET": "1"}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)


def _rows(path: Path) -> list[Any]:
    """Return the whole rows of a file that may end in a torn one."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith(b"}")]


def limit() -> None:
    """600 requests a minute, known to both sides: used up, and hardly ever overstepped."""
    num, per_minute = 300, 600
    with serving(requests_per_minute=per_minute) as url, tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        right, _ = asked(url, Path(folder), num, requests_per_minute=per_minute)
        wall, found = time.monotonic() - start, counts(url)
    # the server's bucket is full at first, so a share of the requests comes for nothing
    used, rejected = 60 * (num - 1) / wall / per_minute, found["rejected"] / num
    _print(
        "limit",
        f"{num} requests, the client told of the server's {per_minute} a minute.",
        table(
            ["right replies", "wall s", "of the limit used", "rejected"],
            [[str(right), f"{wall:.1f}", f"{used:.1%}", f"{rejected:.1%}"]],
        ),
        [
            Target("share of the limit used", used, 0.95, at_least=True, digits=3),
            Target("share of requests rejected", rejected, 0.02, digits=3),
        ],
    )


def budget() -> None:
    """A budget for part of the requests, under all faults: the server's bill never exceeds it."""
    rows, worst, wrong, tokens = [], 0.0, 0, 20_000
    for connections in (1, 16, 256):
        with serving(faults=FAULTS, retry_after="0.1") as url, tempfile.TemporaryDirectory() as folder:
            settings: dict[str, Any] = {"max_concurrency": connections, "timeout_seconds": 1}
            right, client = asked(url, Path(folder), 2_000, Budget(tokens=tokens), **settings)
            found, bill = counts(url), client.bill()
        whole, in_vain = (
            found[name]["input_tokens"] + found[name]["output_tokens"] for name in ("billed", "billed_in_vain")
        )
        delivered = whole - in_vain
        worst, wrong = max(worst, whole / tokens), wrong + (delivered != bill.paid.tokens)
        rows.append([str(connections), f"{tokens:,}", str(right)])
        rows[-1] += [f"{n:,}" for n in (delivered, bill.paid.tokens, in_vain, bill.lost.tokens)]
    _print(
        "budget",
        "2,000 requests wanted, the faults of above, budget.tokens: what the server billed against the ledger.",
        table(
            ["connections", "budget", "replies", "billed, delivered", "paid", "billed in vain", "lost, at most"], rows
        ),
        [
            Target("billed, as a share of the budget", worst, 1, digits=3),
            Target("ledgers that differ from the server's", wrong, 0, digits=0),
        ],
    )


def _print(name: str, what: str, text: str, targets: list[Target]) -> None:
    print(f"### {name}\n\n{what}\n\n{text}\n\n" + "\n".join(map(str, targets)) + f"\n\n{machine()}.\n", flush=True)


BENCHMARKS: dict[str, Callable[[], None]] = {"faults": faults, "kills": kills, "limit": limit, "budget": budget}


def main() -> None:
    """Run the benchmarks that are named, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of: {', '.join(BENCHMARKS)} (default: all)")
    names = parser.parse_args().names or list(BENCHMARKS)
    if unknown := sorted(set(names) - set(BENCHMARKS)):
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    for name in names:
        BENCHMARKS[name]()


if __name__ == "__main__":
    main()
