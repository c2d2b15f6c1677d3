"""One process or many: who we are, what all agree on, and a model sharded over all (FSDP2).

Processes are started by torchrun, which sets RANK, LOCAL_RANK and WORLD_SIZE. On one process everything here
does nothing.
"""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from tutelage.errors import ConfigError, TutelageError
from tutelage.train.blocks import transformer_blocks

V = TypeVar("V")
_WORD_EVERY_SECONDS = 60.0


def start() -> None:
    """Join the processes that torchrun started; does nothing if there is one, or if we have joined."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("cpu:gloo,cuda:nccl")
    else:
        dist.init_process_group("gloo")


@cache
def saving_group() -> Any:
    """Return a group of processes for what is written beside the training: two threads cannot share one."""
    return dist.new_group(backend="gloo") if num_processes() > 1 else None


def rank() -> int:
    """Return the number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def num_processes() -> int:
    """Return how many processes train one model."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """True in the process that writes files and talks."""
    return rank() == 0


def device() -> torch.device:
    """Return this process's GPU, or the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def load_device() -> torch.device:
    """Return where a model is loaded: one that is to be sharded waits in memory of the CPU."""
    return device() if num_processes() == 1 else torch.device("cpu")


def sums(values: Mapping[str, float]) -> dict[str, float]:
    """Return the sum of each value over all processes; all must have the same names."""
    if num_processes() == 1:
        return dict(values)
    total = torch.tensor([values[name] for name in sorted(values)], dtype=torch.float64)
    total = total.to(device())
    dist.all_reduce(total)
    return dict(zip(sorted(values), total.tolist(), strict=True))


def gathered(value: V) -> list[V]:
    """Return the value of every process, in order of rank."""
    if num_processes() == 1:
        return [value]
    found: list[Any] = [None] * num_processes()
    dist.all_gather_object(found, value)
    return found


def from_first(value: V) -> V:
    """Return the value that the first process has."""
    if num_processes() == 1:
        return value
    found = [value]
    dist.broadcast_object_list(found, src=0)
    return found[0]


def done_by_first(work: Callable[[Callable[[], None]], V]) -> V:
    """Return what `work` returns in the first process; the others wait for it, however long it takes.

    Args:
        work: is given a function to call now and then while it lasts: others who hear nothing of the first for
            30 minutes would give up.

    Raises:
        TutelageError: whatever `work` raises in the first process, in all of them.
    """
    told = time.monotonic()

    def still_at_it() -> None:
        nonlocal told
        if time.monotonic() - told > _WORD_EVERY_SECONDS:
            from_first((False, None))
            told = time.monotonic()

    found: Any = None
    if is_first():
        try:
            found = work(still_at_it)
        except TutelageError as error:
            found = error
    done = is_first()
    if done:
        from_first((True, found))
    while not done:
        done, found = from_first((False, None))
    if isinstance(found, TutelageError):
        raise found
    return found  # type: ignore[no-any-return]


def loaded_by_first(load: Callable[[], Any]) -> Any:
    """Return the model that `load` returns in the first process; the others get it without its weights.

    There each weight is one NaN that is seen everywhere in its shape and takes no memory; `shard` brings the values.
    Everything else is the first one's: buffers, which weights are one, what has been resized, generation settings.

    Raises:
        TutelageError: whatever `load` raises in the first process, in all of them.
    """
    if num_processes() == 1:
        return load()
    loaded: Any = None
    sent: Any = None
    if is_first():
        try:
            loaded = load()
            sent = copy.deepcopy(loaded, {id(weight): _absent(weight) for weight in loaded.parameters()})
        except TutelageError as error:
            sent = error
    sent = from_first(sent)
    if isinstance(sent, TutelageError):
        raise sent
    return loaded if is_first() else sent


def _absent(weight: nn.Parameter) -> nn.Parameter:
    nowhere = torch.tensor(torch.nan).to(weight.dtype).expand(weight.shape)
    return nn.Parameter(nowhere, requires_grad=weight.requires_grad)


def wait_for_all() -> None:
    """Go on when all processes are here."""
    if num_processes() > 1:
        dist.barrier()


def shard(scorer: nn.Module, per_copy: int | None) -> None:
    """Divide weights, gradients and optimizer state among all processes; the weights are those of the first.

    They are sent a block at a time, so no other process holds more than its share and one block, or what is in none.
    Gradients are summed, not averaged: an objective has divided by what the whole batch is divided by.

    Args:
        scorer: holds the model; its own unit has what is in no block, the embeddings and the head.
        per_copy: processes that share one copy of the weights (HSDP: sharded among them, gradients summed over
            the copies); None: all.

    Raises:
        ConfigError: the number of processes is no multiple of `per_copy`.
    """
    size = num_processes()
    if size == 1:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    if per_copy is not None and size % per_copy:
        raise ConfigError(f"shard_over={per_copy}: does not divide the {size} processes; give a number that does")
    kind = device().type
    if per_copy is None or per_copy == size:
        mesh = init_device_mesh(kind, (size,))
    else:
        mesh = init_device_mesh(kind, (size // per_copy, per_copy), mesh_dim_names=("copies", "shards"))
    # Autocast decides what is computed in bfloat16, as in one process: norms, heads and sums are not.
    policy = MixedPrecisionPolicy(reduce_dtype=torch.float32)
    for block in transformer_blocks(scorer.get_submodule("model")):
        _send_weights(block)
        fully_shard(block, mesh=mesh, mp_policy=policy)
    _send_weights(scorer)
    # also the outermost: left gathered after a pass without gradients, it would hand them to the optimizer
    fully_shard(scorer, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
    for module in scorer.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)


def _send_weights(module: nn.Module) -> None:
    """Give all processes the weights that the first has of `module`, on their devices, but for what is sharded."""
    from torch.distributed.tensor import DTensor

    for weight in module.parameters():
        if isinstance(weight, DTensor):
            continue
        if is_first():
            weight.data = weight.data.to(device())
        else:
            weight.data = torch.empty(weight.shape, dtype=weight.dtype, device=device())
        dist.broadcast(weight.data, src=0)


def whole_weights(scorer: Any, trained_only: bool = False) -> dict[str, Any] | None:
    """Return the weights of the scorer's model, gathered from all processes in the first; None: as they are."""
    if num_processes() == 1:
        return None
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=trained_only)
    found = get_model_state_dict(scorer.model, options=options)
    tied = set(scorer.model.all_tied_weights_keys)  # gathered, they share no memory, and would be saved twice
    return {name: weight for name, weight in found.items() if name not in tied}
