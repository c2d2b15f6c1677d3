"""Every architecture that a preset is of, at tiny size: a random model with three blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

import tiny

NUM_BLOCKS = 3
_LLAMA_LIKE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": NUM_BLOCKS,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
_GPT_LIKE = {"n_embd": 32, "n_layer": NUM_BLOCKS, "n_head": 2, "n_positions": 128}
SETTINGS: dict[str, dict[str, Any]] = {
    "gpt2": _GPT_LIKE,
    "gptj": {**_GPT_LIKE, "rotary_dim": 8},
    "gpt_neox": {key: value for key, value in _LLAMA_LIKE.items() if key != "num_key_value_heads"},
    "llama": _LLAMA_LIKE,
    "mistral": _LLAMA_LIKE,
    "mixtral": {**_LLAMA_LIKE, "num_local_experts": 4},
    "qwen3": {**_LLAMA_LIKE, "head_dim": 16, "tie_word_embeddings": True},
    "gemma3_text": {**_LLAMA_LIKE, "head_dim": 16},
    "smollm3": {**_LLAMA_LIKE, "tie_word_embeddings": True},
    "olmo2": _LLAMA_LIKE,
}
CHATML_TOKENS = {"eos_token": "<|im_end|>", "pad_token": "<|pad|>", "bos_token": "<|im_start|>"}


def model(kind: str, vocab_size: int, seed: int = 0) -> Any:
    """A randomly initialised causal language model of the architecture `kind`."""
    torch.manual_seed(seed)
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": None}
    config = AutoConfig.for_model(kind, vocab_size=vocab_size, **ids, **SETTINGS[kind])
    return AutoModelForCausalLM.from_config(config)


def folder(path: Path, kind: str, tokenizer: Any = None, template: str | None = None) -> Path:
    """Save a model with its tokenizer as a Hugging Face folder."""
    tokenizer = tokenizer or tiny.byte_level(eos_token="</s>")
    tokenizer.chat_template = template
    model(kind, len(tokenizer)).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path
