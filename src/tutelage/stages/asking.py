"""What teach, label and evaluate share: reaching a model, and judging pairs with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from pydantic import Field, field_validator

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
from tutelage.config import Group, Tree
from tutelage.critic.questions import Heard, OrderRule, Question, questions, verdict_of
from tutelage.critic.template import Template
from tutelage.errors import ConfigError, CriticError, UnavailableError
from tutelage.progress import Progress
from tutelage.records import Bill, Pair, Prompt, Sampling, Verdict, digest
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
    client = MiniatureClient(endpoint.model)
    with Progress(work.stage, len(requests), "replies") as progress:
        return Asked(client.name, ask(client, requests, lambda index, reply: progress.advance(1)), None)


def _ask_api(endpoint: Endpoint, requests: Sequence[ChatRequest], asking: Asking, work: Work) -> Asked:
    settings: dict[str, Any] = {
        "payer": work.fingerprint[:16],
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


def spent(ledger: Ledger) -> str:
    """Say what was paid so far, for the progress line."""
    paid, lost = ledger.paid, ledger.lost
    dollars = "price unknown" if ledger.price is None else f"${paid.dollars or 0.0:.2f}"
    in_vain = f", {lost.requests} perhaps billed in vain" if lost.requests else ""
    return f"{paid.tokens:,} tokens, {dollars}{in_vain}"


class Judging(Group):
    """How pairs are shown to a critic or judge, and how many unreadable replies are too many."""

    template: str = Field("pairwise", description="'pairwise', or a .txt file of the same form")
    order: OrderRule = Field(
        "both",
        description="both: each pair is asked twice, swapped, and a flip is a tie; random: once, in a seeded order",
    )
    temperature: float | None = Field(0.0, ge=0, description="of the critic; null: not sent")
    max_tokens: int = Field(256, ge=1, description="limit of a verdict", json_schema_extra={"unit": "tokens"})
    seed: int = Field(0, ge=0, le=2**31 - 1, description="of the random order (and of a miniature critic)")
    max_invalid: float = Field(
        0.05, ge=0, le=1, description="largest share of unreadable verdicts; above it the stage fails"
    )

    @field_validator("template")
    @classmethod
    def _is_there(cls, name: str) -> str:
        Template.load(name)  # its error is ours, and comes before anything is trained or paid for
        return name

    def identity(self) -> Tree:
        """Return the settings with the template's text in place of its name: an edited file is another one."""
        return super().identity() | {"template": digest(Template.load(self.template).parts)}


def judge_requests(
    judging: Judging, pairs: Sequence[Pair], prompts: Mapping[str, Prompt]
) -> tuple[list[Question], list[ChatRequest]]:
    """Return every showing of every pair, and what is asked about each."""
    template = Template.load(judging.template)
    asked = questions(pairs, prompts, template, judging.order, judging.seed)
    sampling = Sampling(temperature=judging.temperature, max_tokens=judging.max_tokens, seed=judging.seed)
    return asked, [ChatRequest(messages=q.messages, sampling=sampling) for q in asked]


def judge_pairs(
    endpoint: Endpoint,
    judging: Judging,
    asking: Asking,
    pairs: Sequence[Pair],
    prompts: Mapping[str, Prompt],
    work: Work,
) -> tuple[str, list[Verdict], Bill | None]:
    """Return how the critic signs, a verdict for every pair that was answered (the others are counted), the bill.

    Raises:
        ChatError: as `ask_about`.
        CriticError: more than `max_invalid` of the verdicts are INVALID; shows examples.
    """
    asked, requests = judge_requests(judging, pairs, prompts)
    answer = ask_about(endpoint, requests, asking, work)
    verdicts: list[Verdict] = []
    both: list[tuple[Question, ChatReply | ChatFailure]] = list(zip(asked, answer.replies, strict=True))
    for _, group in groupby(both, key=lambda qr: qr[0].pair.id):
        members = list(group)
        answered = [r for _, r in members if isinstance(r, ChatReply)]
        if len(answered) < len(members):
            work.count("pairs without a reply", 1)
        else:
            heard = [Heard(r.text, r.stop_reason in ("stop", "unknown"), r.usage) for r in answered]
            work.count("replies cut or filtered", sum(not h.is_whole for h in heard))
            verdicts.append(verdict_of([q for q, _ in members], heard, answer.author))
    _check_invalid(answer.author, verdicts, judging.max_invalid, work.counts.get("replies cut or filtered", 0))
    return answer.author, verdicts, answer.bill


def _check_invalid(critic: str, verdicts: Sequence[Verdict], allowed: float, cut: int) -> None:
    invalid = [v for v in verdicts if v.outcome == "INVALID"]
    if len(invalid) > allowed * len(verdicts):
        shown = "".join(f"\n  {' | '.join(v.replies)[:200]!r}" for v in invalid[:5])
        raise CriticError(
            f"{critic}: {len(invalid)} of {len(verdicts)} verdicts cannot be read (allowed: max_invalid="
            f"{allowed}; {cut} replies were cut at max_tokens or filtered). All replies are kept. "
            f"Some of them:{shown}"
        )
