"""The stub server and clients of it, as fixtures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import batch_asker
from asking import MakeBatches, MakeClient, Serve
from stub_server import StubServer
from tutelage.chat import BatchClient, Budget, Endpoint, HttpClient, batch, batch_calls


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that starts a `StubServer` with the arguments given; it stops with the test."""
    with contextlib.ExitStack() as stack:

        def start(*args: Any, **kwargs: Any) -> StubServer:
            return stack.enter_context(StubServer(*args, **kwargs))

        yield start


@pytest.fixture
def client(tmp_path: Path) -> MakeClient:
    """Return a function that makes a client of a server (or an address) with quick retries."""

    def make(server: StubServer | str, provider: str = "openai", **settings: Any) -> HttpClient:
        if isinstance(server, StubServer):
            server = server.openai_url if provider == "openai" else server.anthropic_url
        own = {"sends_temperature": False} if provider == "anthropic" else {}
        given = {"provider": provider, "model": "stub", "base_url": server, "timeout_seconds": 5.0}
        endpoint = Endpoint.model_validate(given | own | settings)
        return HttpClient(endpoint, tmp_path / "replies.jsonl", first_pause_seconds=0.01)

    return make


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for milliseconds where it would be seconds."""
    for name in ("CREATE_AGAIN_SECONDS", "FIND_AGAIN_SECONDS", "DOWNLOAD_AGAIN_SECONDS"):
        monkeypatch.setattr(batch, name, ())  # so that they are as before after the test
    monkeypatch.setattr(batch_calls, "FIRST_PAUSE_SECONDS", 0)
    batch_asker.be_quick()


@pytest.fixture
def batches(tmp_path: Path, quick: None) -> MakeBatches:
    """Return a function that makes a `BatchClient` of a server, with quick retries; the same files every time."""

    def make(server: StubServer | str, provider: str = "openai", **settings: Any) -> BatchClient:
        if isinstance(server, StubServer):
            server = server.openai_url if provider == "openai" else server.anthropic_url
        budget, ask_again = settings.pop("budget", Budget()), settings.pop("ask_again", ())
        own = {"sends_temperature": False} if provider == "anthropic" else {}
        given = {"provider": provider, "model": "stub", "base_url": server, "timeout_seconds": 5.0}
        return BatchClient(
            Endpoint.model_validate(given | own | settings),
            tmp_path / "replies.jsonl",
            tmp_path / "batches.jsonl",
            payer="me",
            budget=budget,
            ask_again=ask_again,
            poll_seconds=0.02,
        )

    return make
