"""What every model that can be talked to offers, whichever way it is reached."""

from __future__ import annotations

from typing import Any, Protocol

from tutelage.records import Message, Record, Sampling, StopReason, Usage


class ChatRequest(Record):
    """One question to a model. `sample_index` tells apart several draws of the same question."""

    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    sample_index: int = 0
    json_schema: dict[str, Any] | None = None
    """The JSON schema that the text of the reply must follow, for models that can be held to one."""
    tool: dict[str, Any] | None = None
    """A function in OpenAI's form ({name, description, strict, parameters}) that the model must call; the
    reply's text is its arguments, as JSON. A model that calls nothing all the same replies with what it said."""


class TokenLogprob(Record):
    """One token of a reply, its log-probability, and the likeliest tokens in its place with theirs."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


class ChatReply(Record):
    """A model's answer. An empty `text` is an answer too; whoever asked decides what it means."""

    text: str
    stop_reason: StopReason
    usage: Usage
    sampling: Sampling
    """What was really sent: a model that takes no temperature was sent none."""
    logprobs: tuple[TokenLogprob, ...] | None = None
    """Per token, if `sampling.top_logprobs` were asked for and the server gave them."""
    cached: bool = False
    """True if the reply was read from the journal and not paid for again."""


class ChatFailure(Record):
    """A question that got no answer: what was tried and the last error, in one sentence."""

    error: str


class StoppedError(Exception):
    """The client was told to stop, and this request had not left yet. Never leaves `chat/`."""


class Client(Protocol):
    """A model that answers. `name` is how it signs: the author of completions, the critic of verdicts."""

    name: str

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Answer `request`.

        Raises:
            AuthenticationError, UnknownModelError, QuotaError: no request to this model can succeed.
            RequestError: the server refuses this request; others may pass.
            UnavailableError: every retry failed.
            BudgetError: the reply could cost more than what is left.
            StoppedError: see `stop`.
        """
        ...

    def stop(self) -> int:
        """Let no further request leave; those in flight are still answered. Return how many those are."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
