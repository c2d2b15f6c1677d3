"""A causal language model with a scoring head instead of its vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tutelage.inputs import Model
from tutelage.train.checkpoint import check_vocabulary, device, load_weights, pad_id
from tutelage.train.encode import Encoder
from tutelage.train.logps import collate, split_by_budget
from tutelage.train.loop import autocast
from tutelage.train.objectives import PairExample, reward_scores
from tutelage.train.settings import Training

HEADS = ("score.", "classifier.")
"""What architectures call the head that makes a score of a hidden state."""
WRITING_HEADS = ("lm_head.", "embed_out.")
"""What they call the one that makes the next token of it."""


def load_reward_model(source: Model, encoder: Encoder, seed: int) -> Any:
    """Load `source` as a sequence classifier with one output; the head is new and seeded.

    Raises:
        ModelError: the architecture has no sequence classifier; see also `load_weights`.
    """
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(seed)
    model, _ = load_weights(
        AutoModelForSequenceClassification, source, torch.float32, new=HEADS, unused=WRITING_HEADS, num_labels=1
    )
    pad_apart_from_end(model, encoder)
    check_vocabulary(model, encoder, source.path)
    return keep_head_exact(model.to(device()).eval())


def pad_apart_from_end(model: Any, encoder: Encoder) -> None:
    """Make padding a token that ends no turn.

    Hugging Face scores the last token that is not padding. If padding and end of turn were one token, the
    end of the completion would never be scored, so such a tokenizer gets another padding token.
    """
    if pad_id(encoder) == encoder.end_id:
        encoder.tokenizer.add_special_tokens({"pad_token": "<|pad|>"})
        model.resize_token_embeddings(max(len(encoder.tokenizer), model.config.vocab_size))
    model.config.pad_token_id = pad_id(encoder)


def keep_head_exact(model: Any) -> Any:
    """Have the head compute in float32 also under autocast: bfloat16 has 8 bits, and many scores would tie."""
    head = next(module for name, module in model.named_children() if f"{name}." in HEADS)
    head.register_forward_pre_hook(lambda _, args: tuple(hidden.float() for hidden in args))
    head.forward = torch.autocast(model.device.type, enabled=False)(head.forward)
    return model


@torch.no_grad()
def ranked_rightly(model: Any, pairs: Sequence[PairExample], settings: Training) -> dict[str, float]:
    """Return, by the pair's id, 1 if the chosen completion scores higher, else 0."""
    right: dict[str, float] = {}
    for micro in split_by_budget(pairs, lambda p: p.num_tokens, settings.micro_batch_tokens):
        batch = [p.chosen for p in micro] + [p.rejected for p in micro]
        padded = collate(batch, model.device, pad=model.config.pad_token_id)
        with autocast(model.device, settings.precision):
            chosen, rejected = reward_scores(model, padded).chunk(2)
        right.update(zip((p.id for p in micro), (chosen > rejected).double().tolist(), strict=True))
    return right
