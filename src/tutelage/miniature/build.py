"""Pre-train the miniature's base model from nothing: `tutelage miniature build out=<folder>`.

One thread, one seed, fp32: the same machine makes the same bytes. What is shipped in `base/` is the
result of this command with its defaults.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tutelage.errors import TrainingError
from tutelage.miniature.corpus import write_documents
from tutelage.miniature.probe import PASS_MEAN, PASS_WORST, Probe, probe
from tutelage.progress import Progress, say

NUM_TOKENS = 704
MAX_LENGTH = 256
END, USER, ASSISTANT, PAD = "<|end|>", "<|user|>", "<|assistant|>", "<|pad|>"
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}
{{ '<|user|>\\n' + message['content'] + '\\n' }}
{%- elif message['role'] == 'assistant' -%}
{{ '<|assistant|>\\n' + message['content'] + '<|end|>' }}
{%- else -%}
{{ raise_exception('the miniature knows the roles user and assistant, found ' + message['role']) }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|assistant|>\\n' }}{%- endif -%}
"""
"""Line breaks set off the texts, as they do in pre-training: a word at the start of a line is another
token than the same word after a space, and the base knows the former."""


@dataclass(frozen=True)
class Recipe:
    """How the base is trained."""

    seed: int = 0
    steps: int = 3500
    batch: int = 16
    lr: float = 6e-3
    weight_decay: float = 0.05
    warm_up: int = 30


def build(out: Path, seed: int = 0, steps: int = 3500, batch: int = 16, lr: float = 6e-3, gate: bool = True) -> Probe:
    """Pre-train a base model, probe it, and save it in `out` as a Hugging Face folder in bf16.

    Args:
        out: The folder to make.
        seed: Seeds the text, the initial weights and the order.
        steps: Optimizer steps; fewer than about 3,000 may give a model that has not learnt to copy.
        batch: Documents per step.
        lr: Peak learning rate.
        gate: Refuse a model that fails the probe. Tests of other things may switch it off.

    Returns:
        The exact-match probe of what was saved.

    Raises:
        TrainingError: the loss is not a number, or the model fails the probe; nothing is saved.
    """
    recipe = Recipe(seed, steps, batch, lr)
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the order of sums, and so the last bits, depend on it
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            documents = write_documents(steps * batch, seed)
            tokenizer = train_tokenizer(documents)
            model = new_model(tokenizer)
            _pretrain(model, tokenizer, documents, recipe)
            model.to(torch.bfloat16).to(torch.float32)  # probe what is saved, rounding included
            result = probe(model, tokenizer)
    finally:
        torch.set_num_threads(num_threads)
    say(f"miniature base: exact match {result.mean:.2f}, worst family {result.worst}")
    if gate and not result.passed:
        raise TrainingError(
            f"the miniature base (seed {seed}, {steps} steps) has not learnt its world: exact match "
            f"{result.mean:.2f} (at least {PASS_MEAN} expected), worst family {result.worst} (at least "
            f"{PASS_WORST} expected); take more steps or another seed"
        )
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    return result


def train_tokenizer(documents: list[str]) -> Any:
    """Return a byte-level BPE tokenizer of 704 pieces with the chat format's special tokens."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=NUM_TOKENS,
        special_tokens=[END, USER, ASSISTANT, PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(documents, trainer)
    tokenizer: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call, unused-ignore]
        tokenizer_object=bpe,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[USER, ASSISTANT],
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def new_model(tokenizer: Any) -> Any:
    """Return a fresh Llama of 0.5M parameters."""
    config = LlamaConfig(
        vocab_size=NUM_TOKENS,
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=384,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model: Any = LlamaForCausalLM(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def _batches(documents: list[str], tokenizer: Any, recipe: Recipe) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield ids_BT and labels_BT: one document per row, rows of like length together, order shuffled."""
    end = tokenizer.eos_token_id
    rows = [[*ids[: MAX_LENGTH - 1], end] for ids in tokenizer(documents)["input_ids"]]
    rng = Random(f"order {recipe.seed}")
    bucket = 32 * recipe.batch
    groups_in_order: list[list[list[int]]] = []
    for at in range(0, len(rows), bucket):
        near = sorted(rows[at : at + bucket], key=len)
        groups = [near[i : i + recipe.batch] for i in range(0, len(near), recipe.batch)]
        rng.shuffle(groups)
        groups_in_order.extend(groups)
    for group in groups_in_order:
        length = max(map(len, group))
        ids = torch.tensor([row + [end] * (length - len(row)) for row in group])
        labels = torch.tensor([row + [-100] * (length - len(row)) for row in group])
        yield ids, labels


def _rate(step: int, recipe: Recipe) -> float:
    """Return the share of the peak learning rate: warm-up, then a cosine down to 10 %."""
    if step < recipe.warm_up:
        return (step + 1) / recipe.warm_up
    done = (step - recipe.warm_up) / max(recipe.steps - recipe.warm_up, 1)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * done))


def _pretrain(model: Any, tokenizer: Any, documents: list[str], recipe: Recipe) -> None:
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.lr, betas=(0.9, 0.98), weight_decay=recipe.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, recipe))
    model.train()
    recent = 0.0
    with Progress("pre-train", recipe.steps, "steps") as progress:
        for step, (ids_BT, labels_BT) in enumerate(_batches(documents, tokenizer, recipe)):  # noqa: N806
            # rows are padded on the right and attention is causal: no mask is needed
            logits_BTV = model(input_ids=ids_BT).logits  # noqa: N806
            loss: Any = torch.nn.functional.cross_entropy(
                logits_BTV[:, :-1].flatten(0, 1), labels_BT[:, 1:].flatten(), ignore_index=-100
            )
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            recent = 0.98 * recent + 0.02 * loss.item() if step else loss.item()
            if not math.isfinite(recent):
                raise TrainingError(f"pre-training the miniature base: the loss is {recent} at step {step}")
            progress.advance(1, f"loss {recent:.3f}")
