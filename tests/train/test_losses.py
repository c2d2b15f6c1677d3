"""The pure losses: values worked out by hand, gradients against differences, and their limits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tutelage.train.losses import dpo_losses, kto_losses, log_odds, odds_ratio_losses, reward_losses, simpo_losses


def doubles(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_simpo_worked_out_by_hand() -> None:
    """-10 over 5 tokens is -2, -12 over 8 is -1.5: x = 2 (-2 + 1.5) - 1 = -2, and s(-2) = log(1 + e^2)."""
    found = simpo_losses(doubles(-10 / 5), doubles(-12 / 8), beta=2.0, gamma=1.0)
    assert float(found) == pytest.approx(2.126928, abs=1e-6)


def test_simpo_at_its_margin_has_loss_log_2() -> None:
    """Rewards beta c = -1 and beta r = -2 are gamma = 1 apart."""
    assert float(simpo_losses(doubles(-0.5), doubles(-1.0), 2.0, 1.0)) == pytest.approx(math.log(2))


def test_the_odds_ratio_worked_out_by_hand() -> None:
    """p = 1/2 and 1/4 have odds 1 and 1/3: the ratio is 3, and -log(3 / (1 + 3)) = log(4/3)."""
    found = odds_ratio_losses(doubles(math.log(0.5)), doubles(math.log(0.25)))
    assert float(found) == pytest.approx(math.log(4 / 3), abs=1e-12)


@given(st.floats(1e-300, 1 - 1e-6))
def test_log_odds_are_exact_for_any_probability(p: float) -> None:
    logp = math.log(p)
    # 1 - p of the logarithm's own rounding, not of p's
    wanted = logp - (math.log1p(-math.exp(logp)) if p < 0.5 else math.log(-math.expm1(logp)))
    assert float(log_odds(doubles(logp))) == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_log_odds_do_not_cancel_near_certainty() -> None:
    """1 - exp(-1e-6) is 1e-6 - 5e-13; in double precision 1 - p alone would have ten digits, in float32 one."""
    assert float(log_odds(doubles(-1e-6))) == pytest.approx(-1e-6 - math.log(1e-6 - 5e-13), abs=1e-11)


@pytest.mark.parametrize("certain", [0.0, -1e-12, -1e-30])
def test_a_certain_completion_has_a_finite_odds_ratio_and_gradient(certain: float) -> None:
    """Greedy completions of an overfitted model have p = 1 in float32: infinite odds, and 0 times infinity."""
    for values in ((certain, -1.0), (-1.0, certain), (certain, certain)):
        chosen, rejected = (doubles(v).requires_grad_() for v in values)
        loss = odds_ratio_losses(chosen, rejected).sum()
        loss.backward()
        assert math.isfinite(float(loss.detach()))
        assert all(math.isfinite(float(t.grad)) for t in (chosen, rejected))  # type: ignore[arg-type]
    assert float(odds_ratio_losses(doubles(certain), doubles(-1.0))) == pytest.approx(0, abs=1e-6)


def test_an_impossible_completion_has_a_finite_gradient() -> None:
    chosen, rejected = (doubles(v).requires_grad_() for v in (-2000.0, -1.0))
    odds_ratio_losses(chosen, rejected).sum().backward()
    assert (float(chosen.grad), math.isfinite(float(rejected.grad))) == (-1.0, True)  # type: ignore[arg-type]


def test_kto_worked_out_by_hand() -> None:
    """beta (c - z) = .1 (1 - 0) and beta (z - r) = .1 (2 + .5): half of 1/(1 + e^.1) and of 1.5/(1 + e^.25)."""
    found = kto_losses(doubles(1.0), doubles(-0.5), 0.1, (0.0, 2.0), 1.0, 1.5)
    wanted = (1 / (1 + math.exp(0.1)) + 1.5 / (1 + math.exp(0.25))) / 2
    assert wanted == pytest.approx((0.475021 + 0.656735) / 2, abs=1e-6)
    assert float(found) == pytest.approx(wanted, abs=1e-12)


def test_kto_of_a_policy_equal_to_its_reference_is_half_the_mean_weight() -> None:
    zero = doubles(0.0)
    assert float(kto_losses(zero, zero, 0.1, (0.0, 0.0))) == 0.5
    assert float(kto_losses(zero, zero, 0.1, (0.0, 0.0), 1.0, 3.0)) == 1.0


def test_kto_saturates_for_what_is_far_better_or_worse_than_its_point() -> None:
    """So an example that is hopeless, or learnt, moves the weights no more."""
    for far, loss in ((1000.0, 0.0), (-1000.0, 1.0)):
        chosen = doubles(far).requires_grad_()
        found = kto_losses(chosen, doubles(-far), 1.0, (0.0, 0.0))
        found.sum().backward()
        assert (float(found.detach()), float(chosen.grad)) == (loss, 0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "loss",
    [
        *(lambda c, r, name=name: dpo_losses(c - r, name, 0.3, 0.1) for name in ("sigmoid", "ipo", "cdpo")),
        *(lambda c, r, name=name: dpo_losses(c - r, name, 0.3, 0.1) for name in ("ipo_mean", "rdpo", "robust")),
        lambda c, r: simpo_losses(c, r, 2.0, 1.0),
        odds_ratio_losses,
        lambda c, r: kto_losses(c, r, 0.5, (0.3, 0.1), 1.0, 1.5),
        reward_losses,
    ],
)
def test_gradients_are_those_of_differences(loss: Callable[..., Any]) -> None:
    chosen = doubles(-0.05, -0.6, -0.7, -2.0, -30.0).requires_grad_()
    rejected = doubles(-1.0, -0.69, -0.02, -5.0, -1.5).requires_grad_()
    assert torch.autograd.gradcheck(loss, (chosen, rejected))
