"""Is one policy better than another on the same prompts, and is the difference more than luck?

The unit is the prompt: the two scores on one prompt are subtracted, so that what makes a prompt hard for both drops
out. What is said holds for other prompts of the same kind, and for these trained models; it says nothing of how far
another training run would fall from them. numpy is imported when numbers are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from tutelage.errors import DataError
from tutelage.measure.win_rate import mean_and_error

NUM_DRAWS = 10_000
ALPHA = 0.05
_EXACT = 14
"""Up to so many differences that are not zero, all sign patterns are counted: 16,384 of them."""
_CELLS = 1 << 22
"""How many random numbers are in memory at once."""
_SAME = 1e-12


@dataclass(frozen=True)
class Comparison:
    """`first` minus `second`, in percentage points over the prompts both have."""

    first: str
    second: str
    num_prompts: int
    num_only_first: int
    num_only_second: int
    difference: float
    standard_error: float | None
    """None for a single prompt."""
    interval: tuple[float, float]
    """95 %, bootstrap over prompts."""
    p_value: float
    """Of the sign-flip test: how often luck alone would give a difference at least as large."""
    adjusted_p_value: float
    """After Holm (1979), over all comparisons made at once; as `p_value` if there is only one."""
    num_comparisons: int
    """How many were made at once."""
    correlation: float | None
    """Between the two policies' scores; None if one of them does not vary."""


def permutation_test(differences: Sequence[float], num_draws: int = NUM_DRAWS, seed: int = 0) -> float:
    """Return the two-sided p value of "the mean is 0": how often random signs give as large a sum (Fisher 1935).

    Exact for up to 14 differences that are not zero; else (1 + hits) / (1 + draws), never 0 (Phipson and Smyth 2010).

    Args:
        differences: one for each prompt, in any unit.
    """
    import numpy as np

    values = np.array([d for d in differences if abs(d) > _SAME])
    if not len(values):
        return 1.0
    observed = abs(float(values.sum())) - _SAME * len(values)
    if len(values) <= _EXACT:
        patterns = np.arange(1 << len(values))[:, None] >> np.arange(len(values)) & 1
        return float(np.mean(np.abs((2 * patterns - 1) @ values) >= observed))
    generator = np.random.default_rng(seed)
    hits = 0
    for num in _chunks(num_draws, len(values)):
        signs = generator.integers(0, 2, size=(num, len(values)), dtype=np.int8) * 2.0 - 1.0
        hits += int((np.abs(signs @ values) >= observed).sum())
    return (1 + hits) / (1 + num_draws)


