"""A critic's reply -> what it said. Pure; anything that is not clearly a verdict is INVALID.

A parser takes what was `Heard` and returns a `Read`. None has a default: a reply that a parser does not know
is nobody's win.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tutelage.records import Order, Outcome, Usage

Said = Literal["FIRST", "SECOND", "TIE", "INVALID"]


@dataclass(frozen=True)
class Heard:
    """A critic's reply to one question. One that is not whole was cut off, and its last word is no verdict."""

    text: str
    is_whole: bool = True
    top: tuple[Mapping[str, float], ...] | None = None
    """The likeliest tokens and their log-probabilities at each place of the reply, if they were given."""
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True)
class Read:
    """What a reply says of the completion shown first and the one shown second; or, alone, what it is worth."""

    said: Said
    probability: float | None = None
    """That the first is the better one, if the critic gives more than a word."""
    score: float | None = None
    """Of a completion that was shown alone: its points. Then `said` means only whether there are any."""


Parser = Callable[[Heard], Read]
INVALID = Read("INVALID")


def of_probability(first: float) -> Read:
    """Return what a probability that the first is better says; even odds are a tie."""
    if not 0 <= first <= 1:  # also what is no number
        return INVALID
    return Read("TIE" if first == 0.5 else "FIRST" if first > 0.5 else "SECOND", first)


# ---- verdict words ----------------------------------------------------------------------------------

# Nothing but a mark may follow the letter: "Verdict: a tie", "Verdict: A is worse" are not for A.
_CHOICE = r"verdict[*_ \t]*:[*_`\[( \t]*(?:answer[ \t]+)?(a|b|tie|a[ \t]tie)[*_`\]). \t]*"
_OWN_LINE = re.compile(rf"^[*_#`\"' \t-]*(?:final[ \t]+)?{_CHOICE}[\"'*_` \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_AT_THE_END = re.compile(rf"(?<=[.!?:;*_\s]){_CHOICE}\Z", re.IGNORECASE)
_SAID: dict[str, Said] = {"a": "FIRST", "b": "SECOND", "tie": "TIE"}
_OTHERS: dict[str, re.Pattern[str]] = {
    "a": re.compile(r"\bB\b"),
    "b": re.compile(r"\bA\b"),
    "tie": re.compile(r"\b[AB]\b"),
}


def parse_verdict(reply: str) -> Said:
    """Read "Verdict: A|B|tie" on a line of its own, or as the last words of `reply`.

    Markdown around it is ignored. Several that agree count once, a contradiction is INVALID, and so is a verdict
    after which another slot is named ("Verdict: A. Actually, B ..."): it may be taken back. A verdict quoted within
    a sentence is none: a completion may hold one, and the critic may repeat it.
    """
    reply = reply.rstrip()
    found = [*_OWN_LINE.finditer(reply), *_AT_THE_END.finditer(reply)]
    said = {match[1].lower().removeprefix("a ").removeprefix("a\t") for match in found}
    if len(said) != 1:
        return "INVALID"
    word = said.pop()
    after = reply[max(match.end() for match in found) :]
    return "INVALID" if _OTHERS[word].search(after) else _SAID[word]


def verdict(heard: Heard) -> Read:
    """Read a verdict in words; see `parse_verdict`. A reply that was cut off gives none."""
    return Read(parse_verdict(heard.text)) if heard.is_whole else INVALID


# ---- structured output ------------------------------------------------------------------------------

VERDICT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "verdict": {"type": "string", "enum": ["A", "B", "tie"]}},
    "required": ["reason", "verdict"],
    "additionalProperties": False,
}
_FENCED = re.compile(r"\A```(?:json)?[ \t]*\n(.*)\n```\Z", re.DOTALL)


