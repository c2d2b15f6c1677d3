"""What the policy writes while it is trained: the same held-out prompts, completed at every evaluation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.distributed.fsdp import FSDPModule

from tutelage.generate.sample import Draw, draw_batch, usable_prompts
from tutelage.generate.settings import PolicyTraining
from tutelage.progress import say
from tutelage.records import Completion, Prompt
from tutelage.train.checkpoint import context_length
from tutelage.train.encode import Encoder
from tutelage.train.precision import autocast
from tutelage.train.scorer import Scorer

AUTHOR = "policy"


class PolicySampler:
    """Completes the first `eval_samples` usable ones of `prompts` with the model as it is when it is called.

    Prompts that leave no room for a completion, or hold special tokens, are passed over and counted.

    Raises:
        ConfigError: `eval_drawing.max_tokens` leaves no room for any prompt.
    """

    def __init__(
        self,
        scorer: Scorer,
        encoder: Encoder,
        prompts: Iterable[Prompt],
        settings: PolicyTraining,
        count: Callable[[str, int], None],
    ) -> None:
        self.scorer, self.encoder, self.settings = scorer, encoder, settings
        usable = usable_prompts(
            encoder,
            prompts,
            settings.eval_drawing.max_tokens,
            context_length(scorer.model),
            lambda what, num: count(f"{what} (as a sample at evaluations)", num),
        )
        found = list(itertools.islice(usable, settings.eval_samples))
        if len(found) < settings.eval_samples:
            say(f"  eval_samples={settings.eval_samples}, but {len(found)} held-out prompts can be completed")
        # Prompts of one length together: little padding.
        self.draws = sorted((Draw(prompt, ids, 0) for prompt, ids in found), key=lambda d: (len(d.ids), d.prompt.id))

    def __call__(self) -> list[tuple[Prompt, Completion]]:
        """Return each prompt with its completion; the model's own generation settings stay as they were."""
        drawing = self.settings.eval_drawing
        drawn: list[tuple[Prompt, Completion]] = []
        with self._lent() as model, autocast(self.scorer.device, self.settings.precision):
            for start in range(0, len(self.draws), drawing.batch_size):
                batch = self.draws[start : start + drawing.batch_size]
                made = draw_batch(model, self.encoder, batch, drawing, AUTHOR)
                drawn += zip((draw.prompt for draw in batch), made, strict=True)
        return drawn

    @contextmanager
    def _lent(self) -> Iterator[Any]:
        """Lend the model as it was loaded; of sharded weights, what is in no block is gathered meanwhile."""
        sharded = self.scorer if isinstance(self.scorer, FSDPModule) else None
        with self.scorer.as_loaded() as model:
            before = model.generation_config
            if sharded is not None:
                sharded.unshard()
            try:
                yield model
            finally:
                model.generation_config = before
                if sharded is not None:
                    sharded.reshard()
