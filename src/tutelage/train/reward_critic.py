"""A reward model as a critic: completions -> scores, encoded and scored exactly as the reward stage trains."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch

from tutelage.errors import ModelError
from tutelage.inputs import RewardModel
from tutelage.progress import Progress
from tutelage.records import Completion, Prompt
from tutelage.train.checkpoint import (
    cannot_load,
    check_vocabulary,
    check_weights,
    context_length,
    device,
    load_encoder,
    usable_length,
)
from tutelage.train.encode import Encoder, Example
from tutelage.train.examples import encode_completions
from tutelage.train.logps import collate, split_by_budget
from tutelage.train.loop import autocast
from tutelage.train.objectives import reward_scores
from tutelage.train.reward_model import HEADS, keep_head_exact, pad_apart_from_end
from tutelage.train.settings import Truncation


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
    return keep_head_exact(model.to(device()).eval()), encoder


@torch.no_grad()
def score_completions(
    source: RewardModel,
    prompts: Mapping[str, Prompt],
    completions: Sequence[Completion],
    max_length: int | None,
    micro_batch_tokens: int,
    precision: Literal["auto", "float32", "bfloat16"],
    count: Callable[[str, int], None],
) -> dict[str, float]:
    """Return the score of each completion, by its id; one that cannot be encoded has none, and is counted.

    Prompt and completion may have `max_length` tokens (None: as the reward stage trained the model, or else its
    whole context). What happens to more is what happened in training (for a model from elsewhere, the completion's
    end is cut): if a completion is cut, its last token is scored instead of its end; if it is left out, it has
    no score. Completions that are the same tokens are scored once. Each is cut by itself: where the longer of a
    pair decided for both (truncation=original), the shorter may keep what it lost in training.

    Raises:
        ModelError: see `load_reward_critic`.
        ConfigError: `max_length` does not hold the prompts that the reward stage's truncation leaves.
    """
    model, encoder = load_reward_critic(source)
    made = source.artifact()
    trained = {} if made is None else made.record.config
    length = usable_length(model, max_length or trained.get("max_length") or context_length(model))
    truncation = Truncation(**trained.get("truncation", {}))
    examples = encode_completions(encoder, list(prompts.values()), completions, length, truncation, count)
    alike: dict[tuple[int, ...], list[Example]] = {}
    for example in examples:
        alike.setdefault(example.prompt_ids + example.completion_ids, []).append(example)
    # Sorted, so that rounding does not depend on the order that completions come in.
    firsts = [alike[ids][0] for ids in sorted(alike)]
    scores: dict[str, float] = {}
    with Progress("score", len(firsts), "completions") as progress:
        for micro in split_by_budget(firsts, lambda e: e.num_tokens, micro_batch_tokens):
            batch = collate(micro, model.device, pad=model.config.pad_token_id)
            with autocast(model.device, precision):
                found = reward_scores(model, batch).tolist()
            for example, score in zip(micro, found, strict=True):
                same = alike[example.prompt_ids + example.completion_ids]
                scores.update(dict.fromkeys((e.id for e in same), score))
            progress.advance(len(micro))
    return scores
