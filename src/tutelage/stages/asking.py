"""What teach, label and evaluate share: reaching a model, and judging pairs with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from pydantic import Field, field_validator

from tutelage.chat import ChatFailure, ChatReply, ChatRequest, Client, Endpoint, HttpClient, ask
from tutelage.config import Group, Tree
from tutelage.critic.questions import Heard, OrderRule, Question, questions, verdict_of
from tutelage.critic.template import Template
from tutelage.errors import CriticError, UnavailableError
from tutelage.progress import Progress
from tutelage.records import Pair, Prompt, Sampling, Verdict, digest
from tutelage.store import Work

REPLIES = "replies.jsonl"


def connect(endpoint: Endpoint, artifacts: Path) -> Client:
    """Return a client for `endpoint`; replies that are paid for are kept in `artifacts`/replies.jsonl."""
    if endpoint.provider == "miniature":
        from tutelage.miniature.client import MiniatureClient

        return MiniatureClient(endpoint.model)
    return HttpClient(endpoint, artifacts / REPLIES)


def ask_about(
    name: str, endpoint: Endpoint, requests: Sequence[ChatRequest], max_failures: float, work: Work
) -> tuple[str, list[ChatReply | ChatFailure]]:
    """Ask all `requests` with a progress line; return how the model signs, and what came back, in order.

    Raises:
        ChatError: no request can succeed, or more than the share `max_failures` failed.
    """
    client = connect(endpoint, work.root)
    with Progress(name, len(requests), "replies") as progress:
        replies = ask(client, requests, lambda index, reply: progress.advance(1))
    failed = [r for r in replies if isinstance(r, ChatFailure)]
    cached = sum(isinstance(r, ChatReply) and r.cached for r in replies)
    for what, num in (("replies reused", cached), ("requests failed", len(failed))):
        if num:
            work.count(what, num)
    if len(failed) > max_failures * len(requests):
        raise UnavailableError(
            f"{client.name}: {len(failed)} of {len(requests)} requests failed (allowed: max_failures="
            f"{max_failures}); the first: {failed[0].error}. All replies are kept; the same command asks "
            "only for the missing ones"
        )
    return client.name, replies


class Asking(Group):
    """How much may go wrong when many requests are made."""

    max_failures: float = Field(
        0.02,
        ge=0,
        le=1,
        description="largest share of requests that may fail for good; above it the stage stops, resumable",
    )


class Judging(Asking):
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


def judge_pairs(
    endpoint: Endpoint, judging: Judging, pairs: Sequence[Pair], prompts: Mapping[str, Prompt], work: Work
) -> tuple[str, list[Verdict]]:
    """Return how the critic signs, and a verdict for every pair that was answered; counts the others.

    Raises:
        ChatError: as `ask_about`.
        CriticError: more than `max_invalid` of the verdicts are INVALID; shows examples.
    """
    template = Template.load(judging.template)
    asked = questions(pairs, prompts, template, judging.order, judging.seed)
    sampling = Sampling(temperature=judging.temperature, max_tokens=judging.max_tokens, seed=judging.seed)
    requests = [ChatRequest(messages=q.messages, sampling=sampling) for q in asked]
    critic, replies = ask_about(work.stage, endpoint, requests, judging.max_failures, work)
    verdicts: list[Verdict] = []
    both: list[tuple[Question, ChatReply | ChatFailure]] = list(zip(asked, replies, strict=True))
    for _, group in groupby(both, key=lambda qr: qr[0].pair.id):
        members = list(group)
        answered = [r for _, r in members if isinstance(r, ChatReply)]
        if len(answered) < len(members):
            work.count("pairs without a reply", 1)
        else:
            heard = [Heard(r.text, r.stop_reason in ("stop", "unknown"), r.usage) for r in answered]
            work.count("replies cut or filtered", sum(not h.is_whole for h in heard))
            verdicts.append(verdict_of([q for q, _ in members], heard, critic))
    _check_invalid(critic, verdicts, judging.max_invalid, work.counts.get("replies cut or filtered", 0))
    return critic, verdicts


def _check_invalid(critic: str, verdicts: Sequence[Verdict], allowed: float, cut: int) -> None:
    invalid = [v for v in verdicts if v.outcome == "INVALID"]
    if len(invalid) > allowed * len(verdicts):
        shown = "".join(f"\n  {' | '.join(v.replies)[:200]!r}" for v in invalid[:5])
        raise CriticError(
            f"{critic}: {len(invalid)} of {len(verdicts)} verdicts cannot be read (allowed: max_invalid="
            f"{allowed}; {cut} replies were cut at max_tokens or filtered). All replies are kept. "
            f"Some of them:{shown}"
        )
