"""Models out, as Hugging Face folders. A checkpoint is either whole or absent."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tutelage.errors import StoreError
from tutelage.inputs import Model
from tutelage.records import Checkpoint
from tutelage.train import parallel
from tutelage.train.checkpoint import pad_id
from tutelage.train.encode import Encoder
from tutelage.train.scorer import Scorer

CHECKPOINT, ADAPTER = "checkpoint", "adapter"


def save_checkpoint(scorer: Scorer, encoder: Encoder, folder: Path) -> None:
    """Save weights, tokenizer, chat template and generation settings as `folder`, whole or not at all.

    Of sharded weights the first process gathers everything, in memory of the CPU. What LoRA trained is added to the
    weights, in a copy.

    Raises:
        StoreError: the disk is full, cannot be written, or gives back something else.
    """
    from tutelage.train.lora import merged

    weights = parallel.whole_weights(scorer)
    if not parallel.is_first():
        return
    with _whole(folder) as temporary, scorer.as_loaded() as model:
        if model.can_generate():  # a reward model does not
            model.generation_config.eos_token_id = encoder.end_id
            model.generation_config.pad_token_id = pad_id(encoder)
        with merged(model, weights) as together:
            model.save_pretrained(temporary, state_dict=together)
            _read_back(temporary, model.state_dict() if together is None else together)
        _save_tokenizer(encoder.tokenizer, temporary)


def _save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Save a tokenizer without the padding and cutting of its last call: some runs find all rows encoded."""
    if (backend := getattr(tokenizer, "backend_tokenizer", None)) is not None:
        backend.no_padding()
        backend.no_truncation()
    tokenizer.save_pretrained(folder)


def save_adapter(scorer: Scorer, base: str, folder: Path) -> None:
    """Save what LoRA trained beside `base` in peft's format as `folder`, whole or not at all.

    Raises:
        StoreError: the disk is full or cannot be written.
    """
    from tutelage.train.lora import write_adapter

    weights = parallel.whole_weights(scorer, trained_only=True)
    if not parallel.is_first():
        return
    with _whole(folder) as temporary:
        write_adapter(scorer.model, weights, base, temporary)


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """Lend a folder to write into, which then takes the place of `folder`.

    Raises:
        StoreError: the disk is full or cannot be written.
    """
    from safetensors import SafetensorError

    folder.parent.mkdir(exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        yield temporary
    except SafetensorError as error:
        raise StoreError(f"{temporary}: cannot be written ({error}); free some space, then run again") from None
    for path in temporary.iterdir():  # or a power cut could leave a finished artifact with empty weights
        with path.open("rb") as file:
            os.fsync(file.fileno())
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def _read_back(folder: Path, weights: Mapping[str, Any]) -> None:
    """Read the weights in `folder` again and compare them with those in memory, bit for bit.

    transformers stores some architectures' weights under other names; those are read, and that is all.

    Raises:
        StoreError: the disk gives back something else.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118 - it is no dictionary
                    read = file.get_tensor(name)
                    wanted = weights.get(name)
                    if wanted is not None and not torch.equal(read, wanted.to("cpu", read.dtype)):
                        raise StoreError(f"{path}: {name} is not what was written; check the disk, then run again")
        except SafetensorError as error:
            raise StoreError(f"{path}: cannot be read back ({error}); check the disk, then run again") from None


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
