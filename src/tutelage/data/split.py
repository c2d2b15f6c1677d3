"""The parts of a frozen split."""

from __future__ import annotations

from tutelage.inputs import Finished, Selected
from tutelage.records import Record

PARTS_FILE = "parts.jsonl"


class InPart(Record):
    """Which part a prompt is in; null: in none."""

    prompt_id: str
    part: str | None


def parts_of(asked: Selected) -> dict[str, str | None]:
    """Return the part of each prompt of the split that an input names (`part_of`), or is.

    Raises:
        StoreError: it is no artifact of split.
    """
    made = Finished(path=asked.part_of or asked.path).require("split")
    return {row.prompt_id: row.part for row in made.rows(PARTS_FILE, InPart)}
