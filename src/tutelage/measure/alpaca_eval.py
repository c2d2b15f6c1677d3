"""AlpacaEval 1 and 2: their win rate from annotations, and whether the rows are the 805 it is defined for.

Figures agree with `alpaca_eval.metrics.get_winrate` (0.6.6), which leaves missing preferences out without a word;
here they are counted, and `bounds` says what they could change.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from tutelage.data.alpaca_eval import is_switched
from tutelage.errors import DataError
from tutelage.measure.annotations import UNKNOWN, Annotation
from tutelage.measure.win_rate import mean_and_error

NUM_INSTRUCTIONS = 805
Instructions = Mapping[str, tuple[int, str]]
"""A set of instructions: place (from 0) and dataset of each, by `instruction_key`."""


@dataclass(frozen=True)
class Metrics:
    """What alpaca_eval's leaderboard.csv says of a policy, under its names; rates in percent, ties half."""

    win_rate: float
    standard_error: float | None
    """Percentage points, over instructions as if drawn independently; None for a single preference."""
    n_wins: int
    n_wins_base: int
    n_draws: int
    n_total: int
    """How many rows have a preference."""
    num_missing: int
    """How many have none; they are left out of everything but avg_length."""
    discrete_win_rate: float
    """The win rate if each preference were rounded to a win, a loss, or (exactly 1.5) a tie."""
    avg_length: int
    """Mean length of the policy's completions in characters, rounded down."""


def metrics(annotations: Sequence[Annotation]) -> Metrics:
    """Return the figures of the rows that have a preference.

    Raises:
        DataError: no row has one.
    """
    scores = [a.score for a in annotations if a.score is not None]
    if not scores:
        raise DataError(f"none of {len(annotations)} annotations holds a preference; there is no win rate")
    mean, error = mean_and_error(scores)
    wins, losses = sum(s > 0.5 for s in scores), sum(s < 0.5 for s in scores)
    draws = len(scores) - wins - losses
    return Metrics(
        win_rate=100 * mean,
        standard_error=None if math.isnan(error) else 100 * error,
        n_wins=wins,
        n_wins_base=losses,
        n_draws=draws,
        n_total=len(scores),
        num_missing=len(annotations) - len(scores),
        discrete_win_rate=100 * (wins + draws / 2) / len(scores),
        avg_length=sum(len(a.output_2) for a in annotations) // len(annotations),
    )


def metrics_by_dataset(
    annotations: Sequence[Annotation], known: Instructions | None = None
) -> dict[str, Metrics | None]:
    """Return the figures of each dataset, by its name; None where no row of it has a preference.

    A row that names no dataset is looked up among the known instructions (None: AlpacaEval's 805).
    """
    groups: dict[str, list[Annotation]] = {}
    for a in annotations:
        groups.setdefault(a.dataset or dataset_of(a.instruction, known) or UNKNOWN, []).append(a)
    return {
        name: metrics(rows) if any(a.score is not None for a in rows) else None
        for name, rows in sorted(groups.items())
    }


# ---- the 805 instructions ----------------------------------------------------------------------------


@lru_cache(maxsize=1)
def the_805() -> Instructions:
    """Return AlpacaEval's instructions; all are different. Their texts are not ours to give away."""
    text = (resources.files("tutelage") / "measure" / "alpaca_eval_instructions.txt").read_text("utf-8")
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {key: (position, dataset) for position, (key, dataset) in enumerate(rows)}


