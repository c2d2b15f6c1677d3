"""Objectives against the original's golden values, an oracle in double precision, and any split of a batch."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from tutelage.train.encode import Example
from tutelage.train.loop import METRICS, Plan, Trainer, with_perplexity
from tutelage.train.losses import dpo_losses, kto_losses, odds_ratio_losses, reward_losses
from tutelage.train.objectives import (
    DPOObjective,
    KTOObjective,
    ORPOObjective,
    SFTObjective,
    SimPOObjective,
    reward_objective,
)
from tutelage.train.pairs import PairExample, Scored
from tutelage.train.rows import micro_batches
from tutelage.train.scorer import LogpScorer, RewardScorer
from tutelage.train.settings import Training

# (policy chosen, policy rejected, reference chosen, reference rejected) and beta of the golden values
GOLDEN = (-10.0, -12.0, -11.0, -11.5), 0.05


def golden(name: Any, **options: Any) -> float:
    values, beta = GOLDEN
    return float(DPOObjective(name, beta, **options).losses(scored(*values, 5.0, 8.0, 1.0)))


def scored(*values: float) -> Scored:
    """One pair; see `Scored` for the order."""
    return Scored(*(torch.tensor([value], dtype=torch.float64) for value in values))


@pytest.mark.parametrize(
    ("name", "options", "value"),
    [
        ("sigmoid", {}, 0.656350),
        ("robust", {"label_noise": 0.1}, 13.277003),
        ("robust", {"label_noise": 1e-9}, 13.127003),
        ("ipo", {}, 72.25),
        ("sigmoid", {"reference_free": True}, 0.644397),
        ("sigmoid", {"importance_correction": True}, 0.398096),
    ],
)
def test_each_loss_of_the_original_has_its_value(name: Any, options: dict[str, Any], value: float) -> None:
    assert golden(name, **options) == pytest.approx(value, abs=1e-6)


def test_the_other_losses_worked_out_by_hand() -> None:
    """m = 1.5, beta m = .075: s(.075) = .656350, s(-.075) = .731350."""
    assert golden("cdpo", label_noise=0.1) == pytest.approx(0.9 * 0.656350 + 0.1 * 0.731350, abs=1e-6)
    assert golden("rdpo", label_noise=0.1) == pytest.approx((0.9 * 0.656350 - 0.1 * 0.731350) / 0.8, abs=1e-6)
    assert golden("ipo_mean") == pytest.approx((1 / 5 + 0.5 / 8 - 10) ** 2)
    assert golden("sigmoid", sft_reg=0.5) == pytest.approx(0.656350 + 5, abs=1e-6)


def test_without_noise_cdpo_and_rdpo_are_dpo() -> None:
    assert golden("cdpo") == golden("rdpo") == golden("sigmoid")


def test_rdpo_is_unbiased_under_the_noise_it_is_told() -> None:
    """The mean over flipped labels is the loss of the true label (Chowdhury et al. 2024, lemma 3.1)."""
    margin, e = torch.tensor([0.7]), 0.2
    kept, flipped = (float(dpo_losses(sign * margin, "rdpo", 1.0, e)) for sign in (1, -1))
    assert (1 - e) * kept + e * flipped == pytest.approx(float(dpo_losses(margin, "sigmoid", 1.0)), abs=1e-6)


def test_the_importance_weight_carries_no_gradient() -> None:
    pair = scored(-10.0, -12.0, -11.0, -11.5, 5.0, 8.0, 1.0)
    pair.rejected.requires_grad_()
    DPOObjective("sigmoid", 0.05, importance_correction=True).losses(pair).backward()
    assert float(pair.rejected.grad) == pytest.approx(0.05 / (1 + math.exp(0.075)) * math.exp(-0.5))  # type: ignore[arg-type]


def test_a_policy_equal_to_its_reference_has_loss_log_2() -> None:
    assert float(dpo_losses(torch.zeros(1), "sigmoid", 0.1)) == pytest.approx(math.log(2))


def test_the_reward_loss_is_bradley_terry() -> None:
    assert float(reward_losses(torch.tensor([2.0]), torch.tensor([0.5]))) == pytest.approx(math.log1p(math.exp(-1.5)))


def example(name: str, prompt: list[int], completion: list[int]) -> Example:
    return Example(name, "p" + name, tuple(prompt), tuple(completion))


EXAMPLES = [
    example("a", [5, 6, 7], [8, 9]),
    example("b", [5], [10, 11, 12, 13, 14, 15]),
    example("c", [20, 21, 22, 23, 24, 25, 26], [3]),
    example("d", [30, 31], [32, 33, 34]),
]


def oracle(model: Any, e: Example) -> float:
    """The sequence alone, no padding, all in double precision."""
    ids = torch.tensor([e.prompt_ids + e.completion_ids])
    logps = model.double()(input_ids=ids).logits.log_softmax(-1)[0]
    start = len(e.prompt_ids)
    return sum(float(logps[i - 1, ids[0, i]]) for i in range(start, ids.shape[1]))


def scorer() -> Any:
    return LogpScorer(tiny.model("llama", 64).eval())


def gradient(
    scorer: Any, objective: Any, batch: list[Any], budget: int
) -> tuple[float, torch.Tensor, dict[str, float]]:
    """Loss, gradient and metrics of a step, as the trainer adds them up."""
    scorer.zero_grad()
    micros = micro_batches(batch, scorer.sizes(batch), budget, 1)[0]
    objective = prepared(objective, scorer, micros, batch)
    total, metrics = 0.0, Counter[str]()
    for micro in micros:
        loss, parts = objective(scorer, micro, batch)
        loss.backward()
        total += float(loss.detach())
        metrics.update(parts)
    return total, torch.cat([p.grad.flatten() for p in scorer.parameters()]), dict(metrics)


def prepared(objective: Any, scorer: Any, micros: Any, batch: Any) -> Any:
    return objective.prepare(scorer, micros, batch) if hasattr(objective, "prepare") else objective


def whole(objective: Any, model: Any, batch: list[Any]) -> tuple[float, dict[str, float]]:
    """Loss and metrics of a batch that is one micro-batch."""
    with torch.no_grad():
        loss, metrics = prepared(objective, model, [batch], batch)(model, batch, batch)
    return float(loss), metrics


PAIRS = [
    PairExample("1", EXAMPLES[0], EXAMPLES[1], 1.0, -3.0, -4.0),
    PairExample("2", EXAMPLES[2], EXAMPLES[3], 2.0, -1.0, -2.5),
    PairExample("3", EXAMPLES[3], EXAMPLES[0], 1.0, -6.0, -2.0),
]


@pytest.mark.parametrize("budget", [1, 12, 30])
@pytest.mark.parametrize(
    ("objective", "batch"),
    [
        (SFTObjective(), EXAMPLES),
        (SFTObjective("example_sum"), EXAMPLES),
        (DPOObjective("sigmoid", 0.1), PAIRS),
        (DPOObjective("ipo_mean", 0.1), PAIRS),
        (DPOObjective("cdpo", 0.1, 0.1, importance_correction=True, sft_reg=0.2), PAIRS),
        (SimPOObjective(2.0, 1.0, end_id=9), PAIRS),
        (ORPOObjective(0.5), PAIRS),
        (KTOObjective(0.1, 1.0, 1.5), PAIRS),
    ],
)
def test_any_split_into_micro_batches_gives_the_same_step(objective: Any, batch: list[Any], budget: int) -> None:
    model = scorer()
    whole_loss, whole, whole_metrics = gradient(model, objective, batch, 10_000)
    split_loss, split, split_metrics = gradient(model, objective, batch, budget)
    assert split_loss == pytest.approx(whole_loss, rel=1e-6, abs=1e-6)
    assert torch.allclose(split, whole, rtol=1e-4, atol=1e-6)
    assert split_metrics == pytest.approx(whole_metrics, rel=1e-5, abs=1e-5)


def test_sft_is_the_mean_over_completion_tokens() -> None:
    model = scorer()
    with torch.no_grad():
        found = float(SFTObjective()(model, EXAMPLES, EXAMPLES)[0])
        wanted = -sum(oracle(model.model, e) for e in EXAMPLES) / sum(len(e.completion_ids) for e in EXAMPLES)
    assert found == pytest.approx(wanted, abs=1e-5)


def test_the_originals_sft_loss_is_a_sum_over_tokens_and_a_mean_over_examples() -> None:
    model = scorer()
    with torch.no_grad():
        found, metrics = SFTObjective("example_sum")(model, EXAMPLES, EXAMPLES)
        wanted = -sum(oracle(model.model, e) for e in EXAMPLES)
    assert float(found) == pytest.approx(wanted / len(EXAMPLES), abs=1e-4)
    assert metrics["nll_per_token"] == pytest.approx(wanted / sum(len(e.completion_ids) for e in EXAMPLES), abs=1e-5)


def test_dpo_metrics_are_means_over_the_pairs() -> None:
    model = scorer()
    with torch.no_grad():
        _, metrics = DPOObjective("sigmoid", 0.1)(model, PAIRS, PAIRS)
        chosen = [0.1 * (oracle(model.model, p.chosen) - p.reference_chosen) for p in PAIRS]
        rejected = [0.1 * (oracle(model.model, p.rejected) - p.reference_rejected) for p in PAIRS]
    assert metrics["rewards/chosen"] == pytest.approx(sum(chosen) / 3, abs=1e-4)
    assert metrics["rewards/margins"] == pytest.approx((sum(chosen) - sum(rejected)) / 3, abs=1e-4)
    right = [c > r for c, r in zip(chosen, rejected, strict=True)]
    assert metrics["rewards/accuracies"] == pytest.approx(sum(right) / 3)


LOSSES: list[Any] = [
    DPOObjective("sigmoid", 0.1),
    DPOObjective("ipo_mean", 0.1, sft_reg=0.1),
    SimPOObjective(2.0, 1.0),
    ORPOObjective(0.5),
    KTOObjective(0.1, 1.0, 1.5),
]


def of_class(objective: Any) -> str:
    return type(objective).__name__


@pytest.mark.parametrize("objective", LOSSES, ids=of_class)
def test_a_weight_of_two_counts_twice(objective: Any) -> None:
    model = scorer()
    doubled = [replace(p, weight=1.0 + (i == 0)) for i, p in enumerate(PAIRS)]
    twice = [replace(PAIRS[0], id="again", weight=1.0), *(replace(p, weight=1.0) for p in PAIRS)]
    assert whole(objective, model, doubled)[0] == pytest.approx(whole(objective, model, twice)[0], abs=1e-6)


@pytest.mark.parametrize("objective", LOSSES, ids=of_class)
def test_a_loss_depends_on_the_ratio_of_weights_only(objective: Any) -> None:
    model = scorer()
    scaled = [replace(p, weight=0.01 * p.weight) for p in PAIRS]
    assert whole(objective, model, scaled)[0] == pytest.approx(whole(objective, model, PAIRS)[0], abs=1e-6)


def numbers_of(pairs: list[PairExample]) -> tuple[torch.Tensor, ...]:
    """Summed log-probabilities by the oracle, and tokens: chosen, rejected, number of each."""
    model = scorer().model
    sides = [[p.chosen for p in pairs], [p.rejected for p in pairs]]
    with torch.no_grad():
        logps = [torch.tensor([oracle(model, e) for e in side], dtype=torch.float64) for side in sides]
    return *logps, *(torch.tensor([float(len(e.completion_ids)) for e in side]) for side in sides)


def test_simpo_takes_log_probabilities_per_token() -> None:
    chosen, rejected, num_chosen, num_rejected = numbers_of(PAIRS)
    weight = torch.tensor([1.0, 2.0, 1.0]) / 4
    losses = -torch.nn.functional.logsigmoid(2 * (chosen / num_chosen - rejected / num_rejected) - 1)
    found, metrics = whole(SimPOObjective(2.0, 1.0), scorer(), PAIRS)
    assert found == pytest.approx(float((losses * weight).sum()), abs=1e-5)
    assert metrics["rewards/chosen"] == pytest.approx(float((2 * chosen / num_chosen).mean()), abs=1e-5)


def test_orpo_is_sft_on_the_chosen_and_an_odds_ratio() -> None:
    chosen, rejected, num_chosen, num_rejected = numbers_of(PAIRS)
    weight = torch.tensor([1.0, 2.0, 1.0]) / 4
    nll = -float((chosen * weight).sum() / (num_chosen * weight).sum())
    odds = float((odds_ratio_losses(chosen / num_chosen, rejected / num_rejected) * weight).sum())
    found, _ = whole(ORPOObjective(0.5), scorer(), PAIRS)
    assert found == pytest.approx(nll + 0.5 * odds, abs=1e-5)


def test_orpo_without_weight_on_the_odds_is_the_default_sft_on_the_chosen() -> None:
    pairs = [replace(p, weight=1.0) for p in PAIRS]
    model = scorer()
    sft, _ = whole(SFTObjective(), model, [p.chosen for p in pairs])
    assert whole(ORPOObjective(0.0), model, pairs)[0] == pytest.approx(sft, abs=1e-6)


def test_kto_counts_chosen_from_the_rejecteds_mean_ratio_and_the_other_way_round() -> None:
    chosen, rejected, _, _ = numbers_of(PAIRS)
    references = zip((chosen - 3).tolist(), (rejected - 1).tolist(), strict=True)
    high = [replace(p, reference_chosen=c, reference_rejected=r) for p, (c, r) in zip(PAIRS, references, strict=True)]
    model = scorer()
    objective = KTOObjective(0.1, 1.0, 1.5).prepare(model, [high], high)
    assert objective.z0 == pytest.approx((1.0, 3.0), abs=1e-4)
    three, one = torch.full((3,), 3.0), torch.ones(3)
    found, metrics = whole(objective, model, high)
    assert found == pytest.approx(float(kto_losses(three, one, 0.1, (1.0, 3.0), 1.0, 1.5).mean()), abs=1e-5)
    assert (metrics["z0/chosen"], metrics["z0/rejected"]) == pytest.approx((1.0, 3.0), abs=1e-4)
    low = [replace(p, reference_chosen=0.0, reference_rejected=0.0) for p in PAIRS]  # ratios below 0
    assert KTOObjective(0.1).prepare(model, [low], low).z0 == (0.0, 0.0)


def test_kto_that_was_not_prepared_is_refused() -> None:
    with pytest.raises(ValueError, match="prepare"):
        KTOObjective(0.1)(scorer(), PAIRS, PAIRS)


def test_kto_is_prepared_the_same_with_micro_batches_that_are_empty() -> None:
    """A process with fewer items than micro-batches goes along with an item of another's."""
    model = scorer()
    objective = KTOObjective(0.1)
    wanted = objective.prepare(model, [PAIRS], PAIRS).z0
    assert objective.prepare(model, [PAIRS[:1], [], PAIRS[1:]], PAIRS).z0 == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("objective", [SimPOObjective(2.0, 1.0), ORPOObjective(0.1)], ids=of_class)
