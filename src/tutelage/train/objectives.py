"""How a micro-batch adds its share to the loss of a batch, and what is logged of it.

An objective is called with a scorer, a micro-batch and the whole batch it belongs to; its value is already
divided by what the whole batch is divided by, so that the sum over micro-batches is exact for any split. One
that has to know something of the whole batch first has a method `prepare`. `shown` names the metrics that are
worth a look while it trains, with the words for them. Losses are weighted means, metrics plain means.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from tutelage.train import parallel
from tutelage.train.columns import column
from tutelage.train.encode import Example
from tutelage.train.losses import (
    DPOLoss,
    dpo_losses,
    kto_losses,
    log_odds,
    odds_ratio_losses,
    reward_losses,
    simpo_losses,
)
from tutelage.train.pairs import PairExample, Scored
from tutelage.train.scorer import Scorer

SFTLoss = Literal["token_mean", "example_sum"]
Shown = tuple[tuple[str, str], ...]
_ACCURACY = ("rewards/accuracies", "accuracy")


@dataclass(frozen=True)
class SFTObjective:
    """Negative log-probability of the completions, of their tokens that carry loss.

    token_mean: per such token over the whole batch. example_sum: summed over the tokens of an example and
    averaged over examples, as the original research code has it, so that a long completion counts for more.
    """

    name: SFTLoss = "token_mean"

    def __call__(
        self, scorer: Scorer, micro: Sequence[Example], batch: Sequence[Example]
    ) -> tuple[Tensor, dict[str, float]]:
        num_labels = int(column(batch, "num_labels").sum())
        total = -scorer(micro).sum()
        loss = total / (num_labels if self.name == "token_mean" else len(batch))
        return loss, {"nll_per_token": float(total.detach()) / num_labels}


@dataclass(frozen=True)
class PreferenceObjective(ABC):
    """A loss on pairs, and what is logged of every one of them.

    end_id: the end-of-turn token, for the share of completions that end with it; None: that is left out.
    """

    end_id: int | None = field(default=None, kw_only=True)
    needs_reference: ClassVar[bool] = True
    shown: ClassVar[Shown] = (_ACCURACY, ("log_ratios/chosen", "log-ratio of chosen"))

    def __call__(
        self, scorer: Scorer, micro: Sequence[PairExample], batch: Sequence[PairExample]
    ) -> tuple[Tensor, dict[str, float]]:
        scored = Scored.of(scorer(micro), micro, batch)
        loss = self.loss(scored, batch)
        scored = scored.detached()
        columns = self.metrics(scored) | self._of_rewards(scored) | self._of_pairs(scored, micro)
        sums = torch.stack(list(columns.values())).sum(1).tolist()  # one wait for the device, not one each
        return loss, {name: value / len(batch) for name, value in zip(columns, sums, strict=True)}

    def loss(self, scored: Scored, batch: Sequence[PairExample]) -> Tensor:
        """Return what the micro-batch adds to the loss of the batch, a scalar."""
        return (self.losses(scored) * scored.weight).sum()

    @abstractmethod
    def losses(self, scored: Scored) -> Tensor:
        """Return the loss of each pair, (B,)."""

    @abstractmethod
    def rewards(self, scored: Scored) -> tuple[Tensor, Tensor]:
        """Return what the loss makes large for chosen and small for rejected, (B,) each."""

    def metrics(self, scored: Scored) -> dict[str, Tensor]:
        """Return what is logged of each pair against the reference, (B,); nothing where there is none.

        kl/reference_to_policy estimates KL(reference || policy) of a completion if the reference sampled both.
        """
        if not self.needs_reference:
            return {}
        chosen, rejected = scored.log_ratios
        return {
            "log_ratios/chosen": chosen,
            "log_ratios/rejected": rejected,
            "kl/reference_to_policy": -(chosen + rejected) / 2,
            "logps/reference_chosen": scored.reference_chosen,
            "logps/reference_rejected": scored.reference_rejected,
            "importance_weights/rejected": rejected.exp(),
        }

    def _of_rewards(self, scored: Scored) -> dict[str, Tensor]:
        chosen, rejected = self.rewards(scored)
        return {
            "rewards/chosen": chosen,
            "rewards/rejected": rejected,
            "rewards/margins": chosen - rejected,
            "rewards/accuracies": (chosen > rejected).double(),
        }

    def _of_pairs(self, scored: Scored, micro: Sequence[PairExample]) -> dict[str, Tensor]:
        found = {
            "logps/chosen": scored.chosen,
            "logps/rejected": scored.rejected,
            "nll_per_token/chosen": -scored.per_token[0],
            "length/chosen": scored.num_chosen,
            "length/rejected": scored.num_rejected,
        }
        if self.end_id is not None:
            for side, which in (("chosen", [p.chosen for p in micro]), ("rejected", [p.rejected for p in micro])):
                ended = [float(e.completion_ids[-1:] == (self.end_id,)) for e in which]
                found[f"ended/{side}"] = scored.chosen.new_tensor(ended)
        return found


@dataclass(frozen=True)
class DPOObjective(PreferenceObjective):
    """Weighted mean of `dpo_losses` over the whole batch, with the original's three options.

    reference_free: the loss (not the metrics) compares the policy's own log-probabilities.
    importance_correction: each loss is multiplied by policy / reference of the rejected completion, detached.
    sft_reg: so many times the negative log-probability of the chosen completion is added to each loss.
    """

    name: DPOLoss
    beta: float
    label_noise: float = 0.0
    reference_free: bool = False
    importance_correction: bool = False
    sft_reg: float = 0.0

    def losses(self, scored: Scored) -> Tensor:
        """Return the loss of each pair, (B,)."""
        own = (scored.chosen, scored.rejected) if self.reference_free else scored.log_ratios
        if self.name == "ipo_mean":
            own = own[0] / scored.num_chosen, own[1] / scored.num_rejected
        found = dpo_losses(own[0] - own[1], self.name, self.beta, self.label_noise)
        if self.importance_correction:
            found = found * scored.log_ratios[1].detach().exp()
        return found - self.sft_reg * scored.chosen if self.sft_reg else found

    def rewards(self, scored: Scored) -> tuple[Tensor, Tensor]:
        """Return beta log(policy / reference), (B,) each."""
        chosen, rejected = scored.log_ratios
        return self.beta * chosen, self.beta * rejected


@dataclass(frozen=True)
class KTOObjective(PreferenceObjective):
    """Weighted mean of `kto_losses`: each pair is a desirable and an undesirable example.

    z0 is what the authors' first version for pairs has (SimpleKTOTrainer of HALOs, TRL's former kto_pair), but
    detached: the mean log(policy / reference) of the batch's rejected completions for the chosen ones, that of
    the chosen for the rejected ones, neither below 0. The paper's estimate is of mismatched completions (x_i,
    y_i+1), one for both sides, whose log-probabilities would be one more pass of the reference as well.
    """

    beta: float
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0
    z0: tuple[float, float] | None = None

    @torch.no_grad()
    def prepare(
        self, scorer: Scorer, ours: Sequence[Sequence[PairExample]], batch: Sequence[PairExample]
    ) -> KTOObjective:
        """Return the objective for `batch`, whose z0 takes a pass over it without gradients.

        Args:
            ours: this process's micro-batches, as many as any other's; some may be empty.
        """
        means = torch.zeros(2, dtype=torch.float64)
        for micro in ours:
            # with nothing to do a process still goes along, as sharded weights are gathered by all of them
            scored = Scored.of(scorer(micro or batch[:1]), micro or batch[:1], batch)
            if micro:
                means += (torch.stack(scored.log_ratios) * scored.weight).sum(1).cpu()
        found = parallel.sums({"chosen": float(means[0]), "rejected": float(means[1])})
        return replace(self, z0=(max(found["rejected"], 0.0), max(found["chosen"], 0.0)))

    def losses(self, scored: Scored) -> Tensor:
        """Return the loss of each pair, (B,).

        Raises:
            ValueError: not prepared for the batch.
        """
        if self.z0 is None:
            raise ValueError("z0 is of a batch: call what `prepare` returns")
        weights = self.desirable_weight, self.undesirable_weight
        return kto_losses(*scored.log_ratios, self.beta, self.z0, *weights)

    def rewards(self, scored: Scored) -> tuple[Tensor, Tensor]:
        """Return beta log(policy / reference), (B,) each."""
        chosen, rejected = scored.log_ratios
        return self.beta * chosen, self.beta * rejected

    def metrics(self, scored: Scored) -> dict[str, Tensor]:
        """Return what is logged of each pair, (B,), and z0."""
        z0 = scored.chosen.new_tensor(self.z0).expand(len(scored.chosen), 2)
        return super().metrics(scored) | {"z0/chosen": z0[:, 0], "z0/rejected": z0[:, 1]}


@dataclass(frozen=True)
class SimPOObjective(PreferenceObjective):
    """Weighted mean of `simpo_losses` over the whole batch. No reference."""

    beta: float
    gamma: float
    needs_reference: ClassVar[bool] = False
    shown: ClassVar[Shown] = (_ACCURACY, ("logps/chosen", "log p(chosen)"))

    def losses(self, scored: Scored) -> Tensor:
        """Return the loss of each pair, (B,)."""
        return simpo_losses(*scored.per_token, self.beta, self.gamma)

    def rewards(self, scored: Scored) -> tuple[Tensor, Tensor]:
        """Return beta times the log-probability per token, (B,) each: the paper's reward."""
        chosen, rejected = scored.per_token
        return self.beta * chosen, self.beta * rejected


