"""Scripted critics asked about the miniature's pairs: replies whose truth is known."""

from __future__ import annotations

from typing import Any

from tutelage.critic.parse import parse_verdict
from tutelage.measure.showings import Label, Observation, PairFacts
from tutelage.miniature.critic import Knobs, judge

SHARE = {"FIRST": 1.0, "SECOND": 0.0, "TIE": 0.5, "INVALID": None}
GOLD: dict[float, Label] = {1.0: "RIGHT", 1.5: "TIE", 2.0: "LEFT"}


def ask(row: dict[str, Any], left_first: bool, knobs: Knobs, seed: int) -> float | None:
    """Show a pair (left is `output_2`) and read the verdict."""
    shown = ("output_2", "output_1") if left_first else ("output_1", "output_2")
    return SHARE[parse_verdict(judge(row["instruction"], *(row[s] for s in shown), knobs=knobs, seed=seed))]


def observe(rows: list[dict[str, Any]], knobs: Knobs, seed: int = 0, repeats: int = 1) -> list[Observation]:
    """Show every pair in both orders."""
    return [
        Observation(str(place), left_first, repeat, ask(row, left_first, knobs, 1000 * seed + repeat))
        for place, row in enumerate(rows)
        for repeat in range(repeats)
        for left_first in (True, False)
    ]


def facts_of(rows: list[dict[str, Any]]) -> dict[str, PairFacts]:
    """What is known of the pairs."""
    return {
        str(place): PairFacts(
            str(place),
            len(row["output_2"].split()),
            len(row["output_1"].split()),
            row["generator_2"],
            row["generator_1"],
            row["score_2"] - row["score_1"],
            GOLD[row["preference"]],
        )
        for place, row in enumerate(rows)
    }
