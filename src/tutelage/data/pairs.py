"""Pairs of completions with what is known of them: from an artifact, or rows with alpaca_eval's field names."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.data.alpaca_eval import preference_field, text_field
from tutelage.data.formats.item import Count, Options, Skip
from tutelage.data.formats.plain import read_prompt
from tutelage.data.rows import selected_rows
from tutelage.data.selection import selection_of
from tutelage.data.sources import read_objects
from tutelage.errors import ConfigError, DataError
from tutelage.inputs import Pairs, Selected
from tutelage.records import Completion, Outcome, Pair, Prompt, Verdict

UNKNOWN = "unknown"
"""Who wrote a completion where a row does not say."""


@dataclass(frozen=True)
class KnownPair:
    """A pair (left is a row's `output_2`, the policy; right its `output_1`, the baseline) and its known worth."""

    prompt: Prompt
    pair: Pair
    gap: float | None
    """Score of the left completion minus that of the right one."""
    gold: Outcome | None
    """LEFT, RIGHT or TIE."""


def read_pairs(pairs: Pairs, count: Count) -> list[KnownPair]:
    """Read the pairs of an artifact of label or evaluate, or of a file; each pair once.

    Skips and counts unusable prompts, and pairs of one text.

    Raises:
        DataError: the file is damaged, a row lacks a field or has one that cannot be, or no usable pair is left.
    """
    made = pairs.artifact()
    found: dict[str, KnownPair] = {}
    for known in _selected(_of_file(pairs, count), pairs, count) if made is None else _of_artifact(pairs, count):
        if known.pair.left.text == known.pair.right.text:
            count("skipped: both completions are the same text", 1)
        elif known.pair.id in found:
            count("skipped: the same pair again", 1)
        else:
            found[known.pair.id] = known
    if not found:
        raise DataError(f"{pairs.path}: holds no usable pair{pairs.asked_for()}")
    return list(found.values())


def _of_artifact(pairs: Pairs, count: Count) -> list[KnownPair]:
    made = pairs.require("label", "evaluate")
    prompts, verdicts = selected_rows(made, pairs, "verdicts.jsonl", Verdict, count)
    by_id = {p.id: p for p in prompts}
    return [KnownPair(by_id[v.prompt_id], v.pair, None, None) for v in verdicts]


def _selected(known: list[KnownPair], pairs: Pairs, count: Count) -> Iterator[KnownPair]:
    selection = selection_of(pairs, lambda: (each.prompt for each in known))
    for each in known:
        reason = selection.refuses(each.prompt)
        if reason is None:
            yield each
        else:
            count(f"left out: pairs of prompts {reason}", 1)


def _of_file(pairs: Pairs, count: Count) -> list[KnownPair]:
    unread = set(type(pairs).model_fields) - set(Selected.model_fields) - {"prompt_field"}
    if given := sorted(name for name in unread if getattr(pairs, name) not in (None, ())):
        raise ConfigError(f"{pairs.path}: {', '.join(given)} is not for files of pairs, leave it out")
    found = []
    for where, row in read_objects(Path(pairs.path)):
        columns = {"prompt": pairs.prompt_field} if pairs.prompt_field else {}
        try:
            prompt: Prompt | str = read_prompt(where, row, Options(Path(pairs.path).name, columns))
        except Skip as reason:
            prompt = str(reason)
        baseline, policy = (text_field(where, row, f"output_{i}") for i in (1, 2))
        scores = [_number(where, row, f"score_{i}") for i in (1, 2)]
        gold = _gold(where, row)
        if isinstance(prompt, str):
            count(f"skipped: {prompt}", 1)
            continue
        if (scores[0] is None) != (scores[1] is None):
            raise DataError(f"{where}: has one of score_1 and score_2; give both, or none")
        if baseline == policy:
            count("skipped: both completions are the same text", 1)
            continue
        left, right = (
            Completion(prompt_id=prompt.id, author=str(row.get(f"generator_{i}") or UNKNOWN), text=text)
            for i, text in ((2, policy), (1, baseline))
        )
        gap = None if scores[0] is None or scores[1] is None else scores[1] - scores[0]
        found.append(KnownPair(prompt, Pair(left=left, right=right), gap, gold))
    return found


def _number(where: str, row: Mapping[str, Any], name: str) -> float | None:
    value = row.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"{where}: {name!r} is no number but {str(value)[:60]!r}")
    return float(value)


def _gold(where: str, row: Mapping[str, Any]) -> Outcome | None:
    value = preference_field(where, row)
    if value is None:
        return None
    return "TIE" if value == 1.5 else "LEFT" if value > 1.5 else "RIGHT"
