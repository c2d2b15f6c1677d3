"""A critic + pairs -> how it errs, before it labels many: measured, written down, and shown on a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from tutelage.chat import ChatFailure, ChatReply, ChatRequest
from tutelage.config import Group, StageConfig
from tutelage.critic.injections import INJECTIONS, ONLY_SECOND
from tutelage.critic.questions import Question
from tutelage.data.formats.item import count_nothing
from tutelage.data.pairs import KnownPair, read_pairs
from tutelage.data.rows import PROMPTS
from tutelage.disk import dump_json, write_atomically
from tutelage.errors import ConfigError, CriticError
from tutelage.inputs import Pairs
from tutelage.measure.audit import Audit, audit
from tutelage.measure.injected import Injected
from tutelage.measure.showings import Observation, PairFacts
from tutelage.progress import say
from tutelage.records import Order, Outcome, Pair, Record, Usage, digest
from tutelage.report.audit_page import audit_page
from tutelage.report.audit_words import sentences
from tutelage.stages.asking import Asking, ask_about
from tutelage.stages.base import Plan, Stage
from tutelage.stages.judging import Critic, Showing, evaluator_of, heard_of, showings, signature
from tutelage.store import Made, Work

PAIRS, SHOWINGS, DATA, PAGE = "pairs.jsonl", "showings.jsonl", "audit.json", "audit.html"
_NUM_EXAMPLES = 10


class Config(StageConfig, Asking, Showing):
    """Whose judgement is examined, and how thoroughly. Every pair is shown in both orders."""

    critic: Critic = Field(description="the model to examine, or an evaluator of alpaca_eval")
    num_pairs: int | None = Field(400, ge=2, description="at most so many, drawn by `seed`; null: all")
    repeats: int = Field(1, ge=1, le=20, description="how often each showing is asked; 2 or more show consistency")
    num_injected: int = Field(
        50, ge=0, description="of these pairs, how many are shown again with each of the planted texts; 0: none"
    )


class Inputs(Group):
    """The pairs: any that the critic has not been tuned on; with scores or gold labels more can be told."""

    pairs: Pairs


class AuditedPair(Record):
    """A row of pairs.jsonl."""

    pair: Pair
    gap: float | None
    gold: Outcome | None


class AuditedShowing(Record):
    """A row of showings.jsonl: what was asked of a pair, and what came back."""

    pair_id: str
    prompt_id: str
    order: Order
    repeat: int
    injection: str | None
    """Kind of the planted text; None: the pair as it is."""
    injected: Literal["left", "right"] | None
    first_won: float | None
    """1, 0, .5, or a probability; None: no verdict can be read."""
    reply: str
    usage: Usage


@dataclass(frozen=True)
class _Planned:
    """A showing to be asked, and the pair it is a showing of."""

    pair_id: str
    question: Question
    request: ChatRequest
    injection: str | None = None
    side: Literal["left", "right"] | None = None


def body(config: Config, inputs: Inputs, work: Work) -> Made:
    """Write prompts.jsonl, pairs.jsonl, showings.jsonl, audit.json and audit.html."""
    drawn = _draw(config, read_pairs(inputs.pairs, work.count))
    planned = _planned(config, drawn)
    asked = ask_about(config.critic, [p.request for p in planned], config, work)
    critic = signature(config.critic, evaluator_of(config.critic, config), asked.author)
    shown = _read(config, planned, asked.replies, work)
    plain = [s for s in shown if s.injection is None]
    if not any(s.first_won is not None for s in plain):
        raise CriticError(f"{critic}: not one of {len(plain)} replies could be read; nothing can be measured")
    measured = measure(critic, shown, drawn, config.seed)
    prompts = {known.prompt.id: known.prompt for known in drawn}
    work.write(PROMPTS, prompts.values())
    work.write(PAIRS, [AuditedPair(pair=k.pair, gap=k.gap, gold=k.gold) for k in drawn])
    work.write(SHOWINGS, shown)
    tree, about = measured.tree(), _about(config, drawn)
    planted = {kind: plant("").strip() for kind, plant in INJECTIONS.items()}
    said = sentences(tree)
    write_atomically(
        work.path / DATA, dump_json({"about": about, "in_short": said, "measured": tree}, indent=1) + "\n"
    )
    write_atomically(work.path / PAGE, audit_page(tree, about, _examples(plain, drawn), planted))
    for line in said:
        say(f"  {line}")
    say(f"audit: to read: {work.path / PAGE}")
    work.count("pairs", len(drawn))
    work.count("showings", len(shown))
    return Made(
        usage=Usage.total(s.usage for s in shown),
        bill=asked.bill,
        summary={"critic": critic, "in_short": said},
    )


def plan(config: Config, inputs: Inputs) -> Plan:
    """Return what `body` will ask."""
    drawn = _draw(config, read_pairs(inputs.pairs, count_nothing))
    return Plan(config.critic, [p.request for p in _planned(config, drawn)])


def _draw(config: Config, known: list[KnownPair]) -> list[KnownPair]:
    """Return `num_pairs` of the pairs in a seeded order, so that the first ones are a draw as well."""
    return sorted(known, key=lambda k: digest([config.seed, k.pair.id]))[: config.num_pairs]


def _planned(config: Config, drawn: Sequence[KnownPair]) -> list[_Planned]:
    """Return all showings, first the pairs as they are, then with planted texts.

    Raises:
        ConfigError: the template shows one completion at a time.
    """
    evaluator = evaluator_of(config.critic, config)
    if evaluator.template.is_pointwise:
        raise ConfigError(
            f"template: {evaluator.name} shows one completion at a time, so there is no order to examine; choose one "
            "that compares, such as template=pairwise"
        )
    prompts = {k.prompt.id: k.prompt for k in drawn}
    plain, request = showings(config.critic, config, [k.pair for k in drawn], prompts, "both")
    planned = [_Planned(q.pair.id, q, _asking(request, q, repeat)) for q in plain for repeat in range(config.repeats)]
    for kind, plant in INJECTIONS.items():
        for known in drawn[: config.num_injected]:
            side = _side(config.seed, known.pair)
            held = getattr(known.pair, side)
            changed = known.pair.model_copy(update={side: held.model_copy(update={"text": plant(held.text)})})
            for question in showings(config.critic, config, [changed], prompts, "both")[0]:
                if kind not in ONLY_SECOND or question.order != f"{side}_first":
                    planned.append(_Planned(known.pair.id, question, _asking(request, question, 0), kind, side))
    return planned


def _side(seed: int, pair: Pair) -> Literal["left", "right"]:
    """Which completion gets the planted text: drawn, for to choose the loser would make luck look like effect."""
    return "left" if int(digest(["injected", seed, pair.id], 2), 16) < 128 else "right"


def _asking(request: ChatRequest, question: Question, repeat: int) -> ChatRequest:
    """Return the request; a repeat has a seed of its own, as a server that honours seeds would repeat itself."""
    sampling = request.sampling
    if sampling.seed is not None:
        sampling = sampling.model_copy(update={"seed": sampling.seed + repeat})
    return request.model_copy(update={"messages": question.messages, "sampling": sampling, "sample_index": repeat})


def _read(
    config: Config, planned: Sequence[_Planned], replies: Sequence[ChatReply | ChatFailure], work: Work
) -> list[AuditedShowing]:
    evaluator = evaluator_of(config.critic, config)
    shown = []
    for asked, reply in zip(planned, replies, strict=True):
        if isinstance(reply, ChatFailure):
            work.count("showings without a reply", 1)
            continue
        heard = heard_of(reply)
        read = evaluator.parser(heard)
        won = {"FIRST": 1.0, "SECOND": 0.0, "TIE": 0.5, "INVALID": None}[read.said]
        if evaluator.top_logprobs is None:  # else one token is all that was wanted
            work.count("replies cut or filtered", int(not heard.is_whole))
        work.count("showings with a completion cut to max_completion_chars", int(asked.question.num_cut > 0))
        work.count("unreadable", int(won is None))
        shown.append(
            AuditedShowing(
                pair_id=asked.pair_id,
                prompt_id=asked.question.pair.prompt_id,
                order=asked.question.order,
                repeat=asked.request.sample_index,
                injection=asked.injection,
                injected=asked.side,
                first_won=won if won is None or read.probability is None else read.probability,
                reply=reply.text,
                usage=reply.usage,
            )
        )
    return shown


def measure(critic: str, shown: Sequence[AuditedShowing], known: Sequence[KnownPair], seed: int) -> Audit:
    """Return what `shown` says of the critic."""
    facts = {
        k.pair.id: PairFacts(
            k.pair.id,
            len(k.pair.left.text.split()),
            len(k.pair.right.text.split()),
            k.pair.left.author,
            k.pair.right.author,
            k.gap,
            None if k.gold == "INVALID" else k.gold,
        )
        for k in known
    }
    plain, injected = [], []
    for s in shown:
        observation = Observation(s.pair_id, s.order == "left_first", s.repeat, s.first_won)
        if s.injection is None:
            plain.append(observation)
        else:
            injected.append(Injected(s.injection, s.injected == "left", observation))
    usage = Usage.total(s.usage for s in shown if s.injection is None)
    return audit(critic, plain, facts, injected, usage, seed)


def _about(config: Config, drawn: Sequence[KnownPair]) -> Mapping[str, str]:
    evaluator = evaluator_of(config.critic, config)
    temperature = evaluator.temperature if config.temperature is None else config.temperature
    scored, labelled = (sum(getattr(k, what) is not None for k in drawn) for what in ("gap", "gold"))
    return {
        "template": evaluator.name,
        "temperature": "not sent" if temperature is None else f"{temperature:g}",
        "pairs": f"{len(drawn):,} ({scored:,} with scores, {labelled:,} with gold labels)",
        "each showing asked": f"{config.repeats} x",
        "seed": str(config.seed),
    }


def _examples(plain: Sequence[AuditedShowing], drawn: Sequence[KnownPair]) -> list[dict[str, Any]]:
    """Return unreadable replies and flips in turn, as far as there are any."""
    known = {k.pair.id: k for k in drawn}
    first = {(s.pair_id, s.order): s for s in reversed(plain)}  # the first repeat of each
    bad: dict[str, list[str]] = {"unreadable": [], "flip": []}
    for pair_id in known:
        both = [s for order in ("left_first", "right_first") if (s := first.get((pair_id, order)))]
        won = [s.first_won for s in both]
        if None in won:
            bad["unreadable"].append(pair_id)
        elif len(won) == 2 and _calls_differ(won):
            bad["flip"].append(pair_id)
    half = _NUM_EXAMPLES // 2
    num_flips = max(_NUM_EXAMPLES - len(bad["unreadable"]), half)
    chosen = [("flip", p) for p in bad["flip"][:num_flips]]
    chosen += [("unreadable", p) for p in bad["unreadable"][: _NUM_EXAMPLES - len(chosen)]]
    return [
        {
            "what": what,
            "prompt": known[pair_id].prompt.text,
            "left": known[pair_id].pair.left.text,
            "right": known[pair_id].pair.right.text,
            "said": [
                {"order": order.replace("_", " "), "reply": first[pair_id, order].reply}
                for order in ("left_first", "right_first")
                if (pair_id, order) in first
            ],
        }
        for what, pair_id in chosen
    ]


def _calls_differ(won: Sequence[float | None]) -> bool:
    one, other = (0.5 if share is None else share for share in won)
    return (one > 0.5) - (one < 0.5) != (other < 0.5) - (other > 0.5)


STAGE = Stage("audit", Config, Inputs, body, plan)
run = STAGE.run
