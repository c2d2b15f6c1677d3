"""What label, evaluate and audit share: showing pairs to a critic or judge, and refusing labels that are no good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from tutelage.chat import ChatFailure, ChatReply, ChatRequest, Endpoint
from tutelage.config import Group, Tree
from tutelage.critic import alpaca_eval
from tutelage.critic.evaluator import DEFAULT, Evaluator, OrderRule, load
from tutelage.critic.parse import Heard, is_flip
from tutelage.critic.questions import Question, opinion_of, questions, verdict_of
from tutelage.errors import ConfigError, CriticError
from tutelage.records import Bill, Outcome, Pair, Prompt, Sampling, Usage, Verdict, digest
from tutelage.stages.asking import Asking, ask_about
from tutelage.store import Work


class Critic(Endpoint):
    """A model that judges. An evaluator of alpaca_eval names a model and the way it is asked at once."""

    named_also: ClassVar[str] = f"; {alpaca_eval.HOW_TO_GET_IT}"
    evaluator: str | None = Field(
        None, description="template, parser and decoding of alpaca_eval's evaluator of this name, or in this folder"
    )

    @classmethod
    def named(cls, name: str) -> Tree | None:
        """Return the settings of an evaluator of alpaca_eval: its model, and how that is reached.

        Raises:
            ConfigError: it is one that cannot be matched, or nearly the name of one.
        """
        folder = alpaca_eval.folder_of(name)
        if folder is None:
            near = get_close_matches(name, alpaca_eval.names(), 1, cutoff=0.8)
            if near:
                raise ConfigError(
                    f"no preset and no evaluator of alpaca_eval is called {name!r}; did you mean {near[0]}?"
                )
            return None
        config = alpaca_eval.read_config(folder)
        asked = config["completions_kwargs"]
        preset = alpaca_eval.PROVIDERS.get(str(config.get("fn_completions")), "local")
        tree: Tree = {"preset": preset, "model": str(asked.get("model_name")), "evaluator": name}
        address = (asked.get("client_kwargs") or {}).get("base_url")
        if preset == "openai":  # the field of the time, which every server for those models takes
            tree["max_tokens_field"] = "max_tokens"
        return tree | ({"base_url": address} if address else {})

    @field_validator("evaluator")
    @classmethod
    def _can_be_read(cls, name: str | None) -> str | None:
        if name is not None:
            load(name)
        return name

    def identity(self) -> Tree:
        """Return the settings with what the evaluator says in place of where it lies."""
        own = None if self.evaluator is None else digest(load(self.evaluator).identity)
        return super().identity() | {"evaluator": own}


class Showing(Group):
    """How a pair is put before a critic or judge."""

    template: str | None = Field(
        None,
        description="pairwise, structured, rubric, letter (log-probabilities), pointwise (each completion alone), a "
        ".txt file of the same form, or an evaluator of alpaca_eval; null: the critic's evaluator, else pairwise",
    )
    temperature: float | None = Field(None, ge=0, description="of the critic; null: the template's own")
    max_tokens: int | None = Field(
        None, ge=1, description="limit of a verdict; null: the template's own", json_schema_extra={"unit": "tokens"}
    )
    max_completion_chars: int | None = Field(
        None,
        ge=1,
        description="the critic sees no more of a completion than this, and is told so; null: all of it",
        json_schema_extra={"unit": "characters"},
    )
    seed: int = Field(
        0, ge=0, le=2**31 - 1, description="of what is drawn at random (and of the critic, where it takes one)"
    )

    @field_validator("template")
    @classmethod
    def _is_there(cls, name: str | None) -> str | None:
        if name is not None:
            load(name)  # its error is ours, and comes before anything is trained or paid for
        return name

    def identity(self) -> Tree:
        """Return the settings with the template's content in place of its name: an edited file is another one."""
        return super().identity() | {"template": digest(load(self.template or DEFAULT).identity)}


class Judging(Showing):
    """How pairs are shown to a critic or judge, and how many unreadable or flipped verdicts are too many."""

    order: OrderRule | None = Field(
        None,
        description="both: each pair is asked twice, swapped; random: once, in alpaca_eval's seeded order; fixed: "
        "once, the right one (the baseline) first; null: both, or what the evaluator does",
    )
    on_flip: Literal["tie", "invalid"] = Field(
        "tie", description="what a pair is whose two orders were won by different completions"
    )
    max_invalid: float = Field(
        0.05, ge=0, le=1, description="largest share of unreadable verdicts; above it the stage fails"
    )
    max_flip: float = Field(
        0.75, ge=0, le=1, description="largest share of pairs whose orders disagree; above it the stage fails"
    )


def evaluator_of(critic: Critic, showing: Showing) -> Evaluator:
    """Return how `critic` is asked and read."""
    return load(showing.template or critic.evaluator or DEFAULT)


def signature(critic: Critic, evaluator: Evaluator, author: str) -> str:
    """Return how verdicts are signed: by the model (`author`), and by the way it was asked if that is not `pairwise`.

    Only the model that alpaca_eval's evaluator stands for, at its own provider, signs with the evaluator's name.
    """
    if evaluator.model == critic.model and critic.base_url is None:
        return evaluator.name
    return author if evaluator.name == DEFAULT else f"{author} ({evaluator.name})"


