"""How good a judge is, from what it said of pairs in both orders: position, length, consistency, gold, injections.

Pure statistics: nothing is asked here. Every number comes with its standard error, its 95 % interval and the
number of pairs behind it, and "cannot tell" where the data do not hold it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from tutelage.errors import DataError
from tutelage.measure.agreement import Agreement, SelfPreference, agreement, self_preference
from tutelage.measure.estimate import Estimate, balanced_share, cannot_tell, share, wald
from tutelage.measure.injected import Injected, InjectionEffect, injection_effects
from tutelage.measure.length_bias import Length, length_bias
from tutelage.measure.showings import Observation, PairFacts, Swap, check, per_pair, swaps_of
from tutelage.records import Usage

_NO_SWAP = "no pair was asked in both orders with two readable replies"


@dataclass(frozen=True)
class Position:
    """What the place of a completion does. The four numbers count swaps: pairs asked in both orders."""

    first_wins: Estimate
    """How often the completion that is shown first wins, every pair in both orders: 50 % without a bias."""
    flips: Estimate
    """How often the two orders of a pair get different verdicts."""
    bias: Estimate
    """Log-odds added for the completion shown first, at equal quality."""
    num_first_twice: int
    """Flips towards the first slot: whichever completion stood there won."""
    num_second_twice: int
    num_tied_once: int
    """Flips with a tie in one of the orders."""
    num_consistent: int


@dataclass(frozen=True)
class Cost:
    """What the showings took, and what that is for one label that both orders agree on (no tie)."""

    usage: Usage
    num_labels: int
    tokens_per_label: float | None
    dollars_per_label: float | None
    """None: no such label, or a price is unknown."""


@dataclass(frozen=True)
class Audit:
    """Everything that was measured about one judge."""

    judge: str
    num_pairs: int
    num_showings: int
    unreadable: Estimate
    """Share of replies that hold no verdict."""
    position: Position
    length: Length
    self_consistency: Estimate
    """How often two replies to the very same question say the same."""
    agreement: Agreement
    self_preference: SelfPreference
    injections: tuple[InjectionEffect, ...]
    cost: Cost

    def tree(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self) | {"cost": asdict(self.cost) | {"usage": self.cost.usage.model_dump(mode="json")}}


def audit(
    judge: str,
    observations: Sequence[Observation],
    facts: Mapping[str, PairFacts],
    injected: Sequence[Injected] = (),
    usage: Usage | None = None,
    seed: int = 0,
) -> Audit:
    """Measure a judge.

    Args:
        judge: its name, which also says its family.
        observations: replies about pairs as they are; both orders, any number of repeats.
        facts: of every pair, by id.
        injected: replies about pairs with a planted text.
        usage: what `observations` took.
        seed: of the bootstrap.

    Raises:
        DataError: there is no observation, or one that cannot be.
    """
    check(observations, facts)
    if not observations:
        raise DataError("audit: there is no reply to measure")
    swaps = swaps_of(observations)
    unread = per_pair([(o.pair_id, float(o.first_won is None)) for o in observations])
    return Audit(
        judge=judge,
        num_pairs=len({o.pair_id for o in observations}),
        num_showings=len(observations),
        unreadable=share(unread, "nothing was asked"),
        position=position(swaps),
        length=length_bias(observations, swaps, facts),
        self_consistency=self_consistency(observations),
        agreement=agreement(swaps, facts, seed),
        self_preference=self_preference(judge, swaps, facts),
        injections=injection_effects(observations, injected),
        cost=cost(swaps, usage or Usage()),
    )


def position(swaps: Sequence[Swap]) -> Position:
    """Return what being shown first does."""
    decided = [(s, s.calls) for s in swaps]
    first = [s for s, calls in decided if calls == ("LEFT", "RIGHT")]
    second = [s for s, calls in decided if calls == ("RIGHT", "LEFT")]
    differ = [(s.pair_id, float(one != other)) for s, (one, other) in decided]
    num_flips = sum(value for _, value in differ)
    return Position(
        first_wins=balanced_share(per_pair([(s.pair_id, s.first_won) for s in swaps]), _NO_SWAP),
        flips=share(per_pair(differ), _NO_SWAP),
        bias=position_bias(swaps),
        num_first_twice=len(first),
        num_second_twice=len(second),
        num_tied_once=int(num_flips) - len(first) - len(second),
        num_consistent=len(swaps) - int(num_flips),
    )


def position_bias(swaps: Sequence[Swap]) -> Estimate:
    """Return the log-odds b that the slot shown first adds, freed exactly of how good the completions are.

    Let a judge prefer the first of two completions with P(first) = sigma(theta + b) when left is shown first
    and sigma(-theta + b) when right is: theta is whatever speaks for the left one (quality, length, style), b
    the slot. With sigma(x) / sigma(-x) = exp(x),

        P(first, first) / P(second, second) = exp(theta + b) exp(-theta + b) = exp(2b)

    in every pair, whatever its theta. So given that a pair flipped, it did so towards the first slot with
    probability sigma(2b): a binomial in which theta does not occur (Rasch's conditional likelihood). Its
    maximum is b = 1/2 log(n_FF / n_SS), and from Var(log n_FF/n_SS) = 1/n_FF + 1/n_SS,

        SE(b) = 1/2 sqrt(1/n_FF + 1/n_SS).

    Ties drop out: if a tie takes nu : exp(x/2) : exp(-x/2) (Davidson 1970), the ratio above is the same. A
    judge that gives probabilities counts with p_1 p_2 for FF and (1 - p_1)(1 - p_2) for SS, whose ratio is
    exp(2b) as well. The standard error is summed over pairs, 1/4 sum (FF_i/n_FF - SS_i/n_SS)^2: without
    repeats and with plain verdicts that is the formula above; with repeats, what they share is allowed for.

    If no pair (or only one sort) flipped, there is no estimate. With one sort, the other having gone without
    in m pairs, one end of the 95 % interval is known: sigma(2b) >= .05^(1/m), or the mirror image.
    """
    counts: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for swap in swaps:
        one, other = swap.left_first, swap.right_first
        if 0.5 not in (one, other):
            counts[swap.pair_id][0] += one * other
            counts[swap.pair_id][1] += (1 - one) * (1 - other)
    flipped = [(f, s) for f, s in counts.values() if f or s]
    num_first, num_second = math.fsum(f for f, _ in flipped), math.fsum(s for _, s in flipped)
    if not flipped:
        why = "no pair chose the same slot in both orders" if swaps else _NO_SWAP
        return cannot_tell(why, "log-odds", len(counts))
    if not num_first or not num_second:
        least = 0.05 ** (1 / len(flipped))
        bound = 0.5 * math.log(least / (1 - least))
        slot, low, high = ("first", bound, None) if num_first else ("second", None, -bound)
        note = f"all flips chose the {slot} slot: one bound only"
        return Estimate(None, None, low, high, len(flipped), "log-odds", note)
    error = 0.5 * math.sqrt(math.fsum((f / num_first - s / num_second) ** 2 for f, s in flipped))
    return wald(0.5 * math.log(num_first / num_second), error, len(flipped), "log-odds")


def self_consistency(observations: Sequence[Observation]) -> Estimate:
    """Return how often two replies to the same question (pair and order) agree, over all repeats."""
    replies: defaultdict[tuple[str, bool], list[float]] = defaultdict(list)
    for o in observations:
        if o.first_won is not None:
            replies[o.pair_id, o.first_is_left].append(o.first_won)
    agree = []
    for (pair_id, _), said in replies.items():
        calls = [(value > 0.5) - (value < 0.5) for value in said]
        two = [one == other for one, other in combinations(calls, 2)]
        if two:
            agree.append((pair_id, sum(two) / len(two)))
    return share(per_pair(agree), "no question was asked twice; give repeats=2 or more")


def cost(swaps: Sequence[Swap], usage: Usage) -> Cost:
    """Return what one label costs that both orders agree on."""
    num = sum(s.label != "TIE" for s in swaps)
    return Cost(
        usage=usage,
        num_labels=num,
        tokens_per_label=usage.tokens / num if num else None,
        dollars_per_label=usage.dollars / num if num and usage.dollars is not None else None,
    )