@dataclass(frozen=True)
class ORPOObjective(PreferenceObjective):
    """Mean NLL of the tokens of the chosen + `odds_weight` times the mean of `odds_ratio_losses`. No reference.

    Hong et al. 2024 (arXiv 2403.07691), equation 6, where odds_weight is lambda. The NLL is a mean over the
    tokens of the whole batch (of completions, as the authors' code has it with disable_prompt_loss; by default
    theirs, like TRL's, counts those of the prompts too).
    """

    odds_weight: float
    needs_reference: ClassVar[bool] = False
    shown: ClassVar[Shown] = (_ACCURACY, ("logps/chosen", "log p(chosen)"))

    def loss(self, scored: Scored, batch: Sequence[PairExample]) -> Tensor:
        """Return what the micro-batch adds to the loss of the batch, a scalar."""
        weight = column(batch, "weight")
        tokens_per_pair = float((weight / weight.sum() * column(batch, "lengths")[:, 1]).sum())
        nll = -(scored.chosen * scored.weight).sum() / tokens_per_pair
        return nll + self.odds_weight * super().loss(scored, batch)

    def losses(self, scored: Scored) -> Tensor:
        """Return the odds-ratio part of each pair's loss, (B,)."""
        return odds_ratio_losses(*scored.per_token)

    def rewards(self, scored: Scored) -> tuple[Tensor, Tensor]:
        """Return the log odds of the probability per token, (B,) each."""
        chosen, rejected = scored.per_token
        return log_odds(chosen), log_odds(rejected)


@dataclass(frozen=True)
class RewardObjective:
    """Weighted mean of `reward_losses` over the whole batch, and the share ranked rightly."""

    shown: ClassVar[Shown] = (_ACCURACY,)

    def __call__(
        self, scorer: Scorer, micro: Sequence[PairExample], batch: Sequence[PairExample]
    ) -> tuple[Tensor, dict[str, float]]:
        chosen, rejected = scorer(micro).unbind(1)
        weight = torch.tensor([p.weight for p in micro], device=chosen.device) / float(column(batch, "weight").sum())
        loss = (reward_losses(chosen, rejected) * weight).sum()
        right = float((chosen > rejected).double().sum()) / len(batch)
        return loss, {"rewards/accuracies": right}


reward_objective = RewardObjective()
