"""The critic errs by the amounts it is documented to err by."""

from __future__ import annotations

from collections import defaultdict
from statistics import mean

import pytest

from tutelage.critic.parse import parse_verdict
from tutelage.errors import ConfigError
from tutelage.miniature.critic import CRITICS, Knobs, judge
from tutelage.miniature.oracle import grade
from tutelage.miniature.teachers import TEACHERS, write
from tutelage.miniature.world import make_prompts

HOT = "What is the opposite of hot?"


@pytest.fixture(scope="module")
def pairs() -> list[tuple[str, str, str]]:
    """About 5,500 pairs of different completions by `weak_wide`."""
    teacher = TEACHERS["weak_wide"]
    found = []
    for prompt in make_prompts(1500, seed=0):
        for seed in range(4):
            one, other = write(teacher, prompt, seed, 0), write(teacher, prompt, seed, 1)
            if one != other:
                found.append((prompt, one, other))
    return found


def audit(pairs: list[tuple[str, str, str]], knobs: Knobs) -> tuple[list[float], float, float, float]:
    """Return agreement by gap 1 to 5, same verdict when swapped, share of first slots, longer of equals."""
    agree: dict[float, list[bool]] = defaultdict(list)
    same, firsts, longer = [], [], []
    for prompt, one, other in pairs:
        said = parse_verdict(judge(prompt, one, other, knobs))
        swapped = parse_verdict(judge(prompt, other, one, knobs))
        if "INVALID" in (said, swapped):
            continue
        same.append(said != swapped)
        firsts += [said == "FIRST", swapped == "FIRST"]
        gap = grade(prompt, one) - grade(prompt, other)
        words = len(one.split()) - len(other.split())
        if gap:
            agree[abs(gap)] += [(gap > 0) == (said == "FIRST"), (gap > 0) == (swapped == "SECOND")]
        elif words:
            longer += [(words > 0) == (said == "FIRST"), (words > 0) == (swapped == "SECOND")]
    return [mean(agree[gap]) for gap in range(1, 6)], mean(same), mean(firsts), mean(longer)


@pytest.mark.parametrize(
    ("name", "by_gap", "same", "first", "longer"),
    [
        ("critic", [0.74, 0.86, 0.95, 0.99, 0.99], 0.82, 0.525, 0.67),
        ("critic_unbiased", [0.76, 0.85, 0.94, 0.99, 1.00], 0.82, 0.502, 0.54),
        ("critic_biased", [0.67, 0.82, 0.94, 0.97, 0.97], 0.80, 0.560, 0.83),
        ("critic_noisy", [0.61, 0.65, 0.77, 0.86, 0.87], 0.64, 0.530, 0.67),
    ],
)
def test_each_critic_is_as_reliable_as_its_calibration_says(pairs, name, by_gap, same, first, longer) -> None:
    found = audit(pairs, CRITICS[name])
    assert found[0] == pytest.approx(by_gap, abs=0.05)
    assert found[1] == pytest.approx(same, abs=0.03)
    assert found[2] == pytest.approx(first, abs=0.03)
    assert found[3] == pytest.approx(longer, abs=0.06)


def test_about_one_reply_in_a_hundred_cannot_be_read(pairs) -> None:
    unread = [parse_verdict(judge(*pair)) == "INVALID" for pair in pairs]
    assert mean(unread) == pytest.approx(0.01, abs=0.005)
    assert all(parse_verdict(judge(*pair, Knobs(malformed=1.0))) == "INVALID" for pair in pairs[:200])
    assert all(parse_verdict(judge(*pair, Knobs(malformed=0.0))) != "INVALID" for pair in pairs[:200])


def test_a_verdict_depends_on_seed_and_texts_and_on_nothing_else(pairs) -> None:
    replies = [judge(*pair, CRITICS["critic_noisy"], seed=3) for pair in pairs[:300]]
    assert replies == [judge(*pair, CRITICS["critic_noisy"], seed=3) for pair in pairs[:300]]
    assert replies != [judge(*pair, CRITICS["critic_noisy"], seed=4) for pair in pairs[:300]]


def test_the_reason_given_fits_the_verdict() -> None:
    sure = Knobs(temp=0.01, malformed=0.0)
    assert judge(HOT, "Tall.", "Cold.", sure) == "Answer B is right and the other one is not.\n\nVerdict: B"
    assert judge(HOT, "The opposite of hot is cold.", "Cold.", sure).startswith("Answer A says it in a full")


def test_a_completion_that_breaks_off_counts_as_not_ended() -> None:
    sure = Knobs(temp=0.01, malformed=0.0)
    assert parse_verdict(judge(HOT, "Cold", "Cold.", sure)) == "SECOND"


def test_an_instruction_of_another_world_gets_no_verdict() -> None:
    assert parse_verdict(judge("Who wrote Faust?", "Goethe.", "Schiller.")) == "INVALID"


@pytest.mark.parametrize("bad", [{"temp": 0.0}, {"malformed": 1.5}, {"position_bias": float("nan")}])
def test_knobs_that_mean_nothing_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="temp must be above 0"):
        Knobs(**bad)
