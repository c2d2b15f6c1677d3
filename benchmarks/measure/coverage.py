"""How often does a 95 % interval of a paired difference hold the truth? Three intervals, and a truth that is known.

    python benchmarks/measure/coverage.py [number of studies of each kind, 2,000 by default]

`percentile` is `tutelage.measure.paired.bootstrap_interval` (Efron 1979), `BCa` the bias-corrected and accelerated
one (Efron 1987, "Better Bootstrap Confidence Intervals"), `normal` the mean -/+ 1.96 standard errors.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from tutelage.measure.paired import bootstrap_interval

NUM_DRAWS = 1000
SIZES = (20, 50, 200, 805)
METHODS = ("percentile", "BCa", "normal")
NORMAL = NormalDist()
Draw = Callable[[np.random.Generator, int], np.ndarray]


def of_votes(better: float, worse: float) -> Draw:
    """Differences of wins and losses: 1 and -1 with these chances, else 0."""
    return lambda generator, num: generator.choice([1.0, 0.0, -1.0], size=num, p=[better, 1 - better - worse, worse])


def of_probabilities(generator: np.random.Generator, num: int) -> np.ndarray:
    """Differences of a sure judge's probabilities, of two policies that win .17 and .06 in the mean: skewed."""
    hard = generator.random(num) < 0.7
    first = generator.beta(np.where(hard, 0.05, 0.3), np.where(hard, 0.95, 0.5224))
    second = generator.beta(np.where(hard, 0.02, 0.1), np.where(hard, 0.98, 0.5))
    return first - second


KINDS: dict[str, tuple[Draw, float]] = {
    "votes, no difference": (of_votes(0.25, 0.25), 0.0),
    "votes, 10 points": (of_votes(0.3, 0.2), 0.1),
    "votes, alike on 19 prompts of 20": (of_votes(0.04, 0.01), 0.03),
    "probabilities, skewed": (
        of_probabilities,
        0.7 * (0.05 - 0.02) + 0.3 * (0.3 / 0.8224 - 0.1 / 0.6),
    ),
}


def bca(values: np.ndarray, seed: int) -> tuple[float, float]:
    """Return Efron's (1987) interval of the mean, at 95 %."""
    generator = np.random.default_rng(seed)
    means = np.sort(values[generator.integers(0, len(values), (NUM_DRAWS, len(values)))].mean(1))
    mean, near = values.mean(), 1e-12
    # means that equal the observed one are half below it: with few distinct values there are many
    below = (np.sum(means < mean - near) + np.sum(means <= mean + near)) / 2 / NUM_DRAWS
    shift = NORMAL.inv_cdf(min(max(float(below), 1 / NUM_DRAWS), 1 - 1 / NUM_DRAWS))
    apart = values - mean
    spread = float((apart**2).sum()) ** 1.5
    bend = float((apart**3).sum()) / (6 * spread) if spread > near else 0.0
    ends = (shift + NORMAL.inv_cdf(tail) for tail in (0.025, 0.975))
    low, high = np.quantile(means, [NORMAL.cdf(shift + end / (1 - bend * end)) for end in ends])
    return float(low), float(high)


def normal(values: np.ndarray) -> tuple[float, float]:
    """Return the mean -/+ 1.96 standard errors."""
    half = NORMAL.inv_cdf(0.975) * float(values.std(ddof=1)) / len(values) ** 0.5
    return float(values.mean()) - half, float(values.mean()) + half


def coverage(draw: Draw, truth: float, num_prompts: int, num_studies: int) -> list[tuple[float, float, float]]:
    """Return, by method, how often the interval was wholly below the truth, held it, and was wholly above."""
    counts = np.zeros((len(METHODS), 3))
    for study in range(num_studies):
        values = draw(np.random.default_rng((study, num_prompts)), num_prompts)
        intervals = (
            bootstrap_interval(values.tolist(), num_draws=NUM_DRAWS, seed=study),
            bca(values, study),
            normal(values),
        )
        for place, (low, high) in enumerate(intervals):
            counts[place, 0 if high < truth - 1e-9 else 2 if low > truth + 1e-9 else 1] += 1
    return [(float(below), float(held), float(above)) for below, held, above in counts / num_studies]


def main(num_studies: int) -> None:
    """Print the table: the share that holds the truth, and in brackets the misses below and above it."""
    print(f"| differences | prompts | {' | '.join(METHODS)} |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for kind, (draw, truth) in KINDS.items():
        for num_prompts in SIZES:
            shown = " | ".join(
                f"{100 * held:.1f} % ({100 * below:.1f}, {100 * above:.1f})"
                for below, held, above in coverage(draw, truth, num_prompts, num_studies)
            )
            print(f"| {kind} | {num_prompts} | {shown} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
