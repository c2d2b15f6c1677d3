"""How completions are drawn. Imports no torch: `--help` reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from tutelage.config import Group
from tutelage.records import Completion, Prompt
from tutelage.train.settings import Training


class Drawing(Group):
    """Defaults are the original's."""

    temperature: float = Field(0.7, ge=0, description="0: the most likely token always")
    top_p: float = Field(0.9, gt=0, le=1, description="nucleus: the fewest tokens that have this probability")
    max_tokens: int = Field(256, ge=1, description="limit of a completion", json_schema_extra={"unit": "tokens"})
    seed: int = Field(0, ge=0, le=2**31 - 1, description="of the draws")
    batch_size: int = Field(
        64,
        ge=1,
        description="completions drawn at once; another size draws other completions",
        json_schema_extra={"unit": "completions"},
    )


class PolicyTraining(Training):
    """Training of a model that writes: at every evaluation it can be watched at it."""

    eval_samples: int = Field(
        0,
        ge=0,
        description="so many held-out prompts are completed at each evaluation, into samples.jsonl",
        json_schema_extra={"unit": "prompts"},
    )
    eval_drawing: Drawing = Field(Drawing(), description="how those completions are drawn")
    # not of reward models: what they are tested on must not choose among them
    final: Literal["last", "best"] = Field(
        "last", description="which weights the run is for: those after the last step, or of the lowest eval/loss"
    )

    @model_validator(mode="after")
    def _samples_something(self) -> Self:
        if self.held_out == 0 and (self.eval_samples or self.final == "best"):
            raise ValueError(
                "eval_samples and final=best need prompts that are held out; give held_out, such as 0.05"
            )
        return self


_BYTES_PER_TOKEN = 4
"""The usual rule of thumb; see `chat.providers`."""


def placeholders(prompts: Sequence[Prompt], drawing: Drawing, num: int) -> list[Completion]:
    """Return `num` stand-ins per prompt for completions that are yet to be drawn, as long as those can be."""
    text = "x" * (_BYTES_PER_TOKEN * drawing.max_tokens - 5)
    return [
        Completion(prompt_id=prompt.id, author="to be drawn", text=f"{index:04d} {text}", index=index)
        for prompt in prompts
        for index in range(num)
    ]
