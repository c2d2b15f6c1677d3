"""What teach, label and evaluate share: reaching a model, within a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from tutelage.chat import (
    AskAgain,
    BatchClient,
    Budget,
    ChatFailure,
    ChatReply,
    ChatRequest,
    Endpoint,
    HttpClient,
    ask,
)
from tutelage.chat.batch_notes import num_running
from tutelage.chat.cache import REPLIES
from tutelage.chat.ledger import Ledger
from tutelage.chat.prices import cost
from tutelage.chat.replies import Replies
from tutelage.config import Group
from tutelage.errors import ConfigError, UnavailableError
from tutelage.progress import Progress
from tutelage.records import Bill, Price, Usage
from tutelage.store import Work

BATCHES = "batches.jsonl"
"""In an unfinished artifact's folder: which batches run on the other side."""


class Asking(Group):
    """How many requests are made, what they may cost, and how much may go wrong."""

    mode: Literal["live", "batch"] = Field(
        "live",
        description="batch: through the provider's batch API, at its price; takes up to a day, and can be "
        "interrupted meanwhile",
        json_schema_extra={"runtime": True},
    )
    poll_seconds: float = Field(
        30.0,
        gt=0,
        description="how often to look whether a batch is done",
        json_schema_extra={"runtime": True, "unit": "seconds"},
    )
    budget: Budget = Budget()
    ask_again: tuple[AskAgain, ...] = Field(
        (),
        description="replies that earlier work has, but that are asked for once more: filtered (or refused), cut "
        "(at max_tokens), empty",
    )
    max_failures: float = Field(
        0.02,
        ge=0,
        le=1,
        description="largest share of requests that may fail for good; above it the stage stops, resumable",
    )
    max_consecutive_failures: int = Field(
        10, ge=1, description="stop after so many with no reply in between", json_schema_extra={"runtime": True}
    )


@dataclass(frozen=True)
class Asked:
    """What came back, in the order of the requests; how the model signs; and the bill."""

    author: str
    replies: list[ChatReply | ChatFailure]
    bill: Bill | None


def ask_about(endpoint: Endpoint, requests: Sequence[ChatRequest], asking: Asking, work: Work) -> Asked:
    """Ask all `requests`, with a progress line that says what was spent.

    Raises:
        ChatError: no request can succeed, the budget ends, or more than the share `max_failures` failed.
    """
    if endpoint.provider == "miniature":
        asked = _ask_miniature(endpoint, requests, asking, work)
    else:
        asked = _ask_api(endpoint, requests, asking, work)
    failed = [r for r in asked.replies if isinstance(r, ChatFailure)]
    cached = sum(isinstance(r, ChatReply) and r.cached for r in asked.replies)
    for what, num in (("replies reused", cached), ("requests failed", len(failed))):
        if num:
            work.count(what, num)
    if len(failed) > asking.max_failures * len(requests):
        raise UnavailableError(
            f"{asked.author}: {len(failed)} of {len(requests)} requests failed (allowed: max_failures="
            f"{asking.max_failures}); the first: {failed[0].error}. All replies are kept; the same command asks "
            "only for the missing ones"
        )
    return asked


def _ask_miniature(endpoint: Endpoint, requests: Sequence[ChatRequest], asking: Asking, work: Work) -> Asked:
    from tutelage.miniature.client import MiniatureClient

    if asking.mode == "batch":
        raise ConfigError("mode: the miniature world answers at once and has no batches; leave mode=batch out")
    client, price = MiniatureClient(endpoint.model), endpoint.known_price()
    with Progress(work.stage, len(requests), "replies") as progress:
        replies = ask(client, requests, lambda index, reply: progress.advance(1))
    return Asked(client.name, [_at(price, reply) for reply in replies], None)


def _at(price: Price | None, reply: ChatReply | ChatFailure) -> ChatReply | ChatFailure:
    """Return a reply that cost nothing with what it would have cost; without a price it stays as it is."""
    if price is None or isinstance(reply, ChatFailure):
        return reply
    dollars = cost(price, reply.usage.input_tokens, reply.usage.output_tokens)
    return reply.model_copy(update={"usage": reply.usage.model_copy(update={"dollars": dollars})})


def _ask_api(endpoint: Endpoint, requests: Sequence[ChatRequest], asking: Asking, work: Work) -> Asked:
    settings: dict[str, Any] = {
        "payer": _payer(work),
        "budget": asking.budget,
        "ask_again": asking.ask_again,
    }
    journal, notes = work.root / REPLIES, work.path / BATCHES
    work.remove_when_finished(notes)
    if asking.mode == "live" and (num := num_running(notes)):
        raise ConfigError(
            f"mode: {num} batches of this artifact were sent and are not collected yet; go on with mode=batch, or "
            f"delete {notes} to give up what they cost and ask live"
        )
    with Progress(work.stage, len(requests), "replies") as progress:
        client: HttpClient | BatchClient

        def tell(index: int, reply: ChatReply | ChatFailure) -> None:
            progress.advance(1, spent(client.replies.ledger))

        if asking.mode == "batch":
            client = BatchClient(endpoint, journal, notes, poll_seconds=asking.poll_seconds, **settings)
            replies = client.ask(requests, tell, progress.note)
        else:
            client = HttpClient(endpoint, journal, **settings)
            replies = ask(client, requests, tell, max_consecutive_failures=asking.max_consecutive_failures)
        return Asked(client.name, replies, client.bill())


def _payer(work: Work) -> str:
    return work.fingerprint[:16]


def spent_so_far(endpoint: Endpoint, work: Work) -> Usage:
    """Return what an unfinished artifact has cost up to now, with what may have been lost for it."""
    journal = work.root / REPLIES
    if endpoint.provider == "miniature" or not journal.exists():
        return Usage()
    replies = Replies(endpoint, journal, _payer(work), Budget(), ())
    replies.load()
    replies.journal.close()
    return replies.ledger.paid + replies.ledger.lost


def spent(ledger: Ledger) -> str:
    """Say what was paid so far, for the progress line."""
    paid, lost = ledger.paid, ledger.lost
    dollars = "price unknown" if ledger.price is None else f"${paid.dollars or 0.0:.2f}"
    in_vain = f", {lost.requests} perhaps billed in vain" if lost.requests else ""
    return f"{paid.tokens:,} tokens, {dollars}{in_vain}"
