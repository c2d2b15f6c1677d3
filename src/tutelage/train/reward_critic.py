"""A reward model as a critic: completions -> scores, encoded and scored exactly as the reward stage trains."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from tutelage.errors import ModelError
from tutelage.inputs import RewardModel
from tutelage.records import Completion, Prompt
from tutelage.train import parallel
from tutelage.train.checkpoint import (
    cannot_load,
    check_vocabulary,
    check_weights,
    context_length,
    load_encoder,
    usable_length,
)
from tutelage.train.encode import Encoder, Example
from tutelage.train.examples import encode_completions
from tutelage.train.layout import fit_layout
from tutelage.train.precision import Precision
from tutelage.train.reference import numbers
from tutelage.train.reward_model import pad_apart_from_end
from tutelage.train.scorer import HEADS, RewardScorer


def load_reward_critic(source: RewardModel) -> tuple[Any, Encoder]:
    """Load a trained reward model and its tokenizer, weights in float32, dropout off.

    Raises:
        ModelError: no such model; a language model, whose scores would be random; several labels; one that
            does not read left to right; a tokenizer with more tokens than the model.
    """
    from transformers import AutoModelForSequenceClassification

    encoder = load_encoder(source)
    try:
        model, info = AutoModelForSequenceClassification.from_pretrained(
            source.folder(), revision=source.revision or "main", dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:  # safetensors, hub and config errors share no base class
        raise ModelError(cannot_load(source, "reward model", error)) from None
    if any(key.startswith(HEADS) for key in info["missing_keys"]):
        raise ModelError(
            f"{source.path}: has no scoring head, so its scores would be random (a language model is no reward "
            "model); train one with `tutelage reward`"
        )
    if model.config.num_labels != 1:
        raise ModelError(
            f"{source.path}: a classifier with {model.config.num_labels} labels; a reward model has one, the score"
        )
    if "past_key_values" not in inspect.signature(model.forward).parameters:
        raise ModelError(
            f"{source.path}: {type(model).__name__} does not read left to right; expected a classifier whose score "
            "is that of the last token of a conversation"
        )
    check_weights(source, info, allowed=())
    pad_apart_from_end(model, encoder)
    check_vocabulary(model, encoder, source.path)
    return model.to(parallel.device()).eval(), encoder


def score_completions(
    source: RewardModel,
    prompts: Mapping[str, Prompt],
    completions: Sequence[Completion],
    max_length: int | None,
    micro_batch_tokens: int,
    precision: Precision,
    count: Callable[[str, int], None],
) -> dict[str, float]:
    """Return the score of each completion, by its id; one that cannot be encoded has none, and is counted.

    As in training, a completion that is longer than `max_length` (prompt and completion, in tokens; None: as
    the reward stage trained the model, or else its whole context) is cut there, its last token is scored
    instead of its end, and it is counted. Completions that are the same tokens are scored once.

    Raises:
        ModelError: see `load_reward_critic`.
    """
    model, encoder = load_reward_critic(source)
    length = usable_length(model, max_length or _trained_length(source) or context_length(model))
    examples = encode_completions(encoder, list(prompts.values()), completions, length, count)
    alike: dict[tuple[int, ...], list[Example]] = {}
    for example in examples:
        alike.setdefault(example.prompt_ids + example.completion_ids, []).append(example)
    # Sorted, so that rounding does not depend on the order that completions come in.
    firsts = [alike[ids][0] for ids in sorted(alike)]
    scorer = RewardScorer(model)
    fit_layout(scorer, max((e.num_tokens for e in firsts), default=0), "auto", precision)
    scores = numbers(scorer, firsts, micro_batch_tokens, precision, "score")
    return {e.id: scores[same[0].id][0] for same in alike.values() for e in same}


def _trained_length(source: RewardModel) -> int | None:
    """Return the `max_length` that the reward stage trained with, if `source` is its artifact."""
    made = source.artifact()
    return None if made is None else int(made.record.config["max_length"])
