"""What happens to an example that is longer than `max_length`, as a stated rule. Pure: ids in, ids out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tutelage.errors import ConfigError
from tutelage.train.encode import Example, Unusable
from tutelage.train.settings import Truncation


def truncate(examples: Sequence[Example], max_length: int, truncation: Truncation) -> list[Example]:
    """Return `examples` with at most `max_length` tokens each, cut by `truncation`'s rule.

    completion: the end of each completion that is too long is cut, and with it its end-of-turn token.
    skip: nothing is cut; one that is too long makes all unusable.
    original: as `tokenize_batch_element` of the research code. If the longest example does not fit, the prompt is
    cut to `max_prompt_length`; if it still does not, every completion is cut to `max_length` - `max_prompt_length`.

    Args:
        examples: what is kept or left out together: one completion, or the two of a pair, after the same prompt.
            The prompts are the same afterwards too.

    Raises:
        Unusable: the prompt alone fills `max_length` (completion), or an example does not fit (skip).
        ConfigError: `max_prompt_length` leaves no room for a completion within `max_length`.
    """
    if truncation.rule == "original":
        return _as_the_original(examples, max_length, truncation)
    if truncation.rule == "skip":
        if _longest(examples) > max_length:
            raise Unusable(f"longer than max_length ({max_length} tokens)")
        return list(examples)
    room = max_length - len(examples[0].prompt_ids)
    if room < 1:
        raise Unusable(f"the prompt is longer than max_length ({max_length} tokens)")
    return [_with_completion(e, room) for e in examples]


def _as_the_original(examples: Sequence[Example], max_length: int, truncation: Truncation) -> list[Example]:
    room = max_length - truncation.max_prompt_length
    if room < 1:  # the settings were checked, but a model's context may be shorter than they say
        raise ConfigError(
            f"truncation.max_prompt_length={truncation.max_prompt_length} leaves no room for a completion within "
            f"{max_length} tokens; lower it, or raise max_length as far as the model's context goes"
        )
    kept = list(examples)
    if _longest(kept) > max_length:
        kept = [replace(e, prompt_ids=_prompt(e.prompt_ids, truncation)) for e in kept]
    if _longest(kept) > max_length:
        kept = [_with_completion(e, room) for e in kept]
    return kept


def _prompt(ids: tuple[int, ...], truncation: Truncation) -> tuple[int, ...]:
    size = truncation.max_prompt_length
    return ids[-size:] if truncation.keep == "end" else ids[:size]


def _with_completion(example: Example, room: int) -> Example:
    """Cut the completion to `room` tokens, and what then stands at its end without being learnt."""
    silent = [span for span in example.silent if span[0] < room]
    if silent and silent[-1][1] >= room:
        room = silent.pop()[0]
    return replace(example, completion_ids=example.completion_ids[:room], silent=tuple(silent))


def _longest(examples: Sequence[Example]) -> int:
    return max(e.num_tokens for e in examples)
