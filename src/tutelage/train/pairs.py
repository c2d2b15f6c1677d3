"""Preferences as training sees them: tokens, and what policy and reference say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tutelage.train.columns import column
from tutelage.train.encode import Example


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


@dataclass(frozen=True)
class Scored:
    """What preference losses are made of, each (B,) float64: a micro-batch of pairs.

    Log-probabilities are summed over a completion's tokens, of which there are `num_*`. weight: of each pair,
    as a share of the whole batch's.
    """

    chosen: Tensor
    rejected: Tensor
    reference_chosen: Tensor
    reference_rejected: Tensor
    num_chosen: Tensor
    num_rejected: Tensor
    weight: Tensor

    @classmethod
    def of(cls, logps: Tensor, micro: Sequence[PairExample], batch: Sequence[PairExample]) -> Scored:
        """Return `logps`, (B, 2), with what is known of the pairs."""
        total = float(column(batch, "weight").sum())
        known = [
            (
                p.reference_chosen,
                p.reference_rejected,
                len(p.chosen.completion_ids),
                len(p.rejected.completion_ids),
                p.weight / total,
            )
            for p in micro
        ]
        columns = torch.tensor(known, dtype=torch.float64).T.to(logps.device)
        return cls(*logps.double().unbind(1), *columns.unbind(0))

    @property
    def log_ratios(self) -> tuple[Tensor, Tensor]:
        """log(policy / reference) of chosen and rejected."""
        return self.chosen - self.reference_chosen, self.rejected - self.reference_rejected

    @property
    def per_token(self) -> tuple[Tensor, Tensor]:
        """Mean log-probability of a token of chosen and rejected."""
        return self.chosen / self.num_chosen, self.rejected / self.num_rejected

    def detached(self) -> Scored:
        """Return the same without gradients."""
        return replace(self, chosen=self.chosen.detach(), rejected=self.rejected.detach())
