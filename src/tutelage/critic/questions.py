"""Pairs -> what a critic is asked -> verdicts. Pure: who answers, and how it is reached, is not known here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tutelage.critic.parse import combine, parse_verdict, to_outcome
from tutelage.critic.template import Template
from tutelage.errors import DataError
from tutelage.records import Message, Order, Pair, Prompt, Usage, Verdict, digest

OrderRule = Literal["both", "random"]


@dataclass(frozen=True)
class Question:
    """One showing of one pair: the order of the two completions, and the messages."""

    pair: Pair
    order: Order
    messages: tuple[Message, ...]


def orders_of(pair: Pair, rule: OrderRule, seed: int) -> tuple[Order, ...]:
    """Return the orders to ask: both, or one drawn from a hash of the texts and `seed`.

    Of the texts and not of the ids: how an author signs must not decide what the critic is shown first.
    """
    if rule == "both":
        return ("left_first", "right_first")
    drawn = digest([seed, pair.prompt_id, pair.left.text, pair.right.text], 2)
    return ("left_first",) if int(drawn, 16) < 128 else ("right_first",)


def questions(
    pairs: Sequence[Pair], prompts: Mapping[str, Prompt], template: Template, rule: OrderRule, seed: int
) -> list[Question]:
    """Return what has to be asked about `pairs`, all orders of a pair next to each other.

    Raises:
        DataError: the prompt of a pair is not among `prompts`.
    """
    asked = []
    for pair in pairs:
        if pair.prompt_id not in prompts:
            raise DataError(f"completion {pair.left.id} answers the prompt {pair.prompt_id}, which is not there")
        for order in orders_of(pair, rule, seed):
            first, second = (pair.left, pair.right) if order == "left_first" else (pair.right, pair.left)
            messages = template.fill(prompts[pair.prompt_id].text, first.text, second.text)
            asked.append(Question(pair, order, messages))
    return asked


@dataclass(frozen=True)
class Heard:
    """A critic's reply to one question. One that is not whole was cut off, and its last word is no verdict."""

    text: str
    is_whole: bool = True
    usage: Usage = field(default_factory=Usage)


def verdict_of(asked: Sequence[Question], replies: Sequence[Heard], critic: str) -> Verdict:
    """Combine the replies to all questions about one pair into its verdict; one that was cut is INVALID."""
    said = [
        to_outcome(parse_verdict(reply.text) if reply.is_whole else "INVALID", question.order)
        for question, reply in zip(asked, replies, strict=True)
    ]
    return Verdict(
        pair=asked[0].pair,
        orders=tuple(q.order for q in asked),
        outcome=combine(tuple(said)),
        critic=critic,
        replies=tuple(reply.text for reply in replies),
        usage=Usage.total(reply.usage for reply in replies),
    )
