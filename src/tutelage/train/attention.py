"""Attention within the segments of a packed row, registered with transformers under the name `NAME`.

A model that is called with `segments=` passes them on to its attention layers; no mask of the whole row is made.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows it by
from torch import Tensor

from tutelage.train.rows import Segments

NAME = "tutelage_segments"
_NOT_DONE_HERE = ("softcap", "s_aux", "position_bias")
"""What some architectures add to attention; with any of it this function would be silently wrong."""


class NotExact(Exception):  # noqa: N818 - not a mistake of anybody: another way to lay out rows is taken
    """This model's attention cannot be computed in segments."""


@torch.compiler.disable  # type: ignore[untyped-decorator] # segments change with every row; compiled, they would be compiled again each time
def segment_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    segments: Segments | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Return attention (1, T, H, D) of query (1, H, T, D) to key and value (1, H_kv, T, D), per segment.

    Raises:
        NotExact: no segments were given, or the architecture wants what is not done here.
    """
    if segments is None:
        raise NotExact("the model does not hand the segments to its attention layers")
    wanted = [name for name in _NOT_DONE_HERE if others.get(name) is not None]
    if wanted:
        raise NotExact(f"its attention has {wanted[0]}")
    if query.is_cuda and query.dtype in (torch.bfloat16, torch.float16):
        return _one_kernel(query, key, value, scaling, segments, sliding_window), None
    return _one_by_one(query, key, value, scaling, segments, sliding_window), None


def _one_by_one(
    query: Tensor, key: Tensor, value: Tensor, scale: float | None, segments: Segments, window: int | None
) -> Tensor:
    """Each segment on its own."""
    found = []
    grouped = query.shape[1] != key.shape[1]
    for prefix_start, prefix, start, length in segments.list:
        q, k, v = (x.narrow(2, start, length) for x in (query, key, value))
        if prefix:
            k = torch.cat([key.narrow(2, prefix_start, prefix), k], 2)
            v = torch.cat([value.narrow(2, prefix_start, prefix), v], 2)
        plain = not prefix and (window is None or length <= window)
        mask = None if plain else _causal(length, prefix, window, query.device)
        found.append(
            F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=plain, scale=scale, enable_gqa=grouped)
        )
    return torch.cat(found, 2).transpose(1, 2).contiguous()


def _causal(length: int, prefix: int, window: int | None, device: Any) -> Tensor:
    """Who sees whom: query i stands at position prefix + i, (length, prefix + length) bool."""
    seen = torch.ones(length, prefix + length, dtype=torch.bool, device=device).tril(prefix)
    return seen if window is None else seen.triu(prefix - window + 1)


def _one_kernel(
    query: Tensor, key: Tensor, value: Tensor, scale: float | None, segments: Segments, window: int | None
) -> Tensor:
    """All segments in one call; queries stand at the end of their keys, as FlashAttention 2.1 aligns them."""
    from torch.nn.attention.varlen import varlen_attn

    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    longest_query, longest_key = segments.longest
    found: Any = varlen_attn(
        q.contiguous(),
        k[segments.key_index],
        v[segments.key_index],
        segments.query_starts,
        segments.key_starts,
        longest_query,
        longest_key,
        scale=scale,
        window_size=(-1 if window is None else window - 1, 0),
        enable_gqa=q.shape[1] != k.shape[1],
    )
    return found[None]  # type: ignore[no-any-return]


def register() -> None:
    """Make `NAME` known to transformers; it makes no mask."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, segment_attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, lambda *_, **__: None)
