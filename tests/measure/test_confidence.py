"""A policy's agreement with its critic, by the critic's confidence."""

from __future__ import annotations

import pytest

from tutelage.measure.confidence import NOBODY_SURE, Bin, by_confidence, probabilities
from tutelage.records import Completion, Pair, Preference, Verdict


def said(text: str) -> Completion:
    return Completion(prompt_id="p", author="me", text=text)


def verdict(left: str, right: str, probability: float | None, critic: str = "critic") -> Verdict:
    outcome = "LEFT" if probability is None or probability >= 0.5 else "RIGHT"
    pair = Pair(left=said(left), right=said(right))
    return Verdict(
        pair=pair, orders=("left_first",), outcome=outcome, critic=critic, replies=("",), probability=probability
    )


def preference(chosen: str, rejected: str, *verdicts: Verdict) -> Preference:
    ids = tuple(v.id for v in verdicts)
    return Preference(prompt_id="p", chosen=said(chosen), rejected=said(rejected), verdict_ids=ids)


def test_pairs_are_counted_where_the_critic_was_so_sure_and_empty_bins_are_left_out() -> None:
    told = [(0.55, 1.0), (0.58, -1.0), (0.6, 2.0), (0.93, 0.1), (1.0, 0.1), (0.95, -3.0), (0.99, 0.0)]
    assert by_confidence(told) == (
        [Bin(0.5, 0.6, 2, 0.5), Bin(0.6, 0.7, 1, 1.0), Bin(0.9, 1.0, 4, 2.5 / 4)],
        "",
    )


def test_the_critics_side_counts_and_not_the_label() -> None:
    """Of a drawn label the chosen completion may be the one that the critic likes less."""
    assert by_confidence([(0.1, -1.0), (0.4, 1.0)])[0] == [Bin(0.6, 0.7, 1, 0.0), Bin(0.9, 1.0, 1, 1.0)]


def test_without_probabilities_there_is_a_reason_in_place_of_bins() -> None:
    assert by_confidence([(None, 1.0), (None, -1.0)]) == ([], NOBODY_SURE)
    assert by_confidence([]) == ([], "no pair has a margin")


def test_pairs_without_a_probability_among_others_are_said_to_be_left_out() -> None:
    found, note = by_confidence([(None, 1.0), (0.7, 1.0), (0.75, 1.0)])
    assert found == [Bin(0.7, 0.8, 2, 1.0)]
    assert note == "1 of 3 pairs have no probability and are left out"


def test_the_probability_of_a_preference_is_the_mean_of_its_verdicts_on_these_texts() -> None:
    one, turned, other = verdict("a", "b", 0.9), verdict("b", "a", 0.3), verdict("a", "c", 0.2)
    silent = verdict("a", "b", None, critic="terse")
    both = preference("a", "b", one, turned, other, silent)
    assert probabilities([both], [one, turned, other, silent]) == {both.id: pytest.approx(0.8)}
    drawn = preference("b", "a", one)
    assert probabilities([drawn], [one]) == {drawn.id: pytest.approx(0.1)}


def test_a_preference_without_a_verdict_that_says_how_sure_it_is_has_no_probability() -> None:
    silent, other = verdict("a", "b", None), verdict("a", "c", 0.9)
    assert probabilities([preference("a", "b", silent, other)], [silent, other]) == {}
    assert probabilities([preference("a", "b", other)], []) == {}
