"""A judge against gold labels, its taste for its own family's texts, and several critics against each other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tutelage.measure.estimate import Estimate, balanced_difference, balanced_share, cannot_tell, share
from tutelage.measure.showings import Label, PairFacts, Swap, per_pair

LABELS: tuple[Label, ...] = ("LEFT", "TIE", "RIGHT")
_NO_GOLD = "no pair with a gold label was readable in both orders"

FAMILIES = {
    "openai": r"(chat)?gpt-?[345]\w*|chatgpt|gpt-oss|text-davinci|davinci|o[1-9]",
    "claude": r"claude",
    "gemini": r"gemini|gemma|palm|bard",
    "deepseek": r"deepseek",
    "mistral": r"mistral|mixtral|ministral|magistral|codestral",
    "qwen": r"qwen\d*|qwq",
    "llama": r"llama\d*",
    "grok": r"grok",
    "command": r"command-?[ar]",
    "phi": r"phi-?\d",
}
"""Whose texts sound alike, by name. A model that was trained on another's texts counts as what its name says."""
_PATTERNS = {name: re.compile(rf"(?<![a-z])({words})(?![a-z])", re.IGNORECASE) for name, words in FAMILIES.items()}


def family_of(name: str) -> str | None:
    """Return the family of a model's name, such as "openai/gpt-4o-2024-08-06", or None.

    What comes before the last slash says who serves a model, not what it is.
    """
    model = name.rpartition("/")[2]
    return next((family for family, pattern in _PATTERNS.items() if pattern.search(model)), None)


@dataclass(frozen=True)
class Agreement:
    """The first repeat's label of each pair (both orders together; a flip is a tie) against its gold label."""

    accuracy: Estimate
    """How often the labels agree where neither is a tie."""
    per_showing: Estimate
    """How often one showing alone agrees with a gold label that is no tie; a tie counts half."""
    kappa: Estimate
    """Cohen's kappa over left, tie, right: 0 is chance, 1 perfect."""
    table: tuple[tuple[int, ...], ...]
    """Counts; rows are the gold labels LEFT, TIE, RIGHT, columns the judge's."""


def agreement(swaps: Sequence[Swap], facts: Mapping[str, PairFacts], seed: int) -> Agreement:
    """Return how far the judge agrees with the gold labels."""
    first: dict[str, Swap] = {}
    for swap in sorted(swaps, key=lambda s: s.repeat):
        if facts[swap.pair_id].gold is not None:
            first.setdefault(swap.pair_id, swap)
    both = [(gold, swap.label) for pair_id, swap in first.items() if (gold := facts[pair_id].gold) is not None]
    decided = [float(gold == said) for gold, said in both if "TIE" not in (gold, said)]
    single = [
        swap.left_won if gold == "LEFT" else 1 - swap.left_won
        for (gold, _), swap in zip(both, first.values(), strict=True)
        if gold != "TIE"
    ]
    table = [[both.count((gold, said)) for said in LABELS] for gold in LABELS]
    return Agreement(
        accuracy=share(decided, _NO_GOLD if not both else "no pair was decided by both"),
        per_showing=balanced_share(single, _NO_GOLD if not both else "all gold labels are ties"),
        kappa=_kappa(table, seed),
        table=tuple(map(tuple, table)),
    )


def kappa(table: Sequence[Sequence[float]]) -> float | None:
    """Return Cohen's kappa (1960) of a square table of counts; None if chance alone explains all of it."""
    num = sum(map(sum, table))
    if not num:
        return None
    agreed = sum(table[i][i] for i in range(len(table))) / num
    chance = sum(sum(row) * sum(column) for row, column in zip(table, zip(*table, strict=True), strict=True)) / num**2
    return None if chance >= 1 else (agreed - chance) / (1 - chance)


def _kappa(table: list[list[int]], seed: int, num_draws: int = 2000) -> Estimate:
    """Return kappa with the interval of a bootstrap over pairs (percentiles)."""
    import numpy as np

    value, num = kappa(table), sum(map(sum, table))
    if value is None:
        return cannot_tell("gold labels and verdicts are all the same" if num else _NO_GOLD, "kappa", num)
    cells = np.array(table, dtype=float).ravel() / num
    drawn = [
        kappa(draw.reshape(3, 3).tolist()) for draw in np.random.default_rng(seed).multinomial(num, cells, num_draws)
    ]
    kept = np.array([k for k in drawn if k is not None])
    if len(kept) < 2:
        return cannot_tell("too few pairs for an interval", "kappa", num)
    low, high = np.quantile(kept, [0.025, 0.975])
    return Estimate(value, float(np.std(kept, ddof=1)), float(low), float(high), num, "kappa")


