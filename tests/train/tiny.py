"""Small real models of several architectures, and tokenizers of several kinds, made on the spot."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NoReturn

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
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
    tokenizer.decoder = _llamas_decoder()
    bytes_ = [f"<0x{b:02X}>" for b in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<unk>", *dict.fromkeys(special.values()), *bytes_], show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=_with_plain_bytes(tokenizer), unk_token="<unk>", **special)


def _llamas_decoder() -> Any:
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    return decoders.Sequence(steps)


def _with_plain_bytes(tokenizer: Any) -> Any:
    """The tokens of bytes are of the vocabulary, and not special: decoding keeps them."""
    tree = json.loads(tokenizer.to_str())
    tree["added_tokens"] = [t for t in tree["added_tokens"] if not t["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(tree))


def llama_like(**special: str) -> Any:
    """As Llama 2 converts its SentencePiece model: ▁ is put before by the normaliser and taken off by the decoder."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = _llamas_decoder()
    bytes_ = [f"<0x{b:02X}>" for b in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<unk>", *dict.fromkeys(special.values()), *bytes_], show_progress=False
    )
    words = [word for text in TEXT for word in ("a", *text.split(" "))]  # each gets its ▁
    tokenizer.train_from_iterator(words, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=_with_plain_bytes(tokenizer), unk_token="<unk>", **special)


def unigram(**special: str) -> Any:
    """As T5 and XLNet have it: Unicode is normalised (NFKC), several spaces are one."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.UnigramTrainer(
        vocab_size=200,
        special_tokens=["<unk>", *dict.fromkeys(special.values())],
        initial_alphabet=[*map(chr, range(32, 127)), "\n", "é", "▁"],
        unk_token="<unk>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **special)


def word_pieces(**special: str) -> Any:
    """As BERT has it: lower case without accents, white space is only a border, what is unknown is [UNK]."""
    letters = [chr(c) for c in range(33, 127)]
    words = [word.strip(".?:,").lower() for text in TEXT for word in text.split()]
    vocabulary = dict.fromkeys(["[UNK]", *special.values(), *letters, *(f"##{letter}" for letter in letters), *words])
    tokenizer = Tokenizer(models.WordPiece({str(t): i for i, t in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", **special)


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


SMALL: dict[str, Any] = {"vocab_size": 128, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
GROUPED = SMALL | {"intermediate_size": 64, "num_key_value_heads": 2, "max_position_embeddings": 256}
GPT = {"vocab_size": 128, "n_embd": 32, "hidden_size": 32, "n_layer": 2, "n_head": 4}
MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 8}
LINEAR = {"linear_num_key_heads": 2, "linear_num_value_heads": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    "gpt2": GPT,
    "gptj": GPT | {"rotary_dim": 4},
    "gpt_neo": {"vocab_size": 128, "hidden_size": 32, "num_layers": 2, "num_heads": 4}
    | {"attention_types": [[["global", "local"], 1]], "max_position_embeddings": 256},
    "gpt_neox": SMALL | {"intermediate_size": 64, "max_position_embeddings": 256},
    "bloom": GPT,
    "falcon": SMALL,
    "mamba": SMALL,
    "opt": SMALL | {"ffn_dim": 64, "max_position_embeddings": 256, "word_embed_proj_dim": 32},
    "mixtral": GROUPED | {"num_local_experts": 4},
    "qwen3_moe": GROUPED | MOE,
    "qwen3_next": GROUPED | MOE | LINEAR | {"linear_key_head_dim": 8, "linear_value_head_dim": 8},
    **{kind: GROUPED | {"head_dim": 8} for kind in ("qwen3", "gemma2", "gemma3_text", "smollm3", "olmo2", "olmo3")},
}


def small(kind: str, classifier: bool = False, **changed: Any) -> Any:
    """A random model of any architecture that transformers knows, with 128 tokens."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    torch.manual_seed(0)
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = AutoConfig.for_model(kind, **(CONFIGS.get(kind, GROUPED) | special | changed))
    if classifier:
        config.num_labels = 1
        return AutoModelForSequenceClassification.from_config(config).eval()
    return AutoModelForCausalLM.from_config(config).eval()


def leave() -> NoReturn:
    """End one of several processes once all have come here, without Python's tearing down of what it had loaded.

    In one run of thirty a thread of torch's was left over then, and aborted the process after all was done.
    """
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    os._exit(0)
