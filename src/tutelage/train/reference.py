"""Numbers of many items without gradients: the reference of DPO, and what a reward model says of pairs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tutelage.config import Tree
from tutelage.disk import disk_errors
from tutelage.progress import Progress, say
from tutelage.records import digest
from tutelage.train import parallel
from tutelage.train.columns import column
from tutelage.train.pairs import PairExample
from tutelage.train.precision import Precision, autocast, in_bfloat16
from tutelage.train.rows import Item, chunks
from tutelage.train.scorer import Scorer
from tutelage.train.settings import Training


@torch.no_grad()
def numbers(
    scorer: Scorer, items: Sequence[Item], micro_batch_tokens: int, precision: Precision, what: str
) -> NDArray[np.float64]:
    """Return the number of each completion of every item, (N, K): log-probability, or score.

    They are computed in the precision that training computes in, so that at step 0 policy and reference are
    the same. Every process computes a share; all get everything.
    """
    found = np.full((len(items), column(items, "lengths").shape[1] - 1), np.nan)
    shares = list(chunks(items, scorer.sizes(items), micro_batch_tokens))
    size, rank = parallel.num_processes(), parallel.rank()
    with Progress(what, len(items), "items") as progress:
        for start in range(0, len(shares), size):
            # the last round may have too few: whoever has none goes along, as sharded weights are gathered by all
            ours = shares[min(start + rank, len(shares) - 1)]
            with autocast(scorer.device, precision):
                found[ours] = scorer([items[i] for i in ours]).double().cpu().numpy()
            progress.advance(sum(len(share) for share in shares[start : start + size]))
    for part in parallel.gathered(found) if size > 1 else ():
        found = np.where(np.isnan(found), part, found)
    return found


def reference_of(
    scorer: Scorer, pairs: Sequence[PairExample], settings: Training, folder: Path, model: Tree, tokens: str
) -> NDArray[np.float64]:
    """Return the reference's log-probabilities, (N, 2): those of the policy itself, before its first step.

    No second model is held, and what was computed is kept in `folder` under a hash of all it depends on (model,
    tokens, precision), for this run when it goes on and for every other with the same reference.

    Args:
        tokens: a hash of the tokens of `pairs`.
    """
    computed_in = "bfloat16" if in_bfloat16(scorer.device, settings.precision) else "float32"
    path = folder / f"{digest([model, tokens, computed_in], 32)}.npy"
    # all processes look before one writes: computing is done by all of them or none
    values = parallel.from_first(_kept(path, len(pairs)) if parallel.is_first() else None)
    if values is not None:
        say(f"  reference: taken from {path}")
        return values
    values = numbers(scorer, pairs, settings.micro_batch_tokens, settings.precision, "reference")
    if parallel.is_first():
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # a name of our own: runs that want the same reference finish it at the same time
            temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
            with temporary.open("wb") as file:
                np.save(file, values)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
    return values


def _kept(path: Path, num: int) -> NDArray[np.float64] | None:
    """Return what was kept of `num` pairs; None: nothing, or what is damaged."""
    try:
        values: NDArray[np.float64] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return values if values.shape == (num, 2) else None
