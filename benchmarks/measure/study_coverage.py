"""How often does a study's 95 % interval hold the truth, with few training runs of each arm? Four intervals.

    python benchmarks/measure/study_coverage.py [number of studies of each kind, 400 by default]

Two arms win .55 and .50 of the prompts, 10 % of verdicts are ties, and what makes a prompt hard is shared by both
arms and all runs in part. Every run of every arm has a rate of its own: its standard deviation is given, in points,
so that their difference has 1.4 times that. `chosen` is `tutelage.measure.runs.mean_of`; `fiducial` draws the mean
square of seeds and the rest from their scaled chi-square distributions (Hannig, Iyer and Patterson 2006);
`Satterthwaite` is Student's t for MS_A + MS_B - MS_E; `plain` redraws seeds and prompts with replacement (Owen 2007).
With one seed the truth is that of the run, else that of all runs.
"""

from __future__ import annotations

import sys
from statistics import NormalDist

import numpy as np

from tutelage.measure.planning import t_quantile
from tutelage.measure.runs import mean_of

NUM_DRAWS = 1000
SEEDS, PROMPTS, DEVIATIONS = (1, 2, 3, 5), (100, 500, 805), (0, 2, 5)
METHODS = ("chosen", "fiducial", "Satterthwaite", "plain")
RATES, TIES = np.array([0.55, 0.50]), 0.1
SHARED, OWN = 0.3, 0.2  # of the variance: of a prompt for both arms, and for one of them in all its runs
NORMAL = NormalDist()
Ends = tuple[float, float]


def study(
    generator: np.random.Generator, num_seeds: int, num_prompts: int, deviation: float
) -> tuple[np.ndarray, float]:
    """Return the differences by seed and prompt, and the true one: of these runs if there is one, else of all."""
    rates = RATES[:, None] + deviation / 100 * generator.standard_normal((2, num_seeds))
    rates = np.clip(rates, TIES, 1 - TIES)
    latent = (
        SHARED**0.5 * generator.standard_normal((1, 1, num_prompts))
        + OWN**0.5 * generator.standard_normal((2, 1, num_prompts))
        + (1 - SHARED - OWN) ** 0.5 * generator.standard_normal((2, num_seeds, num_prompts))
    )
    scores = sum(0.5 * (latent > above(1 - rates + side * TIES / 2)) for side in (-1, 1))
    truth = rates[0, 0] - rates[1, 0] if num_seeds == 1 else RATES[0] - RATES[1]
    return scores[0] - scores[1], float(truth)


def above(shares: np.ndarray) -> np.ndarray:
    """Return the normal quantiles, with a last axis for the prompts."""
    return np.array([[[NORMAL.inv_cdf(float(share))] for share in row] for row in shares])


def mean_squares(values: np.ndarray) -> tuple[float, float, float]:
    """Return MS_A of seeds, MS_B of prompts and MS_E of what is left."""
    num_seeds, num_prompts = values.shape
    seeds, prompts = values.mean(1), values.mean(0)
    rest = values - seeds[:, None] - prompts + values.mean()
    left = float((rest**2).sum()) / ((num_seeds - 1) * (num_prompts - 1))
    return num_prompts * float(seeds.var(ddof=1)), num_seeds * float(prompts.var(ddof=1)), left


def fiducial(values: np.ndarray, generator: np.random.Generator, redrawn: np.ndarray) -> Ends:
    """Return the interval in which seeds have the variance max(0, Theta_A - Theta_E) / (S P)."""
    num_seeds, num_prompts = values.shape
    of_seeds, _, left = mean_squares(values)
    rest = (num_seeds - 1) * (num_prompts - 1)
    theta = of_seeds * (num_seeds - 1) / generator.chisquare(num_seeds - 1, NUM_DRAWS)
    theta -= left * rest / generator.chisquare(rest, NUM_DRAWS)
    apart = generator.standard_normal(NUM_DRAWS) * np.sqrt(np.maximum(0, theta) / values.size)
    return ends(redrawn @ values.mean(0) + apart)


def satterthwaite(values: np.ndarray) -> Ends:
    """Return Student's interval for the sum of mean squares; never narrower than for prompts alone."""
    num_seeds, num_prompts = values.shape
    of_seeds, of_prompts, left = mean_squares(values)
    total, freedom = of_prompts, float(num_prompts - 1)
    if of_seeds > left:
        total += of_seeds - left
        rest = (num_seeds - 1) * (num_prompts - 1)
        freedom = total**2 / (of_seeds**2 / (num_seeds - 1) + of_prompts**2 / (num_prompts - 1) + left**2 / rest)
    whole = max(1, int(freedom))  # between two whole numbers, on the line of 1 / degrees of freedom
    near, far = t_quantile(0.975, whole), t_quantile(0.975, whole + 1)
    share = (1 / whole - 1 / max(freedom, 1.0)) / (1 / whole - 1 / (whole + 1))
    half = (near + share * (far - near)) * (total / values.size) ** 0.5
    return float(values.mean()) - half, float(values.mean()) + half


def plain(values: np.ndarray, generator: np.random.Generator, redrawn: np.ndarray) -> Ends:
    """Return the percentile interval over redrawn seeds and redrawn prompts."""
    num_seeds = len(values)
    weights = generator.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), NUM_DRAWS) / num_seeds
    return ends(((redrawn @ values.T) * weights).sum(1))


def ends(draws: np.ndarray) -> Ends:
    """Return the middle 95 % of draws."""
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def row(num_seeds: int, num_prompts: int, deviation: float, num_studies: int) -> list[tuple[float, float]]:
    """Return, by method, how often the interval held the truth (percent), and its mean width (points)."""
    generator = np.random.default_rng((num_seeds, num_prompts, int(10 * deviation)))
    redrawn = generator.multinomial(num_prompts, np.full(num_prompts, 1 / num_prompts), NUM_DRAWS) / num_prompts
    held, width = np.zeros(len(METHODS)), np.zeros(len(METHODS))
    for number in range(num_studies):
        values, truth = study(generator, num_seeds, num_prompts, deviation)
        found = mean_of(values, seed=number, num_draws=NUM_DRAWS)
        intervals = [(found.low / 100, found.high / 100)]
        if num_seeds > 1:
            intervals += [fiducial(values, generator, redrawn), satterthwaite(values)]
            intervals += [plain(values, generator, redrawn)]
        for place, (low, high) in enumerate(intervals):
            held[place] += low <= truth <= high
            width[place] += high - low
    return [(100 * float(h) / num_studies, 100 * float(w) / num_studies) for h, w in zip(held, width, strict=True)]


def main(num_studies: int) -> None:
    """Print the table: how often the truth is held, and in brackets the mean width in points."""
    print(f"| seeds | prompts | deviation of runs | {' | '.join(METHODS)} |")
    print(f"| {' | '.join(['---:'] * (3 + len(METHODS)))} |")
    for num_seeds in SEEDS:
        for num_prompts in PROMPTS:
            for deviation in DEVIATIONS:
                cells = row(num_seeds, num_prompts, deviation, num_studies)
                shown = [f"{held:.1f} % ({width:.1f})" if width else "" for held, width in cells]
                print(f"| {num_seeds} | {num_prompts} | {deviation} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
