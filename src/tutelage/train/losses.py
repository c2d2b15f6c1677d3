"""What is minimised, as pure functions: one number per pair from log-probabilities, nothing of models or batches.

s(x) is -log sigmoid(x) throughout.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor

DPOLoss = Literal["sigmoid", "ipo", "ipo_mean", "cdpo", "rdpo", "robust"]
_NEAREST_TO_CERTAIN = -torch.finfo(torch.float32).eps
"""Token log-probabilities are float32: one nearer to 0 is rounding, and 1 - p of it is noise."""


def dpo_losses(margin: Tensor, name: DPOLoss, beta: float, label_noise: float = 0.0) -> Tensor:
    """Return the loss of each pair, (B,).

    With e = `label_noise`, the share of labels that are taken to be wrong:

    sigmoid: s(beta m), Rafailov et al. 2023 (arXiv 2305.18290), equation 7.
    ipo: (m - 1/(2 beta))^2 on summed log-probabilities, Azar et al. 2023 (arXiv 2310.12036), eq. 17.
    ipo_mean: the same on log-probabilities per token: the margin is then that of means, as TRL has it.
    cdpo: (1 - e) s(beta m) + e s(-beta m), Mitchell 2023, "A note on DPO with noisy preferences".
    rdpo: ((1 - e) s(beta m) - e s(-beta m)) / (1 - 2e), Chowdhury et al. 2024 (arXiv 2403.00409), eq. 12.
    robust: cdpo / beta, as the original research code has it (so e = 0 is sigmoid / beta).

    Args:
        margin: m, log(policy / reference) of the chosen completion minus that of the rejected one, (B,).
    """
    if name in ("ipo", "ipo_mean"):
        return (margin - 1 / (2 * beta)) ** 2
    right, wrong = -F.logsigmoid(beta * margin), -F.logsigmoid(-beta * margin)
    if name == "sigmoid":
        return right
    if name == "rdpo":
        return ((1 - label_noise) * right - label_noise * wrong) / (1 - 2 * label_noise)
    mixed = (1 - label_noise) * right + label_noise * wrong
    return mixed if name == "cdpo" else mixed / beta


def simpo_losses(chosen: Tensor, rejected: Tensor, beta: float, gamma: float) -> Tensor:
    """Return s(beta (c - r) - gamma), (B,): Meng et al. 2024 (arXiv 2405.14734), equation 6.

    Args:
        chosen, rejected: c and r, log-probabilities per token of both completions, (B,).
        gamma: the margin that the rewards beta c and beta r are to keep; in the authors' later settings
            `gamma_beta_ratio` times beta, in TRL `simpo_gamma`.
    """
    return -F.logsigmoid(beta * (chosen - rejected) - gamma)


def log_odds(logps: Tensor) -> Tensor:
    """Return log(p / (1 - p)) of log p, (B,), exact for p near 0 and near 1.

    log(1 - p) is log1p(-p), from p = 1/2 on log(-expm1(log p)) (Mächler 2012, "Accurately computing log(1 -
    exp(-|a|))").
    A p that float32 cannot tell from 1 counts as the nearest that it can, without a gradient.
    """
    logps = logps.clamp(max=_NEAREST_TO_CERTAIN)
    near_1 = logps > -0.693
    # of the branch that is not taken the gradient must be finite too: infinity times 0 is no number
    small, large = torch.where(near_1, -1.0, logps), torch.where(near_1, logps, -0.5)
    return logps - torch.where(near_1, torch.log(-torch.expm1(large)), torch.log1p(-torch.exp(small)))


def odds_ratio_losses(chosen: Tensor, rejected: Tensor) -> Tensor:
    """Return s(log odds of c - log odds of r), (B,): Hong et al. 2024 (arXiv 2403.07691), equation 7.

    Args:
        chosen, rejected: c and r, log-probabilities per token of both completions, (B,).
    """
    return -F.logsigmoid(log_odds(chosen) - log_odds(rejected))


def kto_losses(
    chosen: Tensor,
    rejected: Tensor,
    beta: float,
    z0: tuple[float, float],
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Tensor:
    """Return the loss of each pair, (B,): the mean of lambda - v over its two examples.

    Ethayarajh et al. 2024 (arXiv 2402.01306), equations 7 and 8: v is lambda_D sigmoid(beta (c - z0)) of the
    desirable example and lambda_U sigmoid(beta (z0 - r)) of the undesirable one.

    Args:
        chosen, rejected: c and r, log(policy / reference) of both completions, (B,).
        z0: what gains and losses are counted from, for chosen and for rejected completions; no gradient.
        desirable_weight, undesirable_weight: lambda_D and lambda_U.
    """
    desirable = desirable_weight * torch.sigmoid(-beta * (chosen - z0[0]))  # 1 - sigmoid(x) is sigmoid(-x)
    undesirable = undesirable_weight * torch.sigmoid(-beta * (z0[1] - rejected))
    return (desirable + undesirable) / 2


def reward_losses(score_chosen: Tensor, score_rejected: Tensor) -> Tensor:
    """Return s(r_chosen - r_rejected), (B,): Bradley-Terry, Ouyang et al. 2022, equation 1."""
    return -F.logsigmoid(score_chosen - score_rejected)
