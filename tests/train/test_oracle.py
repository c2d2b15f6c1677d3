"""A whole epoch against an oracle in double precision that computes each completion alone."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from tutelage.train.encode import Example
from tutelage.train.layout import fit_layout
from tutelage.train.loop import METRICS, Plan, Trainer
from tutelage.train.objectives import DPOObjective, SFTObjective
from tutelage.train.optimizer import make_optimizer
from tutelage.train.pairs import PairExample
from tutelage.train.reference import numbers
from tutelage.train.scorer import LogpScorer
from tutelage.train.settings import Training

SETTINGS = Training(lr=2e-3, epochs=1, batch_size=8, save_every_seconds=1e9)


def pairs() -> list[PairExample]:
    """Of lengths as they come: some ten times as long as others."""
    drawn = torch.Generator().manual_seed(3)

    def ids(low: int, high: int) -> tuple[int, ...]:
        length = int(torch.randint(low, high, (1,), generator=drawn))
        return tuple(torch.randint(3, 120, (length,), generator=drawn).tolist())

    found = []
    for number in range(20):
        prompt = ids(2, 30)
        sides = (Example(f"{number}{side}", f"p{number}", prompt, ids(3, 60)) for side in "ab")
        found.append(PairExample(str(number), *sides))
    return found


PAIRS = pairs()


def model() -> Any:
    """Weights ten times as large as a model begins with: predictions that differ, and gradients that matter."""
    found = tiny.small("llama")
    with torch.no_grad():
        for weight in found.parameters():
            weight.mul_(3 if weight.ndim == 2 else 1)
    return found


def alone(model: Any, example: Example) -> Any:
    ids = torch.tensor([example.prompt_ids + example.completion_ids])
    logps = model(input_ids=ids).logits[0].log_softmax(-1)
    start = len(example.prompt_ids)
    return logps[start - 1 : -1].gather(1, ids[0, start:, None]).sum()


def oracle(kind: str) -> list[float]:
    """The loss at every step, with a live reference and sequence by sequence; weights, too, are doubles."""
    policy = model().double()
    reference = copy.deepcopy(policy)
    optimizer = make_optimizer(policy.parameters(), SETTINGS)
    plan, losses = Plan(len(PAIRS), SETTINGS.batch_size, 1, SETTINGS.seed), []
    for step in range(plan.num_steps):
        batch = [PAIRS[i] for i in plan.indices(step)]
        if kind == "sft":
            loss = -sum(alone(policy, p.chosen) for p in batch) / sum(len(p.chosen.completion_ids) for p in batch)
        else:
            terms = []
            for p in batch:
                with torch.no_grad():
                    held = alone(reference, p.chosen) - alone(reference, p.rejected)
                margin = alone(policy, p.chosen) - alone(policy, p.rejected) - held
                terms.append(-torch.nn.functional.logsigmoid(0.1 * margin))
            loss = sum(terms) / len(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), SETTINGS.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


@pytest.fixture(scope="module")
def curves() -> dict[str, list[float]]:
    return {kind: oracle(kind) for kind in ("sft", "dpo")}


def trained(kind: str, folder: Path, rows: Any, budget: int) -> list[float]:
    scorer = LogpScorer(model())
    fit_layout(scorer, 128, rows, "float32")
    assert scorer.layout.rows == rows
    settings = SETTINGS.model_copy(update={"micro_batch_tokens": budget})
    if kind == "sft":
        Trainer(scorer, [p.chosen for p in PAIRS], SFTObjective(), settings, folder).run("sft")
    else:
        held = numbers(scorer, PAIRS, budget, "float32", "reference")
        items = [replace(p, reference_chosen=held[p.id][0], reference_rejected=held[p.id][1]) for p in PAIRS]
        Trainer(scorer, items, DPOObjective("sigmoid", 0.1), settings, folder).run("dpo")
    return [json.loads(line)["loss"] for line in (folder / METRICS).read_text().splitlines()]


@pytest.mark.parametrize("kind", ["sft", "dpo"])
@pytest.mark.parametrize("budget", [8192, 200, 1])
@pytest.mark.parametrize("rows", ["shared", "packed", "padded"])
def test_the_loss_of_every_step_is_the_oracles(
    kind: str, budget: int, rows: Any, curves: dict[str, list[float]], tmp_path: Path
) -> None:
    """Batch by batch, one by one, shared or not; the reference computed once, the oracle's at every step."""
    found = trained(kind, tmp_path, rows, budget)
    assert found == pytest.approx(curves[kind], abs=1e-5)
    assert max(found) - min(found) > 0.05  # or the test would show nothing


def test_the_log_probability_of_every_completion_is_the_oracles() -> None:
    scorer, exact = LogpScorer(model()), model().double()
    fit_layout(scorer, 128, "auto", "float32")
    found = numbers(scorer, PAIRS, 500, "float32", "reference")
    with torch.no_grad():
        for pair in PAIRS:
            assert found[pair.id] == pytest.approx([float(alone(exact, b)) for b in pair.branches], abs=1e-4)
