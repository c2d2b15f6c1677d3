"""One process or many: who we are, what all agree on, and a model sharded over all (FSDP2).

Processes are started by torchrun, which sets RANK, LOCAL_RANK and WORLD_SIZE. On one process everything here
does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from tutelage.errors import ConfigError
from tutelage.train.blocks import transformer_blocks
from tutelage.train.precision import Precision, in_bfloat16

V = TypeVar("V")


def start() -> None:
    """Join the processes that torchrun started; does nothing if there is one, or if we have joined."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("cpu:gloo,cuda:nccl")  # checkpoints are written through the CPU
    else:
        dist.init_process_group("gloo")


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


def wait_for_all() -> None:
    """Go on when all processes are here."""
    if num_processes() > 1:
        dist.barrier()


def shard(scorer: nn.Module, precision: Precision, per_copy: int | None) -> None:
    """Divide weights, gradients and optimizer state among all processes.

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
    computed = torch.bfloat16 if in_bfloat16(device(), precision) else None
    policy = MixedPrecisionPolicy(param_dtype=computed, reduce_dtype=torch.float32)
    for block in transformer_blocks(scorer.get_submodule("model")):
        fully_shard(block, mesh=mesh, mp_policy=policy)
    fully_shard(scorer, mesh=mesh, mp_policy=policy)
    for module in scorer.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)


def whole_weights(scorer: Any) -> dict[str, Any] | None:
    """Return the weights of the scorer's model, gathered from all processes in the first; None: as they are."""
    if num_processes() == 1:
        return None
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    return get_model_state_dict(scorer.model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
