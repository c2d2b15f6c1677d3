"""A causal language model with a scoring head instead of its vocabulary."""

from __future__ import annotations

from typing import Any

import torch

from tutelage.inputs import Model
from tutelage.train import parallel
from tutelage.train.checkpoint import check_vocabulary, load_weights, pad_id
from tutelage.train.encode import Encoder
from tutelage.train.scorer import HEADS

WRITING_HEADS = ("lm_head.", "embed_out.")
"""What architectures call the head that makes the next token of a hidden state."""


def load_reward_model(source: Model, encoder: Encoder, seed: int) -> Any:
    """Load `source` as a sequence classifier with one output; the head is new and seeded.

    Of several processes the first loads it; the others get it without its weights (see `parallel.loaded_by_first`).

    Raises:
        ModelError: the architecture has no sequence classifier; see also `load_weights`.
    """
    from transformers import AutoModelForSequenceClassification

    def load() -> Any:
        torch.manual_seed(seed)
        model, _ = load_weights(
            AutoModelForSequenceClassification, source, torch.float32, new=HEADS, unused=WRITING_HEADS, num_labels=1
        )
        pad_apart_from_end(model, encoder)
        check_vocabulary(model, encoder, source.path)
        return model.to(parallel.load_device()).eval()

    model = parallel.loaded_by_first(load)
    _adds_padding(encoder)  # in the processes that did not load
    return model


def pad_apart_from_end(model: Any, encoder: Encoder) -> None:
    """Make padding a token that ends no turn.

    Hugging Face scores the last token that is not padding. If padding and end of turn were one token, the
    end of the completion would never be scored, so such a tokenizer gets another padding token.
    """
    if _adds_padding(encoder):
        model.resize_token_embeddings(max(len(encoder.tokenizer), model.config.vocab_size))
    model.config.pad_token_id = pad_id(encoder)


def _adds_padding(encoder: Encoder) -> bool:
    """Give the tokenizer a padding token if it has none of its own; True if it had none."""
    if pad_id(encoder) != encoder.end_id:
        return False
    encoder.tokenizer.add_special_tokens({"pad_token": "<|pad|>"})
    return True
