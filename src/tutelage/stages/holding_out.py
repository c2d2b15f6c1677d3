"""What sft, dpo and reward keep out of training, and what is evaluated with it."""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.data.normal import group_of
from tutelage.data.share import T, hold_out
from tutelage.errors import DataError
from tutelage.progress import say
from tutelage.records import Prompt
from tutelage.store import Work
from tutelage.train.settings import Training


def train_and_held_out(
    rows: Sequence[T], prompts: Sequence[Prompt], config: Training, what: str, work: Work
) -> tuple[list[T], list[T]]:
    """Split `rows` into those to train on and those to evaluate, and count both.

    Args:
        prompts: those that the rows belong to, and perhaps others.
        what: completions or preferences.

    Raises:
        DataError: everything is held out.
    """
    groups = {prompt.id: group_of(prompt) for prompt in prompts} if config.held_out else {}
    train, held_out = hold_out(rows, groups, config.held_out, config.seed)
    if rows and not train:
        raise DataError(f"all {len(rows)} {what} are of held-out prompts, none is left to train on; lower held_out")
    if rows and config.held_out and not held_out:
        say(f"  none of the {what} falls into held_out={config.held_out}; nothing is evaluated while training")
    evaluated = held_out[: config.max_eval_examples]
    work.count(what, len(train))
    work.count(f"{what} held out", len(evaluated))
    work.count(f"{what} held out beyond max_eval_examples", len(held_out) - len(evaluated))
    return train, evaluated


def prompts_of(rows: Sequence[T], prompts: Sequence[Prompt]) -> list[Prompt]:
    """Return the prompts of `rows`, each once, in the order of the rows."""
    by_id = {prompt.id: prompt for prompt in prompts}
    return [by_id[prompt_id] for prompt_id in dict.fromkeys(row.prompt_id for row in rows)]
