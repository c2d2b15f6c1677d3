"""Losses against the original's golden values and an oracle in double precision."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import tiny
from tutelage.train.encode import Example
from tutelage.train.objectives import DPOObjective, PairExample, SFTObjective, dpo_losses, reward_losses
from tutelage.train.rows import micro_batches
from tutelage.train.scorer import LogpScorer

# (policy chosen, policy rejected, reference chosen, reference rejected) and beta of the golden values
GOLDEN = (-10.0, -12.0, -11.0, -11.5), 0.05


def golden(name: Any, **options: Any) -> float:
    values, beta = GOLDEN
    columns = [torch.tensor([value], dtype=torch.float64) for value in (*values, 5.0, 8.0)]
    return float(DPOObjective(name, beta, **options).losses(*columns))


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
    values = [torch.tensor([v], dtype=torch.float64) for v in (-10.0, -12.0, -11.0, -11.5, 5.0, 8.0)]
    values[1].requires_grad_()
    DPOObjective("sigmoid", 0.05, importance_correction=True).losses(*values).backward()
    assert float(values[1].grad) == pytest.approx(0.05 / (1 + math.exp(0.075)) * math.exp(-0.5))  # type: ignore[arg-type]


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


def gradient(scorer: Any, objective: Any, batch: list[Any], budget: int) -> tuple[float, torch.Tensor]:
    scorer.zero_grad()
    total = 0.0
    for micro in micro_batches(batch, scorer.sizes(batch), budget, 1)[0]:
        loss, _ = objective(scorer, micro, batch)
        loss.backward()
        total += float(loss.detach())
    return total, torch.cat([p.grad.flatten() for p in scorer.parameters()])


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
    ],
)
def test_any_split_into_micro_batches_gives_the_same_step(objective: Any, batch: list[Any], budget: int) -> None:
    model = scorer()
    whole_loss, whole = gradient(model, objective, batch, 10_000)
    split_loss, split = gradient(model, objective, batch, budget)
    assert split_loss == pytest.approx(whole_loss, rel=1e-6, abs=1e-6)
    assert torch.allclose(split, whole, rtol=1e-4, atol=1e-6)


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


def test_a_weight_of_two_counts_twice() -> None:
    model = scorer()
    objective = DPOObjective("sigmoid", 0.1)
    plain = [PairExample(str(i), p.chosen, p.rejected, 1.0) for i, p in enumerate(PAIRS)]
    doubled = [PairExample("0", PAIRS[0].chosen, PAIRS[0].rejected, 2.0), *plain[1:]]
    with torch.no_grad():
        twice = float(objective(model, [plain[0], *plain], [plain[0], *plain])[0])
        weighted = float(objective(model, doubled, doubled)[0])
    assert weighted == pytest.approx(twice, abs=1e-7)
