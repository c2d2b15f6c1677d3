"""The smallest difference that a study can show, with the prompts and seeds it has, and with more seeds."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from tutelage.errors import StudyError
from tutelage.findings import STUDY, Findings
from tutelage.measure.paired import ALPHA
from tutelage.measure.planning import POWER, Spread, smallest_planned, smallest_shown
from tutelage.measure.power import WORST
from tutelage.study.recipe import StudyRecipe
from tutelage.study.words import counted

_MORE = (0, 2, 3)
_SUPPOSED = (0.0, 2.0, 5.0)
"""Points between training runs, where nothing is known of them."""


@dataclass(frozen=True)
class Smallest:
    """What is told with chance `POWER` if it is there, points."""

    least: float
    """With the prompts and seeds as given; where nothing is known, if training runs do not differ."""
    lines: list[str]


def smallest(recipe: StudyRecipe, num_prompts: int, num_comparisons: int) -> Smallest:
    """Return what the study can show: with spreads of an earlier run of it if there is one, else the worst case."""
    num = max(num_comparisons, 1)
    seeds = len(recipe.seeds)
    intro = (
        f"{num_prompts:,} prompts, {counted(seeds, 'seed')}, {num} comparisons at once "
        f"(alpha {ALPHA:g} / {num} each), power {POWER:g}: a difference of two arms, in points, at least"
    )
    of_before = _before(recipe)
    if of_before is not None:
        spread, where = of_before

        def shown(count: int) -> float:
            return smallest_shown(spread, num_prompts, count, ALPHA / num)

        rows = [f"{counted(seeds + more, 'seed'):>8}: {_points(shown(seeds + more)):>5}" for more in _MORE]
        return Smallest(shown(seeds), [intro, *rows, where])

    def planned(count: int, seed_deviation: float) -> float:
        return smallest_planned(
            num_prompts,
            count,
            deviation=WORST,
            correlation=0.0,
            seed_deviation=seed_deviation,
            num_comparisons=num,
        )

    head = f"{'if training runs differ by':>26}" + "".join(f"{points:>7g}" for points in _SUPPOSED)
    rows = [
        f"{counted(seeds + more, 'seed'):>26}" + "".join(f"{_points(planned(seeds + more, p)):>7}" for p in _SUPPOSED)
        for more in _MORE
    ]
    assumed = [
        "The worst case: every prompt is won or lost, and two arms have nothing in common. How far training runs",
        "differ (the standard deviation of a difference, points) is known once two seeds are evaluated.",
    ]
    if seeds == 1:
        assumed.append("One seed: what is said holds for its training runs, not for others.")
    return Smallest(planned(seeds, 0.0), [intro, head, *rows, *assumed])


def _points(value: float) -> str:
    """Return a difference; two win rates can be 100 points apart at most."""
    return f"{value:.1f}" if value <= 100 else "none"


def _before(recipe: StudyRecipe) -> tuple[Spread, str] | None:
    """Return the spreads that an earlier run of this study found, and a sentence on them; None: it found none."""
    try:
        found = Findings.load(recipe.folder)
    except StudyError:  # there is none, or of another version: then the plan rests on the worst case
        return None
    judge = found.judges[0] if found.judges else ""
    told = [c for c in found.comparisons if c.judge == judge and c.seed_deviation is not None and c.num_seeds > 1]
    if not told:
        return None
    seed = median(c.seed_deviation for c in told if c.seed_deviation is not None)
    prompt = median(c.prompt_deviation for c in told)
    where = (
        f"As in {recipe.folder / STUDY}: training runs differ by {seed:.1f} points (standard deviation of a "
        f"difference, the median of {len(told)} comparisons), prompts by {prompt:.1f}."
    )
    return Spread(seed**2, prompt**2, 0.0), where
