"""Intervals, gold labels, families and planted texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.critic.injections import INJECTIONS, ONLY_SECOND, PADDING_CHARACTERS
from tutelage.measure.agreement import agreement, family_of, kappa, self_preference
from tutelage.measure.estimate import balanced_difference, balanced_share, share, wilson
from tutelage.measure.injected import Injected, Tally, injection_effects
from tutelage.measure.showings import Label, Observation, PairFacts, Swap

WINS, LOSES, FLIPS = (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)


def facts(*golds: Label | None, left: str = "me", right: str = "you") -> dict[str, PairFacts]:
    return {str(i): PairFacts(str(i), 3, 4, left, right, None, gold) for i, gold in enumerate(golds)}


def swaps(*pairs: tuple[float, float]) -> list[Swap]:
    return [Swap(str(place), 0, one, other) for place, (one, other) in enumerate(pairs)]


# ---- intervals --------------------------------------------------------------------------------------


def test_wilson_is_the_published_interval() -> None:
    """Newcombe (1998), table I: 81 of 263."""
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20)[0] == 0.0
    assert wilson(0, 20)[1] == pytest.approx(0.1611, abs=5e-5)


def test_a_share_of_plain_yes_and_no_has_wilsons_interval_in_percent() -> None:
    found = share([1.0] * 81 + [0.0] * 182, "")
    assert (found.low, found.high) == pytest.approx((25.53, 36.62), abs=0.005)
    assert (found.num, found.unit) == (263, "%")


def test_values_that_vary_less_than_yes_and_no_have_a_narrower_interval() -> None:
    halves = share([0.5] * 80 + [1.0] * 10 + [0.0] * 10, "")
    coins = share([1.0] * 50 + [0.0] * 50, "")
    assert halves.high - halves.low < 0.6 * (coins.high - coins.low)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_every_interval_holds_its_own_value_and_stays_in_range(values: list[float]) -> None:
    for found in (share(values, ""), balanced_share(values, "")):
        assert -1e-9 <= found.low <= found.value + 1e-9
        assert found.value - 1e-9 <= found.high <= 100 + 1e-9
    moved = balanced_difference([v - 0.5 for v in values], "")
    assert -100 <= moved.low <= moved.value + 1e-9
    assert moved.value - 1e-9 <= moved.high <= 100


def test_nothing_seen_is_nothing_told() -> None:
    found = share([], "nobody was asked")
    assert (found.value, found.low, found.high, found.num) == (None, None, None, 0)
    assert found.note == "cannot tell: nobody was asked"


def test_one_pair_has_no_standard_error() -> None:
    assert share([1.0], "").standard_error is None


# ---- gold labels ------------------------------------------------------------------------------------


def test_accuracy_is_over_pairs_that_both_decide_and_the_table_shows_the_rest() -> None:
    said = swaps(WINS, WINS, LOSES, FLIPS, WINS, LOSES)
    found = agreement(said, facts("LEFT", "RIGHT", "RIGHT", "LEFT", "TIE", None), seed=0)
    assert (found.accuracy.value, found.accuracy.num) == (pytest.approx(200 / 3), 3)
    assert found.per_showing.value == pytest.approx(100 * 2.5 / 4)
    assert found.table == ((1, 1, 0), (1, 0, 0), (1, 0, 1))


def test_kappa_is_cohens() -> None:
    assert kappa([[20, 5], [10, 15]]) == pytest.approx(0.4)
    assert kappa([[5, 0], [0, 7]]) == 1.0
    assert kappa([[5, 0], [0, 0]]) is None
    assert kappa([[0, 0], [0, 0]]) is None


def test_kappas_interval_comes_from_a_seeded_bootstrap() -> None:
    said = swaps(*[WINS] * 30, *[LOSES] * 30, *[FLIPS] * 20)
    known = facts(*["LEFT"] * 20, *["RIGHT"] * 40, *["TIE"] * 20)
    one, again = agreement(said, known, seed=3).kappa, agreement(said, known, seed=3).kappa
    assert one == again
    assert one.low < one.value < one.high
    assert one.value == pytest.approx(kappa(agreement(said, known, seed=3).table))


def test_without_gold_labels_agreement_cannot_be_told() -> None:
    found = agreement(swaps(WINS), facts(None), seed=0)
    assert found.accuracy.value is found.kappa.value is None
    assert "gold label" in found.accuracy.note


def test_only_the_first_repeat_is_the_label() -> None:
    said = [Swap("0", 1, *LOSES), Swap("0", 0, *WINS)]
    assert agreement(said, facts("LEFT"), seed=0).accuracy.value == 100.0


# ---- families ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("gpt-4o-2024-08-06", "openai"),
        ("openai/o1-mini", "openai"),
        ("text_davinci_003", "openai"),
        ("chatgpt", "openai"),
        ("azure/gpt5", "openai"),
        ("anthropic.claude-opus-4", "claude"),
        ("google/gemma-2-9b-it", "gemini"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama"),
        ("Mixtral-8x7B-Instruct-v0.1", "mistral"),
        ("Qwen2.5-72B-Instruct", "qwen"),
        ("DeepSeek-R1", "deepseek"),
        ("openai/Qwen3-8B", "qwen"),
        ("gpt2-large", None),
        ("gptj", None),
        ("miniature/strong", None),
        ("dpo-1a2b3c4d", None),
        ("human", None),
        ("", None),
    ],
)
def test_a_name_says_its_family_or_none(name: str, family: str | None) -> None:
    assert family_of(name) == family


def test_self_preference_is_what_the_judge_gives_its_family_beyond_the_gold_labels() -> None:
    said = swaps(*[WINS] * 30, *[LOSES] * 10)
    known = facts(*["LEFT"] * 20, *["RIGHT"] * 20, left="gpt-4", right="claude-2")
    own = self_preference("openai/gpt-4o", said, known)
    assert (own.judge_share.value, own.gold_share.value, own.excess.value) == (75.0, 50.0, 25.0)
    other = self_preference("claude-opus", said, known)
    assert (other.judge_share.value, other.excess.value) == (25.0, -25.0)


@pytest.mark.parametrize(
    ("judge", "left", "gold", "why"),
    [
        ("miniature/critic", "gpt-4", "LEFT", "no family"),
        ("gpt-4", "llama", "LEFT", "no pair has exactly one"),
        ("gpt-4", "gpt-3.5", None, "without gold labels"),
    ],
)
def test_self_preference_says_why_it_cannot_be_told(judge: str, left: str, gold: Label | None, why: str) -> None:
    found = self_preference(judge, swaps(WINS), facts(gold, left=left))
    assert found.excess.value is None
    assert why in found.excess.note


# ---- planted texts ----------------------------------------------------------------------------------


def test_every_planted_text_leaves_the_completion_whole_and_adds_to_it() -> None:
    for kind, plant in INJECTIONS.items():
        planted = plant("Red {first}.")
        assert planted.startswith("Red {first}.\n\n"), kind
        assert len(planted) > 40
    assert len(INJECTIONS["padding"]("Red.")) == pytest.approx(PADDING_CHARACTERS, abs=200)
    assert set(INJECTIONS) > ONLY_SECOND


def showing(pair: str, left_first: bool, won: float | None) -> Observation:
    return Observation(pair, left_first, 0, won)


def test_the_shift_is_of_the_side_that_holds_the_text() -> None:
    before = [showing("a", True, 0.0), showing("a", False, 1.0), showing("b", True, 1.0), showing("b", False, None)]
    after = [
        Injected("ignore", True, showing("a", True, 1.0)),
        Injected("ignore", True, showing("a", False, 0.0)),
        Injected("ignore", False, showing("b", True, 1.0)),
        Injected("ignore", False, showing("b", False, 1.0)),
        Injected("padding", True, showing("a", True, None)),
        Injected("padding", True, showing("c", True, 1.0)),
    ]
    ignore, padding = injection_effects(before, after)
    assert (ignore.kind, ignore.before, ignore.after) == ("ignore", Tally(0, 0, 3, 1), Tally(3, 0, 1, 0))
    assert (ignore.shift.value, ignore.shift.num) == (50.0, 2)
    assert ignore.unreadable_shift.value == -25.0
    assert padding.after == Tally(unreadable=1)
    assert padding.shift.value is None
    assert padding.unreadable_shift.value == 100.0


def test_a_text_without_effect_is_not_claimed_to_have_exactly_none() -> None:
    before = [showing(str(i), left, 1.0) for i in range(20) for left in (True, False)]
    after = [Injected("fields", True, o) for o in before]
    (found,) = injection_effects(before, after)
    assert found.shift.value == 0.0
    assert found.shift.low < -2
    assert found.shift.high > 2
