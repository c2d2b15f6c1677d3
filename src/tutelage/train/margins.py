"""What a trained policy thinks of the preferences it was trained on, to be set beside what the critic thought.

One pass without gradients after the last step, not what training saw on its way: there the first pairs of a run are
met by a policy that has learnt nothing, and each pair by another one.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from tutelage.records import Margin
from tutelage.train.examples import Count
from tutelage.train.objectives import PreferenceObjective
from tutelage.train.pairs import PairExample, Scored
from tutelage.train.prepared import Prepared
from tutelage.train.reference import numbers
from tutelage.train.scorer import Scorer
from tutelage.train.settings import Training

MOST = 1_000
"""Pairs that are looked at: the pass is short then, and a share among so many has a standard error of 1.6 points."""


def margins(
    scorer: Scorer,
    pairs: Prepared[PairExample],
    objective: PreferenceObjective,
    settings: Training,
    count: Count,
    most: int = MOST,
) -> list[Margin]:
    """Return the loss's own reward of chosen minus rejected, for the policy as it is now, in the order of `pairs`.

    Of more than `most` pairs those that `settings.seed` draws; a margin that is no number is left out and counted.
    Every process computes a share; all get everything.
    """
    # which rows, not which ids: the order of the rows decides what each step sees as well
    drawn = np.sort(np.random.default_rng(settings.seed).permutation(len(pairs))[:most])
    some = pairs.take(drawn)
    logps = numbers(scorer, some, settings.micro_batch_tokens, settings.precision, "margins")
    chosen, rejected = objective.rewards(Scored.of(torch.from_numpy(logps), some, some))
    ids, prompt_ids = (some.column(name).astype(str).tolist() for name in ("id", "prompt_id"))
    every = zip(ids, prompt_ids, (chosen - rejected).tolist(), strict=True)
    found = [Margin(id=i, prompt_id=p, margin=margin) for i, p, margin in every if math.isfinite(margin)]
    count("left out: margins that are no number", len(ids) - len(found))
    return found
