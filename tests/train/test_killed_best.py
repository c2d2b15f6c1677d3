"""Killed at any write, a run ends with what it would have ended with: no state is lost, none is of another step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import Gemma3Config, Gemma3ForConditionalGeneration

import tiny
from test_kept import names, sft
from tutelage.store import Artifact, Work
from tutelage.train import kept
from tutelage.train.encode import Example
from tutelage.train.loop import Trainer
from tutelage.train.objectives import SFTObjective
from tutelage.train.scorer import LogpScorer
from tutelage.train.settings import Training

BEST = ["held_out=0.4", "eval_every=1", "final=best", "save_every_seconds=0"]


def killed_at(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, number: int, target: str = "") -> None:
    """The process ends where `place.name` is called for the `number`th time with `target` in its first argument."""
    real, calls = getattr(place, name), iter(range(1, 1000))

    def dying(first: Any, *args: Any, **kwargs: Any) -> Any:
        if target in str(first) and next(calls) == number:
            raise KeyboardInterrupt
        return real(first, *args, **kwargs)

    monkeypatch.setattr(place, name, dying)


def killed(place: Any, name: str, number: int, target: str, folder: Path, *words: str) -> None:
    """Train until then."""
    with pytest.MonkeyPatch.context() as patched:
        killed_at(patched, place, name, number, target)
        with pytest.raises(KeyboardInterrupt):
            sft(folder, *words)


def weights(artifact: Artifact) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(artifact.path / "checkpoint" / "model.safetensors")
    return found


@pytest.mark.parametrize("more", [(), ("lora=4", "lr=1", "epochs=8")])
@pytest.mark.parametrize(
    ("place", "name", "number", "target"),
    [
        (Work, "_content", 1, ""),  # the weights of the best have become checkpoint/ by then
        (kept, "say", 1, "the best step was"),
        (Path, "rename", 2, "/.best-"),
        (Path, "replace", 1, "record.json"),
    ],
)
def test_the_best_is_the_best_wherever_the_run_was_killed(
    tmp_path: Path, more: Any, place: Any, name: str, number: int, target: str
) -> None:
    whole = sft(tmp_path, *BEST, *more, f"artifacts={tmp_path / 'whole'}")
    killed(place, name, number, target, tmp_path, *BEST, *more)
    again = sft(tmp_path, *BEST, *more)
    assert again.record.checkpoint == whole.record.checkpoint
    assert again.record.content == whole.record.content
    assert again.record.summary == whole.record.summary
    assert all(torch.equal(weight, weights(again)[name]) for name, weight in weights(whole).items())
    assert names(again) == []


def test_checkpoints_of_steps_that_will_be_done_again_go(tmp_path: Path) -> None:
    """Or the last few would be those of a run that was killed, and a torn one would stay for good."""
    every = ["checkpoint_every=1", "keep_checkpoints=2"]
    killed(Path, "rename", 5, "/.step-", tmp_path, *every)
    run = next((tmp_path / "artifacts" / "2-sft").iterdir())
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == [
        ".step-000005.tmp",
        "step-000003",
        "step-000004",
    ]
    again = sft(tmp_path, "checkpoint_every=6")  # nothing was saved for going on: it begins anew
    assert names(again) == ["step-000012"]


def test_the_last_state_is_not_removed_to_be_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed(Work, "_content", 1, "", tmp_path)
    killed_at(monkeypatch, Path, "mkdir", 1, "step-000012")
    sft(tmp_path)


@pytest.mark.parametrize("optimizer", ["rmsprop", "adamw"])
def test_weights_that_no_step_has_moved_do_not_keep_a_run_from_going_on(tmp_path: Path, optimizer: Any) -> None:
    """Such as those of Gemma 3's tower for images, when it is trained on texts."""
    items = [Example(str(i), f"prompt {i}", (5, 6, 7 + i), (9, 10 + i, 11)) for i in range(8)]
    settings = Training(lr=1e-3, epochs=2, batch_size=4, optimizer=optimizer, save_every_seconds=0)

    def trained(folder: Path, stop_after: int) -> Any:
        torch.manual_seed(0)
        text = tiny.GROUPED | {"head_dim": 8, "pad_token_id": 0}
        tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        tower |= {"image_size": 28, "patch_size": 14}
        model = Gemma3ForConditionalGeneration(Gemma3Config(text_config=text, vision_config=tower)).eval()
        folder.mkdir(exist_ok=True)
        trainer = Trainer(LogpScorer(model), items, SFTObjective(), settings, folder, [Stops()])
        Stops.after = stop_after
        try:
            trainer.run("sft")
        except KeyboardInterrupt:
            trainer.resume.finish()
        return model.state_dict()

    class Stops:
        after = 0

        def start(self, step: int) -> None: ...

        def after_step(self, step: int, row: dict[str, Any]) -> None:
            if step == self.after:
                raise KeyboardInterrupt

    whole = trained(tmp_path / "whole", 0)
    trained(tmp_path / "stopped", 2)
    again = trained(tmp_path / "stopped", 0)
    assert all(torch.equal(weight, again[name]) for name, weight in whole.items())
