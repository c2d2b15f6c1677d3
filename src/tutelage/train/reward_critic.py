"""A reward model as a critic: completions -> scores, encoded and scored exactly as the reward stage trains."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from tutelage.errors import ModelError
from tutelage.inputs import RewardModel
from tutelage.records import Completion, Prompt
from tutelage.train import parallel
from tutelage.train.checkpoint import check_vocabulary, context_length, load_encoder, load_weights, usable_length
from tutelage.train.encode import Encoder, Example
from tutelage.train.examples import encode_completions
from tutelage.train.layout import fit_layout
from tutelage.train.precision import Precision
from tutelage.train.reference import numbers
from tutelage.train.reward_model import WRITING_HEADS, pad_apart_from_end
from tutelage.train.scorer import HEADS, RewardScorer
from tutelage.train.settings import Truncation


def load_reward_critic(source: RewardModel) -> tuple[Any, Encoder]:
    """Load a trained reward model and its tokenizer, weights in float32, dropout off.

    Raises:
        ModelError: no such model; a language model, whose scores would be random; several labels; one that
            does not read left to right; a tokenizer with more tokens than the model.
    """
    from transformers import AutoModelForSequenceClassification

    encoder = load_encoder(source)
    one_label = {"num_labels": 1} if source.archive else {}  # its configuration is that of a language model
    model, made_up = load_weights(
        AutoModelForSequenceClassification, source, torch.float32, new=HEADS, unused=WRITING_HEADS, **one_label
    )
    if made_up:
        raise ModelError(
            f"{source.archive or source.path}: has no scoring head, so its scores would be random (a language model "
            "is no reward model); train one with `tutelage reward`"
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
    rows = ((prompts[completion.prompt_id], completion) for completion in completions)
    examples = [example for _, example in encode_completions(encoder, rows, length, truncation, count)]
    if source.archive:  # the research code padded with the end of turn: its scores are of the token before it
        examples = [_without_end(e, encoder.end_id) for e in examples]
    alike: dict[tuple[int, ...], list[Example]] = {}
    for example in examples:
        alike.setdefault(example.prompt_ids + example.completion_ids, []).append(example)
    # Sorted, so that rounding does not depend on the order that completions come in.
    firsts = [alike[ids][0] for ids in sorted(alike)]
    scorer = RewardScorer(model)
    fit_layout(scorer, max((e.num_tokens for e in firsts), default=0), "auto", precision)
    scores = numbers(scorer, firsts, micro_batch_tokens, precision, "score")
    by_first = {first.id: score for first, (score,) in zip(firsts, scores.tolist(), strict=True)}
    return {e.id: by_first[same[0].id] for same in alike.values() for e in same}


def _without_end(example: Example, end: int) -> Example:
    ids = example.completion_ids
    return replace(example, completion_ids=ids[:-1]) if ids[-1] == end else example
