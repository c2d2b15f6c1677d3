"""The transformer blocks of a model, found by shape, not by a name per architecture; what is done to each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal

from torch import nn
from torch.utils.checkpoint import checkpoint

from tutelage.errors import ModelError


def transformer_blocks(model: Any) -> list[nn.Module]:
    """Return the blocks of a Hugging Face model's decoder, first to last.

    They are the longest list of modules of one class in the backbone that does not lie within another such
    list (the experts of a block do). A tower for images or sound is no part of the backbone.

    Raises:
        ModelError: there is no such list.
    """
    lists = [list(found) for found in _outermost_lists(model.get_decoder())]
    lists = [blocks for blocks in lists if len({type(block) for block in blocks}) == 1]
    if not lists:
        raise ModelError(
            f"{type(model).__name__}: no transformer blocks found; expected a list of modules of one class in it"
        )
    return max(lists, key=len)


def _outermost_lists(module: nn.Module) -> Iterator[nn.ModuleList]:
    for child in module.children():
        if isinstance(child, nn.ModuleList):
            yield child
        else:
            yield from _outermost_lists(child)


def checkpoint_activations(blocks: Sequence[nn.Module], which: Literal["selective", "full"]) -> None:
    """Have every second block, or all, compute their activations again in the backward pass.

    The forward is wrapped, not the module: names of weights stay what they are. Nothing in training draws random
    numbers, so their state need not be kept.
    """
    for block in blocks[:: {"selective": 2, "full": 1}[which]]:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
