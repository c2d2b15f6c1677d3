"""What sft, dpo and reward keep out of training, and evaluate."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from tutelage.data.share import hold_out
from tutelage.errors import DataError
from tutelage.progress import say
from tutelage.store import Work
from tutelage.train.settings import Training

if TYPE_CHECKING:
    from tutelage.train.encode import Example
    from tutelage.train.pairs import PairExample
    from tutelage.train.prepared import Prepared

P = TypeVar("P", "Example", "PairExample")


def train_and_held_out(rows: Prepared[P], config: Training, what: str, work: Work) -> tuple[Prepared[P], Prepared[P]]:
    """Split `rows` into those to train on and those to evaluate, and count both.

    Args:
        what: completions or preferences.

    Raises:
        DataError: everything is held out.
    """
    kept, left = hold_out(rows.column("id"), rows.column("group"), config.held_out, config.seed)
    train, held_out = rows.take(kept), rows.take(left)
    if not train:
        raise DataError(f"all {len(rows)} {what} are of held-out prompts, none is left to train on; lower held_out")
    if config.held_out and not held_out:
        say(f"  none of the {what} falls into held_out={config.held_out}; nothing is evaluated while training")
    evaluated = held_out[: config.max_eval_examples]
    work.count(what, len(train))
    work.count(f"{what} held out", len(evaluated))
    work.count(f"{what} held out beyond max_eval_examples", len(held_out) - len(evaluated))
    return train, evaluated
