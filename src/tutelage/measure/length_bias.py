"""Does a judge like length for its own sake? The win share of the longer completion, and the slope per word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tutelage.errors import DataError
from tutelage.measure.estimate import Estimate, balanced_share, cannot_tell, wald
from tutelage.measure.showings import Observation, PairFacts, Swap, per_pair

Quality = Literal["scores", "labels", "unknown"]
_SIGN = {"LEFT": 1.0, "RIGHT": -1.0, "TIE": 0.0}
_PER_WORD = "log-odds per word"
MIN_PAIRS = 10
"""Below, errors that are clustered by pair are far too small."""


@dataclass(frozen=True)
class Length:
    """What length does. Without knowledge of quality, longer completions may win because they are better."""

    longer_wins: Estimate
    """How often the longer completion (in words) wins, both orders of each pair."""
    longer_wins_gold_ties: Estimate
    """The same among pairs that the gold label calls a tie: there length is all there is."""
    per_word: Estimate
    """Log-odds added per word that a completion is longer, at equal quality (if `quality` is known)."""
    per_100_words: Estimate
    position: Estimate
    """The intercept of the same regression: log-odds of the slot shown first."""
    per_point: Estimate
    """Log-odds per point of quality; of a gold label, per label (left against tie)."""
    quality: Quality
    """What equal quality means here: equal scores, equal gold labels, or nothing at all."""
    note: str


def length_bias(observations: Sequence[Observation], swaps: Sequence[Swap], facts: Mapping[str, PairFacts]) -> Length:
    """Return what length does.

    The slope is that of a logistic regression of "the first one won" on a constant, the quality of the first
    minus the second, and its words minus the second's. Quality is the user's scores if half of the pairs have
    them, else gold labels if half have them, else nothing. Pairs without are left out (`num` says how many
    remain). Errors are clustered by pair (sandwich), since the two orders of a pair are not independent.
    """
    asked = [o for o in observations if o.first_won is not None]
    pairs = {o.pair_id for o in asked}
    quality: Quality = "unknown"
    if 2 * sum(facts[p].gap is not None for p in pairs) >= len(pairs) > 0:
        quality = "scores"
    elif 2 * sum(facts[p].gold is not None for p in pairs) >= len(pairs) > 0:
        quality = "labels"
    rows = [row for o in asked if (row := _row(o, facts[o.pair_id], quality)) is not None]
    position, per_point, per_word = _regression(rows)
    longer = [(s, _longer_won(s, facts[s.pair_id])) for s in swaps]
    differing = [(s.pair_id, won) for s, won in longer if won is not None]
    tied = [(pair_id, won) for pair_id, won in differing if facts[pair_id].gold == "TIE"]
    return Length(
        longer_wins=balanced_share(per_pair(differing), "no readable pair differs in length"),
        longer_wins_gold_ties=balanced_share(per_pair(tied), "no pair that differs in length has a gold label 'tie'"),
        per_word=per_word,
        per_100_words=per_word.times(100, "log-odds per 100 words"),
        position=position,
        per_point=per_point,
        quality=quality,
        note=_NOTES[quality],
    )


_NOTES: dict[Quality, str] = {
    "scores": "at equal scores",
    "labels": "at equal gold labels, which are coarser than quality: part of the slope may be quality",
    "unknown": "length and quality are confounded: nothing is known of quality, so this is no bias by itself",
}

_Row = tuple[str, float, float, float]
"""Pair, P(first won), quality of first minus second, words of first minus second."""


def _row(o: Observation, facts: PairFacts, quality: Quality) -> _Row | None:
    known = {"scores": facts.gap, "labels": _SIGN[facts.gold] if facts.gold else None, "unknown": 0.0}[quality]
    if known is None or o.first_won is None:
        return None
    sign = 1 if o.first_is_left else -1
    return o.pair_id, o.first_won, sign * known, sign * float(facts.words_left - facts.words_right)


def _longer_won(swap: Swap, facts: PairFacts) -> float | None:
    if facts.words_left == facts.words_right:
        return None
    return swap.left_won if facts.words_left > facts.words_right else 1 - swap.left_won


def _regression(rows: Sequence[_Row]) -> tuple[Estimate, Estimate, Estimate]:
    """Return the constant, the slope of quality, and the slope of words."""
    import numpy as np

    units = ("log-odds", "log-odds per point", _PER_WORD)
    pairs = [pair_id for pair_id, *_ in rows]
    num = len(set(pairs))
    if num < MIN_PAIRS:
        one, two, three = (cannot_tell(f"a regression needs {MIN_PAIRS} pairs", unit, num) for unit in units)
        return one, two, three
    columns = np.array([[1.0, quality, words] for _, _, quality, words in rows])
    constant = ("", "the pairs do not differ in known quality", "the completions of each pair are equally long")
    wanted = [place for place in range(3) if place == 0 or np.ptp(columns[:, place]) > 0]
    found = clustered_logistic(columns[:, wanted], [won for _, won, *_ in rows], pairs)
    estimates = [cannot_tell(why, unit, num) for why, unit in zip(constant, units, strict=True)]
    for place, column in enumerate(wanted):
        if found is None:
            why = "quality, length or slot alone predicts every verdict, or they move together"
            estimates[column] = cannot_tell(why, units[column], num)
        else:
            estimates[column] = wald(found[0][place], found[1][place], num, units[column])
    return estimates[0], estimates[1], estimates[2]


def clustered_logistic(
    columns: Any, won: Sequence[float], clusters: Sequence[str]
) -> tuple[list[float], list[float]] | None:
    """Return the coefficients of a logistic regression and their cluster-robust standard errors.

    Args:
        columns: (N, K) array; no constant is added.
        won: N labels in [0, 1].
        clusters: N names; rows of one name may depend on each other in any way.

    Returns:
        None if no finite maximum exists (the columns separate the labels, or are linearly dependent).

    The errors are the square roots of the diagonal of A^-1 B A^-1 with A the information and B the sum over
    clusters of the outer product of their scores, times G / (G - 1) (Liang and Zeger 1986).
    """
    import numpy as np

    from tutelage.measure.logistic import fit_logistic, sigmoid

    labels = np.asarray(won, dtype=float)
    try:
        fit = fit_logistic(columns, labels)
    except DataError:
        return None
    _, places = np.unique(np.asarray(clusters), return_inverse=True)
    scores = np.zeros((places.max() + 1, columns.shape[1]))
    np.add.at(scores, places, columns * (labels - sigmoid(columns @ fit.coefficients))[:, None])
    covariance = fit.covariance @ (scores.T @ scores) @ fit.covariance * (len(scores) / (len(scores) - 1))
    variances = np.maximum(np.diag(covariance), 0)  # rounding can leave one just below
    return fit.coefficients.tolist(), np.sqrt(variances).tolist()
