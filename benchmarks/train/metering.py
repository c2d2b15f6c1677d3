"""What one contender's process uses: seconds of named parts, and memory. Imports torch, never tutelage."""

from __future__ import annotations

import resource
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from workloads import Shape, Workload

MB = 2**20


class Meter:
    """Seconds of the parts `reference` and `train`, without what lies between them."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.cpu: dict[str, float] = defaultdict(float)
        self.wall: dict[str, float] = defaultdict(float)
        self._begun: dict[str, tuple[float, float]] = {}

    def begin(self, part: str) -> None:
        """Start the clocks of `part`."""
        self._wait()
        self._begun[part] = time.process_time(), time.perf_counter()

    def end(self, part: str) -> None:
        """Stop the clocks of `part`."""
        self._wait()
        cpu, wall = self._begun.pop(part)
        self.cpu[part] += time.process_time() - cpu
        self.wall[part] += time.perf_counter() - wall

    @contextmanager
    def part(self, part: str) -> Iterator[None]:
        """Count what is done inside to `part`."""
        self.begin(part)
        yield
        self.end(part)

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()


def build(workload: Workload, device: str) -> Any:
    """Return the model of `workload`, float32, with random weights: the same in every process on one machine."""
    from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

    shape: Shape = workload.shape
    classes = {"llama": (LlamaConfig, LlamaForCausalLM), "mistral": (MistralConfig, MistralForCausalLM)}
    config_class, model_class = classes[shape.kind]
    config = config_class(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        intermediate_size=shape.intermediate,
        max_position_embeddings=workload.lengths.max_length,
        tie_word_embeddings=False,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        **({"sliding_window": None} if shape.kind == "mistral" else {}),
    )
    torch.manual_seed(workload.seed)
    with torch.device(device):
        return model_class(config).float()


def weights_checksum(model: Any) -> float:
    """Return a number that differs if the weights do."""
    return float(sum(p.detach().double().abs().sum().item() for p in model.parameters()))


def memory_now(device: str) -> float:
    """Return what the process (on a GPU: torch) holds, in MB, and forget the peak so far."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / MB
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def memory_peak(device: str) -> float:
    """Return the most that was held since `memory_now`, in MB."""
    return torch.cuda.max_memory_allocated() / MB if device == "cuda" else _status("VmHWM")


def lifetime_peak() -> float:
    """Return the most that the process ever held, imports included, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def gemm_peak(threads: int, device: str, dtype: str) -> float:
    """Return the fastest matrix product found, in FLOP/s: what a device can do at most, measured on the spot."""
    torch.set_num_threads(threads)
    size, num = (8192, 20) if device == "cuda" else (1536, 6)
    left, right = (torch.randn(size, size, device=device, dtype=getattr(torch, dtype)) for _ in range(2))
    best = float("inf")
    for _ in range(num):
        meter = Meter(device)
        with meter.part("gemm"):
            left @ right
        best = min(best, meter.wall["gemm"] if device == "cuda" else meter.cpu["gemm"] / threads)
    return 2.0 * size**3 / best
