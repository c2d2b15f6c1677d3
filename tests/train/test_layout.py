"""Rows are exact for every architecture, and what would be silently wrong is not taken."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tiny
from tutelage.errors import ModelError
from tutelage.train.encode import Example
from tutelage.train.layout import fit_layout
from tutelage.train.objectives import DPOObjective
from tutelage.train.pairs import PairExample
from tutelage.train.scorer import Layout, LogpScorer, RewardScorer, Scorer

IN_SEGMENTS = [
    "llama", "mistral", "mixtral", "gpt_neox", "gpt2", "qwen2", "qwen3", "qwen3_moe", "gemma3_text", "phi", "phi3",
    "olmo2", "cohere", "granite", "smollm3", "opt",
]  # fmt: skip
THROUGH_A_MASK = {"stablelm": "sdpa", "falcon": "sdpa", "gptj": "eager", "gpt_neo": "eager", "gemma2": "eager"}
PADDED = ["bloom", "mamba", "qwen3_next"]


def items(window: int = 0) -> list[PairExample]:
    drawn = torch.Generator().manual_seed(1)

    def ids(length: int) -> tuple[int, ...]:
        return tuple(torch.randint(10, 120, (length,), generator=drawn).tolist())

    found = []
    for number in range(3):
        prompt = ids(3 + number + window)
        sides = (
            Example(f"{number}{side}", f"p{number}", prompt, ids(length)) for side, length in (("a", 9), ("b", 4))
        )
        found.append(PairExample(str(number), *sides, 1.0, -40.0, -20.0))
    return found


def fitted(kind: str, scorer: type[Scorer] = LogpScorer, longest: int = 64, **config: Any) -> Scorer:
    found = scorer(tiny.small(kind, classifier=scorer is RewardScorer, **config))
    fit_layout(found, longest, "auto", "float32")
    return found


def alone(scorer: Scorer, pairs: list[PairExample]) -> list[list[float]]:
    """What the model's own code says of each completion alone, in double precision where it can."""
    found = []
    with torch.no_grad(), scorer.as_loaded():
        for pair in pairs:
            found.append([])
            for branch in pair.branches:
                values = scorer.alone([branch])
                found[-1].append(float(values.double().sum() if isinstance(scorer, LogpScorer) else values[0]))
    return found


def expected(kind: str) -> tuple[str, str | None]:
    if kind in IN_SEGMENTS:
        return "shared", "tutelage_segments"
    return ("padded", None) if kind in PADDED else ("shared", THROUGH_A_MASK[kind])


@pytest.mark.parametrize("kind", [*IN_SEGMENTS, *THROUGH_A_MASK, *PADDED])
def test_rows_give_each_completion_what_it_has_alone(kind: str) -> None:
    scorer = fitted(kind)
    rows, attention = expected(kind)
    assert (scorer.layout.rows, attention and scorer.layout.attention) == (rows, attention)
    with torch.no_grad():
        found = scorer(items()).tolist()
    for one, other in zip(found, alone(scorer, items()), strict=True):
        assert one == pytest.approx(other, abs=1e-5)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox", "bloom", "gptj", "gemma2", "qwen3_next"])
def test_scores_of_a_reward_model_are_those_it_gives_alone(kind: str) -> None:
    scorer = fitted(kind, RewardScorer)
    assert scorer.layout.rows == expected(kind)[0]
    with torch.no_grad():
        found = scorer(items()).tolist()
    for one, other in zip(found, alone(scorer, items()), strict=True):
        assert one == pytest.approx(other, abs=1e-5)


@pytest.mark.parametrize("kind", ["bloom", "falcon", "gptj", "gpt_neo"])
def test_these_would_leak_without_a_word(kind: str) -> None:
    """They ignore segments: taken unasked, a completion would see the one before it."""
    scorer = fitted(kind)
    scorer.use(Layout("shared", "tutelage_segments"))
    with torch.no_grad():
        leaked = scorer(items()).tolist()
    found = torch.tensor(leaked) - torch.tensor(alone(scorer, items()))
    assert found.abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["mistral", "gemma3_text", "qwen2", "phi3", "olmo3"])
