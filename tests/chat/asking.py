"""Short ways to say what the tests of this folder ask, and the types of their fixtures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stub_server import StubServer
from tutelage.chat import BatchClient, ChatRequest, HttpClient
from tutelage.records import Message, Sampling

Serve = Callable[..., StubServer]
MakeClient = Callable[..., HttpClient]
MakeBatches = Callable[..., BatchClient]


def question(text: str, index: int = 0, **sampling: Any) -> ChatRequest:
    """Return the request that asks `text`."""
    given = {"max_tokens": 50} | sampling
    return ChatRequest(messages=(Message(role="user", content=text),), sampling=Sampling(**given), sample_index=index)


def questions(num: int) -> list[ChatRequest]:
    """Return the requests that ask `question 0`, `question 1` and so on."""
    return [question(f"question {i}") for i in range(num)]
