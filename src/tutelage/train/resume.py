"""Going on after a crash: shards of weights and optimizer state, written beside the training.

`resume/step-000012/` is complete when `.metadata` is there, which is written last; the one before it goes then.
Every process writes its own shard, and any number of processes can read them.
"""

from __future__ import annotations

import shutil
import time
import warnings
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict

from tutelage.errors import StoreError, TrainingError
from tutelage.progress import say
from tutelage.train import parallel

RESUME = "resume"
_WHOLE = ".metadata"
_OPTIONS = StateDictOptions(ignore_frozen_params=True)


class ResumePoints:
    """The last complete state of a training, and the one being written."""

    def __init__(self, folder: Path, model: Any, optimizer: torch.optim.Optimizer) -> None:
        self.folder, self.model, self.optimizer = folder / RESUME, model, optimizer
        self.pending: tuple[Path, Future[Any]] | None = None
        self.last: int | None = None
        """The step that is saved, or being saved."""
        self.started, self.seconds = 0.0, 0.0
        # of one process, said from a thread of the library
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")

    def save(self, step: int) -> None:
        """Begin to write the state after `step` steps, if it is not there; training may go on at once.

        Raises:
            StoreError: the state before this one could not be written.
        """
        if step == self.last:  # to write it again would begin with removing the only one there is
            return
        self.finish()
        path = self.folder / f"step-{step:06d}"
        if parallel.is_first():
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)
        parallel.wait_for_all()
        self.started = time.monotonic()
        future: Any = state_dict_saver.async_save(
            self._state(step),
            checkpoint_id=path,
            process_group=parallel.saving_group(),
            no_dist=parallel.num_processes() == 1,
        )
        future.add_done_callback(self._note_time)
        self.pending, self.last = (path, future), step

    def _note_time(self, _: Any) -> None:
        self.seconds = time.monotonic() - self.started

    def finish(self) -> None:
        """Wait for what is being written; then what it replaces can go.

        Raises:
            StoreError: it could not be written; the state before it is kept.
        """
        if self.pending is None:
            return
        path, future = self.pending
        self.pending = None
        try:
            future.result()
        except (Exception, CheckpointException) as error:  # a full disk; the latter is no Exception
            reason = " ".join(str(error).split())[-200:]
            raise StoreError(
                f"{path}: cannot be written ({reason}); free some space. "
                "The last saved step is kept; the same command goes on from there"
            ) from None
        if parallel.is_first():
            for other in self.folder.iterdir():
                if other != path:
                    shutil.rmtree(other, ignore_errors=True)
        parallel.wait_for_all()

    def load(self) -> int:
        """Restore the newest complete state; return how many steps it has seen, 0 if there is none.

        Raises:
            TrainingError: there are states, and none can be read.
        """
        there = list(self.folder.iterdir()) if self.folder.is_dir() else []
        there.sort(key=lambda path: (len(path.name), path.name), reverse=True)  # a millionth step has a digit more
        whole = parallel.from_first([p for p in there if (p / _WHOLE).is_file()])
        for path in whole:
            try:
                return self._load(path)
            except (Exception, CheckpointException) as error:  # torn by a crash of the disk, or foreign
                say(f"  {path} is damaged ({type(error).__name__})")
        if whole:  # some weights may be overwritten by now
            raise TrainingError(f"{self.folder}: no saved state can be read; delete that folder to start over")
        return 0

    def _load(self, path: Path) -> int:
        state = self._state(0)
        saved = FileSystemReader(path).read_metadata().state_dict_metadata
        # a weight that no step had moved (of a tower for images, of an expert) had no state in the optimizer
        moved = {n: s for n, s in state["optimizer"]["state"].items() if f"optimizer.state.{n}.step" in saved}
        state["optimizer"]["state"] = moved
        state_dict_loader.load(state, checkpoint_id=path, no_dist=parallel.num_processes() == 1)
        set_state_dict(
            self.model,
            self.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
            options=StateDictOptions(ignore_frozen_params=True, strict=False),
        )
        self.last = int(state["step"])
        return self.last

    def _state(self, step: int) -> dict[str, Any]:
        model, optimizer = get_state_dict(self.model, self.optimizer, options=_OPTIONS)
        return {"model": model, "optimizer": optimizer, "step": torch.tensor(step)}
