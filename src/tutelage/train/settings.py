"""The settings that all training stages share. Imports no torch: `--help` reads them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from tutelage.config import Group

_RUNTIME = {"runtime": True}
ALL_LINEAR = "all-linear"
LossOn = Literal["last", "all"]


class OfConversations(Group):
    """What of a conversation carries loss."""

    loss_on: LossOn = Field(
        "last",
        description="last: the completion alone; all: every turn of the assistant in its prompt too, each turn once "
        "however many rows have it",
    )


class Truncation(Group):
    """What happens to an example that is longer than `max_length`."""

    shorthand: ClassVar[str | None] = "rule"
    rule: Literal["completion", "skip", "original"] = Field(
        "completion",
        description="completion: its end is cut, and then not trained on; skip: the example is left out; original: "
        "the research code's, first the prompt to max_prompt_length, then the completions to what that leaves of "
        "max_length, the longer of a pair deciding for both",
    )
    max_prompt_length: int = Field(
        256, ge=1, description="what original cuts a prompt to", json_schema_extra={"unit": "tokens"}
    )
    keep: Literal["end", "start"] = Field(
        "end", description="of a prompt that original cuts (the research code: end for ShareGPT and HH, else start)"
    )

    @model_validator(mode="after")
    def _is_read(self) -> Self:
        defaults = type(self).model_fields
        for name in ("max_prompt_length", "keep"):
            if self.rule != "original" and getattr(self, name) != defaults[name].default:
                raise ValueError(f"truncation.{name} is read by truncation=original; {self.rule} cuts no prompt")
        return self


def _several(value: Any) -> Any:
    """Let `trackers=wandb` be a list of one."""
    return [value] if isinstance(value, str) else value


class Lora(Group):
    """Whether all weights are trained, or small matrices beside them (LoRA, arXiv 2106.09685)."""

    shorthand: ClassVar[str | None] = "rank"
    rank: int = Field(
        0, ge=0, description="of the two matrices that are trained beside each weight; 0: no LoRA, all weights are"
    )
    alpha: int | None = Field(
        None, ge=1, description="their product is multiplied by alpha / rank; null: twice the rank"
    )
    target: Annotated[tuple[str, ...], BeforeValidator(_several)] = Field(
        (ALL_LINEAR,),
        min_length=1,
        description="beside which weights: all-linear (every matrix of the blocks, as QLoRA found best), or ends of "
        "their names, such as [q_proj,v_proj]",
    )

    @property
    def scale(self) -> int:
        """Alpha, given or not."""
        return 2 * self.rank if self.alpha is None else self.alpha

    @model_validator(mode="after")
    def _is_read(self) -> Self:
        for name in ("alpha", "target"):
            if not self.rank and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"lora.{name} is read where lora.rank is at least 1; give lora.rank=16, say")
        return self


class Lengths(Group):
    """How long an example may be, and what happens to a longer one."""

    max_length: int = Field(
        512,
        ge=2,
        description="prompt and completion together; truncation says what happens to more",
        json_schema_extra={"unit": "tokens"},
    )
    truncation: Truncation = Field(Truncation(), description="what happens to an example longer than max_length")

    @model_validator(mode="after")
    def _leaves_room(self) -> Self:
        prompt = self.truncation.max_prompt_length
        if self.truncation.rule == "original" and prompt >= self.max_length:
            raise ValueError(
                f"truncation.max_prompt_length={prompt} leaves no room for a completion within "
                f"max_length={self.max_length}; lower the one or raise the other"
            )
        return self


class Training(Lengths):
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
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="of the computation (weights stay float32); auto: bfloat16 on a GPU, float32 on a CPU",
    )
    lora: Lora = Field(Lora(), description="train small matrices beside the weights instead of the weights")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="of the order of examples, and of LoRA's start")
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
    checkpoint_every: int | None = Field(
        None,
        ge=1,
        description="how often a model is saved on the way, to checkpoints/; null: at the end",
        json_schema_extra={"unit": "steps", **_RUNTIME},
    )
    keep_checkpoints: int = Field(
        1, ge=1, description="so many of them are kept, the last ones", json_schema_extra={**_RUNTIME}
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
    trackers: Annotated[tuple[Literal["tensorboard", "wandb", "trackio"], ...], BeforeValidator(_several)] = Field(
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
