"""What the bandit is made of. The defaults are the paper's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from tutelage.config import Group

_ARMS: dict[str, Any] = {"unit": "arms"}
_STEPS: dict[str, Any] = {"unit": "steps"}
_WIDTH = "of the normal curve exp(-(arm - peak)^2 / width), twice its variance"
_LR = "below 4 no step can overshoot: neither loss bends by more than 1/2"


class Config(Group):
    """A bandit, a teacher and a student on it, and how the student learns from either."""

    out: Path = Field(
        Path(),
        description="folder for bandit.png, bandit.svg, bandit.json and bandit.html",
        json_schema_extra={"runtime": True},
    )
    seed: int = Field(
        0, ge=0, le=2**32 - 1, description="of the student's pairs, their labels, the teacher's samples"
    )
    num_arms: int = Field(
        100,
        ge=2,
        le=200,
        description="arms; the true reward of an arm is its number, from 0",
        json_schema_extra=_ARMS,
    )
    teacher_peak: float = Field(80.0, ge=0, description="the teacher's likeliest arm", json_schema_extra=_ARMS)
    teacher_width: float = Field(300.0, gt=0, le=1e6, description=_WIDTH, json_schema_extra={"unit": "arms^2"})
    student_peak: float = Field(40.0, ge=0, description="the student's likeliest arm", json_schema_extra=_ARMS)
    student_width: float = Field(300.0, gt=0, le=1e6, description=_WIDTH, json_schema_extra={"unit": "arms^2"})
    beta: float = Field(
        0.1, ge=1e-3, le=1e3, description="price of a nat of KL from the student, in units of the learned reward"
    )
    num_pairs: int = Field(
        250_000,
        ge=1,
        le=5_000_000,
        description="pairs of the student's samples that the critic labels",
        json_schema_extra={"unit": "pairs"},
    )
    num_samples: int = Field(
        250_000,
        ge=1,
        le=5_000_000,
        description="the teacher's samples that SFT learns from",
        json_schema_extra={"unit": "samples"},
    )
    temperature: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="of the critic: it prefers the better arm with probability sigmoid(difference of true rewards / "
        "temperature), as the Bradley-Terry model has it; 0: always",
        json_schema_extra=_ARMS,
    )
    label_noise: float = Field(0.0, ge=0, le=0.5, description="share of the labels that is turned around")
    reward_lr: float = Field(0.01, gt=0, lt=4, description=f"step size of the reward's gradient descent; {_LR}")
    reward_steps: int = Field(
        7500,
        ge=0,
        le=1_000_000,
        description="steps of the reward's gradient descent, from 0",
        json_schema_extra=_STEPS,
    )
    sft_lr: float = Field(0.01, gt=0, lt=4, description=f"step size of SFT's gradient descent; {_LR}")
    sft_steps: int = Field(
        15_000, ge=0, le=1_000_000, description="steps of SFT, from equal chances", json_schema_extra=_STEPS
    )
    gap_step: float = Field(
        5.0,
        ge=1,
        description="the sweep tries teachers with peaks so far apart, from the student's peak up",
        json_schema_extra=_ARMS,
    )

    @model_validator(mode="after")
    def _peaks_on_arms(self) -> Self:
        for name in ("teacher_peak", "student_peak"):
            if (peak := getattr(self, name)) > self.num_arms - 1:
                raise ValueError(f"{name}: found {peak:g}; expected at most {self.num_arms - 1}, the last arm")
        return self

    @property
    def gaps(self) -> list[float]:
        """How far above the student's peak the teachers of the sweep have theirs, in arms."""
        num = int((self.num_arms - 1 - self.student_peak) // self.gap_step)
        return [step * self.gap_step for step in range(num + 1)]
