"""Short ways to say what the tests of this folder ask, and the types of their fixtures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stub_server import StubServer
from tutelage.chat import ChatRequest, HttpClient
from tutelage.records import Message, Sampling

Serve = Callable[..., StubServer]
MakeClient = Callable[..., HttpClient]


def question(text: str, index: int = 0, **sampling: Any) -> ChatRequest:
    """Return the request that asks `text`."""
    given = {"max_tokens": 50} | sampling
    return ChatRequest(messages=(Message(role="user", content=text),), sampling=Sampling(**given), sample_index=index)
