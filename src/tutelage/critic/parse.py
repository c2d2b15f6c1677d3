"""A critic's words -> what it said. Pure; anything that is not clearly a verdict is INVALID."""

from __future__ import annotations

import re
from typing import Literal

from tutelage.records import Order, Outcome

Said = Literal["FIRST", "SECOND", "TIE", "INVALID"]

# Nothing but a mark may follow the letter: "Verdict: a tie", "Verdict: A is worse" are not for A.
_CHOICE = r"verdict[*_ \t]*:[*_`\[( \t]*(?:answer[ \t]+)?(a|b|tie|a[ \t]tie)[*_`\]). \t]*"
_OWN_LINE = re.compile(rf"^[*_#`\"' \t-]*(?:final[ \t]+)?{_CHOICE}[\"'*_` \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_AT_THE_END = re.compile(rf"(?<=[.!?:;*_\s]){_CHOICE}\Z", re.IGNORECASE)
_SAID: dict[str, Said] = {"a": "FIRST", "b": "SECOND", "tie": "TIE"}


def parse_verdict(reply: str) -> Said:
    """Read "Verdict: A|B|tie" on a line of its own, or as the last words of `reply`.

    Markdown around it is ignored. Several that agree count once, a contradiction is INVALID. A verdict
    quoted within a sentence is none: a completion may hold one, and the critic may repeat it.
    """
    reply = reply.rstrip()
    found = _OWN_LINE.findall(reply) + _AT_THE_END.findall(reply)
    said = {word.lower().removeprefix("a ").removeprefix("a\t") for word in found}
    return _SAID[said.pop()] if len(said) == 1 else "INVALID"


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
