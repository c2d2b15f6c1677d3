"""Verdicts for tests, in a few characters each."""

from __future__ import annotations

from tutelage.records import Completion, Order, Outcome, Pair, Verdict

OUTCOMES: dict[str, Outcome] = {">": "LEFT", "<": "RIGHT", "=": "TIE", "?": "INVALID"}
BOTH: tuple[Order, ...] = ("left_first", "right_first")
ONE: tuple[Order, ...] = ("right_first",)


def completion(text: str, prompt: str = "p", index: int | None = None) -> Completion:
    """A completion whose index follows from its text, so that it is the same one wherever it is named."""
    return Completion(prompt_id=prompt, author="me", text=text, index=len(text) if index is None else index)


def verdict(
    said: str,
    probability: float | None = None,
    prompt: str = "p",
    orders: tuple[Order, ...] = BOTH,
    critic: str = "critic",
) -> Verdict:
    """Read "good > bad": texts and what was decided, `<`, `>`, `=` or `?` (unreadable)."""
    left, sign, right = said.split()
    return Verdict(
        pair=Pair(left=completion(left, prompt), right=completion(right, prompt)),
        orders=orders,
        outcome=OUTCOMES[sign],
        critic=critic,
        replies=tuple(f"{order}: {sign}" for order in orders),
        probability=probability,
    )
