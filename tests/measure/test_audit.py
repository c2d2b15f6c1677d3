"""The audit finds what was planted, claims no more than it knows, and says when it cannot tell."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critics import facts_of, observe
from tutelage.errors import DataError
from tutelage.measure.audit import audit, cost, position, position_bias, self_consistency
from tutelage.measure.length_bias import length_bias
from tutelage.measure.showings import Observation, PairFacts, Swap, swaps_of
from tutelage.miniature.critic import Knobs
from tutelage.miniature.pairs import make_pairs
from tutelage.records import Usage

FACT = PairFacts("p", 3, 5, "me", "you")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return make_pairs(800, seed=0)


def swaps(*pairs: tuple[float, float]) -> list[Swap]:
    return [Swap(str(place), 0, one, other) for place, (one, other) in enumerate(pairs)]


FF, SS, LEFT, RIGHT, TIE = (1.0, 1.0), (0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (0.5, 0.5)

# ---- what was planted -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "knobs",
    [
        Knobs(position_bias=0.0, verbosity_bias=0.0),
        Knobs(),
        Knobs(position_bias=1.0, verbosity_bias=0.15),
        Knobs(position_bias=-0.5, verbosity_bias=-0.08, temp=2.0),
    ],
)
def test_the_scripted_critics_position_bias_and_verbosity_slope_are_recovered(rows, knobs: Knobs) -> None:
    seen = observe(rows, knobs, seed=1)
    found = audit("critic", seen, facts_of(rows))
    for estimate, truth in (
        (found.position.bias, knobs.position_bias),
        (found.length.position, knobs.position_bias),
        (found.length.per_word, knobs.verbosity_bias),
        (found.length.per_100_words, 100 * knobs.verbosity_bias),
        (found.length.per_point, 1 / knobs.temp),
    ):
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low <= truth <= estimate.high
    assert found.length.per_word.high - found.length.per_word.low < 0.04  # and not by knowing nothing
    assert found.position.bias.high - found.position.bias.low < 0.5


@pytest.mark.slow
def test_intervals_hold_the_truth_about_as_often_as_they_say(rows) -> None:
    facts, held, num_seeds = facts_of(rows), [0, 0, 0], 250
    critics = [Knobs(position_bias=b, verbosity_bias=v) for b, v in ((0.0, 0.0), (0.25, 0.04), (1.0, 0.15))]
    for knobs in critics:
        for seed in range(num_seeds):
            seen = observe(rows[:150], knobs, seed, repeats=2)
            both = swaps_of(seen)
            length = length_bias(seen, both, facts)
            truths = (knobs.position_bias, knobs.position_bias, knobs.verbosity_bias)
            for place, estimate in enumerate((position_bias(both), length.position, length.per_word)):
                held[place] += estimate.low <= truths[place] <= estimate.high
    shares = [num / (len(critics) * num_seeds) for num in held]
    assert [0.92 <= share <= 0.98 for share in shares] == [True] * 3, shares


def test_repeats_of_a_critic_that_always_repeats_itself_add_nothing(rows) -> None:
    once = observe(rows[:200], Knobs())
    thrice = [replace(o, repeat=repeat) for o in once for repeat in range(3)]
    facts = facts_of(rows)
    one, three = audit("c", once, facts), audit("c", thrice, facts)
    assert three.position.bias == pytest.approx(one.position.bias)
    for path in ("first_wins", "flips"):
        before, after = getattr(one.position, path), getattr(three.position, path)
        assert (after.value, after.low, after.high) == pytest.approx((before.value, before.low, before.high))
    assert three.length.per_word.standard_error == pytest.approx(one.length.per_word.standard_error)
    assert three.self_consistency.value == 100.0


# ---- position ---------------------------------------------------------------------------------------


def test_the_bias_is_half_the_log_ratio_of_flips_and_quality_does_not_enter() -> None:
    found = position_bias(swaps(*[FF] * 30, *[SS] * 10))
    assert found.value == pytest.approx(0.5 * math.log(3))
    assert found.standard_error == pytest.approx(0.5 * math.sqrt(1 / 30 + 1 / 10))
    assert found.num == 40
    consistent = position_bias(swaps(*[FF] * 30, *[SS] * 10, *[LEFT] * 500, *[RIGHT] * 7, *[TIE] * 9))
    assert consistent == found


@given(st.lists(st.floats(-4, 4), min_size=2, max_size=30), st.floats(-2, 2))
def test_probabilities_show_the_bias_whatever_the_quality(thetas: list[float], bias: float) -> None:
    def sigma(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    pairs = [(sigma(theta + bias), sigma(-theta + bias)) for theta in thetas]
    found = position_bias(swaps(*[p for p in pairs if 0.5 not in p]))
    if found.value is not None:
        assert found.value == pytest.approx(bias, abs=1e-6)
        assert found.standard_error == pytest.approx(0, abs=1e-6)


def test_flips_to_one_slot_only_bound_the_bias_on_one_side() -> None:
    found = position_bias(swaps(*[FF] * 20, LEFT))
    assert (found.value, found.standard_error, found.high) == (None, None, None)
    assert found.low == pytest.approx(0.5 * math.log(0.05 ** (1 / 20) / (1 - 0.05 ** (1 / 20))))
    assert "first slot" in found.note
    mirrored = position_bias(swaps(*[SS] * 20, LEFT))
    assert (mirrored.low, mirrored.high) == (None, -found.low)


def test_without_a_flip_the_bias_cannot_be_told_and_the_win_share_is_not_claimed_exactly() -> None:
    found = position(swaps(LEFT, RIGHT, LEFT))
    assert found.bias.value is None
    assert "cannot tell" in found.bias.note
    assert found.first_wins.value == 50.0
    assert found.first_wins.high - found.first_wins.low > 20
    assert found.flips.value == 0.0
    assert found.flips.high > 20


def test_flips_are_divided_by_what_they_chose() -> None:
    found = position(swaps(FF, FF, SS, (1.0, 0.5), (0.5, 0.0), TIE, LEFT, RIGHT))
    counts = (found.num_first_twice, found.num_second_twice, found.num_tied_once, found.num_consistent)
    assert counts == (2, 1, 2, 3)
    assert found.flips.value == pytest.approx(100 * 5 / 8)
    assert found.first_wins.value == pytest.approx(100 * (2 + 0 + 0.75 + 0.25 + 0.5 + 0.5 + 0.5) / 8)


def test_a_pair_that_is_readable_in_one_order_only_counts_for_neither_side() -> None:
    seen = [Observation("p", True, 0, 1.0), Observation("p", False, 0, None), Observation("p", True, 1, 1.0)]
    found = audit("c", seen, {"p": FACT})
    assert swaps_of(seen) == []
    assert found.position.first_wins.value is None
    assert found.unreadable.value == pytest.approx(100 / 3)
    assert found.self_consistency.value == 100.0


# ---- length -----------------------------------------------------------------------------------------


def test_without_known_quality_the_slope_is_called_no_bias(rows) -> None:
    facts = {p: replace(f, gap=None, gold=None) for p, f in facts_of(rows).items()}
    found = audit("c", observe(rows, Knobs()), facts).length
    assert found.quality == "unknown"
    assert "confounded" in found.note
    assert found.per_point.value is None
    assert found.per_word.value is not None


def test_gold_labels_stand_in_for_scores(rows) -> None:
    facts = {p: replace(f, gap=None) for p, f in facts_of(rows).items()}
    found = audit("c", observe(rows, Knobs(verbosity_bias=0.15)), facts).length
    assert found.quality == "labels"
    assert found.per_word.value == pytest.approx(0.15, abs=0.03)


def test_pairs_without_a_score_are_left_out_and_the_number_says_so(rows) -> None:
    facts = {p: replace(f, gap=None if int(p) < 100 else f.gap) for p, f in facts_of(rows).items()}
    found = audit("c", observe(rows, Knobs(malformed=0.0)), facts).length
    assert (found.quality, found.per_word.num) == ("scores", 700)


def test_verdicts_that_length_predicts_perfectly_have_no_slope() -> None:
    facts = {str(i): PairFacts(str(i), 5 + i, 5, "a", "b", gap=float(i % 3)) for i in range(1, 30)}
    seen = [Observation(p, left, 0, float(left)) for p in facts for left in (True, False)]
    found = audit("c", seen, facts).length
    assert found.per_word.value is None
    assert "predicts every verdict" in found.per_word.note
    assert found.longer_wins.value == 100.0


def test_completions_of_one_length_say_nothing_of_length() -> None:
    facts = {str(i): PairFacts(str(i), 5, 5, "a", "b", gap=float(i % 5 - 2)) for i in range(40)}
    seen = [Observation(p, left, 0, float((int(p) + left) % 3 == 0)) for p in facts for left in (True, False)]
    found = audit("c", seen, facts).length
    assert "equally long" in found.per_word.note
    assert found.longer_wins.value is None
    assert found.position.value is not None


def test_a_handful_of_pairs_gets_no_regression(rows) -> None:
    found = audit("c", observe(rows[:9], Knobs()), facts_of(rows)).length
    assert found.per_word.value is found.position.value is None
    assert "needs 10 pairs" in found.per_word.note


# ---- consistency, cost, and what cannot be ----------------------------------------------------------


def test_self_consistency_is_the_chance_that_two_replies_agree() -> None:
    said = [1.0, 1.0, 0.0, None]
    seen = [Observation("p", True, repeat, value) for repeat, value in enumerate(said)]
    assert self_consistency(seen).value == pytest.approx(100 / 3)
    once = self_consistency(seen[:1])
    assert once.value is None
    assert "repeats=2" in once.note


def test_cost_is_per_label_on_which_both_orders_agree() -> None:
    usage = Usage(requests=8, input_tokens=800, output_tokens=80, dollars=0.04)
    found = cost(swaps(LEFT, RIGHT, FF, TIE), usage)
    assert (found.num_labels, found.tokens_per_label, found.dollars_per_label) == (2, 440.0, 0.02)
    assert cost(swaps(FF), usage).tokens_per_label is None
    assert cost(swaps(LEFT), usage.model_copy(update={"dollars": None})).dollars_per_label is None


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        ([], "no reply to measure"),
        ([Observation("other", True, 0, 1.0)], "pair other"),
        ([Observation("p", True, 0, 1.0)] * 2, "two replies for the same order"),
        ([Observation("p", True, 0, 2.0)], "expected 0 to 1"),
    ],
)
def test_observations_that_cannot_be_are_refused(seen: list[Observation], says: str) -> None:
    with pytest.raises(DataError, match=says):
        audit("c", seen, {"p": FACT})


SHARES = st.sampled_from([0.0, 0.5, 1.0, 0.3, None])


@given(st.lists(st.tuples(SHARES, SHARES, st.sampled_from(["LEFT", "RIGHT", "TIE", None])), min_size=1, max_size=12))
def test_any_replies_whatever_make_an_audit_that_json_can_hold(said: list[Any]) -> None:
    facts = {str(i): PairFacts(str(i), i, 4, "gpt-4", "x", None, gold) for i, (*_, gold) in enumerate(said)}
    seen = [Observation(str(i), True, 0, one) for i, (one, *_) in enumerate(said)]
    seen += [Observation(str(i), False, 0, other) for i, (_, other, _) in enumerate(said)]
    tree = audit("gpt-4o", seen, facts).tree()
    assert json.loads(json.dumps(tree, allow_nan=False))["num_pairs"] == len(said)