def judge_requests(
    critic: Critic, judging: Judging, pairs: Sequence[Pair], prompts: Mapping[str, Prompt]
) -> tuple[list[Question], list[ChatRequest]]:
    """Return every showing of every pair, and what is asked, once each. `Question.messages` says which is which.

    Raises:
        ConfigError: log-probabilities are needed and the critic gives none.
    """
    rule = judging.order or evaluator_of(critic, judging).order
    asked, request = showings(critic, judging, pairs, prompts, rule)
    # One request for the same question, however often it occurs: a completion alone is in many pairs.
    unique = dict.fromkeys(q.messages for q in asked)
    return asked, [request.model_copy(update={"messages": messages}) for messages in unique]


def showings(
    critic: Critic, showing: Showing, pairs: Sequence[Pair], prompts: Mapping[str, Prompt], rule: OrderRule
) -> tuple[list[Question], ChatRequest]:
    """Return every showing of every pair, and the request that each is to be asked with, yet without messages.

    Raises:
        ConfigError: log-probabilities are needed and the critic gives none.
    """
    evaluator = evaluator_of(critic, showing)
    if evaluator.top_logprobs is not None and not critic.offers_logprobs:
        raise ConfigError(
            f"{critic.model} gives no log-probabilities, which {evaluator.name} reads; choose another template or "
            "critic, such as template=pairwise"
        )
    sampling = Sampling(
        temperature=evaluator.temperature if showing.temperature is None else showing.temperature,
        top_p=evaluator.top_p,
        max_tokens=showing.max_tokens or evaluator.max_tokens,
        seed=showing.seed if evaluator.seeded else None,
        top_logprobs=evaluator.top_logprobs,
    )
    extra: dict[str, Any] = {"tool": evaluator.tool} if evaluator.tool else {}
    if evaluator.json_schema and critic.offers_json_schema and critic.provider != "miniature":
        extra["json_schema"] = evaluator.json_schema
    asked = questions(pairs, prompts, evaluator, rule, showing.seed, showing.max_completion_chars)
    return asked, ChatRequest(messages=(), sampling=sampling, **extra)


def heard_of(reply: ChatReply) -> Heard:
    """Return what a parser reads of a reply."""
    top = None
    if reply.logprobs is not None:
        top = tuple({token.token: token.logprob, **dict(token.top)} for token in reply.logprobs)
    return Heard(reply.text, reply.stop_reason in ("stop", "unknown"), top, reply.usage)


@dataclass(frozen=True)
class Judged:
    """How the critic signs, a verdict for every pair that was answered, and the bill."""

    critic: str
    verdicts: list[Verdict]
    bill: Bill | None


def judge_pairs(
    critic: Critic,
    judging: Judging,
    asking: Asking,
    pairs: Sequence[Pair],
    prompts: Mapping[str, Prompt],
    work: Work,
) -> Judged:
    """Ask about all pairs; those without a reply are counted.

    Raises:
        ChatError: as `ask_about`.
        CriticError: more than `max_invalid` of the verdicts are INVALID or `max_flip` are flips; shows examples.
    """
    evaluator = evaluator_of(critic, judging)
    asked, requests = judge_requests(critic, judging, pairs, prompts)
    answer = ask_about(critic, requests, asking, work)
    signed = signature(critic, evaluator, answer.author)
    replies = dict(zip((r.messages for r in requests), answer.replies, strict=True))
    flip: Outcome = "TIE" if judging.on_flip == "tie" else "INVALID"
    verdicts: list[Verdict] = []
    flipped: list[Verdict] = []
    paid: set[tuple[Any, ...]] = set()
    for _, group in groupby(asked, key=lambda q: q.pair.id):
        members = list(group)
        heard = []
        for question in members:
            reply = replies[question.messages]
            if isinstance(reply, ChatFailure):
                continue
            first_time = question.messages not in paid
            paid.add(question.messages)
            heard.append(heard_of(reply if first_time else reply.model_copy(update={"usage": Usage()})))
        if len(heard) < len(members):
            work.count("pairs without a reply", 1)
            continue
        if evaluator.top_logprobs is None:  # else one token is all that was wanted
            work.count("replies cut or filtered", sum(not h.is_whole for h in heard))
        work.count("pairs with a completion cut to max_completion_chars", int(members[0].num_cut > 0))
        opinion = opinion_of(members, heard, evaluator)
        verdicts.append(verdict_of(members, heard, opinion, signed, flip))
        if is_flip(opinion.outcomes):
            flipped.append(verdicts[-1])
    work.count("flips", len(flipped))
    _check(signed, "max_invalid", judging.max_invalid, verdicts, _unreadable(verdicts), work)
    _check(signed, "max_flip", judging.max_flip, verdicts, flipped, work)
    return Judged(signed, verdicts, answer.bill)


def _unreadable(verdicts: Sequence[Verdict]) -> list[Verdict]:
    return [v for v in verdicts if v.outcome == "INVALID"]


_WHY = {
    "max_invalid": "verdicts cannot be read",
    "max_flip": "pairs were decided by which completion was shown first",
}


def _check(
    critic: str, gate: str, allowed: float, verdicts: Sequence[Verdict], bad: Sequence[Verdict], work: Work
) -> None:
    if len(bad) > allowed * len(verdicts):
        shown = "".join(f"\n  {' | '.join(v.replies)[:200]!r}" for v in bad[:5])
        cut = work.counts.get("replies cut or filtered", 0)
        raise CriticError(
            f"{critic}: {len(bad)} of {len(verdicts)} {_WHY[gate]} (allowed: {gate}={allowed}; {cut} replies were "
            f"cut at max_tokens or filtered). All replies are kept. Some of them:{shown}"
        )
