"""The settings that all training stages share. Imports no torch: `--help` reads them."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

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
    held_out: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the prompts that is not trained on: the loss on it is measured while training",
    )
    eval_every: int | None = Field(
        None,
        ge=1,
        description="how often (and before the first step, and after the last); null: after each epoch",
        json_schema_extra={"unit": "steps"},
    )
    max_eval_examples: int | None = Field(
        None,
        ge=1,
        description="at most so many of the held-out ones are evaluated",
        json_schema_extra={"unit": "examples"},
    )
    trackers: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = Field(
        (),
        description="where progress is shown beside metrics.jsonl and eval.jsonl, which are always written",
        json_schema_extra={**_RUNTIME},
    )
    project: str = Field(
        "tutelage",
        pattern=r"^[\w.+-]{1,80}$",
        description="what wandb and trackio list the run under",
        json_schema_extra={**_RUNTIME},
    )

    @model_validator(mode="after")
    def _evaluates_something(self) -> Self:
        if self.held_out == 0 and (self.eval_every or self.max_eval_examples):
            raise ValueError(
                "eval_every and max_eval_examples need examples to evaluate; give held_out, such as 0.05"
            )
        return self
