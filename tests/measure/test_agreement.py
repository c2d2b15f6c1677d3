"""Agreement of several critics: published examples, and what must hold for any labels."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.measure.agreement import alpha_interval, kappa, kappa_interval, krippendorff_alpha, two_critics

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


# ---- intervals --------------------------------------------------------------------------------------

BOTH = [("LEFT", "LEFT")] * 60 + [("LEFT", "RIGHT")] * 14 + [("RIGHT", "LEFT")] * 9 + [("RIGHT", "RIGHT")] * 50
BOTH += [("TIE", "TIE")] * 12 + [("TIE", "LEFT")] * 8 + [("RIGHT", "TIE")] * 7


def one_each(labels: list[tuple[str, str]]) -> dict[str, list[tuple[str, str]]]:
    """Each pair under a prompt of its own."""
    return {str(number): [two] for number, two in enumerate(labels)}


def test_with_one_pair_a_prompt_kappas_error_is_that_of_fleiss_cohen_and_everitt() -> None:
    """Fleiss, Cohen and Everitt (1969), equation 13: the large-sample variance of kappa."""
    labels, num = ("LEFT", "TIE", "RIGHT"), len(BOTH)
    p = {(i, j): BOTH.count((i, j)) / num for i in labels for j in labels}
    row = {i: sum(p[i, j] for j in labels) for i in labels}
    column = {j: sum(p[i, j] for i in labels) for j in labels}
    agreed, chance = sum(p[i, i] for i in labels), sum(row[i] * column[i] for i in labels)
    variance = sum(p[i, i] * ((1 - chance) - (column[i] + row[i]) * (1 - agreed)) ** 2 for i in labels)
    variance += (1 - agreed) ** 2 * sum(p[i, j] * (column[i] + row[j]) ** 2 for i in labels for j in labels if i != j)
    variance = (variance - (agreed * chance - 2 * chance + agreed) ** 2) / (1 - chance) ** 4 / num
    found = kappa_interval(one_each(BOTH))
    assert found is not None
    assert (found[1] - found[0]) / 2 == pytest.approx(1.96 * sqrt(variance), rel=0.02)
    assert sum(found) / 2 == pytest.approx(two_critics(BOTH).kappa)


def test_more_pairs_of_the_same_prompts_make_no_interval_narrower() -> None:
    once, thrice = one_each(BOTH), {prompt: labels * 3 for prompt, labels in one_each(BOTH).items()}
    assert kappa_interval(thrice) == pytest.approx(kappa_interval(once))
    narrow, wide = (alpha_interval(labels) for labels in (one_each(BOTH * 3), thrice))
    assert narrow is not None
    assert wide is not None
    assert narrow[1] - narrow[0] < 0.7 * (wide[1] - wide[0])


def test_alphas_interval_lies_about_alpha_and_units_with_one_label_say_nothing() -> None:
    units = one_each(BOTH)
    found = alpha_interval(units)
    assert found is not None
    assert sum(found) / 2 == pytest.approx(krippendorff_alpha(BOTH))
    assert alpha_interval({**units, "alone": [["LEFT"]], "none": [[]]}) == pytest.approx(found)


@pytest.mark.parametrize("labels", [[], [("LEFT", "RIGHT")], [("LEFT", "LEFT"), ("RIGHT", "RIGHT")] * 5])
def test_no_interval_is_claimed_from_one_prompt_or_from_critics_that_never_differ(
    labels: list[tuple[str, str]],
) -> None:
    assert kappa_interval(one_each(labels)) is None
    assert alpha_interval(one_each(labels)) is None


@given(st.lists(st.tuples(*[st.sampled_from(["LEFT", "RIGHT", "TIE"])] * 2), max_size=12))
def test_an_interval_holds_its_value_and_ends_where_kappa_does(labels: list[tuple[str, str]]) -> None:
    found, value = kappa_interval(one_each(labels)), two_critics(labels).kappa
    assert found is None or (value is not None and -1 <= found[0] <= value <= found[1] <= 1)
