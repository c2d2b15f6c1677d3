"""alpaca_eval's conventions: the fields of its rows, by explicit rules, and the order in which it shows a pair."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from tutelage.errors import DataError


def text_field(where: str, row: Mapping[str, Any], name: str) -> str:
    """Return the text of an instruction or a completion.

    Raises:
        DataError: it is not there, or no text.
    """
    value = row.get(name)
    if isinstance(value, str):
        return value
    if name in row:
        raise DataError(f"{where}: {name!r} is no text but {_brief(value)}")
    raise DataError(
        f"{where}: no field {name!r} (found: {', '.join(row)[:200] or 'none'}); expected a row of alpaca_eval's "
        "annotations.json: instruction, output_1 (the baseline's completion) and output_2 (the policy's)"
    )


def _brief(value: Any) -> str:
    """Return the beginning of a plain value; what a list or an object holds may be nested without end."""
    return repr(str(value)[:60]) if value is None or isinstance(value, str | int | float) else "'...'"


def preference_field(where: str, row: Mapping[str, Any]) -> float | None:
    """Return a preference from 1 (output_1 is better) to 2 (output_2 is), 1.5 for a tie, None if there is none.

    Raises:
        DataError: it is no number in [1, 2], nor 0 (alpaca_eval's older tie), nor null, NaN or -1 (missing).
    """
    value = row.get("preference")
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value != value or value == -1:  # the first is NaN's mark, and holds for numbers of any size
            return None
        if value == 0:
            return 1.5
        if 1 <= value <= 2:
            return float(value)
    raise DataError(
        f"{where}: a preference of {_brief(value)} ({type(value).__name__}); expected a number from 1 "
        "(output_1 is better) to 2 (output_2 is), 0 or 1.5 (a tie), or null or -1 (missing)"
    )


def is_switched(instruction: str, seed: int = 0) -> bool:
    """Return whether alpaca_eval shows output_2 first: one order per instruction, drawn from it and the seed.

    As in 0.6.6, processors.RandomSwitchTwoColumnsProcessor and utils.random_seeded_choice.
    """
    return Random(f"is_switched_outputs{instruction}{seed}").choices([False, True], k=1)[0]
