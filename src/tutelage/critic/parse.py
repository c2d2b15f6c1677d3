"""A critic's words -> what it said. Pure; anything that is not clearly a verdict is INVALID."""

from __future__ import annotations

import re
from typing import Literal

from tutelage.records import Order, Outcome

Said = Literal["FIRST", "SECOND", "TIE", "INVALID"]

_VERDICT = re.compile(r"verdict\s*:\s*\**\s*(a|b|tie)\b", re.IGNORECASE)


def parse_verdict(reply: str) -> Said:
    """Read the line "Verdict: A|B|tie" of `reply`; several that agree count once, a contradiction is INVALID."""
    said = {m.lower() for m in _VERDICT.findall(reply)}
    if said == {"a"}:
        return "FIRST"
    if said == {"b"}:
        return "SECOND"
    if said == {"tie"}:
        return "TIE"
    return "INVALID"


def to_outcome(said: Said, order: Order) -> Outcome:
    """Translate what was said of the shown order into LEFT, RIGHT, TIE or INVALID."""
    if said in ("TIE", "INVALID"):
        return "TIE" if said == "TIE" else "INVALID"
    return "LEFT" if (said == "FIRST") == (order == "left_first") else "RIGHT"


def combine(outcomes: tuple[Outcome, ...]) -> Outcome:
    """Combine the outcomes of the orders asked: agreement stands, any INVALID is INVALID, the rest is a TIE."""
    if "INVALID" in outcomes:
        return "INVALID"
    return outcomes[0] if len(set(outcomes)) == 1 else "TIE"
