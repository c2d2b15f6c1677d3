"""Pairs -> what a critic is asked -> verdicts. Pure: who answers, and how it is reached, is not known here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tutelage.critic.evaluator import Evaluator, OrderRule
from tutelage.critic.parse import Heard, Read, combine, to_outcome
from tutelage.data.alpaca_eval import is_switched
from tutelage.errors import DataError
from tutelage.records import Message, Order, Outcome, Pair, Prompt, Usage, Verdict


@dataclass(frozen=True)
class Question:
    """One showing of one pair: the order of the two completions (or which one is alone), and the messages."""

    pair: Pair
    order: Order
    messages: tuple[Message, ...]
    num_cut: int = 0
    """How many of the completions shown were cut to `max_chars`."""


def orders_of(instruction: str, rule: OrderRule, seed: int) -> tuple[Order, ...]:
    """Return the orders to ask.

    both: each. fixed: the right one (in an evaluation, the baseline) first. random: one order for each instruction,
    drawn as alpaca_eval draws it for the same seed, with the right completion as its `output_1`.
    """
    if rule == "both":
        return ("left_first", "right_first")
    if rule == "fixed":
        return ("right_first",)
    return ("left_first",) if is_switched(instruction, seed) else ("right_first",)


def shown_text(text: str, max_chars: int | None) -> str:
    """Return what a critic sees of a completion; one that is cut says so and by how much."""
    if max_chars is None or len(text) <= max_chars:
        return text
    return f"{text[:max_chars]}\n[{len(text) - max_chars} more characters are not shown]"


def questions(
    pairs: Sequence[Pair],
    prompts: Mapping[str, Prompt],
    evaluator: Evaluator,
    rule: OrderRule,
    seed: int,
    max_chars: int | None = None,
) -> list[Question]:
    """Return what has to be asked about `pairs`, all questions about a pair next to each other.

    Raises:
        DataError: the prompt of a pair is not among `prompts`.
    """
    asked = []
    for pair in pairs:
        if pair.prompt_id not in prompts:
            raise DataError(f"completion {pair.left.id} answers the prompt {pair.prompt_id}, which is not there")
        instruction = prompts[pair.prompt_id].text
        left, right = shown_text(pair.left.text, max_chars), shown_text(pair.right.text, max_chars)
        cut = (left != pair.left.text, right != pair.right.text)
        if evaluator.template.is_pointwise:
            alone: tuple[tuple[Order, str, bool], ...] = (
                ("left_alone", left, cut[0]),
                ("right_alone", right, cut[1]),
            )
            for order, text, is_cut in alone:
                asked.append(Question(pair, order, evaluator.template.fill(instruction, text), int(is_cut)))
            continue
        for order in orders_of(instruction, rule, seed):
            first, second = (left, right) if order == "left_first" else (right, left)
            asked.append(Question(pair, order, evaluator.template.fill(instruction, first, second), sum(cut)))
    return asked


@dataclass(frozen=True)
class Opinion:
    """What the replies about one pair say, one by one: outcomes, and the probability that the left one is better."""

    outcomes: tuple[Outcome, ...]
    probability: float | None


def opinion_of(asked: Sequence[Question], heard: Sequence[Heard], evaluator: Evaluator) -> Opinion:
    """Read the replies to all questions about one pair."""
    reads = [evaluator.parser(reply) for reply in heard]
    if evaluator.template.is_pointwise:
        return Opinion((_by_score(*reads),), None)
    outcomes = tuple(to_outcome(read.said, q.order) for read, q in zip(reads, asked, strict=True))
    odds = [
        read.probability if q.order == "left_first" else 1 - read.probability
        for read, q in zip(reads, asked, strict=True)
        if read.probability is not None
    ]
    return Opinion(outcomes, sum(odds) / len(odds) if len(odds) == len(asked) else None)


def _by_score(left: Read, right: Read) -> Outcome:
    if left.score is None or right.score is None:
        return "INVALID"
    return "LEFT" if left.score > right.score else "RIGHT" if right.score > left.score else "TIE"


def verdict_of(
    asked: Sequence[Question], heard: Sequence[Heard], opinion: Opinion, critic: str, flip: Outcome = "TIE"
) -> Verdict:
    """Combine what was said about one pair into its verdict; see `parse.combine` for the rule."""
    outcome = combine(opinion.outcomes, flip)
    return Verdict(
        pair=asked[0].pair,
        orders=tuple(q.order for q in asked),
        outcome=outcome,
        critic=critic,
        replies=tuple(reply.text for reply in heard),
        probability=None if outcome == "INVALID" else opinion.probability,
        usage=Usage.total(reply.usage for reply in heard),
    )
