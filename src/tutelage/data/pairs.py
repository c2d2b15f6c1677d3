"""Pairs of completions with what is known of them: from an artifact, or rows of any format that compares two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tutelage.data.formats.item import Count
from tutelage.data.reading import read_items, require_holds
from tutelage.data.rows import selected_rows
from tutelage.errors import DataError
from tutelage.inputs import Pairs
from tutelage.records import Outcome, Pair, Prompt, Verdict


@dataclass(frozen=True)
class KnownPair:
    """A pair and its known worth. Of alpaca_eval's rows, left is `output_2` (the policy), right `output_1`."""

    prompt: Prompt
    pair: Pair
    gap: float | None
    """Score of the left completion minus that of the right one."""
    gold: Outcome | None
    """LEFT, RIGHT or TIE."""


def read_pairs(pairs: Pairs, count: Count) -> list[KnownPair]:
    """Read the pairs of an artifact of label, evaluate or import, or of a file; each pair once.

    Skips and counts unusable prompts, and pairs of one text.

    Raises:
        DataError: the file is damaged, of no format that compares two, a row lacks a field or has one that cannot
            be, or no usable pair is left.
    """
    made = pairs.artifact()
    found: dict[str, KnownPair] = {}
    for known in _of_file(pairs, count) if made is None else _of_artifact(pairs, count):
        if known.pair.left.text == known.pair.right.text:
            count("skipped: both completions are the same text", 1)
        elif known.pair.id in found:
            count("skipped: the same pair again", 1)
        else:
            found[known.pair.id] = known
    if not found:
        raise DataError(f"{pairs.path}: holds no usable pair{pairs.asked_for()}")
    return list(found.values())


def _of_artifact(pairs: Pairs, count: Count) -> Iterator[KnownPair]:
    made = pairs.require("label", "evaluate", "import")
    prompts, verdicts = selected_rows(made, pairs, "verdicts.jsonl", Verdict, count)
    by_id = {p.id: p for p in prompts}
    for verdict in verdicts:
        # what was imported, others have decided; other verdicts are of a critic like the one that is examined
        gold = _gold(verdict) if made.record.stage == "import" else None
        yield KnownPair(by_id[verdict.prompt_id], verdict.pair, None, gold)


def _of_file(pairs: Pairs, count: Count) -> Iterator[KnownPair]:
    require_holds(pairs, "verdicts")
    for item in read_items(pairs, count):
        if item.verdict is not None:
            yield KnownPair(item.prompt, item.verdict.pair, item.gap, _gold(item.verdict))


def _gold(verdict: Verdict) -> Outcome | None:
    return None if verdict.outcome == "INVALID" else verdict.outcome
