"""Pairs of completions with what is known of them: from an artifact, or rows with alpaca_eval's field names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutelage.data.alpaca_eval import preference_field, text_field
from tutelage.data.formats.item import Count, Options, Skip
from tutelage.data.formats.plain import read_prompt
from tutelage.data.rows import PROMPTS
from tutelage.data.sources import read_objects
from tutelage.errors import DataError
from tutelage.inputs import Pairs
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
    for known in _of_file(pairs, count) if made is None else _of_artifact(pairs):
        if known.pair.left.text == known.pair.right.text:
            count("skipped: both completions are the same text", 1)
        elif known.pair.id in found:
            count("skipped: the same pair again", 1)
        else:
            found[known.pair.id] = known
    if not found:
        raise DataError(f"{pairs.path}: holds no usable pair")
    return list(found.values())


def _of_artifact(pairs: Pairs) -> list[KnownPair]:
    made = pairs.require("label", "evaluate")
    prompts = {p.id: p for p in made.rows(PROMPTS, Prompt)}
    verdicts = made.rows("verdicts.jsonl", Verdict)
    return [KnownPair(prompts[v.pair.prompt_id], v.pair, None, None) for v in verdicts]


def _of_file(pairs: Pairs, count: Count) -> list[KnownPair]:
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
