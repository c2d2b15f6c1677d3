"""Records -> encoded examples. Everything skipped or cut is counted under its reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tutelage.records import Completion, Preference, Prompt
from tutelage.train.encode import Encoder, Example, Unusable
from tutelage.train.pairs import PairExample
from tutelage.train.settings import LossOn, Truncation
from tutelage.train.truncation import truncate
from tutelage.train.turns import WITHIN, EarlierTurns, longest_first

Count = Callable[[str, int], None]


def encode_completions(
    encoder: Encoder,
    prompts: Sequence[Prompt],
    completions: Sequence[Completion],
    max_length: int,
    truncation: Truncation,
    count: Count,
    loss_on: LossOn = "last",
) -> list[Example]:
    """Encode each completion after its prompt.

    Args:
        loss_on: last: the completion alone is learnt; all: so are the assistant's turns in the prompt, each turn
            once however many rows have it. The longest conversations come first then.

    Raises:
        ConfigError: see `truncate`.
    """
    by_id = {p.id: p for p in prompts}
    examples = []
    earlier = EarlierTurns() if loss_on == "all" else None
    for completion in completions if earlier is None else longest_first(by_id, completions):
        prompt = by_id[completion.prompt_id]
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
        examples += kept
    return examples


def encode_preferences(
    encoder: Encoder,
    prompts: Sequence[Prompt],
    preferences: Sequence[Preference],
    max_length: int,
    truncation: Truncation,
    count: Count,
) -> list[PairExample]:
    """Encode both sides of each preference after their prompt; one unusable side drops the preference.

    Raises:
        ConfigError: see `truncate`.
    """
    by_id = {p.id: p for p in prompts}
    pairs = []
    for preference in preferences:
        prompt = by_id[preference.prompt_id]
        try:
            whole = [encoder.example(prompt, side) for side in (preference.chosen, preference.rejected)]
            kept = truncate(whole, max_length, truncation)
        except Unusable as reason:
            count(f"skipped: {reason}", 1)
            continue
        chosen, rejected = kept
        if chosen.completion_ids == rejected.completion_ids:
            count("skipped: chosen and rejected are the same after cutting", 1)
            continue
        _count_cut(whole, kept, count)
        pairs.append(PairExample(preference.id, chosen, rejected, preference.weight))
    return pairs


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