def load_object(text: str) -> dict[str, Any] | None:
    """Return the JSON object that `text` is, alone or as one fenced block; None if it is anything else.

    A key given twice makes it None: which of the two is meant nobody can say.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key is given twice")
        return found

    text = text.strip()
    fenced = _FENCED.match(text)
    try:
        loaded = json.loads(fenced[1] if fenced else text, object_pairs_hook=unique)
    except (ValueError, RecursionError):
        return None
    return loaded if isinstance(loaded, dict) else None


def structured(heard: Heard) -> Read:
    """Read `{"reason": ..., "verdict": "A" | "B" | "tie"}`, and nothing that is only like it."""
    found = (load_object(heard.text) or {}).get("verdict") if heard.is_whole else None
    said = _SAID.get(found.lower()) if isinstance(found, str) else None
    return Read(said) if said else INVALID


# ---- log-probabilities ------------------------------------------------------------------------------


def letters(first: str, second: str, place: int | None = None, binary: bool = False) -> Parser:
    """Return a parser of the odds between two tokens: P(first) = p_first / (p_first + p_second).

    The formula of AlpacaEval 2's `logprob_parser`, and tokens must match to the letter, as there. A token that is
    not among the likeliest ones has probability 0; if neither is, the reply is INVALID.

    Args:
        first, second: the tokens that stand for the completion shown first, and second.
        place: of the token within the reply, -1 for the last; None: the reply must be one token.
        binary: keep only which of the two is likelier.
    """

    def read(heard: Heard) -> Read:
        top = heard.top or ()
        if not top or (place is None and len(top) != 1):
            return INVALID
        found = top[-1 if place is None else place]
        if first not in found and second not in found:
            return INVALID
        gap = found.get(second, -math.inf) - found.get(first, -math.inf)
        if math.isnan(gap):
            return INVALID
        odds = of_probability(1 / (1 + math.exp(gap)) if gap < 700 else 0.0)
        # alpaca_eval's binary form: the first wins only if it is strictly likelier
        return odds if not binary else Read("FIRST" if odds.said == "FIRST" else "SECOND")

    return read


# ---- points -----------------------------------------------------------------------------------------

_SCORE = re.compile(
    r"^[*_#` \t]*score[*_ \t]*:[*_` \t]*(\d{1,2}(?:\.\d{1,2})?)(?:[ \t]*/[ \t]*10)?[*_`. \t]*\r?$", re.I | re.M
)
BEST_SCORE = 10.0


def score(heard: Heard) -> Read:
    """Read "Score: 7" on a line of its own, 0 to 10. Several that agree count once; the first number in the text,
    one in a sentence or one out of range is no score.
    """
    found = {float(number) for number in _SCORE.findall(heard.text)} if heard.is_whole else set()
    if len(found) != 1 or max(found) > BEST_SCORE:
        return INVALID
    return Read("TIE", score=found.pop())


# ---- one reply or several -> an outcome -------------------------------------------------------------


def to_outcome(said: Said, order: Order) -> Outcome:
    """Translate what was said of the shown order into LEFT, RIGHT, TIE or INVALID."""
    if said in ("TIE", "INVALID"):
        return "TIE" if said == "TIE" else "INVALID"
    if order not in ("left_first", "right_first"):
        raise ValueError(f"nothing was first: {order}")
    return "LEFT" if (said == "FIRST") == (order == "left_first") else "RIGHT"


def is_flip(outcomes: tuple[Outcome, ...]) -> bool:
    """Return whether one order was for the left completion and another for the right one."""
    return {"LEFT", "RIGHT"} <= set(outcomes)


def combine(outcomes: tuple[Outcome, ...], flip: Outcome = "TIE") -> Outcome:
    """Combine the outcomes of the orders asked.

    Agreement stands, any INVALID is INVALID, a flip is `flip`, and a tie in one order only is a TIE.
    """
    if "INVALID" in outcomes:
        return "INVALID"
    if is_flip(outcomes):
        return flip
    return outcomes[0] if len(set(outcomes)) == 1 else "TIE"
