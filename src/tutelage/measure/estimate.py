"""A number with what is known of it: its standard error, its 95 % interval, and how many pairs it rests on.

The unit of sampling is the pair. What is said of one pair several times (in two orders, in repeats) is one
value, the mean, so that asking more often never makes an interval narrower than the pairs allow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


@dataclass(frozen=True)
class Estimate:
    """A value in `unit`; None where the data cannot tell, and then `note` says why.

    `low` and `high` are the ends of the 95 % interval. An end that is None is open: the data set no bound
    on that side. `num` is the number of pairs.
    """

    value: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    num: int
    unit: str
    note: str = ""

    def times(self, factor: float, unit: str) -> Estimate:
        """Return the same in another unit; `factor` must be above 0."""
        value, error, low, high = (
            None if x is None else factor * x for x in (self.value, self.standard_error, self.low, self.high)
        )
        return Estimate(value, error, low, high, self.num, unit, self.note)


def cannot_tell(why: str, unit: str, num: int = 0) -> Estimate:
    """Return the estimate that is none."""
    return Estimate(None, None, None, None, num, unit, f"cannot tell: {why}")


def wald(value: float, error: float, num: int, unit: str) -> Estimate:
    """Return `value` with the interval of 1.96 standard errors to either side."""
    return Estimate(value, error, value - Z * error, value + Z * error, num, unit)


def wilson(share: float, num: float) -> tuple[float, float]:
    """Return the 95 % score interval of a share seen in `num` independent trials (Wilson 1927).

    `num` need not be whole: with clusters it is the number of independent trials that would have the same
    variance (Korn and Graubard 1998).
    """
    middle = (share + Z * Z / (2 * num)) / (1 + Z * Z / num)
    half = Z / (1 + Z * Z / num) * math.sqrt(share * (1 - share) / num + Z * Z / (4 * num * num))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def share(values: Sequence[float], why_none: str, unit: str = "%") -> Estimate:
    """Return the mean of one value in [0, 1] per pair, in percent, with Wilson's interval."""
    if not values:
        return cannot_tell(why_none, unit)
    n, mean, variance = len(values), *_moments(values)
    trials = n * mean * (1 - mean) / variance if variance > 0 else n
    low, high = wilson(mean, trials)
    error = math.sqrt(variance / (n - 1)) if n > 1 else None
    return Estimate(mean, error, low, high, n, "").times(100, unit)


def balanced_share(values: Sequence[float], why_none: str) -> Estimate:
    """Return the mean of values in [0, 1], in percent, where each is itself a mean over both orders.

    Most pairs then have exactly one half, so the interval must not be Wilson's; see `_smoothed`.
    """
    return _smoothed(values, 0.0, 1.0, why_none, "%")


def balanced_difference(values: Sequence[float], why_none: str) -> Estimate:
    """Return the mean of differences in [-1, 1], one per pair, in percentage points; see `_smoothed`."""
    return _smoothed(values, -1.0, 1.0, why_none, "percentage points")


def _smoothed(values: Sequence[float], lowest: float, highest: float, why_none: str, unit: str) -> Estimate:
    """Return the mean with the interval of Agresti and Min (2005) for matched pairs, times 100.

    It is 1.96 standard errors about the mean of the values and two made-up pairs (half a pair at each end,
    one in the middle). Without these, ten pairs that all agree would claim to know the rate exactly.
    """
    if not values:
        return cannot_tell(why_none, unit)
    n = len(values)
    mean, variance = _moments(values)
    middle = (lowest + highest) / 2
    total = n + 2.0
    centre = (n * mean + 2 * middle) / total
    squares = math.fsum((v - centre) ** 2 for v in values)
    squares += ((lowest - centre) ** 2 + (highest - centre) ** 2) / 2 + (middle - centre) ** 2
    half = Z * math.sqrt(squares) / total
    error = math.sqrt(variance / (n - 1)) if n > 1 else None
    low, high = max(centre - half, lowest), min(centre + half, highest)
    return Estimate(mean, error, low, high, n, "").times(100, unit)


def _moments(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean, and the variance with n in the denominator."""
    mean = math.fsum(values) / len(values)
    return mean, math.fsum((v - mean) ** 2 for v in values) / len(values)
