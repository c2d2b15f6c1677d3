"""A causal language model with a scoring head instead of its vocabulary."""

from __future__ import annotations

from typing import Any

import torch

from tutelage.errors import ModelError
from tutelage.inputs import Model
from tutelage.train import parallel
from tutelage.train.checkpoint import check_vocabulary, check_weights, pad_id
from tutelage.train.encode import Encoder
from tutelage.train.scorer import HEADS


def load_reward_model(source: Model, encoder: Encoder, seed: int) -> Any:
    """Load `source` as a sequence classifier with one output; the head is new and seeded.

    Raises:
        ModelError: the architecture has no sequence classifier.
    """
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(seed)
    try:
        model, info = AutoModelForSequenceClassification.from_pretrained(
            source.folder(),
            revision=source.revision or "main",
            num_labels=1,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # safetensors, hub and config errors share no base class
        raise ModelError(f"{source.path}: cannot be loaded as a reward model: {error}") from None
    check_weights(source, info, allowed=HEADS)
    pad_apart_from_end(model, encoder)
    check_vocabulary(model, encoder, source.path)
    return model.to(parallel.load_device()).eval()


def pad_apart_from_end(model: Any, encoder: Encoder) -> None:
    """Make padding a token that ends no turn.

    Hugging Face scores the last token that is not padding. If padding and end of turn were one token, the
    end of the completion would never be scored, so such a tokenizer gets another padding token.
    """
    if pad_id(encoder) == encoder.end_id:
        encoder.tokenizer.add_special_tokens({"pad_token": "<|pad|>"})
        model.resize_token_embeddings(max(len(encoder.tokenizer), model.config.vocab_size))
    model.config.pad_token_id = pad_id(encoder)
