"""Small real models of several architectures, and tokenizers of several kinds, made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

TEXT = [
    "What is the capital of France? The capital of France is Paris.",
    "Human: hello there. Assistant: hello, how are you today?",
    "the quick brown fox jumps over the lazy dog 0123456789",
] * 4
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def byte_level(**special: str) -> Any:
    """A GPT-2-like tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(dict.fromkeys(special.values())),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def sentencepiece_like(**special: str) -> Any:
    """A Llama-2-like tokenizer: spaces are ▁, and one is put before every text."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    bytes_ = [f"<0x{b:02X}>" for b in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<unk>", *dict.fromkeys(special.values()), *bytes_], show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **special)


SIZES: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def model(kind: str, vocab_size: int, seed: int = 0) -> Any:
    """A randomly initialised model of an architecture people use."""
    torch.manual_seed(seed)
    if kind == "gpt2":
        config = GPT2Config(vocab_size=vocab_size, n_embd=32, n_layer=2, n_head=2, n_positions=128)
        return GPT2LMHeadModel(config)
    classes: dict[str, Any] = {
        "llama": (LlamaConfig, LlamaForCausalLM),
        "mistral": (MistralConfig, MistralForCausalLM),
        "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    }
    config_class, model_class = classes[kind]
    config = config_class(vocab_size=vocab_size, num_key_value_heads=2, max_position_embeddings=128, **SIZES)
    return model_class(config)


def folder(path: Path, kind: str = "llama", tokenizer: Any = None, template: str | None = CHATML) -> Path:
    """Save a model with its tokenizer as a Hugging Face folder."""
    tokenizer = tokenizer or byte_level(eos_token="<|im_end|>", pad_token="<|pad|>", bos_token="<|im_start|>")
    tokenizer.chat_template = template
    model(kind, len(tokenizer)).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path