def test_a_sliding_window_shorter_than_the_row_is_kept(kind: str) -> None:
    """Gemma 3, OLMo 3: some layers slide, some do not."""
    scorer = fitted(
        kind, sliding_window=8, **({"use_sliding_window": True, "max_window_layers": 0} if kind == "qwen2" else {})
    )
    assert scorer.layout.rows == "shared"
    pairs = items(window=20)
    with torch.no_grad():
        found = scorer(pairs).tolist()
    for one, other in zip(found, alone(scorer, pairs), strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_local_attention_by_place_in_the_row_is_padded() -> None:
    """GPT-Neo's local layers count places in the row, not positions: a rejected completion would miss its prompt."""
    assert fitted("gpt_neo", longest=40, window_size=12).layout.rows == "padded"


@pytest.mark.parametrize("wanted", ["shared", "packed", "padded"])
def test_a_step_is_the_same_in_every_layout(wanted: Any) -> None:
    def gradient(rows: Any) -> tuple[float, torch.Tensor]:
        scorer = LogpScorer(tiny.small("llama"))
        fit_layout(scorer, 64, rows, "float32")
        assert scorer.layout.rows == rows
        loss, _ = DPOObjective("sigmoid", 0.1)(scorer, items(), items())
        loss.backward()
        return float(loss.detach()), torch.cat([p.grad.flatten() for p in scorer.parameters()])  # type: ignore[union-attr]

    loss, grad = gradient(wanted)
    other_loss, other = gradient("padded")
    assert loss == pytest.approx(other_loss, abs=1e-6)
    assert torch.allclose(grad, other, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "config"),
    [("llama", {}), ("phi", {}), ("cohere", {}), ("granite", {"logits_scaling": 8.0}), ("gemma2", {})],
)
def test_the_head_in_chunks_has_the_gradient_of_the_head_at_once(kind: str, config: dict[str, Any]) -> None:
    """A bias, a scale, a cap: what architectures do to logits."""
    found = []
    for whole in (False, True):
        scorer = LogpScorer(tiny.small(kind, **config))
        scorer.use(Layout("padded", "eager", whole_head=whole))
        (scorer(items()) * torch.tensor([1.0, -0.5])).sum().backward()
        found.append(torch.cat([p.grad.flatten() for p in scorer.parameters() if p.grad is not None]))
    assert torch.allclose(*found, rtol=1e-4, atol=1e-5)


def test_sampling_has_the_model_as_it_was_loaded() -> None:
    scorer = fitted("llama")
    with scorer.as_loaded() as model:
        assert model.config._attn_implementation == "sdpa"
        assert model.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=3, do_sample=False).shape == (1, 6)
    assert scorer.model.config._attn_implementation == "tutelage_segments"


@pytest.mark.parametrize("kind", PADDED)
def test_rounding_to_bfloat16_hides_no_leak(kind: str) -> None:
    """Of bloom a leak changes less than that, at this size."""
    scorer = LogpScorer(tiny.small(kind))
    fit_layout(scorer, 64, "auto", "bfloat16")
    assert scorer.layout.rows == "padded"


def test_a_model_that_turns_all_otherwise_if_one_is_long_takes_no_long_ones() -> None:
    """LongRoPE (Phi-3 with 128k): a short completion beside a long one would have the angles of the long one."""
    factors = {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4, "original_max_position_embeddings": 64}
    rope = {"rope_type": "longrope", "rope_theta": 1e4, **factors}
    of_phi = {"rope_parameters": rope, "original_max_position_embeddings": 64}
    assert fitted("phi3", longest=64, **of_phi).layout.rows == "shared"
    with pytest.raises(ModelError, match="lower max_length to 64"):
        fitted("phi3", longest=65, **of_phi)
