"""How much memory there is: on a GPU, or on a machine and in the group of processes that it allows us."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch


def available_memory(device: torch.device, held: int, num_processes: int = 1, root: Path = Path("/")) -> int | None:
    """Return how many bytes this process can have on `device`, with the `held` ones; None: nobody says.

    On a GPU that is what is free. On a CPU it is what the kernel can free (MemAvailable) and what is held, but no
    more than the limit of the control group, and of that the share of one of `num_processes`.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return free + cached + held
    if device.type != "cpu":
        return None
    try:
        rows = (root / "proc/meminfo").read_text("utf-8").splitlines()
        free = next(int(row.split()[1]) << 10 for row in rows if row.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # not Linux
        return None
    return min(most // num_processes for most in (free + held, *_group_limits(root)))


def _group_limits(root: Path) -> Iterator[int]:
    """Yield the memory limits of this process's control group and those it is in, of either version of cgroups."""
    try:
        rows = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return
    for row in rows:
        _, controllers, path = row.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        base, name = ("memory", "memory.limit_in_bytes") if controllers else ("", "memory.max")
        group = root / "sys/fs/cgroup" / base
        for folder in (group, *(group.joinpath(*parts) for parts in _paths(path))):
            try:
                yield int((folder / name).read_text("utf-8"))
            except (OSError, ValueError):  # not there (a container sees its own group as the root), or "max"
                continue


def _paths(path: str) -> list[tuple[str, ...]]:
    parts = Path(path).parts[1:]
    return [parts[:end] for end in range(1, len(parts) + 1)]
