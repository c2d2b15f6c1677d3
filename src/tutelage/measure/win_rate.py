"""Verdicts -> win rates with standard errors. Pure; a tie is half a win, an invalid verdict is none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tutelage.errors import CriticError, DataError
from tutelage.records import Verdict, WinRate

_SCORE = {"LEFT": 1.0, "RIGHT": 0.0, "TIE": 0.5}


def scores(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Return 1 for a win of the left completion, 0 for a loss, .5 for a tie, by prompt id; INVALID left out.

    Where the judge gave a probability, that is the score, as in AlpacaEval 2's weighted win rate. Several verdicts on
    one prompt are averaged: they are not independent, so they count as one.
    """
    found: dict[str, list[float]] = {}
    for verdict in verdicts:
        if verdict.outcome != "INVALID":
            score = _SCORE[verdict.outcome] if verdict.probability is None else verdict.probability
            found.setdefault(verdict.pair.prompt_id, []).append(score)
    return {prompt_id: math.fsum(values) / len(values) for prompt_id, values in found.items()}


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and its standard error, sample standard deviation (n - 1) over the square root of n."""
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return mean, math.nan
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)


def win_rate(
    verdicts: Sequence[Verdict], policy: str, baseline: str, judge: str, num_prompts: int | None = None
) -> WinRate:
    """Return the win rate of the left completions, in percent, as alpaca_eval defines it (ties half).

    Of `num_prompts` that were to be judged, those without a verdict are counted as missing.

    Raises:
        CriticError: no verdict could be read.
    """
    values = list(scores(verdicts).values())
    if not values:
        raise CriticError(f"{judge}: none of {len(verdicts)} replies could be read as a verdict")
    mean, error = mean_and_error(values)
    outcomes = [v.outcome for v in verdicts]
    return WinRate(
        policy=policy,
        baseline=baseline,
        judge=judge,
        wins=outcomes.count("LEFT"),
        losses=outcomes.count("RIGHT"),
        ties=outcomes.count("TIE"),
        invalid=outcomes.count("INVALID"),
        missing=max(0, (num_prompts or 0) - len({v.pair.prompt_id for v in verdicts})),
        rate=100 * mean,
        standard_error=None if math.isnan(error) else 100 * error,
    )


def paired_difference(first: Mapping[str, float], second: Mapping[str, float]) -> tuple[float, float, int]:
    """Return the mean of first - second over the prompts both have, its standard error, and their number.

    Both in the units of the values times 100 (percentage points for scores). The error of a single prompt
    is not a number.

    Raises:
        DataError: they have no prompt in common.
    """
    common = sorted(first.keys() & second.keys())
    if not common:
        raise DataError(f"no prompt is in both (there are {len(first)} and {len(second)}); nothing can be compared")
    mean, error = mean_and_error([first[p] - second[p] for p in common])
    return 100 * mean, 100 * error, len(common)
