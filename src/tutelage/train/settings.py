"""The settings that all training stages share. Imports no torch: `--help` reads them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tutelage.config import Group

_RUNTIME = {"runtime": True}


class Training(Group):
    """How weights are moved. Defaults are the original's (RMSprop, warm-up then constant, clip 10)."""

    lr: float = Field(1e-6, gt=0, description="peak learning rate")
    epochs: int = Field(3, ge=1, description="passes over the data")
    batch_size: int = Field(
        8, ge=1, description="examples per optimizer step", json_schema_extra={"unit": "examples"}
    )
    optimizer: Literal["rmsprop", "adamw"] = Field("rmsprop", description="rmsprop as in the original, or adamw")
    weight_decay: float = Field(0.0, ge=0, description="decoupled for adamw, L2 for rmsprop")
    schedule: Literal["constant", "cosine", "linear"] = Field(
        "constant", description="what follows the warm-up; cosine and linear end at 0"
    )
    warmup_steps: int = Field(0, ge=0, description="linear warm-up", json_schema_extra={"unit": "steps"})
    max_grad_norm: float = Field(10.0, gt=0, description="gradients are clipped to this norm")
    max_length: int = Field(
        512,
        ge=2,
        description="prompt and completion together; a longer completion is cut, and then its end is not trained on",
        json_schema_extra={"unit": "tokens"},
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="of the computation (weights stay float32); auto: bfloat16 on a GPU, float32 on a CPU",
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="of the order of examples")
    micro_batch_tokens: int = Field(
        8192,
        ge=1,
        description="tokens that a device computes at once; lower it if memory runs out (changes rounding, no more)",
        json_schema_extra={"unit": "tokens", **_RUNTIME},
    )
    rows: Literal["auto", "shared", "packed", "padded"] = Field(
        "auto",
        description="how examples are laid out: packed with the prompt of a pair once, packed, or padded; each is "
        "tried first, and one that is not exact for the model is not taken; auto: the fastest that is",
        json_schema_extra={**_RUNTIME},
    )
    activation_checkpointing: Literal["off", "selective", "full"] = Field(
        "off",
        description="compute activations again in the backward pass instead of keeping them: of every second "
        "layer, or of all; saves memory, takes up to a third more time",
        json_schema_extra={**_RUNTIME},
    )
    compile: bool = Field(False, description="torch.compile each layer (for GPUs)", json_schema_extra={**_RUNTIME})
    devices: int = Field(
        1,
        ge=1,
        description="processes on this machine that share the work, one per GPU",
        json_schema_extra={"unit": "processes", **_RUNTIME},
    )
    shard_over: int | None = Field(
        None,
        ge=1,
        description="processes that share one copy of the weights, e.g. those of one node; null: all of them",
        json_schema_extra={"unit": "processes", **_RUNTIME},
    )
    save_every_seconds: float = Field(
        10.0,
        ge=0,
        description="how often progress is saved for resuming (never more than a twentieth of the time)",
        json_schema_extra={"unit": "seconds", **_RUNTIME},
    )
