"""The benchmarks run, and the server they measure against says what the providers' servers say. Nothing is timed."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHAT = Path(__file__).parents[2] / "benchmarks" / "chat"
LATENCY = 0.05

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks pin processes and read /proc")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A running quick server's host and port."""
    command = [sys.executable, str(CHAT / "quick_server.py"), "--latency", str(LATENCY), "--text", "Verdict: A"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip().removeprefix("http://")
        process.terminate()


@pytest.fixture
def connection(address: str) -> Iterator[http.client.HTTPConnection]:
    """One connection, kept open from request to request."""
    connection = http.client.HTTPConnection(address, timeout=10)
    yield connection
    connection.close()


def posted(connection: http.client.HTTPConnection, path: str, body: dict[str, Any]) -> Any:
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    return answer(connection)


def answer(connection: http.client.HTTPConnection) -> Any:
    reply = connection.getresponse()
    assert reply.status == 200
    return json.loads(reply.read())


def test_the_server_speaks_both_formats_on_one_connection(connection: http.client.HTTPConnection) -> None:
    body = {"model": "stub", "messages": [{"role": "user", "content": "which?"}], "max_tokens": 8}
    openai = posted(connection, "/v1/chat/completions", body)
    assert openai["choices"][0]["message"]["content"] == "Verdict: A"
    usage = openai["usage"]
    assert usage["prompt_tokens"] == len(json.dumps(body)) // 4
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    anthropic = posted(connection, "/v1/messages", body)
    assert anthropic["content"] == [{"type": "text", "text": "Verdict: A"}]
    assert anthropic["usage"]["input_tokens"] == usage["prompt_tokens"]


def test_the_server_gives_the_odds_that_alpaca_eval_reads(connection: http.client.HTTPConnection) -> None:
    reply = posted(connection, "/v1/chat/completions", {"messages": [], "logprobs": True, "top_logprobs": 5})
    [first] = reply["choices"][0]["logprobs"]["content"]
    assert first["token"] == "m"
    assert {"m", "M"} < {token["token"] for token in first["top_logprobs"]}


def test_the_server_counts_and_takes_its_time(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/counts")
    before = answer(connection)["requests"]
    start = time.perf_counter()
    posted(connection, "/v1/messages", {"messages": []})
    assert time.perf_counter() - start >= LATENCY
    connection.request("GET", "/counts")
    assert answer(connection)["requests"] == before + 1


def test_a_body_that_comes_in_pieces_is_one_request(connection: http.client.HTTPConnection) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "long " * 1_000}]}).encode()
    connection.putrequest("POST", "/v1/messages")
    connection.putheader("content-length", str(len(body)))
    connection.endheaders()
    for start in range(0, len(body), 1_000):
        connection.send(body[start : start + 1_000])
        time.sleep(0.001)
    assert answer(connection)["usage"]["input_tokens"] == len(body) // 4


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CHAT / "run.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_one_command_measures_and_prints_a_table() -> None:
    done = run("--quick", "throughput")
    assert done.returncode == 0, done.stderr
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines() if line.startswith("|")]
    assert len({len(row) for row in rows}) == 1
    names = [row[0].strip() for row in rows]
    assert names[0] == "client"
    assert {"tutelage", "bare aiohttp loop, nothing kept", "AsyncOpenAI", "AsyncAnthropic"} < set(names)


def test_replies_of_the_first_run_are_not_asked_for_again() -> None:
    done = run("--quick", "rerun")
    assert done.returncode == 0, done.stderr
    again = next(line for line in done.stdout.splitlines() if line.startswith("| again"))
    assert again.split("|")[3].strip() == "0"


def test_an_unknown_benchmark_is_refused_with_the_names_there_are() -> None:
    done = run("speed")
    assert done.returncode == 2
    assert "no benchmark speed; there are throughput, scaling, pairs, rerun" in done.stderr
