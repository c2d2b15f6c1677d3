"""Models and tokenizers in, from Hugging Face folders or the Hub; what cannot be trained is refused."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tutelage.config import nearest, preset_names
from tutelage.errors import ModelError, TutelageError
from tutelage.inputs import Model, Pretrained
from tutelage.progress import say
from tutelage.train import parallel
from tutelage.train.encode import Encoder
from tutelage.train.template import chat_template, settled

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt")


def _quiet() -> None:
    """Keep the libraries' own bars and warnings out of our narration."""
    import transformers

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def load_encoder(model: Pretrained) -> Encoder:
    """Load the tokenizer of `model` with its chat format.

    Raises:
        ModelError: no such model, no tokenizer, no chat template.
    """
    _quiet()
    from transformers import AutoTokenizer

    folder = model.folder()
    if Path(folder).is_dir() and not any((Path(folder) / name).exists() for name in _TOKENIZER_FILES):
        raise ModelError(f"{folder}: has no tokenizer (looked for {', '.join(_TOKENIZER_FILES)}); copy it there")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, revision=model.revision or "main", trust_remote_code=False)
    except Exception as error:  # a broken file raises whatever its reader raises
        raise ModelError(cannot_load(model, "tokenizer", error)) from None
    said: list[str] = []
    if model.chat_format is not None:
        tokenizer.chat_template = chat_template(model.chat_format)
    elif isinstance(tokenizer.chat_template, str):
        tokenizer.chat_template, said = settled(tokenizer.chat_template)
    if not tokenizer.chat_template:
        raise ModelError(
            f"{model.path}: has no chat template, so it is unknown how to write a conversation for it; "
            f"give {model.word}.chat_format=human_assistant, {model.word}.chat_format=chatml, or a .jinja file"
        )
    if model.archive is not None and model.chat_format != "original":
        said.append(f"the research code wrote turns otherwise; {model.word}.chat_format=original is its way")
    try:
        encoder = Encoder(tokenizer)
    except ModelError as error:
        raise ModelError(
            f"{model.path}: {error}; or give another {model.word}.chat_format (human_assistant needs but an EOS)"
        ) from None
    for note in [*said, *encoder.notes]:
        say(f"  {model.path}: {note}")
    return encoder


def load_model(model: Model, dtype: str = "float32") -> Any:
    """Load a causal language model with weights in `dtype` onto the device, dropout off.

    Of several processes the first loads it; the others get it without its weights (see `parallel.loaded_by_first`).

    Raises:
        ModelError: no such folder or Hub name, weights that are missing or broken, or no model that writes
            from left to right.
    """
    import torch
    from transformers import AutoModelForCausalLM

    def load() -> Any:
        loaded, _ = load_weights(AutoModelForCausalLM, model, getattr(torch, dtype))
        # eval() switches dropout off for good: a policy that differs from its reference only by noise has a
        # nonzero margin at step 0.
        loaded = loaded.to(parallel.load_device()).eval()
        check_left_to_right(loaded, model.path)
        return loaded

    return parallel.loaded_by_first(load)