@dataclass(frozen=True)
class SelfPreference:
    """Pairs in which exactly one completion is by the judge's own family."""

    family: str | None
    judge_share: Estimate
    """How often the judge lets its own family win."""
    gold_share: Estimate
    """How often the gold labels do, on the same pairs."""
    excess: Estimate
    """The first minus the second: above 0 is self-preference."""


def self_preference(judge: str, swaps: Sequence[Swap], facts: Mapping[str, PairFacts]) -> SelfPreference:
    """Return how much oftener the judge lets its own family win than the gold labels do, on the same pairs."""
    family = family_of(judge)
    own: list[tuple[str, float, float | None]] = []
    for swap in swaps if family else ():
        known = facts[swap.pair_id]
        is_left, is_right = (family_of(author) == family for author in (known.author_left, known.author_right))
        if is_left != is_right:
            gold = None if known.gold is None else {"LEFT": 1.0, "TIE": 0.5, "RIGHT": 0.0}[known.gold]
            own.append((swap.pair_id, _of(swap.left_won, is_left), None if gold is None else _of(gold, is_left)))
    labelled = [(pair_id, said, gold) for pair_id, said, gold in own if gold is not None]
    if family is None:
        why = "the judge's name says no family"
    elif not own:
        why = f"no pair has exactly one completion by the judge's family ({family})"
    else:
        why = "without gold labels, its own family may win because it is better"
    shown = labelled or own
    return SelfPreference(
        family=family,
        judge_share=balanced_share(per_pair([(p, said) for p, said, _ in shown]), why),
        gold_share=balanced_share(per_pair([(p, gold) for p, _, gold in labelled]), why),
        excess=balanced_difference(per_pair([(p, said - gold) for p, said, gold in labelled]), why),
    )


def _of(left: float, is_left: bool) -> float:
    """Return the share of one side, given that of the left one."""
    return left if is_left else 1 - left


# ---- several critics --------------------------------------------------------------------------------


@dataclass(frozen=True)
class TwoCritics:
    """How far two critics agree on the pairs that both decided, ties included."""

    num_pairs: int
    agreement: float | None
    """The share of pairs with the same label; None without pairs."""
    kappa: float | None
    """Cohen's (1960); None without pairs, or if both always say the same one thing."""


def two_critics(both: Sequence[tuple[str, str]]) -> TwoCritics:
    """Return how far two critics agree, given the label of each, for every pair that has both.

    Which completion of a pair is left means nothing by itself: where all left ones are one author's, critics that
    agree that it is better agree by chance too, and kappa says how much more they have in common.
    """
    table = [[both.count((one, other)) for other in LABELS] for one in LABELS]
    agreed = sum(one == other for one, other in both)
    return TwoCritics(len(both), agreed / len(both) if both else None, kappa(table))


def krippendorff_alpha(units: Iterable[Sequence[str]]) -> float | None:
    """Return Krippendorff's alpha for nominal labels: 1 perfect, 0 chance, below 0 systematic disagreement.

    Unlike kappa it takes any number of critics, and units that some of them did not label. After Krippendorff
    (2011), "Computing Krippendorff's Alpha-Reliability", section C.

    Args:
        units: of each unit, the labels it was given; units with fewer than two say nothing and are left out.

    Returns:
        None if no unit has two labels, or all labels are the same.
    """
    totals: Counter[str] = Counter()
    agreed = 0.0
    for labels in units:
        if len(labels) > 1:
            found = Counter(labels)
            totals += found
            agreed += sum(n * (n - 1) for n in found.values()) / (len(labels) - 1)
    num = totals.total()
    by_chance = sum(n * (n - 1) for n in totals.values())
    if num * (num - 1) == by_chance:
        return None
    return 1 - (num - 1) * (num - agreed) / (num * (num - 1) - by_chance)
