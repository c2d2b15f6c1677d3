"""Records -> encoded examples. Everything skipped or cut is counted under its reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tutelage.records import Completion, Preference, Prompt
from tutelage.train.encode import Encoder, Example, Unusable
from tutelage.train.objectives import PairExample

Count = Callable[[str, int], None]


def encode_completions(
    encoder: Encoder,
    prompts: Sequence[Prompt],
    completions: Sequence[Completion],
    max_length: int,
    count: Count,
) -> list[Example]:
    """Encode each completion after its prompt."""
    by_id = {p.id: p for p in prompts}
    examples = []
    for completion in completions:
        try:
            example = encoder.example(by_id[completion.prompt_id], completion, max_length)
        except Unusable as reason:
            count(f"skipped: {reason}", 1)
            continue
        if example.cut:
            count("cut to max_length", 1)
        examples.append(example)
    return examples


def encode_preferences(
    encoder: Encoder,
    prompts: Sequence[Prompt],
    preferences: Sequence[Preference],
    max_length: int,
    count: Count,
) -> list[PairExample]:
    """Encode both sides of each preference after their prompt; one unusable side drops the preference."""
    by_id = {p.id: p for p in prompts}
    pairs = []
    for preference in preferences:
        prompt = by_id[preference.prompt_id]
        try:
            chosen, rejected = (
                encoder.example(prompt, side, max_length) for side in (preference.chosen, preference.rejected)
            )
        except Unusable as reason:
            count(f"skipped: {reason}", 1)
            continue
        if chosen.completion_ids == rejected.completion_ids:
            count("skipped: chosen and rejected are the same after cutting", 1)
            continue
        if chosen.cut or rejected.cut:
            count("cut to max_length", 1)
        pairs.append(PairExample(preference.id, chosen, rejected, preference.weight))
    return pairs
