"""How often does an audit's 95 % interval hold the truth? Many simulated critics, whose biases are known.

python benchmarks/audit/coverage.py [number of critics of each kind]
"""

from __future__ import annotations

import sys

from tutelage.critic.parse import parse_verdict
from tutelage.measure.audit import position_bias
from tutelage.measure.length_bias import length_bias
from tutelage.measure.showings import Observation, PairFacts, swaps_of
from tutelage.miniature.critic import Knobs, judge
from tutelage.miniature.pairs import make_pairs

SHARE = {"FIRST": 1.0, "SECOND": 0.0, "TIE": 0.5, "INVALID": None}
CRITICS = (
    Knobs(position_bias=0.0, verbosity_bias=0.0),
    Knobs(position_bias=0.25, verbosity_bias=0.04),
    Knobs(position_bias=1.0, verbosity_bias=0.15),
    Knobs(position_bias=-0.5, verbosity_bias=-0.08, temp=3.0),
)
ROWS = make_pairs(400, seed=0)
FACTS = {
    str(place): PairFacts(
        str(place),
        len(row["output_2"].split()),
        len(row["output_1"].split()),
        row["generator_2"],
        row["generator_1"],
        row["score_2"] - row["score_1"],
    )
    for place, row in enumerate(ROWS)
}


def observe(num_pairs: int, repeats: int, knobs: Knobs, seed: int) -> list[Observation]:
    """Show pairs in both orders to a scripted critic."""
    seen = []
    for place, row in enumerate(ROWS[:num_pairs]):
        for repeat in range(repeats):
            for left_first in (True, False):
                one, two = ("output_2", "output_1") if left_first else ("output_1", "output_2")
                reply = judge(row["instruction"], row[one], row[two], knobs, 1000 * seed + repeat)
                seen.append(Observation(str(place), left_first, repeat, SHARE[parse_verdict(reply)]))
    return seen


def coverage(num_pairs: int, repeats: int, knobs: Knobs, num_critics: int) -> tuple[list[float], list[float]]:
    """Return how often the truth was held, and the mean standard error, by estimate (see `NAMES`)."""
    held, errors = [0.0] * 3, [0.0] * 3
    for seed in range(num_critics):
        seen = observe(num_pairs, repeats, knobs, seed)
        both = swaps_of(seen)
        length = length_bias(seen, both, FACTS)
        truths = (knobs.position_bias, knobs.position_bias, knobs.verbosity_bias)
        estimates = (position_bias(both), length.position, length.per_word)
        for place, (estimate, truth) in enumerate(zip(estimates, truths, strict=True)):
            # an open end holds everything on its side
            low, high = estimate.low, estimate.high
            held[place] += ((low is None or low <= truth) and (high is None or truth <= high)) / num_critics
            errors[place] += (estimate.standard_error or 0.0) / num_critics
    return held, errors


NAMES = ("bias from flips", "bias from the regression", "slope per word")


def main(num_critics: int) -> None:
    """Print the table."""
    print(f"| pairs | repeats | bias | slope | {' | '.join(NAMES)} | standard errors |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    for num_pairs, repeats in ((400, 1), (100, 1), (100, 3)):
        for knobs in CRITICS:
            held, errors = coverage(num_pairs, repeats, knobs, num_critics)
            shown = " | ".join(f"{100 * share:.1f} %" for share in held)
            spread = ", ".join(f"{error:.3f}" for error in errors)
            planted = f"{knobs.position_bias:g} | {knobs.verbosity_bias:g}"
            print(f"| {num_pairs} | {repeats} | {planted} | {shown} | {spread} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
