"""Stanford Human Preferences: a post (`history`), two comments, and which of them readers liked better.

Read as the research code does: where the better comment's score is less than twice the other's, the row is left out.
"""

from __future__ import annotations

from collections.abc import Iterator

from tutelage.data.formats.item import Format, Item, Options, Row, Skip, each, one_turn, preferred, shown, text_of
from tutelage.data.formats.turns import number_of
from tutelage.errors import DataError

MIN_RATIO = 2.0
"""Of the scores, the better one's to the other's."""


def _read(where: str, row: Row, options: Options) -> Iterator[Item]:
    texts = {letter: text_of(where, row, f"human_ref_{letter}") for letter in "AB"}
    label = number_of(where, row, "labels")
    if label not in (0, 1):
        raise DataError(f"{where}: expected labels 1 (A is better) or 0 (B is), found {shown(row.get('labels'))}")
    better, worse = ("A", "B") if label else ("B", "A")
    scores = {letter: number_of(where, row, f"score_{letter}") for letter in "AB"}
    if _ratio(where, row, scores[better], scores[worse]) < MIN_RATIO:
        raise Skip(f"the better score is less than {MIN_RATIO:g} times the other")
    one, other = scores[better], scores[worse]
    gap = None if one is None or other is None else one - other
    prompt = one_turn(text_of(where, row, options.columns.get("prompt", "history")), options)
    yield preferred(prompt, texts[better], texts[worse], options, "readers of Reddit", "liked better", gap)


def _ratio(where: str, row: Row, better: float | None, worse: float | None) -> float:
    ratio = number_of(where, row, "score_ratio")
    if ratio is not None:
        return ratio
    if better is None or worse is None or worse <= 0:
        raise DataError(f"{where}: no field 'score_ratio', nor score_A and score_B above 0 to compute it")
    return better / worse


FORMAT = Format(
    "shp",
    f"Stanford Human Preferences: history, human_ref_A, human_ref_B, labels; score_ratio {MIN_RATIO:g} or more",
    ("verdicts",),
    lambda row: {"human_ref_A", "human_ref_B"} <= row.keys(),
    each(_read),
    columns=("prompt",),
)
