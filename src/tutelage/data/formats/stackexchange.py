"""Questions of Stack Exchange with their answers (HuggingFaceH4/stack-exchange-preferences), HTML made text.

Every two answers are a verdict for the one with the higher `pm_score`; of two with the same score none is better.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

from tutelage.data.formats.html_text import text_of_html
from tutelage.data.formats.item import (
    Count,
    Format,
    Item,
    Options,
    Row,
    Skip,
    each,
    judged,
    name_of,
    one_turn,
    shown,
    text_of,
)
from tutelage.data.formats.turns import number_of
from tutelage.errors import DataError
from tutelage.records import Completion

_CRITIC = "readers of Stack Exchange"


def _read_row(where: str, row: Row, options: Options, count: Count) -> Iterator[Item]:
    found: Any = row.get("answers")
    if not isinstance(found, list) or not all(isinstance(answer, dict) for answer in found):
        raise DataError(f"{where}: expected answers, a list of {{text, pm_score, author}}, found {shown(found)}")
    prompt = one_turn(text_of_html(text_of(where, row, options.columns.get("prompt", "question"))), options)
    scored = []
    for answer in found:
        score = number_of(where, answer, "pm_score")
        if score is None:
            raise DataError(f"{where}: an answer has no pm_score")
        text = text_of_html(text_of(where, answer, "text"))
        author = options.author or name_of(answer.get("author"))
        if text:
            scored.append((score, Completion(prompt_id=prompt.id, author=author, text=text)))
        else:
            count("skipped: an answer without text", 1)
    num = 0
    for (one, left), (other, right) in combinations(scored, 2):
        if one == other or left.text == right.text:
            count(f"left out: two answers with the same {'score' if one == other else 'text'}", 1)
            continue
        num += 1
        better, worse = (left, right) if one > other else (right, left)
        scores = f"pm_score {max(one, other):g} and {min(one, other):g}"
        yield judged(prompt, better, worse, "LEFT", _CRITIC, scores, gap=abs(one - other))
    if not num:
        raise Skip("a question without two answers of different scores")


def _read(rows: Iterable[tuple[str, Row]], options: Options, count: Count) -> Iterator[Item]:
    yield from each(lambda where, row, said: _read_row(where, row, said, count))(rows, options, count)


FORMAT = Format(
    "stackexchange",
    "Stack Exchange's preferences: question and answers in HTML; every two answers, by pm_score",
    ("verdicts",),
    lambda row: {"question", "answers"} <= row.keys(),
    _read,
    columns=("prompt",),
)