def test_what_needs_no_reference_neither_reads_nor_reports_one(objective: Any) -> None:
    model = scorer()
    other = [replace(p, reference_chosen=-99.0, reference_rejected=99.0) for p in PAIRS]
    assert whole(objective, model, other) == whole(objective, model, PAIRS)
    names = whole(objective, model, PAIRS)[1].keys()
    assert not objective.needs_reference
    assert [n for n in names if n.startswith(("log_ratios", "kl", "importance")) or "reference" in n] == []


@pytest.mark.parametrize("objective", [*LOSSES, reward_objective], ids=of_class)
def test_what_is_shown_of_a_loss_is_logged(objective: Any) -> None:
    model = RewardScorer(tiny.small("llama", classifier=True)) if objective is reward_objective else scorer()
    assert {name for name, _ in objective.shown} <= whole(objective, model, PAIRS)[1].keys()


def test_lengths_ends_and_the_estimate_of_kl_are_means_over_the_pairs() -> None:
    _, metrics = whole(DPOObjective("sigmoid", 0.1, end_id=9), scorer(), PAIRS)
    assert metrics["length/chosen"] == pytest.approx((2 + 1 + 3) / 3)
    assert metrics["length/rejected"] == pytest.approx((6 + 3 + 2) / 3)
    assert (metrics["ended/chosen"], metrics["ended/rejected"]) == pytest.approx((1 / 3, 1 / 3))  # EXAMPLES[0]
    ratios = metrics["log_ratios/chosen"], metrics["log_ratios/rejected"]
    assert metrics["kl/reference_to_policy"] == pytest.approx(-sum(ratios) / 2)
    assert "ended/chosen" not in whole(DPOObjective("sigmoid", 0.1), scorer(), PAIRS)[1]


