"""Two arms made equal in prompts, dollars or training tokens, on the scaling curve of the one that is SFT alone.

An arm of SFT alone is a point on the curve of its teacher: the same on other fractions of the prompts. Put where it
costs as much as the arm it is compared with, its win rate lies between two points that were measured; in between, a
score is taken to be a straight line in the logarithm of the cost, prompt by prompt, so that the interval is that of
any other comparison. Beyond the ends nothing is said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tutelage.findings import Cost, Matched, Rule, Span
from tutelage.measure.runs import Scores, combine, mean_of
from tutelage.study.spans import of_mean

RULES: tuple[Rule, ...] = ("prompts", "dollars", "tokens")
_EQUAL = 0.05
"""Costs that differ by less than a twentieth are equal: no curve is needed."""


@dataclass(frozen=True)
class Point:
    """An arm of SFT alone: its fraction of the prompts, what it cost, what it scored."""

    arm: str
    fraction: float
    cost: Cost
    scores: Scores


def matched(
    rule: Rule,
    first: str,
    second: str,
    curve: Sequence[Point],
    costs: Mapping[str, Cost],
    scores: Mapping[str, Scores],
) -> Matched:
    """Compare two arms, one of which lies on `curve` and is moved along it until both cost the same.

    Args:
        curve: of the arm that is moved, every fraction; one of `first` and `second` is on it.
    """
    moved = first if any(point.arm == first for point in curve) else second
    fixed = second if moved == first else first
    at = {name: costs[name].of(rule) for name in (first, second)}
    target = at[fixed]

    def found(fraction: float | None, difference: Span) -> Matched:
        return Matched(
            rule=rule, first_at=at[first], second_at=at[second], fraction=fraction, difference=difference, says=""
        )

    known = [(cost, point) for point in curve if (cost := point.cost.of(rule)) is not None]
    if target is None or len(known) < len(curve):
        return found(None, Span(value=None, note=f"{rule} unknown"))
    if target <= 0 or min(cost for cost, _ in known) <= 0:
        return found(None, Span(value=None, note=f"no {rule} were spent"))
    known.sort(key=lambda each: each[0])
    fraction, mixture, note = _place(target, known)
    if not mixture:
        return found(fraction, Span(value=None, note=note))
    sign = 1.0 if fixed == first else -1.0
    parts = [(sign, scores[fixed]), *((-sign * weight, point.scores) for weight, point in mixture)]
    return found(fraction, of_mean(mean_of(combine(parts)), note))


def _place(target: float, known: Sequence[tuple[float, Point]]) -> tuple[float, list[tuple[float, Point]], str]:
    """Return the fraction that costs `target`, the points it lies between with their weights, and a note."""
    for cost, point in known:
        if abs(math.log(target / cost)) < _EQUAL:
            return point.fraction, [(1.0, point)], f"as measured: {point.arm} cost the same"
    (lowest, first), (highest, last) = known[0], known[-1]
    if target < lowest:
        fraction = first.fraction * target / lowest
        return fraction, [], f"below {first.arm}, the smallest that was measured"
    if target > highest:
        fraction = last.fraction * target / highest
        times = f"{fraction:.1f}" if fraction < 10 else f"{fraction:,.0f}"
        beyond = f"SFT alone would take {times} times the prompts there are"
        return fraction, [], beyond if fraction > 1 else f"above {last.arm}, the largest that was measured"
    upper = next(place for place, (cost, _) in enumerate(known) if cost > target)
    (below, one), (above, other) = known[upper - 1], known[upper]
    weight = math.log(target / below) / math.log(above / below)
    fraction = math.exp((1 - weight) * math.log(one.fraction) + weight * math.log(other.fraction))
    return fraction, [(1 - weight, one), (weight, other)], f"between {one.arm} and {other.arm}"
