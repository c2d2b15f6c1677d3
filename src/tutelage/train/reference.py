"""Log-probabilities without gradients: the reference of DPO."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tutelage.progress import Progress
from tutelage.train.logps import collate, split_by_budget, sum_logps
from tutelage.train.loop import autocast
from tutelage.train.objectives import PairExample
from tutelage.train.settings import Training


@torch.no_grad()
def reference_logps(model: Any, pairs: Sequence[PairExample], settings: Training) -> dict[str, tuple[float, float]]:
    """Return log p(chosen), log p(rejected) of every pair by id, in the precision training will compute in."""
    logps: dict[str, tuple[float, float]] = {}
    with Progress("reference", len(pairs), "pairs") as progress:
        for micro in split_by_budget(pairs, lambda p: p.num_tokens, settings.micro_batch_tokens):
            both = collate([p.chosen for p in micro] + [p.rejected for p in micro], model.device)
            with autocast(model.device, settings.precision):
                chosen, rejected = sum_logps(model, both).chunk(2)
            for pair, *values in zip(micro, chosen.tolist(), rejected.tolist(), strict=True):
                logps[pair.id] = (values[0], values[1])
            progress.advance(len(micro))
    return logps
