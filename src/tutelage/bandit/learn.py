"""How the student learns: a reward from labelled pairs, a policy from that reward, a policy from samples.

A loss over hundreds of thousands of pairs depends on how often each arm beat each other one and on nothing else, so
that full-batch gradient descent runs on the counts: the same numbers, thousands of times faster.
"""

from __future__ import annotations

import numpy as np

from tutelage.bandit.world import Floats, log_softmax


def bradley_terry(wins: Floats, lr: float, steps: int) -> Floats:
    """Descend on the mean of -log sigmoid(reward[winner] - reward[loser]) over the labels, from 0.

    Args:
        wins: (arms, arms), how often the row was preferred to the column.

    Returns:
        The reward of each arm; they add up to 0, since every pair pushes its two arms apart by the same amount.
    """
    total = max(wins.sum(), 1.0)
    met, won = (wins + wins.T) / total, wins.sum(axis=1) / total
    reward = np.zeros(len(wins))
    for _ in range(steps):
        odds = np.exp(reward)  # sigmoid(a - b) = odds_a / (odds_a + odds_b)
        expected = odds * (met / (odds[:, None] + odds)).sum(axis=1)
        reward += lr * (won - expected)
    return reward


def sft(shares: Floats, lr: float, steps: int) -> Floats:
    """Descend on the mean of -log softmax(logits)[sample] over a teacher's samples, from equal logits.

    Args:
        shares: (teachers, arms), the share of each arm among a teacher's samples.

    Returns:
        (teachers, arms): the log-probabilities of the policy that learnt from each teacher.
    """
    logits = np.zeros_like(shares)
    for _ in range(steps):
        odds = np.exp(logits)
        logits += lr * (shares - odds / odds.sum(axis=1, keepdims=True))
    return log_softmax(logits)


def tilted(log_student: Floats, reward: Floats, beta: float) -> Floats:
    """Return the log-probabilities of student * exp(reward / beta) / Z.

    It is the policy that maximises the expected reward minus beta times the KL from the student, where DPO and PPO
    would end (Rafailov et al. 2023, arXiv 2305.18290, equation 4).
    """
    return log_softmax(log_student + reward / beta)