def bootstrap_interval(
    values: Sequence[float], level: float = 0.95, num_draws: int = NUM_DRAWS, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile interval of the mean over redrawn prompts (Efron 1979), in the unit of `values`."""
    import numpy as np

    if len(values) < 2:
        return -math.inf, math.inf
    low, high = np.quantile(redrawn_means(values, num_draws, seed), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def redrawn_means(values: Sequence[float], num_draws: int = NUM_DRAWS, seed: int = 0) -> Any:
    """Return the means of `num_draws` sets of prompts, each as large as the first, drawn from it with replacement."""
    import numpy as np

    array = np.asarray(values, dtype=float)
    generator = np.random.default_rng(seed)
    return np.concatenate(
        [
            array[generator.integers(0, len(array), (num, len(array)))].mean(1)
            for num in _chunks(num_draws, len(array))
        ]
    )


def _chunks(num_draws: int, width: int) -> Iterator[int]:
    size = max(1, _CELLS // width)
    for start in range(0, num_draws, size):
        yield min(size, num_draws - start)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values adjusted by Holm's step-down rule (1979), in the order given."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def compare(scores: Mapping[str, Mapping[str, float]], against: str | None = None, seed: int = 0) -> list[Comparison]:
    """Compare policies pair by pair, or each with `against`.

    Args:
        scores: by policy and prompt, from 0 (a loss against the common baseline) to 1 (a win).

    Raises:
        DataError: `against` is none of the policies, or two policies have no prompt in common.
    """
    if against is not None and against not in scores:
        raise DataError(f"against: found {against!r}; expected one of {', '.join(scores)}")
    names = list(scores)
    both = list(combinations(names, 2)) if against is None else [(n, against) for n in names if n != against]
    found = [_one(first, scores[first], second, scores[second], seed) for first, second in both]
    adjusted = holm([c.p_value for c in found])
    return [replace(c, adjusted_p_value=p, num_comparisons=len(found)) for c, p in zip(found, adjusted, strict=True)]


def _one(first: str, one: Mapping[str, float], second: str, two: Mapping[str, float], seed: int) -> Comparison:
    common = sorted(one.keys() & two.keys())
    if not common:
        raise DataError(f"{first} and {second} have no prompt in common ({len(one)} and {len(two)} prompts)")
    differences = [one[p] - two[p] for p in common]
    mean, error = mean_and_error(differences)
    low, high = bootstrap_interval(differences, seed=seed)
    p_value = permutation_test(differences, seed=seed)
    return Comparison(
        first=first,
        second=second,
        num_prompts=len(common),
        num_only_first=len(one) - len(common),
        num_only_second=len(two) - len(common),
        difference=100 * mean,
        standard_error=None if math.isnan(error) else 100 * error,
        interval=(100 * low, 100 * high),
        p_value=p_value,
        adjusted_p_value=p_value,
        num_comparisons=1,
        correlation=_correlation([one[p] for p in common], [two[p] for p in common]),
    )


def _correlation(one: list[float], two: list[float]) -> float | None:
    import numpy as np

    if len(one) < 3 or np.ptp(one) < _SAME or np.ptp(two) < _SAME:
        return None
    return float(np.corrcoef(one, two)[0, 1])


# ---- in words ---------------------------------------------------------------------------------------


def in_words(found: Comparison) -> str:
    """Say what a comparison shows, or that it shows nothing and what would."""
    one, two, num = found.first, found.second, found.num_prompts
    if found.standard_error is None:
        return f"Cannot tell {one} from {two}: a single prompt is in both, and one prompt says nothing of others."
    p_value = _p(found.p_value, found.adjusted_p_value)
    told = found.adjusted_p_value < ALPHA
    word = "better" if found.difference > 0 else "worse"
    if found.standard_error < 100 * _SAME:  # all differences are one number: the bootstrap has nothing to redraw
        each = f"on each of {num} prompts"
        if abs(found.difference) < 100 * _SAME:
            return f"No difference between {one} and {two}: the two were judged alike on every prompt, {num} of them."
        if told:
            return f"{one} is {word} than {two} by {abs(found.difference):.1f} points {each} ({p_value})."
        few = f"and so few cannot show it ({p_value})."
        return f"Cannot tell {one} from {two}: the difference is {found.difference:+.1f} points {each}, {few}"
    numbers = f"95 % interval {found.interval[0]:+.1f} to {found.interval[1]:+.1f}, {p_value}, {num} prompts in both"
    if told:
        return f"{one} is {word} than {two} by {abs(found.difference):.1f} points ({numbers})."
    return (
        f"Cannot tell {one} from {two}: the difference is {found.difference:+.1f} points ({numbers}){_more(found)}."
    )


def _p(p_value: float, adjusted: float) -> str:
    shown = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
    return (
        shown
        if adjusted == p_value
        else f"{shown}, after Holm {'< 0.001' if adjusted < 0.001 else f'{adjusted:.3f}'}"
    )


def _more(found: Comparison) -> str:
    """Say how many prompts find such a difference 8 times in 10, at the level that the first of Holm's steps asks."""
    from tutelage.measure.power import prompts_needed

    if found.standard_error is None or abs(found.difference) < 0.05:
        return ""
    deviation = found.standard_error * math.sqrt(found.num_prompts)
    needed = prompts_needed(abs(found.difference), deviation, ALPHA / found.num_comparisons)
    many = "" if found.num_comparisons == 1 else f" with {found.num_comparisons} comparisons"
    return (
        f"; to tell a difference of that size{many} takes about {needed:,} prompts"
        if needed > found.num_prompts
        else ""
    )


@dataclass(frozen=True)
class AgainstEven:
    """Whether a win rate differs from 50 %: the policy and its baseline cannot be told apart there."""

    rate: float
    interval: tuple[float, float]
    p_value: float
    num_prompts: int


def against_even(scores: Mapping[str, float], seed: int = 0) -> AgainstEven:
    """Test scores on prompts against one half: the same test and interval as between two policies.

    Raises:
        DataError: there is no score.
    """
    if not scores:
        raise DataError("no prompt has a score; there is no win rate to set against 50 %")
    centred = [score - 0.5 for _, score in sorted(scores.items())]
    low, high = bootstrap_interval(centred, seed=seed)
    mean, _ = mean_and_error(centred)
    return AgainstEven(
        rate=50 + 100 * mean,
        interval=(max(0.0, 50 + 100 * low), min(100.0, 50 + 100 * high)),
        p_value=permutation_test(centred, seed=seed),
        num_prompts=len(centred),
    )


def even_in_words(found: AgainstEven, policy: str, baseline: str, judge: str) -> str:
    """Say who is preferred, if that can be said."""
    low, high = found.interval
    varies = high - low > 100 * _SAME  # a rate of 100 % on few prompts is not known to be between 100 and 100
    interval = f"95 % interval {low:.1f} to {high:.1f}" if varies else "the same score on every prompt"
    numbers = f"{found.rate:.1f} %, {interval}, {_p(found.p_value, found.p_value)}, {found.num_prompts} prompts"
    if found.num_prompts < 2:
        return f"One prompt says nothing of whether {judge} prefers {policy} or {baseline}."
    if found.p_value >= ALPHA:
        return f"{judge} prefers neither {policy} nor {baseline}, as far as these prompts can show ({numbers})."
    one, other = (policy, baseline) if found.rate > 50 else (baseline, policy)
    return f"{judge} prefers {one} to {other} (win rate of {policy} {numbers})."


def as_tree(found: Comparison) -> dict[str, Any]:
    """Return a comparison for JSON; an end of an interval that is open is None."""
    from dataclasses import asdict

    low, high = (None if math.isinf(end) else end for end in found.interval)
    return asdict(found) | {"interval": [low, high], "says": in_words(found)}
