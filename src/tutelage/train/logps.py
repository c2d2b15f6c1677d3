"""Examples -> log-probabilities of their completion tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from tutelage.train.encode import Example

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """Right-padded examples: `input_ids`, `attention_mask` (B, T); `is_label` (B, T-1) marks the positions
    whose next token belongs to the completion."""

    input_ids: Tensor
    attention_mask: Tensor
    is_label: Tensor


def collate(examples: Sequence[Example], device: Any, pad: int = 0) -> Batch:
    """Pad `examples` with the id `pad` on the right, to the longest of them."""
    width = max(e.num_tokens for e in examples)
    ids = torch.full((len(examples), width), pad)
    mask = torch.zeros(len(examples), width, dtype=torch.long)
    label = torch.zeros(len(examples), width, dtype=torch.bool)
    for row, example in enumerate(examples):
        start, end = len(example.prompt_ids), example.num_tokens
        ids[row, :end] = torch.tensor(example.prompt_ids + example.completion_ids)
        mask[row, :end] = 1
        label[row, start:end] = True
    return Batch(ids.to(device), mask.to(device), label[:, 1:].to(device))


def token_logps(model: Any, batch: Batch) -> Tensor:
    """Return log p(token | what comes before), (B, T-1) float32, zero outside the completions."""
    logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False).logits
    targets = batch.input_ids[:, 1:]
    # cross_entropy on the label positions only: the softmax over prompt and padding is never computed
    kept = logits[:, :-1][batch.is_label].float()
    values = -torch.nn.functional.cross_entropy(kept, targets[batch.is_label], reduction="none")
    return torch.zeros(targets.shape, device=values.device).masked_scatter(batch.is_label, values)


def sum_logps(model: Any, batch: Batch) -> Tensor:
    """Return the log-probability of each whole completion, (B,) float64.

    The sum runs in double precision: in single precision sums over long completions are off by 1e-4.
    """
    return token_logps(model, batch).double().sum(-1)


def split_by_budget(items: Sequence[T], size: Callable[[T], int], budget: int) -> Iterator[list[T]]:
    """Yield micro-batches of similar size whose padded total stays within `budget` tokens.

    Only speed and memory depend on the budget: an objective adds up over micro-batches. An item larger than
    the budget gets a micro-batch of its own.
    """
    chunk: list[T] = []
    for item in sorted(items, key=size, reverse=True):
        if chunk and size(chunk[0]) * (len(chunk) + 1) > budget:
            yield chunk
            chunk = []
        chunk.append(item)
    if chunk:
        yield chunk
