"""A whole epoch against an oracle in double precision that computes each completion alone."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from tutelage.train.encode import Example
from tutelage.train.held_out import evaluate
from tutelage.train.layout import fit_layout
from tutelage.train.loop import METRICS, Plan, Trainer
from tutelage.train.objectives import DPOObjective, SFTObjective
from tutelage.train.optimizer import make_optimizer
from tutelage.train.pairs import PairExample
from tutelage.train.reference import numbers
from tutelage.train.rows import micro_batches
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
        items = [
            replace(p, reference_chosen=chosen, reference_rejected=rejected)
            for p, (chosen, rejected) in zip(PAIRS, held.tolist(), strict=True)
        ]
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
        for pair, said in zip(PAIRS, found.tolist(), strict=True):
            assert said == pytest.approx([float(alone(exact, b)) for b in pair.branches], abs=1e-4)


# ---- every turn of the assistant --------------------------------------------------------------------


def conversations() -> list[tuple[Example, list[Example]]]:
    """Examples with several turns that carry loss; and each of these turns as an example of its own."""
    drawn = torch.Generator().manual_seed(5)

    def ids(low: int, high: int) -> tuple[int, ...]:
        length = int(torch.randint(low, high, (1,), generator=drawn))
        return tuple(torch.randint(3, 120, (length,), generator=drawn).tolist())

    found = []
    for number in range(7):
        prompt = ids(2, 12)
        completion, silent, turns = (), [], []
        for turn in range(1 + number % 4):
            if turn:
                between = ids(1, 6)
                silent.append((len(completion), len(completion) + len(between)))
                completion += between
            said = ids(1, 9)
            turns.append(Example(f"{number}-{turn}", f"{number}-{turn}", prompt + completion, said))
            completion += said
        found.append((Example(str(number), f"p{number}", prompt, completion, tuple(silent)), turns))
    return found


CONVERSATIONS = conversations()
WHOLE, TURNS = [whole for whole, _ in CONVERSATIONS], [turn for _, turns in CONVERSATIONS for turn in turns]


def step(scorer: LogpScorer, examples: list[Example], budget: int) -> tuple[float, torch.Tensor]:
    """Loss and gradient of a batch, in micro-batches."""
    scorer.zero_grad()
    total = 0.0
    for micro in micro_batches(examples, scorer.sizes(examples), budget, 1)[0]:
        loss, metrics = SFTObjective()(scorer, micro, examples)
        assert metrics["nll_per_token"] == pytest.approx(float(loss.detach()))
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return total, torch.cat([p.grad.flatten() for p in scorer.parameters() if p.grad is not None])


@pytest.mark.parametrize("budget", [8192, 30, 1])
@pytest.mark.parametrize("rows", ["shared", "packed", "padded"])
def test_all_turns_of_conversations_have_the_loss_and_gradient_of_the_turns_apart(rows: Any, budget: int) -> None:
    scorer = LogpScorer(model())
    fit_layout(scorer, 128, rows, "float32")
    assert scorer.layout.rows == rows
    found, gradient = step(scorer, WHOLE, budget)
    exact = model().double()
    loss = -sum(alone(exact, turn) for turn in TURNS) / sum(len(turn.completion_ids) for turn in TURNS)
    loss.backward()
    assert found == pytest.approx(float(loss.detach()), abs=1e-5)
    wanted = torch.cat([p.grad.flatten() for p in exact.parameters()])
    assert torch.allclose(gradient.double(), wanted, rtol=1e-4, atol=1e-5)
    assert wanted.abs().max() > 0.01  # or the test would show nothing


@pytest.mark.parametrize("kind", ["gpt2", "gemma2", "falcon", "gptj", "bloom", "mamba", "mixtral"])
def test_so_they_have_through_a_mask_and_padded_where_an_architecture_needs_it(kind: str) -> None:
    scorer = LogpScorer(tiny.small(kind))
    fit_layout(scorer, 128, "auto", "float32")
    found, gradient = step(scorer, WHOLE, 60)
    apart, wanted = step(LogpScorer(tiny.small(kind)), TURNS, 60)
    assert found == pytest.approx(apart, abs=1e-5)
    assert torch.allclose(gradient, wanted, rtol=1e-3, atol=1e-5)
    with torch.no_grad():
        details = scorer(WHOLE, "details")
        with scorer.as_loaded():
            own = scorer(WHOLE, "alone")
    assert torch.allclose(details, own, atol=1e-5)
    assert len(own) == sum(e.num_labels for e in WHOLE)


def test_held_out_conversations_are_evaluated_per_token_that_carries_loss() -> None:
    scorer = LogpScorer(model())
    whole, apart = (evaluate(SFTObjective(), scorer, items, SETTINGS) for items in (WHOLE, TURNS))
    assert whole == pytest.approx(apart, abs=1e-5)
    assert whole["eval/perplexity"] == pytest.approx(math.exp(whole["eval/loss"]), rel=1e-5)
