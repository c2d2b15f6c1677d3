"""What a trained policy thinks of each preference it was trained on: margins.jsonl of dpo."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tutelage.inputs import Finished, Model
from tutelage.records import Completion, Margin, Preference, Prompt
from tutelage.stages import dpo
from tutelage.stages.loss import Loss
from tutelage.store import MARGINS, Artifact, Made, Work
from tutelage.train.checkpoint import load_encoder, load_model
from tutelage.train.loop import Trainer
from tutelage.train.margins import margins
from tutelage.train.prepared import PREPARED, Prepared
from tutelage.train.scorer import LogpScorer

PROMPTS = [Prompt.of(f"Add {a} and {b}.") for a in range(1, 4) for b in range(1, 5)]


@pytest.fixture(scope="module")
def preferred(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """An artifact of prefer: a sentence or a number before "No", which is another one for each prompt."""

    def said(prompt: Prompt, text: str) -> Completion:
        return Completion(prompt_id=prompt.id, author="me", text=text, stop_reason="stop")

    work = Work(tmp_path_factory.mktemp("made"), "prefer", "run", {})
    pairs = [(said(p, f"It is {i}." if i % 2 else str(i)), said(p, "No" + "!" * i)) for i, p in enumerate(PROMPTS)]
    with work.locked():
        work.write("prompts.jsonl", PROMPTS)
        rows = [Preference(prompt_id=c.prompt_id, chosen=c, rejected=r, verdict_ids=("v",)) for c, r in pairs]
        work.write("preferences.jsonl", rows)
        return work.finish({}, {}, Made())


def trained(preferred: Artifact, folder: Path, **settings: Any) -> Artifact:
    constant = {"lr": 3e-4, "optimizer": "adamw", "schedule": "constant", "warmup_steps": 0, "batch_size": 12}
    config = dpo.Config(artifacts=folder, **(constant | {"save_every_seconds": 0.0} | settings))
    return dpo.run(config, dpo.Inputs(model=Model(path="miniature"), preferences=Finished(path=str(preferred.path))))


@pytest.mark.parametrize("name", ["sigmoid", "kto", "orpo"])
def test_the_margins_are_those_that_the_next_step_would_see(name: Any, preferred: Artifact, tmp_path: Path) -> None:
    short, long = (trained(preferred, tmp_path, loss=Loss(name=name), epochs=epochs) for epochs in (2, 3))
    found = short.rows(MARGINS, Margin)
    assert sorted((m.id, m.prompt_id) for m in found) == sorted(
        (p.id, p.prompt_id) for p in preferred.rows("preferences.jsonl", Preference)
    )
    third = json.loads((long.path / "metrics.jsonl").read_text().splitlines()[2])
    values = [m.margin for m in found]
    assert np.mean(values) == pytest.approx(third["rewards/margins"], rel=1e-4)
    assert np.mean([v > 0 for v in values]) == pytest.approx(third["rewards/accuracies"])


@pytest.mark.parametrize(
    ("place", "name", "number"), [(Trainer, "_step", 4), (Work, "write", 1), (Work, "_content", 1)]
)
def test_a_run_that_was_killed_ends_with_the_same_margins(
    place: Any, name: str, number: int, preferred: Artifact, tmp_path: Path
) -> None:
    whole = trained(preferred, tmp_path / "whole", batch_size=5, epochs=2)
    real, calls = getattr(place, name), iter(range(1, 1000))

    def dying(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == number:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(place, name, dying)
        with pytest.raises(KeyboardInterrupt):
            trained(preferred, tmp_path / "killed", batch_size=5, epochs=2)
    again = trained(preferred, tmp_path / "killed", batch_size=5, epochs=2)
    assert (again.path / MARGINS).read_bytes() == (whole.path / MARGINS).read_bytes()
    assert again.record.content == whole.record.content


def test_of_many_pairs_the_seed_draws_some(preferred: Artifact, tmp_path: Path) -> None:
    loss = Loss(name="simpo")
    made = trained(preferred, tmp_path, loss=loss, epochs=1)
    pairs: Prepared[Any] = Prepared(next((tmp_path / PREPARED).iterdir()))
    model = Model(path=str(made.path))
    scorer, objective = LogpScorer(load_model(model)), loss.objective(load_encoder(model).end_id)
    every = {m.id: m.margin for m in made.rows(MARGINS, Margin)}
    counts: Counter[str] = Counter()

    def some(seed: int) -> dict[str, float]:
        config = dpo.Config(loss=loss, seed=seed)
        count = lambda what, num: counts.update({what: num})  # noqa: E731
        return {m.id: m.margin for m in margins(scorer, pairs, objective, config, count, most=5)}

    first, again, other = some(0), some(0), some(1)
    assert len(first) == 5
    assert first == again
    assert first.keys() != other.keys()
    assert first == pytest.approx({i: every[i] for i in first}, abs=1e-4)
    assert list(first) == [i for i in every if i in first]
    assert not +counts
    scorer.model.get_output_embeddings().weight.data.fill_(np.nan)
    assert some(0) == {}
    assert counts == {"left out: margins that are no number": 5}
