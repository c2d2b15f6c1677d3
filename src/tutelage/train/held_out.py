"""Evaluation while training: loss and metrics on held-out examples, and what the policy writes now.

An evaluation moves no weight and draws no random number that training would have drawn, so that a run with
evaluations ends with the same weights, bit for bit, as one without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic

import torch

from tutelage.progress import say
from tutelage.records import Completion, Prompt
from tutelage.train import parallel
from tutelage.train.loop import Objective, Plan, prepared, with_perplexity
from tutelage.train.precision import autocast
from tutelage.train.rows import Built, T, chunks
from tutelage.train.scorer import Scorer
from tutelage.train.settings import Training
from tutelage.train.step_rows import append_rows, finite, keep_rows
from tutelage.train.trackers import Trackers

EVALUATIONS, SAMPLES = "eval.jsonl", "samples.jsonl"
ACCURACY = "rewards/accuracies"
"""What objectives on pairs call the share of pairs that are ranked rightly."""
Sampler = Callable[[], Sequence[tuple[Prompt, Completion]]]
"""Has the policy, as it is at the time, complete a few held-out prompts."""


@torch.no_grad()
def evaluate(objective: Objective[T], scorer: Scorer, items: Sequence[T], settings: Training) -> dict[str, float]:
    """Return the loss of `items` as if they were one batch, and every metric, all under names that begin with eval/.

    What an objective on pairs calls rewards/accuracies is also eval/accuracy, from 0 to 1. Every process computes
    a share; all get everything.
    """
    shares = list(chunks(items, scorer.sizes(items), settings.micro_batch_tokens))
    size, rank = parallel.num_processes(), parallel.rank()
    # as many rounds for all: whoever has nothing goes along, as sharded weights are gathered by all
    ours = [shares[i] if i < len(shares) else [] for i in range(rank, -(-len(shares) // size) * size, size)]
    objective = prepared(objective, scorer, Built(items, ours), items, settings)
    found: dict[str, float] = {}
    for micro in Built(items, ours):
        with autocast(scorer.device, settings.precision):
            loss, parts = objective(scorer, micro or items[:1], items)
        for name, part in {"loss": float(loss), **parts}.items():
            found[name] = found.get(name, 0.0) + (part if micro else 0.0)
    found = with_perplexity(parallel.sums(found))
    if ACCURACY in found:
        found["accuracy"] = found[ACCURACY]
    return {f"eval/{name}": value for name, value in found.items()}


@contextmanager
def undisturbed(scorer: Scorer) -> Iterator[None]:
    """Switch dropout off, and give the random state and every module's mode back afterwards."""
    modes = [(module, module.training) for module in scorer.modules()]
    scorer.eval()
    try:
        with torch.random.fork_rng([scorer.device] if scorer.device.type == "cuda" else []):
            yield
    finally:
        for module, mode in modes:
            module.training = mode


class Evaluation(Generic[T]):
    """Evaluates before the first step, every so many steps, and after the last; an observer of training.

    eval.jsonl has a row per evaluation, samples.jsonl one per completion. Both hold no step that was not saved:
    `start` drops rows of steps that a killed run will do again, and an evaluation that is there is not done twice.
    """

    def __init__(
        self,
        scorer: Scorer,
        items: Sequence[T],
        objective: Objective[T],
        settings: Training,
        plan: Plan,
        folder: Path,
        trackers: Trackers,
        sampler: Sampler | None = None,
    ) -> None:
        self.scorer, self.items, self.objective = scorer, items, objective
        self.settings, self.plan, self.folder = settings, plan, folder
        self.trackers, self.sampler = trackers, sampler
        self.rows: list[dict[str, Any]] = []

    def is_due(self, step: int) -> bool:
        """True if there is to be an evaluation when `step` optimizer steps are done."""
        every = self.settings.eval_every or self.plan.steps_per_epoch
        return step % every == 0 or step == self.plan.num_steps

    def start(self, step: int) -> None:
        """Take up what a run left that had saved `step` steps (0: a new run), and do what it had not come to."""
        if parallel.is_first():
            self.rows = keep_rows(self.folder / EVALUATIONS, step)
            # An evaluation counts when its row is there, which comes after its samples.
            keep_rows(self.folder / SAMPLES, self.rows[-1]["step"] if self.rows else -1)
        self.rows = parallel.from_first(self.rows)
        self._evaluate_if_due(step)

    def after_step(self, step: int, row: dict[str, Any]) -> None:
        """Evaluate if it is time; `step` steps are done."""
        self._evaluate_if_due(step)

    def best(self) -> int | None:
        """Return after which step eval/loss was lowest so far; the untrained weights do not compete.

        A loss that is no number is never the best (None: there is no other); of equal ones the first is.
        """
        losses = [(row["eval/loss"], row["step"]) for row in self.rows if row["step"] > 0]
        return min((pair for pair in losses if pair[0] is not None), default=(None, None))[1]

    def found_at(self, step: int) -> dict[str, float | None]:
        """Return what the evaluation after `step` steps found, without its step and epoch."""
        rows = [row for row in self.rows if row["step"] == step]
        return {name: value for name, value in rows[-1].items() if name.startswith("eval/")} if rows else {}

    def _evaluate_if_due(self, step: int) -> None:
        if not self.is_due(step) or any(row["step"] == step for row in self.rows):
            return
        with undisturbed(self.scorer):
            found = evaluate(self.objective, self.scorer, self.items, self.settings)
            drawn = self.sampler() if self.sampler is not None else []
        if drawn:
            found["eval/ended"] = sum(c.stop_reason == "stop" for _, c in drawn) / len(drawn)
            found["eval/num_tokens"] = sum(c.usage.output_tokens for _, c in drawn) / len(drawn)
        row = finite({"step": step, "epoch": step / self.plan.steps_per_epoch, **found})
        self.rows.append(row)
        if parallel.is_first():
            self._write(row, drawn)

    def _write(self, row: dict[str, Any], drawn: Sequence[tuple[Prompt, Completion]]) -> None:
        step = row["step"]
        samples = [
            {
                "prompt_id": prompt.id,
                "prompt": prompt.text,
                "completion": completion.text,
                "stop_reason": completion.stop_reason,
                "num_tokens": completion.usage.output_tokens,
            }
            for prompt, completion in drawn
        ]
        if samples:
            append_rows(self.folder / SAMPLES, [{"step": step, **sample} for sample in samples])
            self.trackers.table("samples", list(samples[0]), [list(sample.values()) for sample in samples], step)
        append_rows(self.folder / EVALUATIONS, [row])
        self.trackers.log(row, step)
        figures = [f"{name} {row[name]:.4g}" for name in ("eval/loss", "eval/accuracy") if row.get(name) is not None]
        say(f"  step {step}: {', '.join(figures) or 'eval/loss is not a number'}")
