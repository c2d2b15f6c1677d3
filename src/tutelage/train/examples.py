"""Records -> encoded examples, a row at a time. Everything skipped or cut is counted under its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from tutelage.records import Completion, Preference, Prompt
from tutelage.train.encode import Encoder, Example, Unusable
from tutelage.train.pairs import PairExample
from tutelage.train.settings import LossOn, Truncation
from tutelage.train.truncation import truncate
from tutelage.train.turns import WITHIN, EarlierTurns, longest_first

R = TypeVar("R")
Count = Callable[[str, int], None]
AT_ONCE = 256
"""Rows whose texts are encoded in one call: more brings nothing, and takes memory."""


Row = TypeVar("Row", Completion, Preference)


@dataclass(frozen=True)
class Cut(Generic[Row]):
    """A row as it is encoded, and as it is trained on: a completion, or the two of a preference."""

    prompt: Prompt
    row: Row
    whole: list[Example]
    kept: list[Example]


def encode_completions(
    encoder: Encoder,
    rows: Iterable[tuple[Prompt, Completion]],
    max_length: int,
    truncation: Truncation,
    count: Count,
    loss_on: LossOn = "last",
) -> Iterator[tuple[Prompt, Example]]:
    """Encode each completion after its prompt; both are yielded. See `cut_completions`."""
    for cut in cut_completions(encoder, rows, max_length, truncation, count, loss_on):
        yield cut.prompt, cut.kept[0]


def cut_completions(
    encoder: Encoder,
    rows: Iterable[tuple[Prompt, Completion]],
    max_length: int,
    truncation: Truncation,
    count: Count,
    loss_on: LossOn = "last",
) -> Iterator[Cut[Completion]]:
    """Encode each completion after its prompt, and cut what is too long.

    Args:
        loss_on: last: the completion alone is learnt; all: so are the assistant's turns in the prompt, each turn
            once however many rows have it. The longest conversations come first then, so all rows are held.

    Raises:
        ConfigError: see `truncate`.
    """
    earlier = EarlierTurns() if loss_on == "all" else None
    for some in _in_parts(rows if earlier is None else longest_first(rows)):
        with encoder.knowing((prompt, (completion,)) for prompt, completion in some):
            for prompt, completion in some:
                if earlier is not None and earlier.has(prompt, completion):
                    count(WITHIN, 1)
                    continue
                turns = [] if earlier is None else earlier.left(prompt)
                try:
                    whole = [encoder.example(prompt, completion, turns)]
                    kept = truncate(whole, max_length, truncation)
                except Unusable as reason:
                    count(f"skipped: {reason}", 1)
                    continue
                if earlier is not None:
                    earlier.add(prompt, turns, whole[0], kept[0])
                _count_cut(whole, kept, count)
                yield Cut(prompt, completion, whole, kept)


def encode_preferences(
    encoder: Encoder,
    rows: Iterable[tuple[Prompt, Preference]],
    max_length: int,
    truncation: Truncation,
    count: Count,
) -> Iterator[tuple[Prompt, PairExample]]:
    """Encode both sides of each preference after their prompt. See `cut_preferences`."""
    for cut in cut_preferences(encoder, rows, max_length, truncation, count):
        chosen, rejected = cut.kept
        yield cut.prompt, PairExample(cut.row.id, chosen, rejected, cut.row.weight)


def cut_preferences(
    encoder: Encoder,
    rows: Iterable[tuple[Prompt, Preference]],
    max_length: int,
    truncation: Truncation,
    count: Count,
) -> Iterator[Cut[Preference]]:
    """Encode both sides of each preference after their prompt, and cut them; one unusable side drops it.

    Raises:
        ConfigError: see `truncate`.
    """
    for some in _in_parts(rows):
        with encoder.knowing((prompt, (each.chosen, each.rejected)) for prompt, each in some):
            for prompt, preference in some:
                cut = _cut_pair(encoder, prompt, preference, max_length, truncation, count)
                if cut is not None:
                    yield cut


def _cut_pair(
    encoder: Encoder, prompt: Prompt, preference: Preference, max_length: int, truncation: Truncation, count: Count
) -> Cut[Preference] | None:
    try:
        whole = [encoder.example(prompt, side) for side in (preference.chosen, preference.rejected)]
        chosen, rejected = kept = truncate(whole, max_length, truncation)
    except Unusable as reason:
        count(f"skipped: {reason}", 1)
        return None
    if chosen.completion_ids == rejected.completion_ids:
        count("skipped: chosen and rejected are the same after cutting", 1)
        return None
    _count_cut(whole, kept, count)
    return Cut(prompt, preference, whole, kept)


def _in_parts(rows: Iterable[R]) -> Iterator[list[R]]:
    ahead = iter(rows)
    while some := list(islice(ahead, AT_ONCE)):
        yield some


def _count_cut(whole: Sequence[Example], kept: Sequence[Example], count: Count) -> None:
    """Count what was cut from examples that share a prompt: that prompt once, and each completion."""
    from_prompt = len(whole[0].prompt_ids) - len(kept[0].prompt_ids)
    if from_prompt:
        count("prompts cut", 1)
        count("tokens cut from prompts", from_prompt)
    for before, after in zip(whole, kept, strict=True):
        from_completion = len(before.completion_ids) - len(after.completion_ids)
        if from_completion:
            count("completions cut", 1)
            count("tokens cut from completions", from_completion)
