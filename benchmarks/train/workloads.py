"""What is trained on: shapes of models, made-up items, and how much arithmetic they need. Standard library only.

Both environments, ours and TRL's, make the items and the model anew from these numbers and a seed; the harness
compares checksums.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Objective = Literal["dpo", "sft"]
SHORTEST = 8
MARK = "RESULT "
"""What a line of results begins with; whatever else a process prints is its contender's own."""


@dataclass(frozen=True)
class Shape:
    """The shape of a Llama-like model (`kind` is the architecture's name in Hugging Face)."""

    vocabulary: int
    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    intermediate: int
    kind: str = "llama"

    @property
    def num_backbone(self) -> int:
        """Weights of all linear layers but the head: what multiplies every token."""
        key_value = self.hidden * self.key_value_heads // self.heads
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * key_value
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def num_head(self) -> int:
        """Weights of the head: what multiplies every token that is predicted."""
        return self.vocabulary * self.hidden


@dataclass(frozen=True)
class Lengths:
    """Log-normal lengths in tokens: medians, and sigmas of the logarithm; prompts are cut at `max_prompt`."""

    prompt: float = 80
    prompt_sigma: float = 0.8
    max_prompt: int = 256
    completion: float = 150
    completion_sigma: float = 0.75
    max_length: int = 512


@dataclass(frozen=True)
class Item:
    """A prompt with one completion (SFT) or two, the chosen one first (DPO), as token ids."""

    prompt: tuple[int, ...]
    completions: tuple[tuple[int, ...], ...]

    @property
    def lengths(self) -> list[int]:
        """Of each sequence, prompt and completion."""
        return [len(self.prompt) + len(completion) for completion in self.completions]


@dataclass(frozen=True)
class Workload:
    """What is trained: the same numbers give the same items and weights everywhere."""

    objective: Objective
    shape: Shape
    num: int
    epochs: int = 1
    batch_size: int = 8
    lengths: Lengths = Lengths()
    lr: float = 1e-5
    beta: float = 0.05
    clip: float = 10.0
    seed: int = 0

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one epoch."""
        return math.ceil(self.num / self.batch_size)

    def items(self) -> list[Item]:
        """Return the items, in the order in which the first epoch trains on them."""
        rng = random.Random(self.seed)
        return [self._item(rng) for _ in range(self.num)]

    def _item(self, rng: random.Random) -> Item:
        lengths = self.lengths
        drawn = int(rng.lognormvariate(math.log(lengths.prompt), lengths.prompt_sigma))
        prompt = self._ids(rng, min(max(drawn, SHORTEST), lengths.max_prompt))
        completions = []
        for _ in range(2 if self.objective == "dpo" else 1):
            drawn = int(rng.lognormvariate(math.log(lengths.completion), lengths.completion_sigma))
            completions.append(self._ids(rng, min(max(drawn, SHORTEST), lengths.max_length - len(prompt))))
        return Item(prompt, tuple(completions))

    def _ids(self, rng: random.Random, num: int) -> tuple[int, ...]:
        # 0 to 2 are the padding, beginning and end of TRL's tokenizer
        return tuple(rng.randrange(3, self.shape.vocabulary) for _ in range(num))

    def warm_up(self) -> Workload:
        """Return one step that moves no weight: in float32, 1e-30 less is the same."""
        return replace(self, num=self.batch_size, epochs=1, lr=1e-30, seed=self.seed + 1)


@dataclass(frozen=True)
class Case:
    """One measurement: who trains what, and with which settings. TRL's settings are `calibrated` ones.

    variant: how TRL batches: plain (padded), padding_free, rebalance, packing; of DPO there is only plain, for
    padding_free is out of order in TRL 1.16, and rebalance weights pairs by the size of their micro-batch.
    """

    contender: str
    workload: Workload
    micro_batch: int = 0
    variant: str = "plain"
    precision: str = "float32"
    threads: int = 1
    device: str = "cpu"
    warm_up: bool = True

    def as_json(self) -> str:
        """Return what `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Case:
        """Read a case that another process wrote."""
        found = json.loads(text)
        workload = found.pop("workload")
        shape, lengths = Shape(**workload.pop("shape")), Lengths(**workload.pop("lengths"))
        return cls(workload=Workload(shape=shape, lengths=lengths, **workload), **found)


def checksum(items: Sequence[Item]) -> str:
    """Return a name of these items that no others have."""
    return hashlib.sha256(json.dumps([asdict(item) for item in items]).encode()).hexdigest()[:16]


def useful_flops(workload: Workload, items: Sequence[Item]) -> float:
    """Return the floating-point operations of one epoch: (6 N_backbone T + 6 N_head T_label + 6 L d sum s^2).

    T counts every token of every sequence once, without padding and without sharing of prompts; T_label those of
    the completions. Attention is causal: half of s^2. What is recomputed or padded is no use, and not counted; nor
    is the reference's pass.
    """
    shape = workload.shape
    lengths = [length for item in items for length in item.lengths]
    num_labels = sum(len(completion) for item in items for completion in item.completions)
    squares = sum(length * length for length in lengths)
    linear = shape.num_backbone * sum(lengths) + shape.num_head * num_labels
    return 6.0 * (linear + shape.layers * shape.hidden * squares)


def described(workload: Workload) -> dict[str, Any]:
    """Return what a reader has to know about the items: tokens, padding of the original's batches, shared prompts."""
    items = workload.items()
    tokens = sum(sum(item.lengths) for item in items)
    batches = [items[at : at + workload.batch_size] for at in range(0, len(items), workload.batch_size)]
    padded = sum(max(max(i.lengths) for i in batch) * sum(len(i.lengths) for i in batch) for batch in batches)
    shared = sum(len(item.prompt) + sum(map(len, item.completions)) for item in items)
    return {"tokens": tokens, "padding": padded / tokens, "shared": shared / tokens}
