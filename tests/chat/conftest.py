"""The stub server and clients of it, as fixtures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asking import MakeClient, Serve
from stub_server import StubServer
from tutelage.chat import Endpoint, HttpClient


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
