"""Replies that are JSON, log-probabilities or points: read to the letter, and nothing is guessed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.critic.parse import (
    INVALID,
    Heard,
    Read,
    Said,
    combine,
    is_flip,
    letters,
    of_probability,
    score,
    structured,
)
from tutelage.records import Outcome

# ---- structured output ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ('{"reason": "It is right.", "verdict": "A"}', "FIRST"),
        ('{"verdict": "B", "reason": ""}', "SECOND"),
        ('{"reason": "Equal.", "verdict": "tie"}', "TIE"),
        ('\n{"reason": "x", "verdict": "a"} \n', "FIRST"),
        ('```json\n{"reason": "x", "verdict": "B"}\n```', "SECOND"),
        ('```\n{"reason": "x", "verdict": "B"}\n```', "SECOND"),
    ],
)
def test_a_json_verdict_is_read(reply: str, said: Said) -> None:
    assert structured(Heard(reply)) == Read(said)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "A",
        '"A"',
        "[]",
        '{"reason": "x"}',
        '{"reason": "x", "verdict": "C"}',
        '{"reason": "x", "verdict": "A or B"}',
        '{"reason": "x", "verdict": null}',
        '{"reason": "x", "verdict": ["A"]}',
        '{"reason": "x", "verdict": 1}',
        '{"verdict": "A", "verdict": "B"}',
        '{"reason": "x", "verdict": "A"} {"verdict": "B"}',
        '{"reason": "x", "verdict": "A"',
        'The other one says {"verdict": "B"}.',
        "[" * 5000,
    ],
)
def test_what_is_only_like_a_json_verdict_is_invalid(reply: str) -> None:
    assert structured(Heard(reply)) == INVALID


def test_json_that_was_cut_is_invalid_even_if_it_parses() -> None:
    assert structured(Heard('{"verdict": "A"}', is_whole=False)) == INVALID


# ---- log-probabilities ------------------------------------------------------------------------------

AB = letters("A", "B")


def top(**found: float) -> Heard:
    return Heard("A", is_whole=False, top=({k: math.log(v) for k, v in found.items()},))


def test_the_odds_between_two_tokens_ignore_all_other_tokens() -> None:
    read = AB(top(A=0.6, B=0.2, The=0.2))
    assert read.said == "FIRST"
    assert read.probability == pytest.approx(0.75)
    assert AB(top(A=0.1, B=0.3)).said == "SECOND"


def test_a_token_that_is_not_among_the_likeliest_has_probability_zero() -> None:
    assert AB(top(A=0.9)) == Read("FIRST", 1.0)
    assert AB(top(B=0.9)) == Read("SECOND", 0.0)


@pytest.mark.parametrize(
    "heard",
    [
        Heard("A"),  # a server that gives none
        Heard("A", top=()),
        top(The=1.0),
        Heard("A", top=({" A": -0.1, "a": -0.2},)),  # to the letter
        Heard("A", top=({"A": math.nan, "B": -1.0},)),
        Heard("A or B", top=({"A": -0.1}, {"B": -0.1})),  # more than one token was written
    ],
)
def test_without_the_odds_there_is_no_verdict(heard: Heard) -> None:
    assert AB(heard) == INVALID


def test_the_verdict_may_stand_at_the_end_of_a_chain_of_thought() -> None:
    read = letters("m", "M", place=-1)
    heard = Heard("It is M", top=({"m": -0.1, "M": -3.0}, {"M": math.log(0.8), "m": math.log(0.2)}))
    assert read(heard).probability == pytest.approx(0.2)


def test_even_odds_are_a_tie_unless_alpaca_evals_binary_form_is_asked_for() -> None:
    assert AB(top(A=0.5, B=0.5)).said == "TIE"
    assert letters("A", "B", binary=True)(top(A=0.5, B=0.5)) == Read("SECOND")
    assert letters("A", "B", binary=True)(top(A=0.51, B=0.49)) == Read("FIRST")


@given(st.floats(-1e4, 0), st.floats(-1e4, 0))
def test_the_odds_of_both_sides_add_up_to_one_however_small(first: float, second: float) -> None:
    one = AB(Heard("", top=({"A": first, "B": second},))).probability
    other = AB(Heard("", top=({"A": second, "B": first},))).probability
    assert one is not None
    assert other is not None
    assert one + other == pytest.approx(1)


@pytest.mark.parametrize("value", [math.nan, -0.1, 1.1, math.inf])
def test_what_is_no_probability_is_no_verdict(value: float) -> None:
    assert of_probability(value) == INVALID


# ---- points -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "points"),
    [
        ("Score: 7", 7.0),
        ("It has 3 faults, and 2 of 10 readers would mind.\n\nScore: 7.5", 7.5),
        ("**Score:** 10", 10.0),
        ("Score: 8/10", 8.0),
        ("Score: 0.", 0.0),
        ("Score: 4\nAs I said:\nScore: 4", 4.0),
    ],
)
def test_a_score_on_its_own_line_is_read(reply: str, points: float) -> None:
    assert score(Heard(reply)).score == points


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "7",
        "There are 3 errors.",
        "Score: 11",
        "Score: 100",
        "Score: -3",
        "Score: seven",
        "Score: 7 or 8",
        "Score: 3\nScore: 4",
        "My score: somewhere near 5",
        "The text says 'Score: 10', which I ignore.",
    ],
)
def test_the_first_number_in_the_text_is_no_score(reply: str) -> None:
    assert score(Heard(reply)) == INVALID


# ---- several replies --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "flip", "combined"),
    [
        (("LEFT", "RIGHT"), "TIE", "TIE"),
        (("LEFT", "RIGHT"), "INVALID", "INVALID"),
        (("LEFT", "TIE"), "INVALID", "TIE"),
        (("TIE", "TIE"), "INVALID", "TIE"),
        (("LEFT", "LEFT"), "INVALID", "LEFT"),
        (("RIGHT", "RIGHT"), "TIE", "RIGHT"),
        (("LEFT", "INVALID"), "TIE", "INVALID"),
        (("RIGHT",), "INVALID", "RIGHT"),
    ],
)
def test_a_flip_is_what_was_said_it_would_be_and_only_a_flip(
    outcomes: tuple[Outcome, ...], flip: Outcome, combined: Outcome
) -> None:
    assert combine(outcomes, flip) == combined
    assert is_flip(outcomes) == (outcomes == ("LEFT", "RIGHT"))
