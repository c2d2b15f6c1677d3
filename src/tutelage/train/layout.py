"""Which layout of rows is exact for a model: not looked up in a list of architectures, but tried.

A model may leak between the completions of a packed row without a word (ALiBi, soft-capped attention, sliding
windows, recurrent states), so two short pairs are scored in each layout and compared with the model's own code on
each completion alone. The first layout that agrees is taken: segments, then a mask, then padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from tutelage.errors import ModelError
from tutelage.progress import say
from tutelage.train import attention, parallel
from tutelage.train.encode import Example
from tutelage.train.pairs import PairExample
from tutelage.train.precision import Precision, autocast
from tutelage.train.scorer import Layout, Scorer

RowsWanted = Literal["auto", "shared", "packed", "padded"]
_WINDOWS = ("sliding_window", "window_size", "attention_chunk_size")
"""What configs call the distance that attention reaches."""
_TOLERANCE = 1e-4  # of a log-probability; leaks are larger, float32's rounding a hundred times smaller


@torch.no_grad()
def fit_layout(scorer: Scorer, longest: int, wanted: RowsWanted, precision: Precision) -> None:
    """Give `scorer` the fastest layout that is exact for its model.

    Args:
        longest: tokens of the longest completion to come, with its prompt; a shorter sliding window is tested.
        wanted: the layout to take if it is exact; auto: the fastest.

    Raises:
        ModelError: not even padded rows agree with the model's own code.
    """
    attention.register()
    probe = _probe(scorer, longest)
    name = type(scorer.model).__name__
    truth = scorer(probe, "alone")
    with autocast(scorer.device, precision):
        noise = float((scorer(probe, "alone") - truth).abs().max())
    for layout in _candidates(scorer.loaded_attention, wanted):
        # in float32 as well: a leak may change less than bfloat16 rounds
        agrees = [
            _agrees(scorer, layout, probe, truth, _TOLERANCE, "float32"),
            _agrees(scorer, layout, probe, truth, _TOLERANCE + 4 * noise, precision),
        ]
        if not all(all(each) for each in parallel.gathered(agrees)):
            continue
        if wanted == "auto" and layout.attention != attention.NAME:
            say(f"  rows of {name}: {layout.rows}{_through(layout)}; anything faster is not exact for it")
        elif wanted not in ("auto", layout.rows):
            say(f"  rows of {name}: {layout.rows}, as rows={wanted} is not exact for it")
        return
    limits = _limits(scorer, longest)
    raise ModelError(
        f"{name}: log-probabilities of one sequence alone and of the same in a batch differ; "
        + (f"lower max_length to {min(limits)}" if limits else "this architecture cannot be trained here")
    )


def _through(layout: Layout) -> str:
    return "" if layout.rows == "padded" else f", through a mask ({layout.attention} attention)"


def _candidates(loaded: str, wanted: RowsWanted) -> Iterator[Layout]:
    packed: dict[RowsWanted, Literal["shared", "packed"]] = {"auto": "shared", "shared": "shared", "packed": "packed"}
    for whole_head in (False, True):
        if wanted in packed:
            for name in (attention.NAME, "sdpa", "eager"):
                yield Layout(packed[wanted], name, whole_head)
        yield Layout("padded", loaded, whole_head)


def _limits(scorer: Scorer, longest: int) -> list[int]:
    """After how many tokens, of `longest`, the model's attention forgets, or its rotary embedding turns otherwise."""
    config = scorer.model.config.get_text_config()
    found = [getattr(config, name, None) for name in _WINDOWS]
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "longrope":  # which looks at the longest position in a batch
        found.append(rope.get("original_max_position_embeddings"))
    return [limit for limit in found if isinstance(limit, int) and limit < longest]


def _probe(scorer: Scorer, longest: int) -> list[PairExample]:
    """Two pairs of random tokens, one short, one longer than the model's limits if what is to come is."""
    config = scorer.model.config.get_text_config()
    drawn = torch.Generator().manual_seed(0)
    size = int(config.vocab_size)
    # without the padding token: sequence classifiers look for it
    ids = torch.tensor([i for i in range(size // 8, size) if i != config.pad_token_id])
    found = []
    for lengths in ((max(_limits(scorer, longest), default=0) + 7, 5, 9), (3, 4, 2)):
        prompt, *completions = (
            tuple(ids[torch.randint(len(ids), (length,), generator=drawn)].tolist()) for length in lengths
        )
        chosen, rejected = (Example("probe", "probe", prompt, each) for each in completions)
        found.append(PairExample("probe", chosen, rejected))
    return found


def _agrees(
    scorer: Scorer, layout: Layout, probe: list[PairExample], truth: Tensor, tolerance: float, precision: Precision
) -> bool:
    """True if `scorer`, left with this layout, says the same as the model's own code."""
    try:
        scorer.use(layout)
        with autocast(scorer.device, precision):
            found = scorer(probe, "details")
        return float((found - truth).abs().max()) <= tolerance
    except Exception:  # architectures refuse what they do not know in many ways; another layout is tried
        return False
