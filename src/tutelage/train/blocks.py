"""The layers of a model, found rather than asked for, and what is done to each of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

from torch import nn
from torch.utils.checkpoint import checkpoint


def transformer_blocks(model: Any) -> list[nn.Module]:
    """Return the repeated blocks of `model`: the longest list of modules in it."""
    lists = [list(module) for module in model.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=len, default=[])


def checkpoint_activations(blocks: Sequence[nn.Module], which: Literal["off", "selective", "full"]) -> None:
    """Have every second block, or all, compute their activations again in the backward pass.

    The forward is wrapped, not the module: names of weights stay what they are. Nothing in training draws random
    numbers, so their state need not be kept.
    """
    every = {"off": None, "selective": 2, "full": 1}[which]
    for block in blocks[::every] if every else ():
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
