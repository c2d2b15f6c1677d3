"""dpo with every loss: it learns, and asks a reference only where the loss has one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tutelage.errors import TrainingError
from tutelage.inputs import Finished, Model
from tutelage.records import Completion, Preference, Prompt
from tutelage.stages import dpo
from tutelage.stages.loss import READS, Loss
from tutelage.store import Made, Work

PROMPTS = [Prompt.of(f"Add {a} and {b}.") for a in range(1, 4) for b in range(1, 5)]
OF_REFERENCES = ("log_ratios/", "kl/", "importance_weights/", "logps/reference")


@pytest.fixture(scope="module")
def preferred(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """An artifact of prefer: sentences before fragments; the fragment of one was cut."""

    def said(prompt: Prompt, text: str, stop_reason: Any = "stop") -> Completion:
        return Completion(prompt_id=prompt.id, author=text, text=text, stop_reason=stop_reason)

    work = Work(tmp_path_factory.mktemp("made"), "prefer", "run", {})
    pairs = [(said(p, "It is a sum."), said(p, "No", "stop" if i else "length")) for i, p in enumerate(PROMPTS)]
    with work.locked():
        work.write("prompts.jsonl", PROMPTS)
        work.write(
            "preferences.jsonl",
            [Preference(prompt_id=c.prompt_id, chosen=c, rejected=r, verdict_ids=("v",)) for c, r in pairs],
        )
        work.finish({}, {}, Made())
    return Finished(path=str(work.path))


@pytest.mark.parametrize("name", READS)
def test_a_loss_goes_down_and_has_the_metrics_it_can_have(name: Any, preferred: Finished, tmp_path: Path) -> None:
    loss = Loss(name=name, label_noise=0.1) if name in ("cdpo", "rdpo", "robust") else Loss(name=name)
    config = dpo.Config(artifacts=tmp_path, loss=loss, lr=3e-4, optimizer="adamw", epochs=3, batch_size=12)
    made = dpo.run(config, dpo.Inputs(model=Model(path="miniature"), preferences=preferred))
    rows = [json.loads(line) for line in (made.path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert (rows[0]["ended/chosen"], rows[0]["ended/rejected"]) == pytest.approx((1, 11 / 12))
    assert {"rewards/accuracies", "perplexity/chosen", "length/rejected"} <= rows[0].keys()
    needs_reference = name not in ("simpo", "orpo")
    assert (tmp_path / dpo.REFERENCES).exists() == needs_reference
    assert any(key.startswith(OF_REFERENCES) for key in rows[0]) == needs_reference
    assert made.record.config["loss"]["beta"] == {"simpo": 2.0, "kto": 0.1}.get(name, 0.05)


def test_preferences_without_a_row_are_said_to_have_none(tmp_path: Path) -> None:
    work = Work(tmp_path, "prefer", "run", {})
    with work.locked():
        work.write("prompts.jsonl", PROMPTS)
        work.write("preferences.jsonl", [])
        work.finish({}, {}, Made())
    with pytest.raises(TrainingError, match="there is nothing to train on: what was given has no rows"):
        dpo.run(
            dpo.Config(artifacts=tmp_path),
            dpo.Inputs(model=Model(path="miniature"), preferences=Finished(path=str(work.path))),
        )
