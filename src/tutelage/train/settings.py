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
    schedule: Literal["constant", "cosine"] = Field("constant", description="what follows the warm-up")
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
        description="padded tokens computed at once; lower it if memory runs out (changes rounding, nothing else)",
        json_schema_extra={"unit": "tokens", **_RUNTIME},
    )
    save_every_seconds: float = Field(
        10.0,
        ge=0,
        description="how often progress is saved for resuming (never more than a twentieth of the time)",
        json_schema_extra={"unit": "seconds", **_RUNTIME},
    )
