"""How often a trained policy sides with its critic, by how sure the critic was.

Where the critic is hardly sure its labels are mostly noise, and a policy that agrees with it even there has learnt
the noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum

from tutelage.records import Preference, Verdict

_NUM_BINS = 5
NOBODY_SURE = (
    "no verdict behind these preferences says how probable it is; label with log-probabilities (template=letter) or "
    "with a reward model"
)


@dataclass(frozen=True)
class Bin:
    """The pairs of which the critic was so sure; all but `num` from 0 to 1."""

    low: float
    high: float
    num: int
    accuracy: float
    """Share of them of which the policy prefers what the critic does; a margin of 0 is half right."""


def probabilities(preferences: Iterable[Preference], verdicts: Iterable[Verdict]) -> dict[str, float]:
    """Return by a preference's id how probable its verdicts find it that the chosen completion is the better one.

    It is the mean over those of its verdicts that have a probability and are about these very texts (best against
    worst rests on others too); a preference without any is left out.
    """
    known = {v.id: v for v in verdicts if v.probability is not None}
    found = {}
    for preference in preferences:
        odds = [_of_chosen(preference, known[i]) for i in preference.verdict_ids if i in known]
        about = [p for p in odds if p is not None]
        if about:
            found[preference.id] = fsum(about) / len(about)
    return found


def _of_chosen(preference: Preference, verdict: Verdict) -> float | None:
    texts, left = {preference.chosen.text, preference.rejected.text}, verdict.pair.left.text
    if verdict.probability is None or texts != {left, verdict.pair.right.text}:
        return None
    return verdict.probability if left == preference.chosen.text else 1 - verdict.probability


def by_confidence(told: Sequence[tuple[float | None, float]]) -> tuple[list[Bin], str]:
    """Return what is known by the critic's confidence, in tenths from .5 to 1, empty ones left out; and a note.

    Which side the critic is on its probability says, not the label: of labels that were drawn (prefer shuffled=true)
    the accuracy is still that of agreeing with the critic.

    Args:
        told: of each pair the probability that the chosen completion is the better one (None: the critic gives none),
            and the policy's margin, its reward of chosen minus rejected. Pairs of several runs may be put together.

    Returns:
        The bins, the least confidence first, and a note: empty, how many pairs have no probability, or why there is
        no bin.
    """
    if not told:
        return [], "no pair has a margin"
    bins: list[list[float]] = [[] for _ in range(_NUM_BINS)]
    for probability, margin in told:
        if probability is not None:
            sure, sides = max(probability, 1 - probability), margin if probability >= 0.5 else -margin
            # rounded: .6 is the beginning of its bin, also where it is 1 - .4
            place = min(int(round((sure - 0.5) * 2 * _NUM_BINS, 9)), _NUM_BINS - 1)
            bins[place].append(0.5 if sides == 0 else float(sides > 0))
    found = [
        Bin((5 + i) / 10, (6 + i) / 10, len(right), fsum(right) / len(right)) for i, right in enumerate(bins) if right
    ]
    if not found:
        return [], NOBODY_SURE
    missing = len(told) - sum(each.num for each in found)
    return found, f"{missing:,} of {len(told):,} pairs have no probability and are left out" if missing else ""
