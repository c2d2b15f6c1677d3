"""What sft, dpo and reward train on: rows of an input, encoded once and found again by their content."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from tutelage.config import Tree
from tutelage.data.formats.item import Count, count_nothing
from tutelage.data.lookup import PromptsOnDisk
from tutelage.data.normal import group_of
from tutelage.data.reading import read_items
from tutelage.data.rows import COMPLETIONS, PROMPTS, of_other_prompts, read_completions
from tutelage.data.share import OfPrompts
from tutelage.errors import DataError
from tutelage.inputs import Finished, Rows
from tutelage.records import Completion, Preference, Prompt
from tutelage.stages.prefer import PREFERENCES
from tutelage.store import Artifact, Work
from tutelage.train.settings import LossOn, Training

if TYPE_CHECKING:
    from tutelage.train.encode import Encoder, Example
    from tutelage.train.pairs import PairExample
    from tutelage.train.prepared import Prepared

_AT_FIRST = 100
"""Prompts that are looked for in the first pass over a file."""


class _OfPrompt(Protocol):
    @property
    def prompt_id(self) -> str: ...


R = TypeVar("R", bound=_OfPrompt)


def prepared_preferences(
    preferences: Finished, config: Training, encoder: Encoder, max_length: int, work: Work
) -> Prepared[PairExample]:
    """Return the preferences of an artifact of prefer, encoded.

    Raises:
        DataError: a row is damaged, or no prompt is asked for.
        ConfigError: see `truncate`.
        TrainingError: none can be used.
    """
    from tutelage.train.examples import encode_preferences
    from tutelage.train.fit import something
    from tutelage.train.prepared import PREPARED, prepare

    preferred = preferences.require("prefer")

    def encoded(count: Count) -> Iterator[tuple[str, PairExample]]:
        with PromptsOnDisk(preferred, preferences, count) as prompts:
            rows = _with_prompt(preferred.each(PREFERENCES, Preference), prompts, PREFERENCES, count)
            for prompt, pair in encode_preferences(encoder, rows, max_length, config.truncation, count):
                yield group_of(prompt), pair

    ingredients = _ingredients(preferences, config, max_length)
    return something(prepare(work.root / PREPARED, ingredients, encoder, encoded, 2, work.count), work)


def prepared_completions(
    completions: Rows,
    share: OfPrompts,
    config: Training,
    loss_on: LossOn,
    encoder: Encoder,
    max_length: int,
    work: Work,
) -> Prepared[Example]:
    """Return the completions of the prompts in `share`, encoded.

    Raises:
        DataError: a row is damaged, or no prompt is asked for or falls into the share.
        ConfigError: see `truncate`.
        TrainingError: none can be used.
    """
    from tutelage.train.examples import encode_completions
    from tutelage.train.fit import something
    from tutelage.train.prepared import PREPARED, prepare

    def encoded(count: Count) -> Iterator[tuple[str, Example]]:
        rows = _in_share(_completions(completions, count), share, completions.path, count)
        for prompt, example in encode_completions(encoder, rows, max_length, config.truncation, count, loss_on):
            yield group_of(prompt), example

    taken = {"share": list(share.share), "share_seed": share.share_seed, "loss_on": loss_on}
    ingredients = _ingredients(completions, config, max_length) | taken
    return something(prepare(work.root / PREPARED, ingredients, encoder, encoded, 1, work.count), work)


def _ingredients(rows: Finished | Rows, config: Training, max_length: int) -> Tree:
    """Return what the tokens depend on: what the rows are, however they came to be, and how they are cut."""
    content = {name: value for name, value in rows.identity().items() if name != "artifact"}
    return {"content": content, "max_length": max_length, "truncation": config.truncation.model_dump()}


def _completions(rows: Rows, count: Count) -> Iterator[tuple[Prompt, Completion]]:
    """Yield completions with their prompts: of an artifact a row at a time; a foreign file is held meanwhile."""
    made = rows.artifact()
    if made is None:
        prompts, completions = read_completions(rows, count)
        by_id = {prompt.id: prompt for prompt in prompts}
        yield from ((by_id[completion.prompt_id], completion) for completion in completions)
        return
    with PromptsOnDisk(made, rows, count) as on_disk:
        yield from _with_prompt(made.each(COMPLETIONS, Completion), on_disk, COMPLETIONS, count)


def _with_prompt(rows: Iterable[R], prompts: PromptsOnDisk, name: str, count: Count) -> Iterator[tuple[Prompt, R]]:
    for row in rows:
        prompt = prompts.find(row.prompt_id)
        if prompt is None:
            count(of_other_prompts(name), 1)
        else:
            yield prompt, row


def _in_share(
    rows: Iterable[tuple[Prompt, Completion]], share: OfPrompts, path: str, count: Count
) -> Iterator[tuple[Prompt, Completion]]:
    found = False
    for prompt, completion in rows:
        if share.takes(prompt):
            found = True
            yield prompt, completion
        else:
            count("left out: completions outside the share", 1)
    if not found:
        raise DataError(f"{path}: no prompt falls into the share {list(share.share)}")


def prompts_of(rows: Prepared[Any], source: Finished | Rows) -> Iterator[Prompt]:
    """Yield the prompts of `rows`, each once, in the order of the rows; nothing is read before one is asked for."""
    ids = list(dict.fromkeys(rows.column("prompt_id").astype(str).tolist()))
    start, num = 0, _AT_FIRST
    while start < len(ids):
        wanted = ids[start : start + num]
        names = set(wanted)
        found = {prompt.id: prompt for prompt in _prompts(source) if prompt.id in names}
        yield from (found[name] for name in wanted)
        start, num = start + num, 4 * num


def _prompts(source: Finished | Rows) -> Iterator[Prompt]:
    if isinstance(source, Rows) and source.artifact() is None:
        return (item.prompt for item in read_items(source, count_nothing))
    return Artifact.open(source.path).each(PROMPTS, Prompt)
