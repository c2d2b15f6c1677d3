"""What is minimised, as pure functions, and how a micro-batch adds its share to it.

An objective is called with a micro-batch and the whole batch it belongs to; its value is already divided
by what the whole batch is divided by, so that the sum over micro-batches is exact for any split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor

from tutelage.train.encode import Example
from tutelage.train.logps import collate, sum_logps, token_logps

LossName = Literal["sigmoid", "ipo"]


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
    def num_tokens(self) -> int:
        """Padded size of the pair."""
        return 2 * max(self.chosen.num_tokens, self.rejected.num_tokens)


def dpo_losses(log_ratio_chosen: Tensor, log_ratio_rejected: Tensor, name: LossName, beta: float) -> Tensor:
    """Return the loss of each pair from log(policy / reference) of whole completions, all (B,).

    sigmoid: -log sigmoid(beta * margin), Rafailov et al. 2023 (arXiv 2305.18290), equation 7.
    ipo: (margin - 1/(2 beta))^2 on summed log-probabilities, Azar et al. 2023 (arXiv 2310.12036), eq. 17.
    """
    margin = log_ratio_chosen - log_ratio_rejected
    if name == "sigmoid":
        return -F.logsigmoid(beta * margin)
    return (margin - 1 / (2 * beta)) ** 2


def reward_losses(score_chosen: Tensor, score_rejected: Tensor) -> Tensor:
    """Return -log sigmoid(r_chosen - r_rejected), (B,): Bradley-Terry, Ouyang et al. 2022, equation 1."""
    return -F.logsigmoid(score_chosen - score_rejected)


def sft_objective(model: Any, micro: Sequence[Example], batch: Sequence[Example]) -> tuple[Tensor, dict[str, float]]:
    """Mean negative log-probability per completion token over the whole batch."""
    num_labels = sum(len(e.completion_ids) for e in batch)
    logps = token_logps(model, collate(micro, model.device))
    loss = -logps.double().sum() / num_labels
    return loss, {}


@dataclass(frozen=True)
class DPOObjective:
    """Weighted mean of `dpo_losses` over the whole batch."""

    name: LossName
    beta: float

    def __call__(
        self, model: Any, micro: Sequence[PairExample], batch: Sequence[PairExample]
    ) -> tuple[Tensor, dict[str, float]]:
        both = [p.chosen for p in micro] + [p.rejected for p in micro]
        chosen, rejected = sum_logps(model, collate(both, model.device)).chunk(2)
        device = chosen.device
        ratio_chosen = chosen - torch.tensor([p.reference_chosen for p in micro], device=device).double()
        ratio_rejected = rejected - torch.tensor([p.reference_rejected for p in micro], device=device).double()
        weight = torch.tensor([p.weight for p in micro], device=device).double() / sum(p.weight for p in batch)
        loss = (dpo_losses(ratio_chosen, ratio_rejected, self.name, self.beta) * weight).sum()
        rewards = self.beta * ratio_chosen.detach(), self.beta * ratio_rejected.detach()
        share = 1 / len(batch)
        metrics = {
            "rewards/chosen": rewards[0].sum() * share,
            "rewards/rejected": rewards[1].sum() * share,
            "rewards/margins": (rewards[0] - rewards[1]).sum() * share,
            "rewards/accuracies": (rewards[0] > rewards[1]).double().sum() * share,
            "logps/chosen": chosen.detach().sum() * share,
            "logps/rejected": rejected.detach().sum() * share,
        }
        return loss, {name: float(value) for name, value in metrics.items()}


def reward_objective(
    model: Any, micro: Sequence[PairExample], batch: Sequence[PairExample]
) -> tuple[Tensor, dict[str, float]]:
    """Weighted mean of `reward_losses` over the whole batch, and the share ranked rightly."""
    examples = [p.chosen for p in micro] + [p.rejected for p in micro]
    both = collate(examples, model.device, pad=model.config.pad_token_id)
    chosen, rejected = reward_scores(model, both).chunk(2)
    weight = torch.tensor([p.weight for p in micro], device=chosen.device) / sum(p.weight for p in batch)
    loss = (reward_losses(chosen, rejected) * weight).sum()
    right = float((chosen > rejected).double().sum()) / len(batch)
    return loss, {"rewards/accuracies": right}


def reward_scores(model: Any, batch: Any) -> Tensor:
    """Return the score of each sequence, (B,) float32."""
    logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False).logits
    scores: Tensor = logits[:, 0].float()
    return scores
