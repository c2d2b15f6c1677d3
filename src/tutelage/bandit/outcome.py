"""What came of it: policies, their rewards, the sweep over teachers, and the sentences that follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tutelage.bandit.learn import bradley_terry, sft, tilted
from tutelage.bandit.settings import Config
from tutelage.bandit.world import Floats, draw_pairs, draw_samples, log_curve

Tree = dict[str, Any]
POLICIES = ("student", "teacher", "rlaif", "sft")
_LEVEL = 0.05
"""Rewards closer than this look the same with one digit."""


def outcome(config: Config) -> Tree:
    """Run the experiment; return what bandit.json holds, numbers with ten digits."""
    log_student = log_curve(config.num_arms, config.student_peak, config.student_width)
    peaks = [config.teacher_peak, *(config.student_peak + gap for gap in config.gaps)]
    log_teachers = np.array([log_curve(config.num_arms, peak, config.teacher_width) for peak in peaks])
    pairs, shares = draw_pairs(config, log_student), draw_samples(config, log_teachers)
    reward = bradley_terry(pairs.wins, config.reward_lr, config.reward_steps)
    log_sft = sft(shares, config.sft_lr, config.sft_steps)
    log_policies = dict(
        zip(
            POLICIES,
            (log_student, log_teachers[0], tilted(log_student, reward, config.beta), log_sft[0]),
            strict=True,
        )
    )
    expected = {name: expected_reward(policy) for name, policy in log_policies.items()}
    sweep = [
        {"gap": gap, "sft": expected_reward(policy), "teacher": expected_reward(teacher)}
        for gap, policy, teacher in zip(config.gaps, log_sft[1:], log_teachers[1:], strict=True)
    ]
    found: Tree = {
        "settings": config.identity(),
        "counts": {
            "pairs labelled": pairs.num_labelled,
            "pairs of one arm, without a label": pairs.num_same,
            "labels that prefer the worse arm": pairs.num_wrong,
            "samples of the teacher": config.num_samples,
        },
        "expected_reward": expected,
        "kl_from_student": {name: kl(policy, log_student) for name, policy in log_policies.items()},
        "likeliest_arm": {name: int(policy.argmax()) for name, policy in log_policies.items()},
        "total_variation": _distances(config, log_policies, shares[0]),
        "sweep": sweep,
        "crossing": crossing([p["gap"] for p in sweep], [p["sft"] for p in sweep], expected["rlaif"]),
        "learned_reward": reward.tolist(),
        "policies": {name: np.exp(policy).tolist() for name, policy in log_policies.items()},
    }
    found["says"] = sentences(found)
    rounded: Tree = _rounded(found)
    return rounded


def expected_reward(log_policy: Floats) -> float:
    """Return the true reward that a policy gets on average: its mean arm."""
    return float(np.exp(log_policy) @ np.arange(len(log_policy)))


def kl(log_policy: Floats, log_other: Floats) -> float:
    """Return KL(policy || other) in nats."""
    return float(np.exp(log_policy) @ (log_policy - log_other))


def total_variation(policy: Floats, other: Floats) -> float:
    """Return half the sum of the absolute differences: 0 for the same policy, 1 for no arm in common."""
    return float(0.5 * np.abs(policy - other).sum())


def crossing(gaps: Sequence[float], sft_rewards: Sequence[float], feedback: float) -> float | None:
    """Return the gap from which on SFT is ahead of feedback, between two teachers by a straight line.

    None if SFT is ahead with all teachers, or with none.
    """
    for left, right in zip(range(len(gaps) - 1), range(1, len(gaps)), strict=True):
        if sft_rewards[left] <= feedback < sft_rewards[right]:
            share = (feedback - sft_rewards[left]) / (sft_rewards[right] - sft_rewards[left])
            return gaps[left] + share * (gaps[right] - gaps[left])
    return None


def _distances(config: Config, log_policies: dict[str, Floats], shares: Floats) -> Tree:
    """How far the policies are from where more data and more steps would take them; None: there is no such place."""
    policies = {name: np.exp(policy) for name, policy in log_policies.items()}
    limit = None
    if config.temperature > 0 and config.label_noise == 0:  # else the labels follow no Bradley-Terry model
        true_reward = np.arange(config.num_arms) / config.temperature
        limit = np.exp(tilted(log_policies["student"], true_reward, config.beta))
    return {
        "feedback from the student tilted by the true reward": None
        if limit is None
        else total_variation(policies["rlaif"], limit),
        "SFT from the teacher's samples": total_variation(policies["sft"], shares),
        "SFT from the teacher": total_variation(policies["sft"], policies["teacher"]),
    }


def _rounded(value: Any) -> Any:
    """Ten digits: what follows depends on the processor."""
    if isinstance(value, float):
        return float(f"{value:.10g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


# ---- in words (report/bandit_model.js says the same) ------------------------------------------------


def sentences(found: Tree) -> list[str]:
    """Return what the numbers say."""
    return [_who_is_ahead(found), _where_sft_overtakes(found), _what_was_learnt(found)]


def _who_is_ahead(found: Tree) -> str:
    student, rlaif, taught = (found["expected_reward"][name] for name in ("student", "rlaif", "sft"))
    moved = "lifts" if rlaif > student + _LEVEL else "lowers" if rlaif < student - _LEVEL else "hardly moves"
    ahead = rlaif - taught
    lead = "the two are level"
    if abs(ahead) >= _LEVEL:
        lead = f"{'feedback' if ahead > 0 else 'SFT'} is ahead by {abs(ahead):.1f}"
    return (
        f"Feedback {moved} the student's expected reward from {student:.1f} to {rlaif:.1f} (the best arm has "
        f"{found['settings']['num_arms'] - 1}); SFT on the teacher's samples reaches {taught:.1f}: {lead}."
    )


def _where_sft_overtakes(found: Tree) -> str:
    gap = found["settings"]["teacher_peak"] - found["settings"]["student_peak"]
    here = f"this teacher's is {abs(gap):.1f} {'below' if gap < 0 else 'above'}"
    if found["crossing"] is not None:
        overtaken = f"{found['crossing']:.1f} arms above the student's"
        return f"SFT overtakes feedback once the teacher's peak is {overtaken}; {here}."
    last = found["sweep"][-1]
    ahead = "SFT" if last["sft"] > found["expected_reward"]["rlaif"] else "Feedback"
    return (
        f"{ahead} is ahead with every teacher of the sweep, whose peaks go up to {last['gap']:.1f} arms above the "
        f"student's; {here}."
    )


def _what_was_learnt(found: Tree) -> str:
    settings, reward = found["settings"], found["learned_reward"]
    if found["counts"]["pairs labelled"] == 0 or settings["reward_steps"] == 0:
        return "Nothing was learnt from feedback: no pair had two different arms, or no step was taken."
    best = settings["num_arms"] - 1
    peak = reward.index(max(reward))
    if peak == best:
        return f"The learned reward is highest at the best arm, {best}."
    above = 100 * sum(found["policies"]["student"][peak + 1 :])
    return (
        f"The learned reward is highest at arm {peak} ({reward[peak]:.2f}) and {reward[best]:.2f} at arm {best}, the "
        f"best: the arms above {peak} make {above:.1f} % of the student's samples, and the rarer an arm, the less "
        f"{settings['reward_steps']:,} steps moved it from 0."
    )
