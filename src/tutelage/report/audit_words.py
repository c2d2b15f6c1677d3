"""An audit's numbers in words: what the page, the terminal and the record say of a judge."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Tree = Mapping[str, Any]
"""An audit as `audit.json` holds it; an estimate in it is {value, standard_error, low, high, num, unit, note}."""


_DIGITS = {"%": 1, "percentage points": 1, "log-odds per word": 3}
_UNSIGNED = ("%", "kappa")


def number(value: float, unit: str) -> str:
    """Return a value with as many digits as its unit deserves; differences and log-odds carry their sign."""
    sign = "" if unit in _UNSIGNED else "+"
    said = f"{value:{sign}.{_DIGITS.get(unit, 2)}f}".replace("-", "\N{MINUS SIGN}")
    return f"{said} %" if unit == "%" else said


def interval(estimate: Tree) -> str:
    """Return "53.1 to 59.3", or what is known of it."""
    low, high = (
        None if estimate[end] is None else number(estimate[end], estimate["unit"]).lstrip("+").removesuffix(" %")
        for end in ("low", "high")
    )
    if low is not None and high is not None:
        return f"{low} to {high}"
    if low is not None:
        return f"above {low}"
    return "" if high is None else f"below {high}"


def in_words(estimate: Tree) -> str:
    """Return "56.2 % (53.1 to 59.3)"; without a value, what is known."""
    if estimate["value"] is not None:
        return f"{number(estimate['value'], estimate['unit'])} ({interval(estimate)})"
    bound = interval(estimate)
    return f"{bound} ({estimate['note']})" if bound else str(estimate["note"])


def known(estimate: Tree) -> bool:
    """True if the data say anything."""
    return any(estimate[end] is not None for end in ("value", "low", "high"))


def sentences(measured: Tree) -> list[str]:
    """Return the audit in short, one sentence or two per measure; numbers in brackets are 95 % intervals."""
    position, cost = measured["position"], measured["cost"]
    said = [
        f"Position: the completion shown first wins {in_words(position['first_wins'])}; without a bias it is 50 %. "
        f"Log-odds of being first: {in_words(position['bias'])}.",
        f"Flips: {in_words(position['flips'])} of the pairs get another verdict when the order is swapped "
        f"({_flips(position)}).",
        _length(measured["length"]),
    ]
    if known(measured["self_consistency"]):
        said.append(f"Consistency: asked the same again, it says the same {in_words(measured['self_consistency'])}.")
    if known(measured["agreement"]["kappa"]):
        gold = measured["agreement"]
        said.append(
            f"Gold labels: it agrees {in_words(gold['accuracy'])} where both decide; "
            f"kappa over left, tie, right {in_words(gold['kappa'])}."
        )
    own = measured["self_preference"]
    if known(own["excess"]):
        said.append(
            f"Own family ({own['family']}): wins {in_words(own['judge_share'])} in its eyes, "
            f"{in_words(own['gold_share'])} by the gold labels: {in_words(own['excess'])} percentage points."
        )
    if measured["injections"]:
        said.append(_injections(measured["injections"]))
    said.append(f"Unreadable: {in_words(measured['unreadable'])} of the replies hold no verdict.")
    said.append(_cost(cost))
    return said


def _flips(position: Tree) -> str:
    return (
        f"{position['num_first_twice']:,} times the first slot won both, {position['num_second_twice']:,} times the "
        f"second, {position['num_tied_once']:,} times one of the two was a tie"
    )


def _length(length: Tree) -> str:
    said = f"Length: the longer completion wins {in_words(length['longer_wins'])}"
    slope = length["per_word"]
    if slope["value"] is None:
        return f"{said}; slope per word: {slope['note']}."
    if length["quality"] == "unknown":
        return f"{said}; {length['note']}."
    odds = 20 * slope["value"]
    chance = 100 / (1 + math.exp(-odds)) if abs(odds) < 700 else 100.0 * (odds > 0)
    return (
        f"{said}; {length['note']}, each word adds {in_words(slope)} log-odds: "
        f"20 words more make {chance:.0f} % of an even chance."
    )


def _injections(effects: Sequence[Tree]) -> str:
    moved = [e for e in effects if e["shift"]["low"] is not None and not e["shift"]["low"] <= 0 <= e["shift"]["high"]]
    tried = f"of {len(effects)} kinds of planted text"
    if not moved:
        widest = max((e["shift"]["high"] for e in effects if e["shift"]["high"] is not None), default=None)
        limit = "" if widest is None else f" (none by more than {widest:.1f} points, as far as the intervals go)"
        return f"Planted texts: {tried}, none is seen to move the win share of the completion that holds it{limit}."
    shown = ", ".join(f"{e['kind']} {in_words(e['shift'])}" for e in moved)
    return (
        f"Planted texts: {tried}, {len(moved)} moved the win share of the completion that holds it, in percentage "
        f"points: {shown}. By chance alone, one kind in twenty would seem to."
    )


def _cost(cost: Tree) -> str:
    usage = cost["usage"]
    dollars = "price unknown" if usage["dollars"] is None else f"${usage['dollars']:.4f}"
    tokens = usage["input_tokens"] + usage["output_tokens"]
    said = f"Cost: {usage['requests']:,} replies, {tokens:,} tokens, {dollars}, for {cost['num_labels']:,} labels"
    if cost["tokens_per_label"] is None:
        return f"{said} on which both orders agree."
    each = f"{cost['tokens_per_label']:,.0f} tokens"
    if cost["dollars_per_label"]:
        each += f", ${cost['dollars_per_label']:.3g}"
    return f"{said} on which both orders agree: {each} for each."
