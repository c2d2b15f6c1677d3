"""Where the learners have to end, found by other ways than theirs."""

from __future__ import annotations

import numpy as np
import pytest

from tutelage.bandit.learn import bradley_terry, sft, tilted
from tutelage.bandit.outcome import outcome, total_variation
from tutelage.bandit.settings import Config
from tutelage.bandit.world import Floats, draw_pairs, draw_samples, log_curve, log_softmax, random_words

TEN_ARMS = Config(
    num_arms=10,
    student_peak=4.5,
    student_width=60,
    teacher_peak=7,
    temperature=4,
    beta=1,
    num_pairs=1_000_000,
    reward_lr=3.9,
    reward_steps=2000,
)


def student(config: Config) -> Floats:
    return log_curve(config.num_arms, config.student_peak, config.student_width)


def optimum_by_mm(wins: Floats) -> Floats:
    """Hunter 2004, "MM algorithms for generalized Bradley-Terry models", equation 3."""
    met, skill = wins + wins.T, np.ones(len(wins))
    for _ in range(500):
        skill = wins.sum(axis=1) / (met / (skill[:, None] + skill)).sum(axis=1)
        skill /= np.exp(np.log(skill).mean())
    return np.log(skill)


def optimum_by_newton(wins: Floats) -> Floats:
    met, reward = wins + wins.T, np.zeros(len(wins))
    for _ in range(20):
        right = 1 / (1 + np.exp(reward - reward[:, None]))
        gradient = wins.sum(axis=1) - (met * right).sum(axis=1)
        bend = met * right * (1 - right)
        hessian = np.diag(bend.sum(axis=1)) - bend
        reward = reward + np.linalg.lstsq(hessian, gradient, rcond=None)[0]
    return reward - reward.mean()


def test_the_learned_reward_is_the_bradley_terry_optimum_of_its_pairs() -> None:
    wins = draw_pairs(TEN_ARMS, student(TEN_ARMS)).wins
    reward = bradley_terry(wins, TEN_ARMS.reward_lr, TEN_ARMS.reward_steps)
    assert np.abs(reward - optimum_by_newton(wins)).max() < 1e-6
    assert np.abs(reward - optimum_by_mm(wins)).max() < 1e-6


def test_with_labels_by_the_model_the_learned_differences_are_the_true_ones() -> None:
    pairs = draw_pairs(TEN_ARMS, student(TEN_ARMS))
    reward = bradley_terry(pairs.wins, TEN_ARMS.reward_lr, TEN_ARMS.reward_steps)
    true = np.arange(10) / TEN_ARMS.temperature
    labels_of_an_arm = (pairs.wins + pairs.wins.T).sum(axis=1)
    five_errors = 5 / np.sqrt(0.2 * labels_of_an_arm.min())  # the variance of a label is below 1/4, here about 0.2
    assert np.abs(reward - (true - true.mean())).max() < five_errors < 0.05


def test_the_policy_by_feedback_ends_at_the_student_tilted_by_the_true_reward() -> None:
    found = outcome(TEN_ARMS)
    assert found["total_variation"]["feedback from the student tilted by the true reward"] < 0.01
    by_hand = np.exp(student(TEN_ARMS)) * np.exp(np.arange(10) / 4)
    assert total_variation(np.array(found["policies"]["rlaif"]), by_hand / by_hand.sum()) < 0.01


def test_tilting_is_the_best_trade_of_reward_against_kl() -> None:
    """Against gradient ascent on E[r] - beta KL(policy || student), by logits, for the default's learned reward."""
    config = Config()
    log_student = student(config)
    reward = bradley_terry(draw_pairs(config, log_student).wins, config.reward_lr, config.reward_steps)

    def gain(log_policy: Floats) -> Floats:
        return reward - config.beta * (log_policy - log_student)

    logits = np.zeros(config.num_arms)
    for _ in range(8000):
        log_policy = log_softmax(logits)
        policy, gains = np.exp(log_policy), gain(log_policy)
        logits = logits + 10 * policy * (gains - policy @ gains)
    best = tilted(log_student, reward, config.beta)
    assert total_variation(np.exp(log_softmax(logits)), np.exp(best)) < 0.01
    reached, optimal = (float(np.exp(p) @ gain(p)) for p in (log_softmax(logits), best))
    assert reached <= optimal + 1e-12
    assert optimal == pytest.approx(config.beta * np.log(np.exp(log_student) @ np.exp(reward / config.beta)))


def test_sft_ends_at_the_shares_of_its_samples_and_these_at_the_teacher() -> None:
    log_teacher = log_curve(100, 80, 300)
    distances = []
    for num_samples in (1000, 250_000):
        shares = draw_samples(Config(num_samples=num_samples), np.array([log_teacher]))
        policy = np.exp(sft(shares, 3.9, 20_000)[0])
        assert total_variation(policy, shares[0]) < 0.01
        distances.append(total_variation(policy, np.exp(log_teacher)))
    assert distances[1] < 0.01 < distances[0]


@pytest.mark.parametrize("noise", [0.05, 0.2, 0.4])
def test_label_noise_leaves_its_logit_between_two_arms(noise: float) -> None:
    config = Config(num_arms=2, student_peak=0, teacher_peak=1, student_width=1e6, label_noise=noise)
    pairs = draw_pairs(config, student(config))
    low, high = bradley_terry(pairs.wins, 1.0, 5000)
    wrong = pairs.num_wrong / pairs.num_labelled
    assert high - low == pytest.approx(np.log((1 - wrong) / wrong), abs=1e-9)  # of the labels that were drawn
    error = 1 / np.sqrt(pairs.num_labelled * noise * (1 - noise))
    assert high - low == pytest.approx(np.log((1 - noise) / noise), abs=5 * error)


def test_half_of_the_labels_turned_around_teaches_next_to_nothing() -> None:
    found = outcome(Config(label_noise=0.5))
    assert max(map(abs, found["learned_reward"])) < 0.05


def test_counts_descend_as_the_pairs_one_by_one_do() -> None:
    """The original's loop, over pairs. It calls a tie a label for the second; but both sides of such a pair are the
    same arm, whose two pushes cancel: all that ties do there is to make every step shorter by their share.
    """
    config = Config(num_arms=12, student_peak=4, student_width=20, teacher_peak=8, num_pairs=3000)
    words = random_words(config.seed, 0, 3 * config.num_pairs).reshape(-1, 3)
    upto = np.floor(np.exp(student(config)).cumsum() * 2.0**32)
    first, second = (np.searchsorted(upto[:-1], words[:, side], side="right") for side in (0, 1))
    sign = np.where(first > second, 1.0, -1.0)
    reward = np.zeros(12)
    for _ in range(60):
        push = sign / (1 + np.exp(sign * (reward[first] - reward[second]))) / config.num_pairs
        reward = reward + 0.5 * (np.bincount(first, push, 12) - np.bincount(second, push, 12))
    pairs = draw_pairs(config, student(config))
    assert pairs.num_same == (first == second).sum() > 200
    shorter = 0.5 * pairs.num_labelled / config.num_pairs
    assert bradley_terry(pairs.wins, shorter, 60) == pytest.approx(reward, abs=1e-12)
