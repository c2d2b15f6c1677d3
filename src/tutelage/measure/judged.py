"""How a judge or critic behaved, from verdicts that there are anyway: nobody is asked anything for it.

`tutelage audit` asks on purpose, and can tell more. Here each pair was shown once or in both orders, without repeats.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from tutelage.measure.audit import position
from tutelage.measure.estimate import Estimate, balanced_share, cannot_tell, share
from tutelage.measure.showings import Observation, Swap, per_pair, swaps_of
from tutelage.records import Outcome, Verdict

Reader = Callable[[str], float | None]
"""A reply -> 1 if it is for the completion shown first, 0 for the second, .5 for a tie; None if it cannot be read."""
_SIDE_BY_SIDE = {"left_first", "right_first"}
_LEFT = {"LEFT": 1.0, "RIGHT": 0.0, "TIE": 0.5}
_MIRROR: dict[Outcome, Outcome] = {"LEFT": "RIGHT", "RIGHT": "LEFT", "TIE": "TIE", "INVALID": "INVALID"}
_ONE_ORDER = "no pair was shown in both orders with two readable replies"


@dataclass(frozen=True)
class Behaviour:
    """What is known of one judge, in percent; every prompt counts once, however many pairs it has."""

    first_wins: Estimate
    """How often the completion shown first wins: 50 % without a bias."""
    flips: Estimate
    """How often the two orders of a pair get different verdicts."""
    longer_wins: Estimate
    """How often the longer completion, in words, wins; it may be the better one."""
    unreadable: Estimate
    """Replies that hold no verdict."""
    label_noise: LabelNoise


@dataclass(frozen=True)
class LabelNoise:
    """How often a label is wrong, in percent, told from how often the two orders of a pair contradict each other.

    Let a showing err with chance e, independently of the other one: f = 2 e (1 - e) of the pairs flip, and of those
    that do not, e^2 / (e^2 + (1 - e)^2) are wrong in both orders. A taste for the slot shown first makes more flips
    at the same e, so that what is said here is then too high. Two things make it too low: errors that both showings
    share (a taste for length, or for one's own style) are not seen at all; and where a few hard pairs are a coin toss
    and the rest is sure, the pairs that agree hide more errors than e says: as much as f / 2 / (1 - f), if no pair
    is worse than a coin toss.
    """

    decided: Estimate
    """Of labels that both orders agree on. Its interval goes from the low end of f to the high end of f."""
    at_most: float | None
    """The last bound above, at the f that was seen."""


def behaviour(verdicts: Iterable[Verdict], read: Reader) -> Behaviour:
    """Return how the judge of `verdicts` behaved.

    The unit is the prompt: what is said of several pairs of one prompt (of several arms, or runs) is one value, the
    mean. A pair that comes again, in another artifact, counts once. Left out are completions that were shown alone,
    and the same text twice, about which nobody was asked.

    Where pairs were shown once, in an order drawn at random, the share of the first slot is that of single showings;
    if one completion always stood there, its quality and its slot cannot be told apart.
    """
    asked = [verdict for verdict in verdicts if verdict.pair.left.text != verdict.pair.right.text]
    asked = list({v.pair.id: v for v in reversed(asked) if set(v.orders) <= _SIDE_BY_SIDE}.values())
    shown = [_observed(verdict, read, place) for place, verdict in enumerate(asked)]
    observations = [observation for both in shown for observation in both or ()]
    swaps = swaps_of(observations)
    unread = share(per_pair([(o.pair_id, float(o.first_won is None)) for o in observations]), "no reply is known")
    num_hidden = shown.count(None)
    if num_hidden:  # flips may be among them, so that the rest would look steadier than it is
        why = f"of {num_hidden} ties in two orders, the replies do not say what each was for"
        none = cannot_tell(why, "%", len(swaps))
        return Behaviour(none, none, _longer_wins(asked), unread, LabelNoise(none, None))
    found = position(swaps)
    first_wins = found.first_wins if swaps else _first_of_single(observations)
    return Behaviour(first_wins, found.flips, _longer_wins(asked), unread, label_noise(swaps))


def _observed(verdict: Verdict, read: Reader, place: int) -> list[Observation] | None:
    """Return the showings; None if there was a verdict, but not what each of the two replies said.

    A verdict that one showing gave, or two that agree, is what each of them says. `place` keeps the pairs of a prompt
    apart.
    """
    shares: list[float | None]
    first = [order == "left_first" for order in verdict.orders]
    if verdict.outcome in ("LEFT", "RIGHT") or (len(first) == 1 and verdict.outcome == "TIE"):
        left = _left_of(verdict)
        shares = [left if is_left else 1 - left for is_left in first]
    else:
        shares = [read(reply) for reply in verdict.replies]
        if verdict.outcome == "TIE" and None in shares:
            return None
    return [Observation(verdict.prompt_id, is_left, place, said) for is_left, said in zip(first, shares, strict=True)]


def _left_of(verdict: Verdict) -> float:
    """Return the share of the left completion: of one showing the probability if there is one, else the verdict."""
    if len(verdict.orders) == 1 and verdict.probability is not None:
        return verdict.probability
    return _LEFT[verdict.outcome]


def _first_of_single(observations: Sequence[Observation]) -> Estimate:
    known = [(o, o.first_won) for o in observations if o.first_won is not None]
    left_first = sum(o.first_is_left for o, _ in known) / max(len(known), 1)
    if known and not 0.25 <= left_first <= 0.75:
        return cannot_tell("the order was not drawn at random, nor were both asked", "%", len(known))
    single = share(per_pair([(o.pair_id, won) for o, won in known]), _ONE_ORDER)
    return replace(single, note="each pair was shown once, in an order drawn at random") if known else single


def _longer_wins(asked: Sequence[Verdict]) -> Estimate:
    won: list[tuple[str, float]] = []
    for verdict in asked:
        left, right = (len(completion.text.split()) for completion in (verdict.pair.left, verdict.pair.right))
        if left != right and verdict.outcome != "INVALID":
            won.append((verdict.prompt_id, _left_of(verdict) if left > right else 1 - _left_of(verdict)))
    why = "no readable pair differs in length"
    is_balanced = any(len(verdict.orders) > 1 for verdict in asked)
    return balanced_share(per_pair(won), why) if is_balanced else share(per_pair(won), why)


def label_noise(swaps: Sequence[Swap]) -> LabelNoise:
    """Return how often labels are wrong, from pairs in both orders, with a winner in each; see `LabelNoise`."""
    decided = [(swap.pair_id, swap.calls) for swap in swaps if "TIE" not in swap.calls]
    flips = share(per_pair([(name, float(one != other)) for name, (one, other) in decided]), _ONE_ORDER)
    if flips.value is None or flips.low is None or flips.high is None:
        return LabelNoise(flips, None)
    if flips.value > 50:
        none = cannot_tell("the orders contradict each other more often than coin tosses would", "%", flips.num)
        return LabelNoise(none, None)
    error = flips.value / 100
    at_most = 50 * error / (1 - error)
    note = (
        "if showings err independently and the slot counts for nothing; errors that both orders share are not seen; "
        f"up to {at_most:.1f} % if all flips come from pairs that are a coin toss"
    )
    errors = [_error(end / 100) for end in (flips.value, flips.low, flips.high)]
    value, low, high = (100 * (e**2 / (e**2 + (1 - e) ** 2)) for e in errors)
    return LabelNoise(Estimate(value, None, low, high, flips.num, "%", note), at_most)


def _error(flips: float) -> float:
    """Return the smaller e with 2 e (1 - e) = flips."""
    return (1 - math.sqrt(max(0.0, 1 - 2 * flips))) / 2


def agreed(one: Sequence[Verdict], other: Sequence[Verdict]) -> Estimate:
    """Return on how many percent of the pairs that both of two critics decide they agree, whichever was left.

    Pairs of one prompt are one value, their mean.
    """
    said: dict[tuple[str, str], Outcome] = {}
    for verdict in other:
        left, right = verdict.pair.left.id, verdict.pair.right.id
        said[left, right], said[right, left] = verdict.outcome, _MIRROR[verdict.outcome]
    unique = {verdict.pair.id: verdict for verdict in one}
    both = [
        (verdict.prompt_id, verdict.outcome, said[key])
        for verdict in unique.values()
        if (key := (verdict.pair.left.id, verdict.pair.right.id)) in said
        and "INVALID" not in (verdict.outcome, said[key])
    ]
    decided: defaultdict[str, list[float]] = defaultdict(list)
    for prompt_id, first, second in both:
        if "TIE" not in (first, second):
            decided[prompt_id].append(float(first == second))
    why = "no pair was decided by both" if both else "no pair was judged by both"
    means = [sum(values) / len(values) for values in decided.values()]
    return share(means, why)
