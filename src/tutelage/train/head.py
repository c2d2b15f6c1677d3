"""Hidden states -> log-probabilities of the tokens that follow, a few rows at a time.

The logits of a batch, (tokens, vocabulary), are the largest thing there is in training. They are computed in
chunks of rows and again in the backward pass, so that never more than one chunk of them is in memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Squash(NamedTuple):
    """What some architectures do to logits: multiply by `scale`, then cap * tanh(logits / cap)."""

    scale: float = 1.0
    cap: float | None = None

    @classmethod
    def of(cls, config: Any) -> Squash:
        """Read it from a model's config: Cohere multiplies, Granite divides, Gemma 2 caps."""
        scale = float(getattr(config, "logit_scale", None) or 1.0)
        divided = float(getattr(config, "logits_scaling", None) or 1.0)
        return cls(scale / divided, getattr(config, "final_logit_softcapping", None))


class _TokenLogps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, squash: Squash, chunk: int
    ) -> Tensor:
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
        hidden_, weight_ = hidden.to(dtype), weight.to(dtype)
        found = torch.empty(len(targets), device=hidden.device, dtype=torch.float32)
        norms = torch.empty_like(found)
        for rows in _chunks(len(targets), chunk):
            logits = _logits(hidden_[rows], weight_, bias, squash)
            norms[rows] = logits.logsumexp(-1)
            found[rows] = logits.gather(1, targets[rows, None])[:, 0] - norms[rows]
        ctx.save_for_backward(hidden, weight, bias, targets, norms)
        ctx.squash, ctx.chunk, ctx.dtype = squash, chunk, dtype
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        hidden, weight, bias, targets, norms = ctx.saved_tensors
        hidden_, weight_ = hidden.to(ctx.dtype), weight.to(ctx.dtype)
        needs_weight, needs_bias = ctx.needs_input_grad[1], bias is not None and ctx.needs_input_grad[2]
        to_hidden = torch.empty_like(hidden)
        to_weight = torch.zeros_like(weight) if needs_weight else None
        to_bias = torch.zeros_like(bias) if needs_bias else None
        for rows in _chunks(len(targets), ctx.chunk):
            logits = _logits(hidden_[rows], weight_, bias, ctx.squash)
            # d log p(t) / d logits = [t] - softmax
            slope = None if ctx.squash.cap is None else 1 - (logits / ctx.squash.cap) ** 2
            by_logits = logits.sub_(norms[rows, None]).exp_().mul_(-grads[0][rows, None])
            by_logits.scatter_add_(1, targets[rows, None], grads[0][rows, None])
            if slope is not None:
                by_logits.mul_(slope)
            by_logits.mul_(ctx.squash.scale)
            low = by_logits.to(ctx.dtype)
            to_hidden[rows] = (low @ weight_).to(hidden.dtype)
            if to_weight is not None and low.dtype == to_weight.dtype:
                to_weight.addmm_(low.T, hidden_[rows])
            elif to_weight is not None:
                to_weight += low.T @ hidden_[rows]
            if to_bias is not None:
                to_bias += by_logits.sum(0)
        return to_hidden, to_weight, to_bias, None, None, None


def _chunks(length: int, size: int) -> list[slice]:
    return [slice(start, start + size) for start in range(0, length, size)]


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, squash: Squash) -> Tensor:
    """Logits in float32, whatever the product is computed in."""
    logits = (hidden @ weight.T).float()
    if bias is not None:
        logits += bias
    if squash.scale != 1:
        logits *= squash.scale
    return logits if squash.cap is None else squash.cap * torch.tanh(logits / squash.cap)


def token_logps(hidden: Tensor, head: Any, targets: Tensor, squash: Squash) -> Tensor:
    """Return log p(target) at each hidden state, (L,) float32.

    Args:
        hidden: the last hidden states that predict `targets`, (L, D).
        head: the model's output embedding, a linear layer (V, D) with or without bias.
        targets: token ids, (L,).
        squash: what the architecture does to logits.
    """
    chunk = 256 if hidden.device.type == "cpu" else 8192  # the fastest; a GPU wants larger products
    bias = getattr(head, "bias", None)
    found: Tensor = _TokenLogps.apply(hidden, head.weight, bias, targets, squash, chunk)  # type: ignore[no-untyped-call]
    return found
