"""Weights of the research code: `policy.pt` and the reward trainer's `checkpoint.pt`.

Both are what `torch.save` makes of a dict with the state_dict of a Hugging Face model under 'state' (beside it
step_idx and metrics, or optimizer, epoch and step). They are pickles, so they are read with `weights_only`:
tensors, numbers and texts come out, and a file that asks for anything else is refused before it can run.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tutelage.errors import ModelError
from tutelage.inputs import Pretrained

_WRAPPERS = re.compile(r"^module\.|\b(_fsdp_wrapped_module|_checkpoint_wrapped_module|_orig_mod)\.")
"""What FSDP, activation checkpointing, compilation and DataParallel put into the names of weights."""
_RECOMPUTED = re.compile(r"(\.rotary_emb\.inv_freq|\.attn\.(masked_)?bias|\.attention\.(masked_)?bias)$")
"""Buffers that older versions of transformers saved, and that today's make anew."""


class _Number:
    """Stands for a numpy number among the metrics, which nobody reads: no code of numpy's runs for it."""

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...


_NUMBERS: list[Any] = [
    (_Number, name) for name in ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype")
]


def read_archive(path: Path) -> dict[str, Tensor]:
    """Return the weights in a file of the research code by their names, mapped from disk.

    Raises:
        ModelError: the file is torn, was not written by the research code, or holds anything but tensors,
            numbers and texts.
    """
    try:
        with torch.serialization.safe_globals(_NUMBERS):
            read: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a torn file, a foreign one and a hostile one each raise something else
        asked = re.search(r"GLOBAL (\S+)", str(error))
        if asked:
            raise ModelError(
                f"{path}: asks for {asked[1]} to be run while it is read; expected weights and numbers only. "
                "It was not run; get the file from somebody you trust"
            ) from None
        raise ModelError(
            f"{path}: cannot be read as a file of torch.save; it is torn or something else. Copy it again"
        ) from None
    state = read.get("state") if isinstance(read, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        held = ", ".join(map(str, list(read)[:3])) if isinstance(read, dict) else type(read).__name__
        raise ModelError(
            f"{path}: holds no weights under 'state' (found: {held or 'nothing'}); expected the research code's "
            "policy.pt, or checkpoint.pt for a reward model. A model folder is given as the model itself"
        )
    return {_WRAPPERS.sub("", str(name)): weight for name, weight in state.items()}


def load_archived(
    auto: Any, source: Pretrained, config: Any, dtype: torch.dtype, new: tuple[str, ...], unused: tuple[str, ...]
) -> tuple[Any, set[str]]:
    """Load the weights of the archive of `source` into a model of the architecture in `config`.

    Returns the model, and the names of the weights that were initialised.

    Args:
        auto: the transformers class that knows which model belongs to `config`.
        new: beginnings of the names of weights that may be missing; they are initialised.
        unused: beginnings of the names of weights that the archive may hold beside the model's.

    Raises:
        ModelError: the file cannot be used (see `read_archive`), or holds other weights than the model has.
    """
    path = source.archive_file()
    state = {name: weight for name, weight in read_archive(path).items() if not _RECOMPUTED.search(name)}
    with torch.device("meta"):
        blank = auto.from_config(config)
    model, info = type(blank).from_pretrained(
        None,
        config=blank.config,
        state_dict=state,
        dtype=dtype,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are reported below, three at a time instead of all
    )
    wrong = [
        *(f"{key} is missing" for key in sorted(info["missing_keys"]) if not key.startswith(new or ("\0",))),
        *(f"{key} is not known" for key in sorted(info["unexpected_keys"]) if not key.startswith(unused or ("\0",))),
        *(
            f"{key} is {tuple(found)} instead of {tuple(expected)}"
            for key, found, expected in sorted(info["mismatched_keys"])
        ),
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ModelError(
            f"{path}: does not fit {type(model).__name__} of {source.path}: {'; '.join(wrong[:3])}{more}. "
            f"Give the {source.word} that it was trained from"
        )
    return model, set(info["missing_keys"])
