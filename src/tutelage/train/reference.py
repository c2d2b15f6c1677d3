"""Numbers of many items without gradients: the reference of DPO, and what a reward model says of pairs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from tutelage.config import Tree
from tutelage.disk import disk_errors, write_atomically
from tutelage.progress import Progress, say
from tutelage.records import digest
from tutelage.train import parallel
from tutelage.train.objectives import PairExample
from tutelage.train.precision import Precision, autocast, in_bfloat16
from tutelage.train.rows import Item, chunks
from tutelage.train.scorer import Scorer
from tutelage.train.settings import Training


@torch.no_grad()
def numbers(
    scorer: Scorer, items: Sequence[Item], micro_batch_tokens: int, precision: Precision, what: str
) -> dict[str, list[float]]:
    """Return the number of each completion of every item, by the item's id: log-probability, or score.

    They are computed in the precision that training computes in, so that at step 0 policy and reference are
    the same. Every process computes a share; all get everything.
    """
    found: dict[str, list[float]] = {}
    shares = list(chunks(items, scorer.sizes(items), micro_batch_tokens))
    size, rank = parallel.num_processes(), parallel.rank()
    with Progress(what, len(items), "items") as progress:
        for start in range(0, len(shares), size):
            # the last round may have too few: whoever has none goes along, as sharded weights are gathered by all
            ours = min(start + rank, len(shares) - 1)
            with autocast(scorer.device, precision):
                values = scorer(shares[ours]).tolist()
            found.update(zip((item.id for item in shares[ours]), values, strict=True))
            progress.advance(sum(len(share) for share in shares[start : start + size]))
    return {key: value for part in parallel.gathered(found) for key, value in part.items()}


def with_reference(
    scorer: Scorer, pairs: Sequence[PairExample], settings: Training, folder: Path, model: Tree
) -> list[PairExample]:
    """Fill in the reference's log-probabilities: those of the policy itself, before its first step.

    No second model is held, and what was computed is kept in `folder` under a hash of all it depends on (model,
    tokens, precision), for this run when it goes on and for every other with the same reference.
    """
    tokens = hashlib.sha256()
    for pair in pairs:
        tokens.update(repr((pair.chosen.prompt_ids, *(b.completion_ids for b in pair.branches))).encode())
    computed_in = "bfloat16" if in_bfloat16(scorer.device, settings.precision) else "float32"
    path = folder / f"{digest([model, tokens.hexdigest(), computed_in], 32)}.json"
    # all processes look before one writes: computing is done by all of them or none
    if parallel.from_first(path.is_file()):
        say(f"  reference: taken from {path}")
        values = json.loads(path.read_text("utf-8"))
    else:
        found = numbers(scorer, pairs, settings.micro_batch_tokens, settings.precision, "reference")
        values = [found[pair.id] for pair in pairs]
        if parallel.is_first():
            with disk_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, json.dumps(values))
    return [
        replace(pair, reference_chosen=chosen, reference_rejected=rejected)
        for pair, (chosen, rejected) in zip(pairs, values, strict=True)
    ]
