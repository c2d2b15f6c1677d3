"""A study's numbers in words: sensible digits, a real minus, intervals as "1.2 to 7.0"."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tutelage.findings import ArmFound, ComparisonFound, Feedback, Rule, Span

UNKNOWN = "unknown"
FEEDBACK: dict[Feedback, str] = {
    "none": "none",
    "dpo": "DPO",
    "best_of_n": "best of n",
    "shuffled": "DPO, random labels",
}
RULES: dict[Rule, str] = {"prompts": "prompts", "dollars": "API dollars", "tokens": "training tokens"}


def points(value: float, signed: bool = False) -> str:
    """Return percentage points, or a percentage without its sign: "4.1", with a sign "+4.1", "−0.6"."""
    said = f"{value:.1f}"
    said = "0.0" if said == "-0.0" else said
    if signed and float(said) > 0:
        said = f"+{said}"
    return said.replace("-", "\N{MINUS SIGN}")


def interval(span: Span) -> str:
    """Return "1.2 to 7.0", or what is known of it."""
    if span.low is not None and span.high is not None:
        return f"{points(span.low)} to {points(span.high)}"
    if span.low is not None:
        return f"above {points(span.low)}"
    return "" if span.high is None else f"below {points(span.high)}"


def percent(share: float) -> str:
    """Return a share of 1 as "33 %"."""
    return f"{100 * share:.3g} %"


def count(value: float | None) -> str:
    """Return a number of things: "1,234"."""
    return UNKNOWN if value is None else f"{value:,.0f}".replace("-", "\N{MINUS SIGN}")


def dollars(value: float | None) -> str:
    """Return "$1,234.56"; what is less than half a cent is said to be."""
    if value is None:
        return UNKNOWN
    return "under $0.01" if 0 < value < 0.005 else f"${value:,.2f}"


def cost(value: float | None, rule: Rule) -> str:
    """Return what `rule` compares, with its unit."""
    if rule == "dollars" or value is None:
        return dollars(value)
    return f"{count(value)} {rule}"


def duration(seconds: float) -> str:
    """Return "3 h 5 min", "4 min 9 s", "41 s", or "0.4 s"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def moment(stamp: str) -> str:
    """Return an ISO time as "2026-11-28 12:00:00 UTC"."""
    return stamp.replace("T", " ", 1).replace("+00:00", " UTC")


def hours(value: float) -> str:
    """Return device-hours: "12.3", "0.01"; what is less than a hundredth is said to be."""
    if 0 < value < 0.005:
        return "under 0.01"
    return f"{value:,.1f}" if value >= 10 else f"{value:.2f}"


def p_value(value: float) -> str:
    """Return a p-value with three digits after the point."""
    return "under 0.001" if value < 0.0005 else f"{value:.3f}"


def typeset(said: str) -> str:
    """Return a sentence that was written for a terminal as it is printed: with a real minus and apostrophe."""
    minus = re.sub(r"(?<![^\s(])-(?=\d)", "\N{MINUS SIGN}", said)
    return re.sub(r"(?<=\w)'(?=s\b)|(?<=s)'(?= )", "\N{RIGHT SINGLE QUOTATION MARK}", minus)


def listed(parts: Sequence[str]) -> str:
    """Return "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def enough(comparison: ComparisonFound) -> str:
    """Return how many prompts or seeds would tell, if the comparison says so."""
    needed = ((comparison.needed_prompts, "prompts"), (comparison.needed_seeds, "seeds"))
    said = " or ".join(f"about {num:,} {what}" for num, what in needed if num is not None)
    return f"{said} would tell" if said else ""


def road(arm: ArmFound) -> str:
    """Return an arm in a few words: "weak, 10 %, DPO by critic-a"."""
    taught = f"{arm.teacher}, {percent(arm.fraction)}"
    if arm.feedback == "none":
        return taught
    return f"{taught}, {FEEDBACK[arm.feedback]}" + (f" by {arm.critic}" if arm.critic else "")
