"""How a judge behaved, from verdicts that are there: planted habits come back, and what is hidden is not guessed."""

from __future__ import annotations

import random

import pytest

from tutelage.measure.judged import agreed, behaviour, label_noise
from tutelage.measure.showings import Swap
from tutelage.records import Completion, Order, Outcome, Pair, Verdict

BOTH: tuple[Order, ...] = ("left_first", "right_first")
SAYS = {"first": 1.0, "second": 0.0, "tie": 0.5}


def pair(number: int, left: str = "a long completion", right: str = "short", prompt: str = "") -> Pair:
    prompt = prompt or f"q{number}"
    return Pair(
        left=Completion(prompt_id=prompt, author="policy", text=f"{left} {number}"),
        right=Completion(prompt_id=prompt, author="baseline", text=f"{right} {number}"),
    )


def verdict(
    about: Pair,
    outcome: Outcome,
    replies: tuple[str, ...] = ("", ""),
    orders: tuple[Order, ...] = BOTH,
    probability: float | None = None,
) -> Verdict:
    return Verdict(
        pair=about, orders=orders, outcome=outcome, critic="judge", replies=replies, probability=probability
    )


def test_flips_and_the_first_slot_are_read_from_the_replies_where_the_verdict_does_not_say() -> None:
    verdicts = [
        verdict(pair(1), "LEFT"),
        verdict(pair(2), "RIGHT"),
        verdict(pair(3), "TIE", ("first", "first")),
        verdict(pair(4), "TIE", ("tie", "tie")),
        verdict(pair(5), "INVALID", ("first", "gibberish")),
    ]
    found = behaviour(verdicts, SAYS.get)
    assert found.flips.value == pytest.approx(25)
    assert found.first_wins.value == pytest.approx(100 * (0.5 + 0.5 + 1 + 0.5) / 4)
    assert found.longer_wins.value == pytest.approx(100 * (1 + 0 + 0.5 + 0.5) / 4)
    assert found.unreadable.value == pytest.approx(10)
    assert found.unreadable.num == 5


def test_ties_whose_replies_say_nothing_hide_flips_so_that_none_are_claimed() -> None:
    verdicts = [verdict(pair(n), "LEFT") for n in range(20)] + [verdict(pair(99), "TIE", ("m", "M"), probability=0.5)]
    found = behaviour(verdicts, SAYS.get)
    assert found.flips.value is None
    assert "of 1 ties in two orders" in found.flips.note
    assert found.longer_wins.value == pytest.approx(100 * 20.5 / 21)


def test_single_showings_tell_of_the_slot_only_if_the_order_was_drawn() -> None:
    drawn = [
        verdict(pair(n), "LEFT" if n % 4 < 2 else "RIGHT", ("",), ("left_first" if n % 2 else "right_first",))
        for n in range(40)
    ]
    found = behaviour(drawn, SAYS.get)
    assert found.first_wins.value == pytest.approx(50)
    assert "drawn at random" in found.first_wins.note
    assert found.flips.value is None
    fixed = [verdict(pair(n), "LEFT", ("",), ("right_first",)) for n in range(40)]
    assert behaviour(fixed, SAYS.get).first_wins.value is None


def test_what_was_not_shown_side_by_side_or_not_asked_does_not_count() -> None:
    same = Pair(
        left=Completion(prompt_id="q", author="policy", text="x"),
        right=Completion(prompt_id="q", author="baseline", text="x"),
    )
    alone = verdict(pair(1), "LEFT", orders=("left_alone", "right_alone"))
    found = behaviour([verdict(same, "TIE", ("not asked",), ("left_first",)), alone], SAYS.get)
    assert found.first_wins.value is None
    assert found.unreadable.value is None
    assert found.unreadable.note == "cannot tell: no reply is known"


def test_many_pairs_of_one_prompt_are_one_value() -> None:
    verdicts = [verdict(pair(n, prompt=f"q{n % 5}"), "LEFT") for n in range(100)]
    assert behaviour(verdicts, SAYS.get).flips.num == 5
    assert behaviour(verdicts + verdicts, SAYS.get) == behaviour(verdicts, SAYS.get)


def showings(draw: random.Random, first_wrong: float, second_wrong: float, num: int) -> tuple[list[Swap], float]:
    """Swaps of pairs whose left completion is better, and the true share of wrong labels among those that agree."""
    swaps, wrong, right = [], 0, 0
    for n in range(num):
        one, other = draw.random() < first_wrong, draw.random() < second_wrong
        swaps.append(Swap(f"q{n}", 0, float(not one), float(other)))
        wrong, right = wrong + (one and other), right + (not one and not other)
    return swaps, 100 * wrong / (wrong + right)


def test_planted_noise_comes_back() -> None:
    swaps, wrong = showings(random.Random(0), 0.2, 0.2, 20_000)
    found = label_noise(swaps)
    assert found.decided.value == pytest.approx(wrong, abs=0.7)
    assert found.decided.value == pytest.approx(100 * 0.04 / 0.68, abs=0.7)


def test_a_taste_for_the_first_slot_makes_the_estimate_too_high_and_never_too_low() -> None:
    """The better one wins when it is first but for 5 %, and loses when it is second in 40 %."""
    swaps, wrong = showings(random.Random(1), 0.05, 0.4, 20_000)
    found = label_noise(swaps)
    assert found.decided.value is not None
    assert found.decided.value > wrong + 1


def test_a_few_hard_pairs_make_the_estimate_too_low_and_the_bound_holds() -> None:
    hard, _ = showings(random.Random(2), 0.5, 0.5, 4000)
    easy = [Swap(f"e{n}", 0, 1.0, 0.0) for n in range(16_000)]
    agreeing = [s for s in hard if s.label != "TIE"]
    wrong = 100 * sum(s.label == "RIGHT" for s in agreeing) / (len(agreeing) + len(easy))
    found = label_noise(hard + easy)
    assert found.decided.value is not None
    assert found.at_most is not None
    assert found.decided.value < wrong - 1
    assert wrong == pytest.approx(found.at_most, abs=0.7)


def test_noise_beyond_coin_tosses_or_of_no_swap_is_not_told() -> None:
    always_first = [Swap(f"q{n}", 0, 1.0, 1.0) for n in range(30)]
    assert label_noise(always_first).decided.value is None
    assert label_noise([]).decided.value is None
    sure = label_noise([Swap(f"q{n}", 0, 1.0, 0.0) for n in range(30)])
    assert sure.decided.value == 0
    assert sure.decided.high is not None
    assert 0 < sure.decided.high < 1


def test_two_critics_agree_whichever_completion_was_left() -> None:
    one = [verdict(pair(n), "LEFT" if n < 8 else "TIE") for n in range(10)]
    other = []
    for n in range(9):
        held = pair(n)
        mirrored = Pair(left=held.right, right=held.left)
        other.append(verdict(mirrored, "RIGHT" if n < 6 else "LEFT"))
    found = agreed(one, other)
    assert found.value == pytest.approx(75)
    assert found.num == 8
    assert agreed(one, []).note == "cannot tell: no pair was judged by both"
