"""What is minimised, as pure functions, and how a micro-batch adds its share to it.

An objective is called with a scorer, a micro-batch and the whole batch it belongs to; its value is already
divided by what the whole batch is divided by, so that the sum over micro-batches is exact for any split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor

from tutelage.train.encode import Example
from tutelage.train.scorer import Scorer

LossName = Literal["sigmoid", "ipo", "ipo_mean", "cdpo", "rdpo", "robust"]
SFTLoss = Literal["token_mean", "example_sum"]


@dataclass(frozen=True)
class PairExample:
    """A preference, encoded, with the log-probabilities the reference gives both completions."""

    id: str
    chosen: Example
    rejected: Example
    weight: float = 1.0
    reference_chosen: float = 0.0
    reference_rejected: float = 0.0

    @property
    def prompt_id(self) -> str:
        """The prompt both sides answer."""
        return self.chosen.prompt_id

    @property
    def branches(self) -> tuple[Example, Example]:
        """Chosen and rejected: two completions of one prompt."""
        return self.chosen, self.rejected

    @property
    def num_tokens(self) -> int:
        """Tokens of the prompt, once, and of both completions."""
        return self.chosen.num_tokens + len(self.rejected.completion_ids)


def dpo_losses(margin: Tensor, name: LossName, beta: float, label_noise: float = 0.0) -> Tensor:
    """Return the loss of each pair, (B,).

    With s(x) = -log sigmoid(x) and e = `label_noise`, the share of labels that are taken to be wrong:

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


def reward_losses(score_chosen: Tensor, score_rejected: Tensor) -> Tensor:
    """Return -log sigmoid(r_chosen - r_rejected), (B,): Bradley-Terry, Ouyang et al. 2022, equation 1."""
    return -F.logsigmoid(score_chosen - score_rejected)


@dataclass(frozen=True)
class SFTObjective:
    """Negative log-probability of the completions.

    token_mean: per completion token over the whole batch. example_sum: summed over the tokens of an example and
    averaged over examples, as the original research code has it, so that a long completion counts for more.
    """

    name: SFTLoss = "token_mean"

    def __call__(
        self, scorer: Scorer, micro: Sequence[Example], batch: Sequence[Example]
    ) -> tuple[Tensor, dict[str, float]]:
        num_labels = sum(len(e.completion_ids) for e in batch)
        total = -scorer(micro).sum()
        loss = total / (num_labels if self.name == "token_mean" else len(batch))
        return loss, {"nll_per_token": float(total.detach()) / num_labels}


@dataclass(frozen=True)
class DPOObjective:
    """Weighted mean of `dpo_losses` over the whole batch, with the original's three options.

    reference_free: the loss (not the metrics) compares the policy's own log-probabilities.
    importance_correction: each loss is multiplied by policy / reference of the rejected completion, detached.
    sft_reg: so many times the negative log-probability of the chosen completion is added to each loss.
    """

    name: LossName
    beta: float
    label_noise: float = 0.0
    reference_free: bool = False
    importance_correction: bool = False
    sft_reg: float = 0.0

    def __call__(
        self, scorer: Scorer, micro: Sequence[PairExample], batch: Sequence[PairExample]
    ) -> tuple[Tensor, dict[str, float]]:
        chosen, rejected = scorer(micro).unbind(1)

        def column(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, device=chosen.device, dtype=torch.float64)

        references = column([p.reference_chosen for p in micro]), column([p.reference_rejected for p in micro])
        lengths = (
            column([len(p.chosen.completion_ids) for p in micro]),
            column([len(p.rejected.completion_ids) for p in micro]),
        )
        losses = self.losses(chosen, rejected, *references, *lengths)
        weight = column([p.weight for p in micro]) / sum(p.weight for p in batch)
        metrics = self._metrics(chosen.detach(), rejected.detach(), *references, lengths[0])
        return (losses * weight).sum(), {name: float(value.sum()) / len(batch) for name, value in metrics.items()}

    def losses(
        self,
        chosen: Tensor,
        rejected: Tensor,
        reference_chosen: Tensor,
        reference_rejected: Tensor,
        num_chosen: Tensor,
        num_rejected: Tensor,
    ) -> Tensor:
        """Return the loss of each pair from summed log-probabilities and numbers of completion tokens, all (B,)."""
        own = (
            (chosen, rejected) if self.reference_free else (chosen - reference_chosen, rejected - reference_rejected)
        )
        if self.name == "ipo_mean":
            own = own[0] / num_chosen, own[1] / num_rejected
        found = dpo_losses(own[0] - own[1], self.name, self.beta, self.label_noise)
        if self.importance_correction:
            found = found * (rejected - reference_rejected).detach().exp()
        return found - self.sft_reg * chosen if self.sft_reg else found

    def _metrics(
        self,
        chosen: Tensor,
        rejected: Tensor,
        reference_chosen: Tensor,
        reference_rejected: Tensor,
        num_chosen: Tensor,
    ) -> dict[str, Tensor]:
        """Return what is logged of each pair, (B,); means over the batch are made of it."""
        ratios = chosen - reference_chosen, rejected - reference_rejected
        return {
            "rewards/chosen": self.beta * ratios[0],
            "rewards/rejected": self.beta * ratios[1],
            "rewards/margins": self.beta * (ratios[0] - ratios[1]),
            "rewards/accuracies": (ratios[0] > ratios[1]).double(),
            "log_ratios/chosen": ratios[0],
            "log_ratios/rejected": ratios[1],
            "logps/chosen": chosen,
            "logps/rejected": rejected,
            "logps/reference_chosen": reference_chosen,
            "logps/reference_rejected": reference_rejected,
            "nll_per_token/chosen": -chosen / num_chosen,
            "importance_weights/rejected": ratios[1].exp(),
        }


def reward_objective(
    scorer: Scorer, micro: Sequence[PairExample], batch: Sequence[PairExample]
) -> tuple[Tensor, dict[str, float]]:
    """Weighted mean of `reward_losses` over the whole batch, and the share ranked rightly."""
    chosen, rejected = scorer(micro).unbind(1)
    weight = torch.tensor([p.weight for p in micro], device=chosen.device) / sum(p.weight for p in batch)
    loss = (reward_losses(chosen, rejected) * weight).sum()
    right = float((chosen > rejected).double().sum()) / len(batch)
    return loss, {"rewards/accuracies": right}
