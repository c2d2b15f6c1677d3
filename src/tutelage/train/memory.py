"""How much memory training will take, before it starts; and if it does not fit, what would.

The plan is arithmetic on the model's shape, so a model on the meta device has one too, in milliseconds. Weights,
gradients and optimizer state are exact. Activations are those of a Llama block as torch saves them for the
backward pass, which the tests compare with what it does save, for several architectures; attention is taken to
keep no T x T matrix (sdpa, flash and varlen kernels do not; eager attention does). The allocator's own overhead
is not in the plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Literal, Protocol

import torch

from tutelage.errors import TrainingError
from tutelage.progress import say
from tutelage.train.available import available_memory
from tutelage.train.columns import column
from tutelage.train.head import chunk_of
from tutelage.train.loop import Plan
from tutelage.train.settings import Training

Checkpointing = Literal["off", "selective", "full"]

FLOAT32, BFLOAT16 = 4, 2
STATES = {"rmsprop": 1, "adamw": 2}
"""Float32 numbers that an optimizer keeps of each weight."""
LORA_SHARE = 0.01
"""Trainable weights of a LoRA, as a share of all: 0.6 % for rank 16 on every matrix of Mistral-7B's blocks."""
MOST_DEVICES = 1024
ESTIMATED_TOO_HIGH = 0.4
"""By so large a share of itself the estimate of activations may be too high, for the architectures of the tests."""


class Sized(Protocol):
    """What can be trained on, as far as memory goes."""

    @property
    def num_tokens(self) -> int: ...


@dataclass(frozen=True)
class ModelShape:
    """What memory depends on in a model. Weights are counted once, also where two places share them."""

    weight_bytes: int
    num_trainable: int
    num_multiplied: int
    """Weights that autocast makes a bfloat16 copy of: matrices, but not experts, which lie in one tensor of three
    dimensions and are multiplied in float32."""
    num_outside_blocks: int
    """Weights of embeddings and head."""
    num_blocks: int
    hidden: int
    queries: int
    """Width of all query heads together."""
    keys: int
    """Width of all key heads together; as many for values."""
    inner: int
    """Width of the MLP, for a mixture of experts that of all the experts that see a token."""
    num_experts: int
    """Experts that see a token; 0 if there is but one MLP."""
    gated: bool
    vocabulary: int
    """Logits of a token; 0 without a language model's head."""

    @classmethod
    def of(cls, model: Any) -> ModelShape:
        """Read the shape off `model`'s weights and config."""
        config = model.config.get_text_config()
        embeddings = {id(m.weight): m.weight for m in model.modules() if isinstance(m, torch.nn.Embedding)}
        head = model.get_output_embeddings()
        outside = embeddings | ({} if head is None else {id(head.weight): head.weight})
        looked_up = set(embeddings) - (set() if head is None else {id(head.weight)})
        weights = list(model.parameters())
        heads = _largest(config, "num_attention_heads") or 1
        width = getattr(config, "head_dim", None) or config.hidden_size // heads
        num_experts = _largest(config, "num_experts_per_tok")
        inner = _largest(config, "intermediate_size") or _largest(config, "n_inner") or 4 * config.hidden_size
        inner = (num_experts and _largest(config, "moe_intermediate_size")) or inner
        return cls(
            weight_bytes=sum(w.numel() * w.element_size() for w in weights),
            num_trainable=sum(w.numel() for w in weights if w.requires_grad),
            num_multiplied=sum(w.numel() for w in weights if w.ndim == 2 and id(w) not in looked_up),
            num_outside_blocks=sum(w.numel() for w in outside.values()),
            num_blocks=config.num_hidden_layers,
            hidden=config.hidden_size,
            queries=heads * width,
            keys=(_largest(config, "num_key_value_heads") or heads) * width,
            inner=inner * max(1, num_experts),
            num_experts=num_experts,
            gated=any("gate_" in name for name, _ in model.named_parameters()),
            vocabulary=0 if head is None else config.vocab_size,
        )


