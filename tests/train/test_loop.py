"""The loop: every item seen, resume exact, bad numbers stop it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from tutelage.errors import TrainingError
from tutelage.train.blocks import checkpoint_activations, transformer_blocks
from tutelage.train.encode import Example
from tutelage.train.loop import METRICS, Plan, Trainer
from tutelage.train.objectives import SFTObjective
from tutelage.train.optimizer import lr_factor
from tutelage.train.resume import RESUME
from tutelage.train.scorer import LogpScorer
from tutelage.train.settings import Training

ITEMS = [Example(str(i), f"p{i}", (1, 2, 3 + i), tuple(range(10 + i, 14 + i))) for i in range(10)]


def settings(**changed: Any) -> Training:
    return Training(**{"lr": 1e-2, "epochs": 2, "batch_size": 4, "save_every_seconds": 0.0, **changed})


class KilledError(Exception):
    """Stands for the end of the process."""


def killed_after(steps: int) -> Any:
    """The SFT objective, until it has been called this often."""
    calls = iter(range(steps))

    def objective(scorer: Any, micro: Any, batch: Any) -> Any:
        if next(calls, None) is None:
            raise KilledError
        return SFTObjective()(scorer, micro, batch)

    return objective


def trainer(folder: Path, objective: Any = None, seed: int = 0, **changed: Any) -> Any:
    scorer = LogpScorer(tiny.model("llama", 64, seed).eval())
    return Trainer(scorer, ITEMS, objective or SFTObjective(), settings(**changed), folder)


def killed(folder: Path, steps: int, **changed: Any) -> None:
    """A run that ends during step `steps + 1`, once what it was writing is on disk."""
    run = trainer(folder, killed_after(steps), **changed)
    with pytest.raises(KilledError):
        run.run("sft")
    run.resume.finish()


def trained(folder: Path, **changed: Any) -> Any:
    folder.mkdir(exist_ok=True)
    run = trainer(folder, **changed)
    run.run("sft")
    return run.scorer.model


def weights(model: Any) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_every_epoch_sees_every_item_once_in_another_order() -> None:
    plan = Plan(num_items=10, batch_size=4, epochs=2, seed=0)
    epochs = [[i for step in range(3 * e, 3 * e + 3) for i in plan.indices(step)] for e in range(2)]
    assert plan.num_steps == 6
    assert [sorted(epoch) for epoch in epochs] == [list(range(10))] * 2
    assert epochs[0] != epochs[1]


def test_the_seed_changes_the_order() -> None:
    # the original's seed never reached its iterator
    assert Plan(50, 50, 1, seed=0).indices(0) != Plan(50, 50, 1, seed=1).indices(0)


@pytest.mark.parametrize("optimizer", ["rmsprop", "adamw"])
@pytest.mark.parametrize("step", [1, 3, 5])
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path, optimizer: str, step: int) -> None:
    whole = trained(tmp_path / "whole", optimizer=optimizer, schedule="cosine", warmup_steps=2)
    folder = tmp_path / "killed"
    folder.mkdir()
    changed: Any = {"optimizer": optimizer, "schedule": "cosine", "warmup_steps": 2}
    killed(folder, step, **changed)
    other = trainer(folder, seed=99, **changed)  # whatever is in memory is replaced by what was saved
    other.run("sft")
    assert torch.equal(weights(whole), weights(other.scorer.model))


def test_metrics_have_one_row_a_step_also_after_a_kill(tmp_path: Path) -> None:
    killed(tmp_path, 3)
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"step": 4, "loss": 1.0}\n{"step": 5, "lo')  # done after the last save; torn by the kill
    trained(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert {"loss", "lr", "grad_norm", "tokens_per_second", "epoch"} <= rows[-1].keys()


def test_a_torn_save_does_not_hide_the_one_before(tmp_path: Path) -> None:
    killed(tmp_path, 2)
    torn = tmp_path / RESUME / "step-000003"
    torn.mkdir()
    (torn / "__0_0.distcp").write_bytes(b"half a sav")
    assert torch.equal(weights(trained(tmp_path)), weights(trained(tmp_path / "whole")))


def test_the_millionth_step_is_newer_than_the_one_before(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    for step in (999_999, 1_000_000):
        run.resume.save(step)
        run.resume.finish()
        (tmp_path / RESUME / f"step-{step:06d}").rename(tmp_path / str(step))
    for step in (999_999, 1_000_000):  # as a kill between writing the one and removing the other leaves them
        (tmp_path / str(step)).rename(tmp_path / RESUME / f"step-{step:06d}")
    assert trainer(tmp_path).resume.load() == 1_000_000


def test_the_loss_goes_down(tmp_path: Path) -> None:
    trained(tmp_path, epochs=20)
    rows = [json.loads(line) for line in (tmp_path / METRICS).read_text().splitlines()]
    assert rows[-1]["loss"] < rows[0]["loss"] / 2


def test_a_loss_that_is_no_number_names_the_examples(tmp_path: Path) -> None:
    model = tiny.model("llama", 64).eval()
    with torch.no_grad():
        model.model.embed_tokens.weight[12] = math.nan
    with pytest.raises(TrainingError, match=r"the loss is nan on examples of the prompts p[012]"):
        Trainer(LogpScorer(model), ITEMS[:3], SFTObjective(), settings(), tmp_path).run("sft")


def test_a_metric_that_is_no_number_is_null_as_json_has_no_other_word(tmp_path: Path) -> None:
    """The weight of a pair, exp(log-ratio), is infinite from a log-ratio of 710 on."""

    def objective(scorer: Any, micro: Any, batch: Any) -> Any:
        loss, metrics = SFTObjective()(scorer, micro, batch)
        return loss, {**metrics, "importance_weights/rejected": math.inf}

    run = trainer(tmp_path, objective)
    run.run("sft")
    assert "Infinity" not in (tmp_path / METRICS).read_text()
    assert run.last_metrics()["importance_weights/rejected"] is None


def test_a_damaged_save_is_said_and_never_trained_on(tmp_path: Path) -> None:
    killed(tmp_path, 2)
    for shard in (tmp_path / RESUME).rglob("*.distcp"):
        shard.write_bytes(b"")
    with pytest.raises(TrainingError, match="no saved state can be read; delete that folder to start over"):
        trained(tmp_path)


def test_the_learning_rate_warms_up_and_decays() -> None:
    assert [lr_factor(s, 10, 3, "constant") for s in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    assert lr_factor(10, 10, 0, "cosine") == pytest.approx(0)
    assert lr_factor(0, 10, 0, "cosine") == 1


def test_saving_takes_at_most_a_twentieth_of_the_time(tmp_path: Path) -> None:
    run = trainer(tmp_path, save_every_seconds=1.0)
    run.resume.seconds = 1e6
    assert not run._save_is_due()


@pytest.mark.parametrize("which", ["selective", "full"])
def test_checkpointed_activations_change_no_bit(tmp_path: Path, which: Any) -> None:
    (tmp_path / "checkpointed").mkdir()
    run = trainer(tmp_path / "checkpointed")
    checkpoint_activations(transformer_blocks(run.scorer.model), which)
    run.run("sft")
    assert torch.equal(weights(run.scorer.model), weights(trained(tmp_path / "kept")))
