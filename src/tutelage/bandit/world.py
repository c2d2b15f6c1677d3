"""Teacher, student and critic of the bandit, and what is drawn from them.

The draws come from a counter and two rounds of MurmurHash3's finalizer, not from numpy's generators: the page that
goes with a result draws the same numbers in JavaScript.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tutelage.bandit.settings import Config

Floats = NDArray[np.float64]
Words = NDArray[np.uint32]

_TEACHER = 2**31
"""Where on the counter the teacher's samples begin; the student's pairs take three words each from 0."""


def log_curve(num_arms: int, peak: float, width: float) -> Floats:
    """Return the log-probabilities (arms,) of a policy proportional to exp(-(arm - peak)^2 / width)."""
    arms = np.arange(num_arms, dtype=np.float64)
    return log_softmax(-((arms - peak) ** 2) / width)


def log_softmax(logits: Floats) -> Floats:
    """Return log-probabilities along the last axis, safe for logits of any size."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    normal: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normal


def random_words(seed: int, start: int, num: int) -> Words:
    """Return `num` random 32-bit words: those from `start` on of the sequence that `seed` names."""
    key = _mixed(np.array([seed ^ 0x9E3779B9], dtype=np.uint32))
    return _mixed(_mixed(np.arange(start, start + num, dtype=np.uint64).astype(np.uint32)) ^ key)


def _mixed(words: Words) -> Words:
    """MurmurHash3's finalizer (Appleby 2011, public domain)."""
    words = (words ^ (words >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    words = (words ^ (words >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return words ^ (words >> np.uint32(16))


def bounds(log_policy: Floats) -> Floats:
    """Return the policy's cumulative probabilities (arms,), each times 2^32: a word below the first is arm 0."""
    upto = np.floor(np.cumsum(np.exp(log_policy)) * 2.0**32)
    upto[-1] = 2.0**32  # whatever rounding left of it
    return upto


@dataclass(frozen=True)
class Pairs:
    """Labelled pairs, counted."""

    wins: Floats
    """(arms, arms): how often the row was preferred to the column."""
    num_same: int
    """Pairs of an arm with itself: there is nothing to prefer, and they get no label."""

    @property
    def num_labelled(self) -> int:
        """Pairs of two different arms."""
        return int(self.wins.sum())

    @property
    def num_wrong(self) -> int:
        """Labels that prefer the worse arm."""
        return int(np.triu(self.wins).sum())


def draw_pairs(config: Config, log_student: Floats) -> Pairs:
    """Draw pairs from the student, and a label for each from the critic."""
    words = random_words(config.seed, 0, 3 * config.num_pairs).reshape(-1, 3)
    upto = bounds(log_student)
    first, second = (np.searchsorted(upto, words[:, side], side="right") for side in (0, 1))
    num = config.num_arms
    first_wins = words[:, 2] < preferred(config)[first - second + num - 1] * 2.0**32
    winner, loser = np.where(first_wins, first, second), np.where(first_wins, second, first)
    wins = np.bincount(winner * num + loser, minlength=num * num).reshape(num, num).astype(np.float64)
    num_same = int(np.trace(wins))
    np.fill_diagonal(wins, 0)
    return Pairs(wins, num_same)


def preferred(config: Config) -> Floats:
    """Return the chance that an arm is labelled better, by its lead: entry d + arms - 1 is for a lead of d."""
    lead = np.arange(1 - config.num_arms, config.num_arms, dtype=np.float64)
    if config.temperature > 0:
        scaled = np.clip(lead / config.temperature, -700, 700)  # where exp is still a number
        right = 1 / (1 + np.exp(-scaled))
    else:
        right = (lead > 0).astype(np.float64)
    return config.label_noise + (1 - 2 * config.label_noise) * right


def draw_samples(config: Config, log_teachers: Floats) -> Floats:
    """Draw from each teacher (teachers, arms) with the same random words; return the share of each arm."""
    words = np.sort(random_words(config.seed, _TEACHER, config.num_samples))
    upto = [np.searchsorted(words, bounds(teacher), side="left") for teacher in log_teachers]
    return np.diff(np.array(upto), axis=1, prepend=0) / config.num_samples