def test_the_estimate_of_kl_is_right_for_completions_of_the_reference() -> None:
    """Over all completions of one token, weighted by how often the reference writes them: sum q log(q / p)."""
    policy, reference = scorer(), LogpScorer(tiny.model("llama", 64, seed=1).eval())
    every = [example(str(token), [5, 6, 7], [token]) for token in range(64)]
    with torch.no_grad():
        log_p, log_q = policy(every)[:, 0], reference(every)[:, 0]
    estimates = []
    for e, q in zip(every, log_q.tolist(), strict=True):
        pair = [PairExample("1", e, e, 1.0, q, q)]
        estimates.append(whole(DPOObjective("sigmoid", 0.1), policy, pair)[1]["kl/reference_to_policy"])
    mean = sum(math.exp(q) * found for q, found in zip(log_q.tolist(), estimates, strict=True))
    assert mean == pytest.approx(float((log_q.exp() * (log_q - log_p)).sum()), abs=1e-5)
    assert mean > 0


def trained(objective: Any, folder: Path, micro_batch_tokens: int) -> tuple[torch.Tensor, list[dict[str, float]]]:
    """Weights and rows of metrics after four steps of two pairs each."""
    folder.mkdir()
    settings = Training(lr=1e-3, epochs=2, batch_size=2, micro_batch_tokens=micro_batch_tokens)
    trainer = Trainer(scorer(), PAIRS, objective, settings, folder)
    trainer.run("dpo")
    rows = [json.loads(line) for line in (folder / METRICS).read_text("utf-8").splitlines()]
    return torch.cat([p.detach().flatten() for p in trainer.scorer.parameters()]), rows