def load_weights(
    auto: Any, source: Pretrained, dtype: Any, new: tuple[str, ...] = (), unused: tuple[str, ...] = (), **changes: Any
) -> tuple[Any, set[str]]:
    """Load the weights of `source`, its own or its archive's, into the architecture that `auto` has for it.

    Returns the model, and the names of the weights that were initialised.

    Args:
        auto: AutoModelForCausalLM or another of its kind.
        new: beginnings of the names of weights that may be missing; they are initialised.
        unused: beginnings of the names of weights that an archive may hold beside the model's.
        changes: settings of the model's configuration to change.

    Raises:
        ModelError: no such folder or Hub name, another kind of model, or weights that are missing or broken.
    """
    from transformers import AutoConfig

    from tutelage.train.legacy import load_archived

    where = {"revision": source.revision or "main", "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(source.folder(), **where, **changes)
        check_architecture(auto, config, source)
        if source.archive is not None:
            return load_archived(auto, source, config, dtype, new, unused)
        model, info = auto.from_pretrained(
            source.folder(), **where, config=config, dtype=dtype, output_loading_info=True
        )
    except TutelageError:
        raise
    except Exception as error:  # safetensors, hub and config errors share no base class
        raise ModelError(cannot_load(source, source.holds, error)) from None
    check_weights(source, info, allowed=new)
    return model, set(info["missing_keys"])


def check_architecture(auto: Any, config: Any, source: Pretrained) -> None:
    """Refuse a configuration of a model that cannot be what is to be loaded, before its weights are read.

    Raises:
        ModelError: says which architecture was found and what was expected.
    """
    from transformers import AutoModelForCausalLM

    found = ", ".join(config.architectures or [type(config).__name__])
    if config.is_encoder_decoder or type(config) not in AutoModelForCausalLM._model_mapping:
        raise ModelError(f"{source.path}: is a {found}; expected a causal language model (decoder only)")
    if type(config) not in auto._model_mapping:
        raise ModelError(
            f"{source.path}: is a {found}, of which transformers has no "
            f"{auto.__name__.removeprefix('AutoModelFor')}; "
            "take another architecture, for example Llama, Mistral or Qwen3"
        )
    if source.holds == "language model" and source.archive is None and "ForSequenceClassification" in found:
        raise ModelError(f"{source.path}: is a {found}, which scores and does not write; expected a language model")


def check_left_to_right(model: Any, path: str) -> None:
    """Refuse a model whose prediction depends on what comes later, as BERT's does.

    Two texts of four tokens that differ in the last are compared: what is said of the first three is the same.

    Raises:
        ModelError: says which architecture was found.
    """
    import torch

    ids = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 5]], device=model.device)
    with torch.no_grad():
        one, other = model(input_ids=ids, use_cache=False).logits[:, :3].float()
    rounding = 1e-4 if model.dtype == torch.float32 else 2e-2
    if (one - other).abs().max() > rounding * one.abs().max():
        raise ModelError(
            f"{path}: {type(model).__name__} sees the tokens that come later, so it cannot learn to write them; "
            "expected a causal language model (decoder only)"
        )


def check_weights(model: Pretrained, info: dict[str, Any], allowed: tuple[str, ...]) -> None:
    """Refuse a model of which transformers had to make up weights, but for those in `allowed`.

    Raises:
        ModelError: names the weights that are missing or of another shape.
    """
    made_up = [*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])]
    wrong = sorted(key for key in made_up if not key.startswith(allowed or ("\0",)))
    if wrong:
        raise ModelError(
            f"{model.path}: {len(wrong)} weights are missing or of another shape ({', '.join(wrong[:3])}); "
            "they would be random. Copy the model again"
        )


def check_vocabulary(model: Any, encoder: Encoder, path: str) -> None:
    """Refuse a tokenizer with more tokens than the model has embeddings.

    Raises:
        ModelError: says how many of each there are.
    """
    tokens, rows = max(encoder.tokenizer.get_vocab().values()) + 1, model.get_input_embeddings().weight.shape[0]
    if tokens > rows:
        raise ModelError(f"{path}: the tokenizer has {tokens} tokens, the model embeddings for {rows}; resize them")


def cannot_load(model: Pretrained, what: str, error: Exception) -> str:
    """Say that the `what` (tokenizer, model) of `model` cannot be loaded, and whether it is there at all."""
    said = " ".join(str(error).split())[:300]
    hint = nearest(model.path, preset_names(model.preset_group or ""))
    if not Path(model.folder()).exists():
        return (
            f"{model.path}: no preset, folder or model on the Hub of that name can be loaded{hint} ({what}: {said})"
        )
    return f"{model.path}: the {what} cannot be loaded: {said}"


def without_weights(source: Pretrained) -> Any:
    """Return what stands for the model of `source` where its configuration is all that is asked for.

    Raises:
        ModelError: it has none that can be read.
    """
    from transformers import AutoConfig

    try:
        where = {"revision": source.revision or "main", "trust_remote_code": False}
        return SimpleNamespace(config=AutoConfig.from_pretrained(source.folder(), **where))
    except Exception as error:  # config and hub errors share no base class
        raise ModelError(cannot_load(source, "configuration", error)) from None


def context_length(model: Any) -> int:
    """Return how many tokens the model can attend to."""
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1 << 30)


def usable_length(model: Any, max_length: int) -> int:
    """Return `max_length`, or the model's context if that is shorter; says so then."""
    context = context_length(model)
    if context < max_length:
        say(f"  max_length {max_length} is beyond the model's context; {context} tokens are used")
    return min(context, max_length)


def pad_id(encoder: Encoder) -> int:
    """Return the id to pad with; any will do where an attention mask hides it."""
    pad = encoder.tokenizer.pad_token_id
    return int(encoder.end_id if pad is None else pad)
