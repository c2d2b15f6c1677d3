"""What the tests of batches share: asking and looking at what came of it."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from stub_server import StubServer
from tutelage.chat import BatchClient, ChatFailure, ChatReply, ChatRequest

KEY = "sk-very-secret-0123456789"
CREATE = {"openai": "/v1/batches", "anthropic": "/v1/messages/batches"}
PRICE = {"price": {"input": 1000.0, "output": 4000.0}}
both = pytest.mark.parametrize("provider", ["openai", "anthropic"])


def collect(client: BatchClient, requests: list[ChatRequest]) -> list[ChatReply | ChatFailure]:
    """Ask; afterwards nothing may be in flight."""
    told: list[int] = []
    results = client.ask(requests, lambda index, result: told.append(index), lambda note: None)
    assert sorted(told) == list(range(len(requests)))
    assert client.replies.ledger.reserved.requests == 0
    return results


def texts(results: list[ChatReply | ChatFailure]) -> list[str]:
    return [r.text if isinstance(r, ChatReply) else f"FAILED: {r.error}" for r in results]


def echoes(num: int) -> list[str]:
    return [f"you said: question {i}" for i in range(num)]


def made(server: StubServer, provider: str) -> list[int]:
    """Return the sizes of the batches that the server was sent, in order."""
    if provider == "anthropic":
        return [len(r.body["requests"]) for r in server.requests if (r.method, r.path) == ("POST", CREATE[provider])]
    return [r.body["file"][2].count(b"\n") for r in server.requests if (r.method, r.path) == ("POST", "/v1/files")]


def rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def settled(client: BatchClient, server: StubServer) -> bool:
    """True if the account says what the server billed, and nothing is lost."""
    bill = client.bill()
    paid = (bill.paid.input_tokens, bill.paid.output_tokens)
    return paid == server.billed_tokens() and bill.lost.requests == 0


def post(server: StubServer, path: str, body: Any, provider: str) -> Any:
    headers = {"Content-Type": "application/json", "anthropic-version": "2026-10-21"}
    request = urllib.request.Request(server.url + path, json.dumps(body).encode(), headers, method="POST")
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)
