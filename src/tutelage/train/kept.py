"""Checkpoints on the way: every so many steps, the last few, and the best on held-out examples."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tutelage.progress import say
from tutelage.train import parallel
from tutelage.train.checkpoint import CHECKPOINT, save_checkpoint
from tutelage.train.encode import Encoder
from tutelage.train.held_out import Evaluation
from tutelage.train.scorer import Scorer
from tutelage.train.settings import Training

KEPT = "checkpoints"


class Checkpoints:
    """Saves Hugging Face folders while training goes on; an observer of training, told after the evaluation.

    `checkpoints/step-000012` are the last `keep_checkpoints`, `checkpoints/best-000012` is the one of the lowest
    eval/loss, if that is what is to become of the run.
    """

    def __init__(
        self, scorer: Scorer, encoder: Encoder, settings: Training, folder: Path, evaluation: Evaluation[Any]
    ) -> None:
        self.scorer, self.encoder, self.settings = scorer, encoder, settings
        self.folder, self.evaluation = folder, evaluation

    def start(self, step: int) -> None:
        """Save the best, if a run was killed between finding it and saving it."""
        self._save_if_best(step)

    def after_step(self, step: int, row: dict[str, Any]) -> None:
        """Save what is due; `step` steps are done."""
        every = self.settings.checkpoint_every
        if every is not None and step % every == 0:
            self._save("step", step, self.settings.keep_checkpoints)
        self._save_if_best(step)

    def finish(self, step: int) -> int:
        """Write what the run is for, checkpoint/; return after how many steps its weights were those.

        Raises:
            StoreError: the disk is full, or does not give back what was written.
        """
        best = sorted((self.folder / KEPT).glob("best-*"))
        if self.settings.final == "last" or not best:
            save_checkpoint(self.scorer, self.encoder, self.folder / CHECKPOINT)
            return step
        step = int(best[-1].name.partition("-")[2])
        parallel.wait_for_all()
        if parallel.is_first():
            say(f"  the best step was {step}; checkpoint/ has its weights")
            shutil.rmtree(self.folder / CHECKPOINT, ignore_errors=True)
            best[-1].rename(self.folder / CHECKPOINT)
        return step

    def _save_if_best(self, step: int) -> None:
        if self.settings.final == "best" and self.evaluation.is_best(step):
            self._save("best", step, 1)

    def _save(self, kind: str, step: int, keep: int) -> None:
        path = self.folder / KEPT / f"{kind}-{step:06d}"
        if parallel.from_first(path.is_dir()):
            return
        path.parent.mkdir(exist_ok=True)
        save_checkpoint(self.scorer, self.encoder, path)
        for old in sorted(path.parent.glob(f"{kind}-*"))[:-keep] if parallel.is_first() else ():
            shutil.rmtree(old)
