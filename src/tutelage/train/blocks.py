"""Which parts of a model are its transformer blocks: found by shape, not by a name per architecture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

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
