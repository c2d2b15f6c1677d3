"""LoRA (Hu et al. 2021, arXiv 2106.09685), by peft: the weights stay, and two thin matrices beside each are trained.

y = W x + alpha / rank * B A x with A (rank, in) drawn at random and B (out, rank) zero. At step 0 the model is
therefore the one that was loaded, to the bit, and DPO's reference, which the policy computes before its first step,
is the base model: no second one is held.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tutelage.config import nearest
from tutelage.errors import ModelError
from tutelage.extras import require
from tutelage.progress import say
from tutelage.train.blocks import transformer_blocks
from tutelage.train.scorer import HEADS
from tutelage.train.settings import ALL_LINEAR, Training

_NAME = "default"
"""What peft calls the only adapter of a model."""


def add_adapters(model: Any, settings: Training) -> None:
    """Freeze `model` but for new adapters, and the head of a reward model, which is new as well.

    Its class stays what it was. The start is drawn on the CPU from `settings.seed`, so it is the same on every
    device and in every process.

    Raises:
        MissingExtraError: peft is not installed.
        ModelError: no matrix of a name in `settings.lora.target`, or none that peft can adapt.
    """
    lora = settings.lora
    require("lora", f"lora={lora.rank}")
    from peft import LoraConfig
    from transformers.pytorch_utils import Conv1D

    found = _matrices(model)
    asked = _chosen(type(model).__name__, list(found), lora.target)
    head = _head(model)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.scale,
        target_modules=asked,
        # Without dropout nothing in training draws random numbers: a run that goes on needs no generator's state,
        # activations can be computed again as they were, and a policy equals its reference at step 0.
        lora_dropout=0.0,
        fan_in_fan_out=all(isinstance(found[name], Conv1D) for name in asked),
        task_type="CAUSAL_LM" if head is None else "SEQ_CLS",
    )
    torch.manual_seed(settings.seed)
    try:
        with warnings.catch_warnings(action="ignore"):
            model.add_adapter(config)
    except ValueError as error:  # Mamba's kernel reads weights past the adapters
        said = " ".join(str(error).split())
        raise ModelError(f"lora: {said} Name others with lora.target (of {', '.join(_ends(asked))})") from None
    _require_as_asked(model, asked)
    if head is not None:
        model.get_submodule(head).requires_grad_(True)
    _narrate(model, settings, asked)


def _matrices(model: Any) -> dict[str, nn.Module]:
    """Return the matrices of the transformer blocks by name; experts that lie in one tensor are none."""
    from transformers.pytorch_utils import Conv1D

    inside = {id(module) for block in transformer_blocks(model) for module in block.modules()}
    return {
        name: module
        for name, module in model.named_modules()
        if id(module) in inside and isinstance(module, nn.Linear | Conv1D)
    }


def _chosen(model: str, names: Sequence[str], target: Sequence[str]) -> list[str]:
    """Return the `names` that end in one of `target`, or all.

    Raises:
        ModelError: a target that is the end of none; says which ends there are.
    """
    ends = _ends(names)
    if not names:
        raise ModelError(f"lora: {model} has no matrix in its blocks that could be adapted")
    if tuple(target) == (ALL_LINEAR,):
        return list(names)
    for end in target:
        if not any(f".{name}".endswith(f".{end}") for name in names):
            raise ModelError(
                f"lora.target: {model} has no matrix called {end}{nearest(end, ends)} "
                f"(there are {', '.join(ends)}; {ALL_LINEAR} is all of them)"
            )
    return [name for name in names if any(f".{name}".endswith(f".{end}") for end in target)]


def _ends(names: Sequence[str]) -> list[str]:
    return sorted({name.rpartition(".")[2] for name in names})


def _head(model: Any) -> str | None:
    """Return the name of the head that makes scores, or None."""
    return next((name for name, _ in model.named_children() if f"{name}." in HEADS), None)


def _adapted(model: Any) -> dict[str, Any]:
    from peft.tuners.lora import LoraLayer

    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


def _require_as_asked(model: Any, asked: Sequence[str]) -> None:
    """Refuse adapters elsewhere than asked for: peft takes some names of a mixture of experts for its experts.

    Raises:
        ModelError: says what to ask for.
    """
    done = set(_adapted(model))
    if done == set(asked):
        return
    others = _ends([name for name in asked if name not in done] or list(done - set(asked)))
    rest = [end for end in _ends(asked) if end not in others]
    raise ModelError(
        f"lora: in {type(model).__name__} peft takes {', '.join(others)} for other weights; "
        f"leave them out: lora.target=[{','.join(rest)}]"
    )


def _narrate(model: Any, settings: Training, asked: Sequence[str]) -> None:
    weights = list(model.parameters())
    trained = sum(w.numel() for w in weights if w.requires_grad)
    say(
        f"  LoRA of rank {settings.lora.rank}, alpha {settings.lora.scale}, beside {', '.join(_ends(asked))}: "
        f"{trained:,} of {sum(w.numel() for w in weights):,} weights are trained"
    )
    if settings.lr == type(settings).model_fields["lr"].default:
        say(
            f"  lr={settings.lr:g} is the default for training all weights; "
            f"LoRA usually wants ten times that or more: lr={10 * settings.lr:g}"
        )


# ---- what is saved ------------------------------------------------------------------------------------


@contextmanager
def merged(model: Any, weights: Mapping[str, Tensor] | None) -> Iterator[Mapping[str, Tensor] | None]:
    """Lend what `save_pretrained` is to write as `state_dict`: W + alpha / rank * B A under W's own name.

    Only copies are merged: the model trains on as it was. One without adapters is written as it is.

    Args:
        weights: those of `model`, gathered; None: read them off it.
    """
    if not hasattr(model, "peft_config"):
        yield weights
        return
    found = dict(model.state_dict() if weights is None else weights)
    for name, layer in _adapted(model).items():
        down, up = (found.pop(f"{name}.lora_{which}.{_NAME}.weight") for which in "AB")
        change = layer.scaling[_NAME] * (up @ down)
        base = found.pop(f"{name}.base_layer.weight")
        # to the CPU one by one: beside the model there is no room for another on its device
        found[f"{name}.weight"] = (base + (change.T if layer.fan_in_fan_out else change)).cpu()
    # with adapters in a model, save_pretrained would write only them
    model._hf_peft_config_loaded = False
    try:
        yield {name.replace(".base_layer.", "."): weight for name, weight in found.items()}
    finally:
        model._hf_peft_config_loaded = True


def write_adapter(model: Any, weights: Mapping[str, Tensor] | None, base: str, folder: Path) -> None:
    """Write adapter_model.safetensors and adapter_config.json, as `peft.PeftModel.from_pretrained` reads them.

    Args:
        weights: what is trained of `model`, gathered; None: read it off the model.
        base: what the adapter belongs to, a folder or a name on the Hub.
    """
    from safetensors.torch import save_file

    if weights is None:
        weights = {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}
    folder.mkdir(parents=True)
    named = {f"base_model.model.{n.replace(f'.{_NAME}.', '.')}": w.contiguous() for n, w in weights.items()}
    save_file(named, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = copy.copy(model.peft_config[_NAME])
    config.base_model_name_or_path, config.inference_mode = base, True
    config.target_modules = sorted(config.target_modules)
    head = _head(model)
    config.modules_to_save = None if head is None else [head]
    config.save_pretrained(str(folder))
