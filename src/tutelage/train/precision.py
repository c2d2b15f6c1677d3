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
    """Return a context in which products are computed in `precision`."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if in_bfloat16(device, precision) else nullcontext()
