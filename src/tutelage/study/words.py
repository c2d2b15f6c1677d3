"""What a comparison found, in plain sentences that claim no more than its outcome. Pure: numbers in, text out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tutelage.findings import ComparisonFound, Findings, Rule, Span
from tutelage.measure.planning import NEAR_ZERO
from tutelage.report.study_words import listed

_EQUAL: dict[Rule, str] = {"prompts": "equal prompts", "dollars": "equal dollars", "tokens": "equal training tokens"}


@dataclass(frozen=True)
class Asked:
    """A question to two arms, in words that fit into "Does ... add anything over ...?"."""

    what: str
    """Of the first arm: "feedback from C"."""
    over: str
    """Of the second arm: "SFT on T alone"."""

    @property
    def question(self) -> str:
        """Both, as a heading: "Feedback from C over SFT on T alone"."""
        return f"{capital(self.what)} over {self.over}"


def basis(found: Findings) -> str:
    """Say what the sentences of a verdict are about, and what they rest on."""
    seeds, prompts = counted(len(found.seeds), "seed"), counted(found.num_prompts, "prompt")
    return (
        f"Points are percentage points of the win rate against {found.baseline}. Judge: {found.judges[0]}; {seeds}, "
        f"{prompts}."
    )


def sentence(found: ComparisonFound, asked: Asked, margin: float) -> str:
    """Say what a comparison found, as sentences of their own, raw and length-controlled.

    Args:
        margin: the smallest difference of interest, points.
    """
    one_run = _ONE_RUN if found.num_seeds == 1 else ""
    said = [capital(one_run + _clause(found, asked, margin)) + "."]
    if found.outcome == "cannot tell":
        said += [sentence for sentence in (_after_holm(found), what_would_tell(found)) if sentence]
    if found.outcome == "no gain" and _is_below(found.difference):
        said.append("It may do harm: the interval lies below 0, but among all comparisons that is not enough to say.")
    return " ".join([*said, *length_controlled(found)])


def headline(found: Sequence[tuple[ComparisonFound, Asked]], margin: float, matched: Sequence[str] = ()) -> str:
    """Join comparisons into the one sentence that a study is read for.

    Args:
        found: the most important first; where the second arm is the same as before, it is not named again.
        margin: the smallest difference of interest, points.
        matched: clauses of `matched_clause`.
    """
    clauses, over, seeds = [], "", 0
    for one, asked in found:
        one_run = _ONE_RUN if one.num_seeds == 1 != seeds else ""
        clauses.append(one_run + _clause(one, asked, margin, asked.over != over))
        over, seeds = asked.over, one.num_seeds
    first, *rest = [*clauses, *matched]
    return capital("; ".join([first, *(clause.replace(_CI, "") for clause in rest)])) + "."


_ONE_RUN = "for this one training run, "
_CI = "95 % CI "


def _clause(found: ComparisonFound, asked: Asked, margin: float, with_second: bool = True) -> str:
    """Say the outcome without a full stop and without a capital."""
    span, numbers = found.difference, interval(found.difference)
    over = f" over {asked.over}" if with_second else ""
    than = f" than {asked.over}" if with_second else ""
    if found.outcome == "gain":
        small = (
            f", less than the {_round_points(margin)} asked for"
            if span.high is not None and span.high < margin
            else ""
        )
        return f"{asked.what} adds {points(span.value)} ({numbers}){over}{small}"
    if found.outcome == "harm":
        return f"{asked.what} does worse{than}: {signed(span.value)} points ({numbers})"
    signed_value = f"{signed(span.value)} points"
    if found.outcome == "no gain":
        return f"{asked.what} brings no gain of {_round_points(margin)} or more{over}: {signed_value} ({numbers})"
    return f"whether {asked.what} adds anything{over} cannot be told: {signed_value} ({numbers})"


def _after_holm(found: ComparisonFound) -> str:
    """Say why a difference is not told whose own interval leaves out 0."""
    if not _is_above(found.difference) and not _is_below(found.difference):
        return ""
    return (
        f"Its own interval leaves out 0 ({p_words(found.p_value)}), but this is one of several comparisons, and luck "
        f"has a chance in each: after Holm's correction {p_words(found.adjusted_p_value)}, which is not enough."
    )


def what_would_tell(found: ComparisonFound) -> str:
    """Say how many prompts or seeds would tell a difference of the size seen; empty if it is near 0."""
    if found.difference.value is None or abs(found.difference.value) < NEAR_ZERO:
        return ""
    size = "To tell a difference of this size"
    prompts, seeds = found.needed_prompts, found.needed_seeds
    of_seeds = "this one seed" if found.num_seeds == 1 else f"these {found.num_seeds} seeds"
    of_prompts = f"these {counted(found.num_prompts, 'prompt')}"
    by_prompts = "" if prompts is None else f"about {_rounded(prompts):,} prompts with {of_seeds}"
    by_seeds = "" if seeds is None else f"about {_rounded(seeds)} seeds with {of_prompts}"
    if by_prompts and by_seeds:
        return f"{size} takes {by_prompts}, or {by_seeds}."
    if by_prompts and found.num_seeds == 1:
        return f"{size} takes {by_prompts}; how far other training runs would fall, one seed cannot say."
    if by_prompts:
        return f"{size} takes {by_prompts}; more seeds alone would not do."
    if by_seeds:
        return f"{size} takes {by_seeds}; more prompts alone would not do."
    if found.num_seeds == 1:
        return f"{size}, no number of prompts within reach is enough."
    return f"{size}, neither more prompts nor more seeds alone are enough within reach."


def length_controlled(found: ComparisonFound) -> list[str]:
    """Say what is left of the difference at equal length, if that is known, and whether it says the same."""
    span = found.length_controlled
    if span.value is None:
        return []
    says = f"At equal length the difference is {signed(span.value)} points ({interval(span)})"
    if _is_gone(found):
        return [f"{says}: without the part of length it cannot be told from none."]
    return [f"{says}."]


def all_length_controlled(found: Sequence[ComparisonFound]) -> str:
    """Say what is left of several differences at equal length, in their order; empty if that is not known of all."""
    if not found or any(one.length_controlled.value is None for one in found):
        return ""
    shown = [f"{signed(one.length_controlled.value)} points ({interval(one.length_controlled)})" for one in found]
    first, *rest = shown
    said = listed([first, *(one.replace(_CI, "") for one in rest)])
    says = f"At equal length, {'this difference is' if not rest else 'these differences are'} {said}"
    gone = [shown[i].partition(" (")[0] for i, one in enumerate(found) if _is_gone(one)]
    return f"{says}{f': without the part of length, {listed(gone)} cannot be told from none' if gone else ''}."


def _is_gone(found: ComparisonFound) -> bool:
    """Whether an outcome is no longer there at equal length."""
    span = found.length_controlled
    return (found.outcome == "gain" and not _is_above(span)) or (found.outcome == "harm" and not _is_below(span))


def matched_clause(rule: Rule, difference: Span, asked: Asked) -> str:
    """Say how two arms compare once they cost as much: "at equal dollars, feedback from C is 3.0 points ahead ...".

    The interval is not corrected for several comparisons, and nothing is said beyond it.
    """
    start = f"at {_EQUAL[rule]}"
    if difference.value is None:
        return f"{start}, nothing can be said" + (f" ({difference.note})" if difference.note else "")
    numbers = f"({interval(difference)})"
    if _is_above(difference):
        return f"{start}, {asked.what} is {points(difference.value)} ahead of {asked.over} {numbers}"
    if _is_below(difference):
        return f"{start}, {asked.what} is behind {asked.over}: {signed(difference.value)} points {numbers}"
    value = f"{signed(difference.value)} points"
    return f"{start}, {asked.what} and {asked.over} cannot be told apart: {value} {numbers}"


# ---- numbers ----------------------------------------------------------------------------------------


def interval(span: Span) -> str:
    """Return "95 % CI -1.2 to 7.0"; an end that is not known says so."""
    low, high = ("unknown" if end is None else number(end) for end in (span.low, span.high))
    return f"{_CI}{low} to {high}"


def points(value: float | None) -> str:
    """Return the size of a difference: "4.1 points"."""
    return f"{number(abs(value or 0.0))} points"


def _round_points(value: float) -> str:
    return f"{value:g} point{'' if value == 1 else 's'}"


def signed(value: float | None) -> str:
    """Return "+4.1" or "-4.1"."""
    shown = number(value or 0.0)
    return shown if shown.startswith("-") or not float(shown) else f"+{shown}"


def number(value: float) -> str:
    """Return one decimal; two or more where one would show a number as 0 that is not."""
    for digits in (1, 2, 3):
        shown = f"{value:.{digits}f}"
        if float(shown):
            return shown
    return "0.0"


def p_words(p_value: float) -> str:
    """Return "p = 0.031" or "p < 0.001"."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def counted(num: int, what: str) -> str:
    """Return "1 seed" or "1,805 prompts"."""
    return f"{num:,} {what}{'' if num == 1 else 's'}"


def capital(text: str) -> str:
    """Return the text with its first letter large; a name keeps its other letters as they are."""
    return text[:1].upper() + text[1:]


def _rounded(num: int) -> int:
    """Return two digits, rounded up: more would pretend to be known."""
    unit: int = 10 ** max(0, len(str(num)) - 2)
    return -(-num // unit) * unit


def _is_above(span: Span) -> bool:
    return span.low is not None and span.low > 0


def _is_below(span: Span) -> bool:
    return span.high is not None and span.high < 0