def instruction_key(instruction: str) -> str:
    """Return the first 12 hex digits of the SHA-256 of the instruction in UTF-8."""
    return hashlib.sha256(instruction.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def position_of(instruction: str, known: Instructions | None = None) -> int | None:
    """Return the instruction's place, from 0, in AlpacaEval's own order (or that of `known`); None if it has none."""
    found = (the_805() if known is None else known).get(instruction_key(instruction))
    return None if found is None else found[0]


def dataset_of(instruction: str, known: Instructions | None = None) -> str | None:
    """Return the part of AlpacaEval (or of `known`) that the instruction comes from, or None if it is not in it."""
    found = (the_805() if known is None else known).get(instruction_key(instruction))
    return None if found is None else found[1]


@dataclass(frozen=True)
class Coverage:
    """How the rows relate to the instructions that AlpacaEval consists of."""

    num_wanted: int
    num_rows: int
    num_present: int
    """How many of the wanted instructions are there at least once."""
    num_repeated: int
    """Rows beyond the first of an instruction, wanted or not."""
    num_foreign: int
    """Rows whose instruction is not a wanted one."""

    @property
    def num_absent(self) -> int:
        """How many of the wanted instructions are not there."""
        return self.num_wanted - self.num_present

    @property
    def is_complete(self) -> bool:
        """True if each wanted instruction is there exactly once, and nothing else: only this is AlpacaEval."""
        return self.num_rows == self.num_present == self.num_wanted

    def __str__(self) -> str:
        if self.is_complete:
            return f"all {self.num_wanted} AlpacaEval instructions, each once"
        found = {
            "absent": self.num_absent,
            "rows that repeat one": self.num_repeated,
            "rows of other instructions": self.num_foreign,
        }
        why = ", ".join(f"{what}: {num}" for what, num in found.items() if num)
        return f"{self.num_present} of {self.num_wanted}: not an AlpacaEval win rate ({why})"


def coverage(annotations: Sequence[Annotation], known: Instructions | None = None) -> Coverage:
    """Return which of AlpacaEval's instructions (or of `known`) the rows hold."""
    distinct = {a.instruction for a in annotations}
    return Coverage(
        num_wanted=len(the_805() if known is None else known),
        num_rows=len(annotations),
        num_present=sum(position_of(i, known) is not None for i in distinct),
        num_repeated=len(annotations) - len(distinct),
        num_foreign=sum(position_of(a.instruction, known) is None for a in annotations),
    )


def in_order(annotations: Sequence[Annotation], known: Instructions | None = None) -> list[Annotation]:
    """Return the rows in AlpacaEval's own order (or that of `known`).

    Raises:
        DataError: they are not each instruction exactly once.
    """
    covered = coverage(annotations, known)
    if not covered.is_complete:
        raise DataError(str(covered))
    return sorted(annotations, key=lambda a: position_of(a.instruction, known) or 0)


def bounds(found: Metrics, covered: Coverage) -> tuple[float, float]:
    """Return the win rate if everything unknown were a loss, and if it were a win, in percent.

    Unknown are the missing preferences, and the absent instructions if all rows are AlpacaEval's: then it is
    between these two that the win rate over all of them lies.
    """
    absent = covered.num_absent if covered.num_foreign == 0 else 0
    unknown = found.num_missing + absent
    total, known = found.n_total + unknown, found.win_rate * found.n_total
    return known / total, (known + 100 * unknown) / total


# ---- preferences from log-probabilities --------------------------------------------------------------


def preference_of_logprobs(annotation: Annotation, seed: int = 0) -> float | None:
    """Return the preference that AlpacaEval 2 reads off the judge's reply: 2 - p(m), 3 - that if switched.

    p(m) is the share of token m in m and M among the first token's alternatives. None if the row holds no reply
    with log-probabilities, or neither token is among them.
    """
    try:
        tokens = annotation.raw["logprobs"]["content"][0]["top_logprobs"]
        logprobs = {t["token"]: float(t["logprob"]) for t in tokens}
    except (TypeError, KeyError, IndexError, ValueError):
        return None
    first, second = logprobs.get("m", -math.inf), logprobs.get("M", -math.inf)
    top = max(first, second)
    if top == -math.inf:
        return None
    p = math.exp(first - top) / (math.exp(first - top) + math.exp(second - top))
    return 1 + p if is_switched(annotation.instruction, seed) else 2 - p
