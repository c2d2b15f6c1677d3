"""Optimizers and learning rates."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from tutelage.train.settings import Training


def make_optimizer(weights: Iterable[Tensor], settings: Training) -> torch.optim.Optimizer:
    """Return the optimizer of `settings` over the weights that are trained."""
    trained = [w for w in weights if w.requires_grad]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(
            trained, lr=settings.lr, weight_decay=settings.weight_decay, betas=(0.9, 0.95), fused=True
        )
    # one weight at a time: together (foreach) they need a temporary as large as the whole state
    return torch.optim.RMSprop(trained, lr=settings.lr, weight_decay=settings.weight_decay, foreach=False)


def lr_factor(step: int, num_steps: int, warmup: int, schedule: Literal["constant", "cosine", "linear"]) -> float:
    """Return the share of the peak learning rate at `step`: linear warm-up, then constant, or to 0 at the end."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if schedule == "constant":
        return 1.0
    done = (step - warmup) / max(1, num_steps - warmup)
    return 1 - done if schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done))