@pytest.mark.parametrize("objective", [KTOObjective(0.1), SimPOObjective(2.0, 1.0), ORPOObjective(0.1)], ids=of_class)
def test_a_trainer_takes_the_same_steps_whatever_fits_into_memory(objective: Any, tmp_path: Path) -> None:
    whole, rows = trained(objective, tmp_path / "whole", 10_000)
    split, split_rows = trained(objective, tmp_path / "split", 1)
    assert torch.allclose(split, whole, rtol=1e-4, atol=1e-5)
    assert [r["loss"] for r in split_rows] == pytest.approx([r["loss"] for r in rows], abs=1e-4)


def test_perplexity_is_the_exponential_of_the_mean_over_examples_of_the_mean_over_tokens(tmp_path: Path) -> None:
    """As the research code has it: a mean of logarithms first, whatever the split."""
    chosen, _, num_chosen, _ = numbers_of(PAIRS)
    per_token = chosen / num_chosen
    for budget in (1, 10_000):
        order = Plan(3, 2, 2, 0).indices(0)
        _, rows = trained(SimPOObjective(2.0, 1.0), tmp_path / str(budget), budget)
        wanted = math.exp(-float(per_token[order].mean()))
        assert rows[0]["perplexity/chosen"] == pytest.approx(wanted, rel=1e-5)


def test_a_loss_that_diverges_has_a_perplexity_all_the_same() -> None:
    assert with_perplexity({"nll_per_token": 0.0, "loss": 1.0})["perplexity"] == 1.0
    assert math.isfinite(with_perplexity({"nll_per_token/chosen": 1e6})["perplexity/chosen"])


def test_the_line_of_progress_says_what_matters(tmp_path: Path) -> None:
    row = {"loss": 0.5, "tokens_per_second": 1234.0, "rewards/accuracies": 0.75, "log_ratios/chosen": -1.5}
    for objective, said in (
        (SFTObjective(), "loss 0.5000, 1,234 tokens/s"),
        (KTOObjective(0.1), "loss 0.5000, accuracy 0.75, log-ratio of chosen -1.50, 1,234 tokens/s"),
        (reward_objective, "loss 0.5000, accuracy 0.75, 1,234 tokens/s"),
    ):
        trainer: Any = Trainer(scorer(), PAIRS, objective, Training(), tmp_path)
        assert trainer._note(row) == said
