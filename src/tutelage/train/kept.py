"""Checkpoints on the way: every so many steps, the last few, and the best on held-out examples."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal

from tutelage.progress import say
from tutelage.train import parallel
from tutelage.train.encode import Encoder
from tutelage.train.held_out import Evaluation
from tutelage.train.saving import ADAPTER, CHECKPOINT, save_adapter, save_checkpoint
from tutelage.train.scorer import Scorer
from tutelage.train.settings import Training

KEPT = "checkpoints"


class Checkpoints:
    """Saves Hugging Face folders while training goes on; an observer of training, told after the evaluation.

    `checkpoints/step-000012` are the last `keep_checkpoints`, `checkpoints/best-000012` is the one of the lowest
    eval/loss, if that is what is to become of the run.
    """

    def __init__(
        self,
        scorer: Scorer,
        encoder: Encoder,
        settings: Training,
        folder: Path,
        evaluation: Evaluation[Any],
        final: Literal["last", "best"],
        base: str,
    ) -> None:
        self.scorer, self.encoder, self.settings = scorer, encoder, settings
        self.folder, self.evaluation, self.final, self.base = folder, evaluation, final, base

    def start(self, step: int) -> None:
        """Remove what a killed run saved of later steps; save the best, if it was killed before that."""
        for path in (self.folder / KEPT).glob("*") if parallel.is_first() else ():
            number = path.name.rpartition("-")[2]
            if not (number.isdecimal() and int(number) <= step):
                shutil.rmtree(path)
        self._save_if_best(step)

    def after_step(self, step: int, row: dict[str, Any]) -> None:
        """Save what is due; `step` steps are done."""
        every = self.settings.checkpoint_every
        if every is not None and step % every == 0:
            self._save("step", step, self.settings.keep_checkpoints)
        self._save_if_best(step)

    def finish(self, step: int) -> int:
        """Write what the run is for, checkpoint/ and of LoRA adapter/; return after how many steps they were that.

        Raises:
            StoreError: the disk is full, or does not give back what was written.
        """
        best = self.evaluation.best() if self.final == "best" else None
        moved = self.folder / CHECKPOINT  # by a run that was killed after that
        if best is None or not parallel.from_first(self._path("best", best).is_dir() or moved.is_dir()):
            if self.final == "best":
                why = "no evaluation found them" if best is None else f"those of step {best} went with a killed run"
                say(f"  the best weights are not there ({why}); checkpoint/ has the last ones")
            save_checkpoint(self.scorer, self.encoder, self.folder / CHECKPOINT)
            if self.settings.lora.rank:
                save_adapter(self.scorer, self.base, self.folder / ADAPTER)
            return step
        parallel.wait_for_all()
        if parallel.is_first():
            say(f"  the best step was {best}; checkpoint/ has its weights")
            for kind, name in (("best", CHECKPOINT), (ADAPTER, ADAPTER)):
                if self._path(kind, best).is_dir():
                    shutil.rmtree(self.folder / name, ignore_errors=True)
                    self._path(kind, best).rename(self.folder / name)
                for other in (self.folder / KEPT).glob(f"{kind}-*"):
                    shutil.rmtree(other)
        return best

    def _save_if_best(self, step: int) -> None:
        if self.final != "best" or self.evaluation.best() != step:
            return
        if self.settings.lora.rank:
            save_adapter(self.scorer, self.base, self._path(ADAPTER, step))
            self._prune(ADAPTER, 2)
        # the one before as well: a run that is killed now may go on from before this step
        self._save("best", step, 2)

    def _save(self, kind: str, step: int, keep: int) -> None:
        save_checkpoint(self.scorer, self.encoder, self._path(kind, step))
        self._prune(kind, keep)

    def _path(self, kind: str, step: int) -> Path:
        return self.folder / KEPT / f"{kind}-{step:06d}"

    def _prune(self, kind: str, keep: int) -> None:
        """Remove all but the newest, now that there is a new one."""
        there = sorted((self.folder / KEPT).glob(f"{kind}-*"), key=lambda path: (len(path.name), path.name))
        for old in there[:-keep] if parallel.is_first() else ():
            shutil.rmtree(old)
