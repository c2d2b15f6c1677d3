"""How small a difference can n prompts show? Before anything is spent.

The two-sided z test of a mean over prompts: effect = (z(1 - alpha/2) + z(power)) * sd / sqrt(n) (for example
Card et al. 2020, "With Little Power Comes Great Responsibility", arXiv 2010.06595). With m comparisons, alpha is
divided by m: Holm's rule is never stricter than that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from tutelage.config import Group
from tutelage.errors import DataError
from tutelage.measure.comparing import Arm, read_arm

WORST = 50.0
"""Standard deviation of a score on one prompt, in points, where wins and losses are equally likely: the largest."""
_SIZES = (100, 200, 400, 805, 1600, 3200, 6400)


class PowerConfig(Group):
    """Say which difference so many prompts can show, or how many a difference needs."""

    n: int = Field(805, ge=2, description="prompts", json_schema_extra={"unit": "prompts"})
    effect: float | None = Field(
        None,
        gt=0,
        le=100,
        description="a difference, to say how many prompts show it",
        json_schema_extra={"unit": "points"},
    )
    alpha: float = Field(0.05, gt=0, lt=1, description="chance of seeing a difference where there is none")
    power: float = Field(
        0.8,
        gt=0,
        lt=1,
        validate_default=True,
        description="chance of seeing a difference of that size if there is one",
    )
    num_comparisons: int = Field(1, ge=1, description="how many are made at once (each then gets alpha / so many)")
    correlation: float = Field(
        0.0, gt=-1, lt=1, description="between two policies' scores on the same prompts; higher needs fewer prompts"
    )
    pilot: tuple[Path, ...] = Field(
        (),
        max_length=2,
        description="annotations.json of one policy or two, to take the spread from in place of the worst case",
    )

    @field_validator("power")
    @classmethod
    def _more_than_luck(cls, power: float, info: ValidationInfo) -> float:
        if power <= info.data.get("alpha", 0):
            raise ValueError(f"expected more than alpha ({info.data['alpha']:g}), which luck alone reaches")
        return power


def minimum_detectable_effect(
    num_prompts: int, standard_deviation: float, alpha: float = 0.05, power: float = 0.8
) -> float:
    """Return the smallest true mean that is found with chance `power`, in the unit of the standard deviation."""
    normal = NormalDist()
    return (normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)) * standard_deviation / math.sqrt(num_prompts)


def prompts_needed(effect: float, standard_deviation: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Return how many prompts find a true mean of `effect` with chance `power`."""
    one = minimum_detectable_effect(1, standard_deviation, alpha, power)
    return max(2, math.ceil((one / effect) ** 2 - 1e-9))


def spreads(config: PowerConfig) -> dict[str, tuple[float, str]]:
    """Return the standard deviation on one prompt, in points, and where it is from: of a win rate, of a difference.

    Raises:
        DataError: the pilot files hold too little, or have no instruction in common.
    """
    if not config.pilot:
        return {
            "a win rate against 50 %": (WORST, "the worst case: every prompt is won or lost, half of them"),
            "a difference of two policies": (
                WORST * math.sqrt(2 * (1 - config.correlation)),
                f"the worst case if their scores have a correlation of {config.correlation:g}",
            ),
        }
    arms = [read_arm(path) for path in config.pilot]
    if len(arms) == 1:
        (arm,) = arms
        deviation = _deviation(list(arm.scores.values()), arm.path)
        return {"a win rate against 50 %": (deviation, f"{arm.path}{_left_out(arms)}")}
    one, two = arms
    common = sorted(one.scores.keys() & two.scores.keys())
    if not common:
        raise DataError(f"pilot: {one.path} and {two.path} have no instruction in common")
    deviation = _deviation([one.scores[i] - two.scores[i] for i in common], two.path)
    where = f"{len(common)} instructions in both pilot files{_left_out(arms)}"
    return {"a difference of two policies": (deviation, where)}


def _left_out(arms: Sequence[Arm]) -> str:
    missing, repeated = (sum(a.num_missing for a in arms), sum(a.num_repeated for a in arms))
    said = f"; {missing} rows without a preference left out" if missing else ""
    return said + (f"; {repeated} rows repeat an instruction, their scores averaged" if repeated else "")


def _deviation(values: Sequence[float], path: Path) -> float:
    if len(values) < 10:
        raise DataError(f"pilot: {path}: {len(values)} usable rows; a spread needs ten at least")
    mean = math.fsum(values) / len(values)
    deviation = 100 * math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))
    if deviation < 1e-9:
        raise DataError(f"pilot: {path}: all values are the same, so that there is no spread to go by")
    return deviation


def tree(config: PowerConfig) -> dict[str, Any]:
    """Return what there is to say, for JSON: effects in percentage points, by what is measured."""
    alpha = config.alpha / config.num_comparisons
    found: dict[str, Any] = {
        "alpha": config.alpha,
        "alpha_each": alpha,
        "power": config.power,
        "num_comparisons": config.num_comparisons,
    }
    for what, (deviation, where) in spreads(config).items():
        sizes = sorted({*_SIZES, config.n})
        found[what] = {
            "standard_deviation": deviation,
            "from": where,
            "n": config.n,
            "minimum_detectable_effect": minimum_detectable_effect(config.n, deviation, alpha, config.power),
            "by_n": {n: minimum_detectable_effect(n, deviation, alpha, config.power) for n in sizes},
        }
        if config.effect is not None:
            needed = prompts_needed(config.effect, deviation, alpha, config.power)
            found[what] |= {"effect": config.effect, "prompts_needed": needed}
    return found


def text(config: PowerConfig) -> str:
    """Return the same for people."""
    found = tree(config)
    many = (
        ""
        if config.num_comparisons == 1
        else f" ({config.num_comparisons} comparisons: {found['alpha_each']:.4g} each)"
    )
    lines = [f"two-sided, alpha {config.alpha:g}{many}, power {config.power:g}; effects in percentage points"]
    for what in spreads(config):
        own = found[what]
        lines += ["", f"{what}: standard deviation {own['standard_deviation']:.1f} points a prompt ({own['from']})"]
        lines += [
            f"  {n:>6,} prompts show {effect:5.1f}{'  <-' if n == config.n else ''}"
            for n, effect in own["by_n"].items()
        ]
        if config.effect is not None:
            lines.append(f"  a difference of {config.effect:g} points needs {own['prompts_needed']:,} prompts")
    return "\n".join(lines)
