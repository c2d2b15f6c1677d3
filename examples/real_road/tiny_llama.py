"""What make_base.py and make_critic.py share: a chat tokenizer, a small Llama, a training loop, a folder."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

USER, ASSISTANT, END, PAD = "<|user|>", "<|assistant|>", "<|end|>", "<|pad|>"
# A system message has no token of its own: it opens the user turn that follows it.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message.role == 'system' -%}<|user|>{{ message.content }}{{ '\n\n' }}"
    "{%- elif message.role == 'user' -%}"
    "{%- if loop.first or loop.previtem.role != 'system' -%}<|user|>{%- endif -%}{{ message.content }}<|end|>"
    "{%- elif message.role == 'assistant' -%}<|assistant|>{{ message.content }}<|end|>"
    "{%- else -%}{{ raise_exception('unknown role ' ~ message.role) }}{%- endif -%}"
    "{%- endfor -%}{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"
)


def make_tokenizer(documents: list[str], vocabulary: int, context: int) -> PreTrainedTokenizerFast:
    """Train byte-level BPE on `documents` and give it the chat tokens and template."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, END, USER, ASSISTANT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(documents, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=[USER, ASSISTANT],
        model_max_length=context,
        chat_template=CHAT_TEMPLATE,
    )


def make_model(
    tokenizer: PreTrainedTokenizerFast, context: int, width: int, layers: int, head_width: int = 64
) -> LlamaForCausalLM:
    """Return a fresh Llama with tied embeddings for this tokenizer."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=16 * round(width * 8 / 3 / 16),
        num_hidden_layers=layers,
        num_attention_heads=width // head_width,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def train(
    model: LlamaForCausalLM,
    next_loss: Callable[[], tuple[torch.Tensor, int, str]],
    *,
    lr: float,
    steps: int,
    minutes: float | None = None,
) -> None:
    """AdamW, warm-up, cosine to 10 %, bf16 compute over fp32 weights; print every 15 seconds.

    `next_loss` computes one batch: its loss, its number of tokens and what else to print. With `minutes` the
    clock ends the run and `steps` is not read.
    """
    matrices = [p for p in model.parameters() if p.dim() > 1]
    norms = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": norms, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), fused=True)
    start = shown = time.monotonic()
    step, tokens, done, average = 0, 0, 0.0, math.nan
    while done < 1:
        for group in optimizer.param_groups:
            group["lr"] = lr * min((step + 1) / 30, 0.55 + 0.45 * math.cos(math.pi * done))
        with torch.autocast("cpu", torch.bfloat16):
            loss, num_tokens, note = next_loss()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step, tokens = step + 1, tokens + num_tokens
        average = loss.item() if step == 1 else 0.95 * average + 0.05 * loss.item()
        spent = time.monotonic() - start
        done = spent / (60 * minutes) if minutes else step / steps
        if time.monotonic() - shown > 15 or done >= 1:
            shown = time.monotonic()
            left = spent * max(0.0, 1 / done - 1)
            line = f"step {step:5d}  loss {average:.3f}  {tokens / spent:5.0f} tokens/s  {left:4.0f} s left"
            print(f"{line}  {note}", flush=True)


def save(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    *,
    max_new_tokens: int | None = None,
) -> None:
    """Write a plain Hugging Face folder in bf16.

    `do_sample` is on because `transformers serve` never switches sampling on by itself, whatever the
    temperature of a request; temperature 0 switches it off.
    """
    model.generation_config = GenerationConfig(
        do_sample=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        max_new_tokens=max_new_tokens,
    )
    logging.disable_progress_bar()
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    print(f"wrote {folder}: {sum(file.stat().st_size for file in folder.iterdir()) / 1e6:.1f} MB")
