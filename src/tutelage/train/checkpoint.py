"""Hugging Face folders in and out. A checkpoint is either whole or absent."""

from __future__ import annotations

import os
import shutil
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.config import nearest, preset_names
from tutelage.disk import read_text
from tutelage.errors import ModelError, StoreError, TutelageError
from tutelage.inputs import Model, Pretrained
from tutelage.progress import say
from tutelage.records import Checkpoint
from tutelage.train import parallel
from tutelage.train.encode import Encoder

if TYPE_CHECKING:
    from tutelage.train.scorer import Scorer

CHECKPOINT = "checkpoint"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "vocab.txt")


def _quiet() -> None:
    """Keep the libraries' own bars and warnings out of our narration."""
    import transformers

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]


def _chat_template(name_or_path: str) -> str:
    """Read a chat format that comes with the package, or a .jinja file."""
    path = Path(name_or_path)
    if path.suffix == ".jinja":
        return read_text(path)
    folder = resources.files("tutelage") / "presets" / "chat_format"
    names = [p.name.removesuffix(".jinja") for p in folder.iterdir()]
    if name_or_path not in names:
        raise ModelError(
            f"chat_format {name_or_path!r}: unknown{nearest(name_or_path, names)} "
            f"(there are: {', '.join(sorted(names))}, or a .jinja file)"
        )
    return (folder / f"{name_or_path}.jinja").read_text("utf-8")


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
        tokenizer = AutoTokenizer.from_pretrained(folder, revision=model.revision or "main")
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(cannot_load(model, "tokenizer", error)) from None
    if model.chat_format is not None:
        tokenizer.chat_template = _chat_template(model.chat_format)
    if not tokenizer.chat_template:
        raise ModelError(
            f"{model.path}: has no chat template, so it is unknown how to write a conversation for it; "
            f"give {model.word}.chat_format=human_assistant, {model.word}.chat_format=chatml, or a .jinja file"
        )
    encoder = Encoder(tokenizer)
    if model.chat_format == "chatml" and encoder.end_id != tokenizer.convert_tokens_to_ids("<|im_end|>"):
        raise ModelError(
            f"{model.path}: chat_format=chatml needs <|im_start|> and <|im_end|> as special tokens of the tokenizer, "
            f"which has none; give {model.word}.chat_format=human_assistant"
        )
    return encoder


def load_model(model: Model, dtype: str = "float32") -> Any:
    """Load a causal language model with weights in `dtype` onto the device, dropout off.

    Raises:
        ModelError: no such folder or Hub name, or weights that are missing or broken.
    """
    import torch
    from transformers import AutoModelForCausalLM

    try:
        both: Any = AutoModelForCausalLM.from_pretrained(
            model.folder(), revision=model.revision or "main", dtype=getattr(torch, dtype), output_loading_info=True
        )
    except TutelageError:
        raise
    except Exception as error:  # safetensors, hub and config errors share no base class
        raise ModelError(cannot_load(model, "model", error)) from None
    loaded, info = both
    check_weights(model, info, allowed=())
    # eval() switches dropout off for good: a policy that differs from its reference only by noise has a
    # nonzero margin at step 0.
    return loaded.to(parallel.load_device()).eval()


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


def context_length(model: Any) -> int:
    """Return how many tokens the model can attend to."""
    return int(getattr(model.config, "max_position_embeddings", None) or 1 << 30)


def usable_length(model: Any, max_length: int) -> int:
    """Return `max_length`, or the model's context if that is shorter; says so then."""
    context = context_length(model)
    if context < max_length:
        say(f"  max_length {max_length} is beyond the model's context; {context} tokens are used")
    return min(context, max_length)


def save_checkpoint(scorer: Scorer, encoder: Encoder, folder: Path) -> None:
    """Save weights, tokenizer, chat template and generation settings as `folder`, whole or not at all.

    Of sharded weights the first process gathers everything, in memory of the CPU.

    Raises:
        StoreError: the disk is full or cannot be written.
    """
    from safetensors import SafetensorError

    weights = parallel.whole_weights(scorer)
    if not parallel.is_first():
        return
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with scorer.as_loaded() as model:
            if model.can_generate():  # a reward model does not
                model.generation_config.eos_token_id = encoder.end_id
                model.generation_config.pad_token_id = pad_id(encoder)
            model.save_pretrained(temporary, state_dict=weights)
        encoder.tokenizer.save_pretrained(temporary)
    except SafetensorError as error:
        raise StoreError(f"{temporary}: cannot be written ({error}); free some space, then run again") from None
    for path in temporary.iterdir():  # or a power cut could leave a finished artifact with empty weights
        with path.open("rb") as file:
            os.fsync(file.fileno())
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def checkpoint_record(model: Model, encoder: Encoder, step: int) -> Checkpoint:
    """Return what the record says of a checkpoint trained from `model`."""
    made = model.artifact()
    base = made.record.checkpoint.base_model if made and made.record.checkpoint else model.path
    return Checkpoint(
        path=CHECKPOINT,
        base_model=base,
        parent=made.record.fingerprint if made else None,
        step=step,
        chat_template=str(encoder.tokenizer.chat_template),
    )


def pad_id(encoder: Encoder) -> int:
    """Return the id to pad with; any will do where an attention mask hides it."""
    pad = encoder.tokenizer.pad_token_id
    return int(encoder.end_id if pad is None else pad)
