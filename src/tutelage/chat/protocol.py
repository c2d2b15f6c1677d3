"""What every model that can be talked to offers, whichever way it is reached."""

from __future__ import annotations

from typing import Protocol

from tutelage.records import Message, Record, Sampling, StopReason, Usage


class ChatRequest(Record):
    """One question to a model. `sample_index` tells apart several draws of the same question."""

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    sample_index: int = 0


class ChatReply(Record):
    """A model's answer. An empty `text` is an answer too; whoever asked decides what it means."""

    text: str
    stop_reason: StopReason
    usage: Usage
    sampling: Sampling
    """What was really sent: a model that takes no temperature was sent none."""
    cached: bool = False
    """True if the reply was read from the journal and not paid for again."""


class ChatFailure(Record):
    """A question that got no answer: what was tried and the last error, in one sentence."""

    error: str


class Client(Protocol):
    """A model that answers. `name` is how it signs: the author of completions, the critic of verdicts."""

    name: str

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Answer `request`.

        Raises:
            AuthenticationError, UnknownModelError, QuotaError: no request to this model can succeed.
            RequestError: the server refuses this request; others may pass.
            UnavailableError: every retry failed.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
