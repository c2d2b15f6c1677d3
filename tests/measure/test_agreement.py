"""Agreement of several critics: published examples, and what must hold for any labels."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.measure.agreement import kappa, krippendorff_alpha, two_critics

# Krippendorff (2011), section C: four observers, twelve units, "." is missing; nominal alpha .743.
OBSERVERS = ("12332141 2...", "12332241 25.3", ".3332342 251.", "12332441 251.")
UNITS = [
    [label for label in unit if label != "."] for unit in zip(*(o.replace(" ", "") for o in OBSERVERS), strict=True)
]


def test_alpha_is_that_of_krippendorffs_own_example() -> None:
    assert krippendorff_alpha(UNITS) == pytest.approx(0.743, abs=5e-4)


def test_kappa_is_that_of_cohens_own_example() -> None:
    """Cohen (1960): three categories, 200 cases, kappa .492."""
    table = [[88, 14, 18], [10, 40, 10], [2, 6, 12]]
    assert kappa(table) == pytest.approx(0.492, abs=5e-4)


def test_two_critics_are_compared_on_the_pairs_both_have() -> None:
    both = [("LEFT", "LEFT")] * 20 + [("LEFT", "RIGHT")] * 5 + [("RIGHT", "LEFT")] * 10 + [("RIGHT", "RIGHT")] * 15
    found = two_critics(both)
    assert (found.num_pairs, found.agreement) == (50, 0.7)
    assert found.kappa == pytest.approx(0.4)


def test_where_nothing_can_be_said_nothing_is() -> None:
    assert two_critics([]).agreement is None
    assert two_critics([("LEFT", "LEFT")] * 3).kappa is None
    assert krippendorff_alpha([]) is None
    assert krippendorff_alpha([["LEFT"], ["RIGHT"]]) is None
    assert krippendorff_alpha([["LEFT", "LEFT"], ["LEFT", "LEFT"]]) is None


LABELLED = st.lists(st.lists(st.sampled_from(["LEFT", "RIGHT", "TIE"]), max_size=4), max_size=12)


@given(LABELLED)
def test_alpha_is_one_minus_observed_over_expected_disagreement(units: list[list[str]]) -> None:
    """By the definition: every ordered pair of values within a unit, weighted 1 / (number of values - 1)."""
    units = [unit for unit in units if len(unit) > 1]
    coincidences: Counter[tuple[str, str]] = Counter()
    for unit in units:
        for one, other in permutations(unit, 2):
            coincidences[one, other] += 1 / (len(unit) - 1)  # type: ignore[assignment]
    totals = Counter(label for unit in units for label in unit)
    num = sum(totals.values())
    observed = sum(n for (one, other), n in coincidences.items() if one != other) / num if num else 0.0
    pairs = sum(totals[one] * totals[other] for one in totals for other in totals if one != other)
    found = krippendorff_alpha(units)
    assert found == (pytest.approx(1 - observed / (pairs / (num * (num - 1)))) if pairs else None)


@given(LABELLED)
def test_the_order_of_units_and_critics_does_not_matter_and_alpha_is_at_most_one(units: list[list[str]]) -> None:
    found = krippendorff_alpha(units)
    other = krippendorff_alpha([unit[::-1] for unit in units[::-1]])
    assert found is None or (found == pytest.approx(other) and found <= 1 + 1e-12)