def _largest(config: Any, name: str) -> int:
    """Return a number of `config`, the largest where each block has its own; 0 if there is none."""
    given = getattr(config, name, None) or 0
    return int(max(given) if isinstance(given, list | tuple) else given)


@dataclass(frozen=True)
class Load:
    """What memory depends on beside the model."""

    batch: int
    """Tokens of the largest batch, which the processes divide."""
    budget: int
    """Tokens that a micro-batch may have."""
    longest: int
    """Tokens of the longest item: no micro-batch can be smaller."""
    optimizer: str
    bfloat16: bool
    on_gpu: bool
    checkpointing: Checkpointing
    num_processes: int

    @property
    def tokens(self) -> int:
        """Of the largest micro-batch."""
        return max(self.longest, min(self.budget, ceil(self.batch / self.num_processes)))


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes on one device, from what `shape` and `load` say."""

    shape: ModelShape
    load: Load

    def _shard(self, num_bytes: int) -> int:
        return ceil(num_bytes / self.load.num_processes)

    @property
    def weights(self) -> int:
        """The weights themselves, float32 where they are trained; sharded over the processes."""
        return self._shard(self.shape.weight_bytes)

    @property
    def gradients(self) -> int:
        """Of the trainable weights; sharded."""
        return self._shard(self.shape.num_trainable * FLOAT32)

    @property
    def optimizer(self) -> int:
        """What the optimizer remembers of each trainable weight; sharded."""
        return self._shard(self.shape.num_trainable * FLOAT32 * STATES[self.load.optimizer])

    @property
    def working_copy(self) -> int:
        """The weights that a forward and backward pass multiplies with, where they are not the weights themselves.

        Autocast makes a bfloat16 copy of a matrix, which the backward pass keeps, unless it makes another. Several
        processes gather blocks one ahead of the one that computes (two of them, and embeddings and head).
        """
        blocks, gathered = self.shape.num_blocks, 0
        if self.load.num_processes > 1:
            outside = self.shape.num_outside_blocks
            block = (self.shape.weight_bytes // FLOAT32 - outside) / blocks
            gathered = ceil((outside + 2 * block) * FLOAT32)
        kept = {"off": 1.0, "selective": 0.5, "full": 1 / blocks}[self.load.checkpointing]
        return gathered + ceil(kept * self.shape.num_multiplied * BFLOAT16 if self.load.bfloat16 else 0)

    @property
    def activations(self) -> int:
        """What the backward pass needs of the largest micro-batch, beside the logits."""
        per_token = self.shape.num_blocks * self._block(self.load.checkpointing)
        if self.load.checkpointing != "off":  # while one block is computed again, all that it saves is there
            per_token += self._block("off")
        # the hidden state after the last block, and its norm, are saved for the head
        return self.load.tokens * (per_token + 2 * FLOAT32 * self.shape.hidden)

    def _block(self, checkpointing: Checkpointing) -> int:
        """Return the bytes that one block saves of one token.

        Two norms save their input and what they make of it, in float32; the matrix products what they are given,
        which in float32 is the norm's result once, and under autocast a bfloat16 copy for each of the five (query,
        key, value, gate, up); attention its query, key, value and result; a gated MLP four tensors of its inner
        width (gate, its activation, up, their product), another about three.
        """
        shape, size = self.shape, BFLOAT16 if self.load.bfloat16 else FLOAT32
        if checkpointing == "full":
            return FLOAT32 * shape.hidden
        attention = 2 * shape.queries + 2 * shape.keys
        inner_size = FLOAT32 if shape.num_experts else size
        if checkpointing == "selective":  # every second block
            return (self._block("full") + self._block("off")) // 2
        copies = 5 if self.load.bfloat16 else 2
        inner = inner_size * (4 if shape.gated else 3) * shape.inner
        # each expert is given its own copy of the token, and gives its own result
        inner += inner_size * 2 * shape.num_experts * shape.hidden
        return FLOAT32 * 4 * shape.hidden + size * (copies * shape.hidden + attention) + inner

    @property
    def logits(self) -> int:
        """A chunk of logits: as computed, in float32, and their gradient."""
        size = BFLOAT16 if self.load.bfloat16 else FLOAT32
        rows = min(self.load.tokens, chunk_of("cuda" if self.load.on_gpu else "cpu"))
        return rows * self.shape.vocabulary * (size + 2 * FLOAT32)

    @property
    def peak(self) -> int:
        """The most that is there at once, in the backward pass: optimizers step one weight at a time, or fused."""
        return sum(size for _, size in self.parts())

    def parts(self) -> list[tuple[str, int]]:
        """Return what `peak` is made of, in words."""
        return [
            ("weights", self.weights),
            ("gradients", self.gradients),
            ("optimizer", self.optimizer),
            ("working copy", self.working_copy),
            ("activations", self.activations),
            ("logits", self.logits),
        ]


def plan_memory(
    model: Any,
    settings: Training,
    longest_item_tokens: int,
    num_processes: int = 1,
    largest_batch_tokens: int | None = None,
    device: torch.device | None = None,
) -> MemoryPlan:
    """Return what training `model` will take on each device, in bytes.

    Args:
        model: a Hugging Face model; one on the meta device is planned as for a GPU.
        settings: its optimizer, precision, batch size, micro_batch_tokens and activation_checkpointing are read.
        longest_item_tokens: of an example or a pair. A micro-batch is as large as that at least.
        num_processes: over which weights, gradients and optimizer state are sharded, and each batch divided.
        largest_batch_tokens: what the largest batch will have; None: as if all examples were the longest.
        device: where it is trained; None: where the model is.
    """
    kind = (device or model.device).type
    has_bfloat16 = kind == "meta" or (kind == "cuda" and torch.cuda.is_bf16_supported())
    load = Load(
        batch=largest_batch_tokens or settings.batch_size * longest_item_tokens,
        budget=settings.micro_batch_tokens,
        longest=longest_item_tokens,
        optimizer=settings.optimizer,
        bfloat16=settings.precision == "bfloat16" or (settings.precision == "auto" and has_bfloat16),
        on_gpu=kind != "cpu",
        checkpointing=settings.activation_checkpointing,
        num_processes=num_processes,
    )
    return MemoryPlan(ModelShape.of(model), load)


def lines(plan: MemoryPlan, available: int | None) -> list[str]:
    """Return the plan for people: one line."""
    unit, name = (1 << 30, "GiB") if plan.peak >= 1 << 30 else (1 << 20, "MiB")
    (first, size), *others = [(what, size) for what, size in plan.parts() if size]
    text = " + ".join(
        [f"{first} {size / unit:,.1f} {name}", *(f"{what} {size / unit:,.1f}" for what, size in others)]
    )
    of = "" if available is None else f" of {_short(available / unit)}"
    where = f" on each of {plan.load.num_processes} devices" if plan.load.num_processes > 1 else ""
    return [f"memory{where}: {text} = {plan.peak / unit:,.1f}{of} {name}"]


def _short(number: float) -> str:
    return f"{number:.1f}" if number < 100 else f"{number:,.0f}"


def require_fits(plan: MemoryPlan, available: int | None, spared: int = 0) -> None:
    """Refuse to start what cannot end well.

    Args:
        spared: so many bytes less may be enough.

    Raises:
        TrainingError: `plan` needs more than `available` bytes; says by how much, and what each setting that can
            be changed would bring, that of the largest effect first.
    """
    if available is not None and plan.peak - spared > available:
        text = lines(plan, available)[0].partition(": ")[2]
        over = (plan.peak - available) / (1 << 30)
        raise TrainingError(_does_not_fit(plan, f"training does not fit, by {over:,.1f} GiB ({text})", available))


def _does_not_fit(plan: MemoryPlan, what: str, available: int) -> str:
    gib = 1 << 30
    changes = [
        f"{word}: {changed.peak / gib:,.1f} GiB{', which fits' if changed.peak <= available else ''}"
        for word, changed in sorted(_alternatives(plan, available), key=lambda pair: pair[1].peak)
        if changed.peak < 0.99 * plan.peak
    ]
    return f"{what}; " + "\n  ".join(["change one or more of", *changes] if changes else ["take a smaller model"])


def _alternatives(plan: MemoryPlan, available: int) -> Iterator[tuple[str, MemoryPlan]]:
    """Yield a setting and the plan with it, for all that could be changed, and if none is enough, several."""
    longest = plan.load.longest

    def changed(**load: Any) -> MemoryPlan:
        return replace(plan, load=replace(plan.load, **load))

    single = {"activation_checkpointing=full": changed(checkpointing="full")}
    fewer = plan.load.tokens
    while fewer > longest and changed(budget=fewer).peak > available:
        fewer = max(fewer // 2, longest)
    single[f"micro_batch_tokens={fewer}"] = changed(budget=fewer)
    adapters = int(plan.shape.weight_bytes // FLOAT32 * LORA_SHARE)
    if adapters < plan.shape.num_trainable:
        single["lora=16"] = replace(plan, shape=replace(plan.shape, num_trainable=adapters))
    if plan.load.optimizer == "adamw":
        single["optimizer=rmsprop"] = changed(optimizer="rmsprop")
    if sharded := _sharded(plan, available):
        single[f"devices={sharded.load.num_processes}"] = sharded
    yield from single.items()
    if all(p.peak > available for p in single.values()):
        smallest, words = changed(checkpointing="full", budget=longest), "activation_checkpointing=full"
        words += f" micro_batch_tokens={longest}"
        if smallest.peak > available and (sharded := _sharded(smallest, available)):
            smallest, words = sharded, f"{words} devices={sharded.load.num_processes}"
        yield words, smallest


def _sharded(plan: MemoryPlan, available: int) -> MemoryPlan | None:
    """Return `plan` over the fewest devices that it fits on; None: over none, or CPUs, which share one memory."""
    if not plan.load.on_gpu:
        return None
    devices = plan.load.num_processes
    while devices < MOST_DEVICES:
        devices *= 2
        plan = replace(plan, load=replace(plan.load, num_processes=devices))
        if plan.peak <= available:
            return plan
    return None


def check_memory(
    model: Any,
    settings: Training,
    items: Sequence[Sized],
    num_processes: int = 1,
    device: torch.device | None = None,
) -> MemoryPlan:
    """Say in one line what training `model` on `items` will take on each `device`, and return the plan.

    Raises:
        TrainingError: more than there is; see `require_fits`. On a GPU the estimated part is allowed for: what may
            fit is tried, as running out of memory there is an error that can be explained.
    """
    device = device or model.device
    sizes = column(items, "num_tokens")
    steps = Plan(len(sizes), settings.batch_size, settings.epochs, settings.seed)
    plan = plan_memory(model, settings, int(sizes.max()), num_processes, steps.largest(sizes), device)
    local = (w.to_local() if hasattr(w, "to_local") else w for w in model.parameters())
    held = sum(w.nbytes for w in local if w.device == device)  # on a CPU by the first of several processes
    available = available_memory(device, held, num_processes)
    spared = ceil(ESTIMATED_TOO_HIGH * plan.activations) if plan.load.on_gpu else 0
    require_fits(plan, available, spared)
    for line in lines(plan, available):
        say(f"  {line}")
    return plan


def out_of_memory(plan: MemoryPlan) -> TrainingError:
    """Return what to say when a GPU has no memory left although `plan` had hoped so."""
    return TrainingError(_does_not_fit(plan, "the GPU ran out of memory", 0))
