"""What training computes in. Weights are always float32."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Literal

import torch

Precision = Literal["auto", "float32", "bfloat16"]


def in_bfloat16(device: Any, precision: Precision) -> bool:
    """True if `precision` means bfloat16 on `device`; auto means it on a GPU that has it."""
    return precision == "bfloat16" or (
        precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported()
    )


def autocast(device: Any, precision: Precision) -> Any:
    """Return a context in which products are computed in `precision`.

    Copies of weights are not kept for a second use: each is used once in a forward pass, and of sharded weights
    there would in the end be all of them.
    """
    if not in_bfloat16(device, precision):
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)
