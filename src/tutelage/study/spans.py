"""A measured mean or share -> a value with its interval, as findings hold it."""

from __future__ import annotations

from tutelage.findings import Span
from tutelage.measure.estimate import Estimate
from tutelage.measure.runs import Mean


def of_mean(mean: Mean, note: str = "") -> Span:
    """Return a win rate, or a difference of two; `num` is its prompts."""
    return Span(value=mean.value, low=mean.low, high=mean.high, num=mean.num_prompts, note=note)


def of_estimate(found: Estimate) -> Span:
    """Return what was counted on prompts or pairs."""
    return Span(value=found.value, low=found.low, high=found.high, num=found.num, note=found.note)
