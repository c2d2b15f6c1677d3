"""Of several processes the first alone reads a model; what the others get from it, and what it costs them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

import tiny
from running import in_two
from tutelage.errors import ModelError
from tutelage.inputs import Model
from tutelage.train import parallel
from tutelage.train.checkpoint import load_encoder, load_model
from tutelage.train.encode import Example
from tutelage.train.fit import make_scorer
from tutelage.train.pairs import PairExample
from tutelage.train.reward_model import load_reward_model
from tutelage.train.scorer import LogpScorer, RewardScorer
from tutelage.train.settings import Lora, Training

STATUS = Path("/proc/self/status")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not STATUS.exists(), reason="the system does not say what is used"),
]

ITEMS = [Example(str(i), f"p{i}", (1, 2, 3 + i), tuple(range(10 + i, 14 + i))) for i in range(5)]
PAIRS = [PairExample(e.id, e, Example(f"{e.id}r", e.prompt_id, e.prompt_ids, (30, 31, 32))) for e in ITEMS]
WIDE = LlamaConfig(
    vocab_size=4096,
    hidden_size=512,
    intermediate_size=2048,
    num_hidden_layers=16,
    num_attention_heads=8,
    tie_word_embeddings=False,
)
KINDS = ("llama", "qwen2", "gpt2", "gptj", "gpt_neo", "gemma3_text", "mixtral", "untied", "lora", "reward")


def place(folder: Path) -> None:
    """Write a model of each kind."""
    LlamaForCausalLM(WIDE).to(torch.bfloat16).save_pretrained(folder / "wide")
    for kind in KINDS[:7]:
        tied = {"tie_word_embeddings": True} if kind == "qwen2" else {}
        tiny.small(kind, **tied).save_pretrained(folder / kind)
    # a config that says tied, and weights that say otherwise
    tiny.small("llama", tie_word_embeddings=True).save_pretrained(folder / "untied")
    weights = load_file(folder / "untied/model.safetensors")
    weights["lm_head.weight"] = 2 * weights["model.embed_tokens.weight"]
    save_file(weights, folder / "untied/model.safetensors", {"format": "pt"})
    tiny.folder(folder / "reward", tokenizer=tiny.byte_level(eos_token="<|im_end|>"))
    tiny.small("llama").save_pretrained(folder / "lora")
    tiny.small("llama").save_pretrained(folder / "torn")
    (folder / "torn/model.safetensors").write_bytes((folder / "torn/model.safetensors").read_bytes()[:5000])


def scored(folder: Path, kind: str) -> dict[str, Any]:
    """Load a model and make it ready to train; return what it computes, and all that it holds."""
    source, settings = Model(path=str(folder / kind)), Training(precision="float32", batch_size=4)
    scorer: Any
    if kind == "reward":
        encoder = load_encoder(source)
        scorer = make_scorer(RewardScorer, load_reward_model(source, encoder, seed=3), PAIRS, settings)
        found: dict[str, Any] = {"pad": encoder.tokenizer.pad_token_id}
    else:
        if kind == "lora":
            settings = settings.model_copy(update={"lora": Lora(rank=4)})
        scorer = make_scorer(LogpScorer, load_model(source), ITEMS, settings)
        found = {"ending": scorer.model.generation_config.eos_token_id}
    with torch.no_grad():
        found["numbers"] = scorer(PAIRS if kind == "reward" else ITEMS)
    weights = parallel.whole_weights(scorer)
    found["weights"] = scorer.model.state_dict() if weights is None else weights
    return found | {"buffers": dict(scorer.model.named_buffers()), "layout": scorer.layout}


def used(what: str) -> int:
    """Return VmRSS, what this process has in memory, or VmHWM, the most it ever had; in bytes."""
    return next(int(row.split()[1]) << 10 for row in STATUS.read_text().splitlines() if row.startswith(f"{what}:"))


def one_of_two(rank: int, folder: Path, port: int) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    parallel.start()
    found: dict[str, Any] = {"torn": ""}
    scored(folder, "llama")  # what is imported at the first use is no model
    before = used("VmRSS")
    parallel.shard(LogpScorer(load_model(Model(path=str(folder / "wide")))), None)
    found["grown"] = used("VmHWM") - before
    found |= {kind: scored(folder, kind) for kind in KINDS}
    try:
        load_model(Model(path=str(folder / "torn")))
    except ModelError as error:
        found["torn"] = str(error)
    (folder / f"found-{rank}").write_bytes(pickle.dumps(found))
    tiny.leave()


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    place(folder)
    return folder


@pytest.fixture(scope="module")
def first_and_second(there: Path) -> list[dict[str, Any]]:
    """What two processes find, one beside the other."""
    in_two(one_of_two, there)
    return [pickle.loads((there / f"found-{rank}").read_bytes()) for rank in (0, 1)]


def test_the_second_process_never_holds_the_model(first_and_second: list[dict[str, Any]]) -> None:
    """Until training starts: what passes gather meanwhile is on its device, and on a CPU the allocator keeps it."""
    with torch.device("meta"):
        whole = 4 * sum(weight.numel() for weight in LlamaForCausalLM(WIDE).parameters())
    first, second = (found["grown"] / whole for found in first_and_second)
    assert first > 1
    assert second < 0.9  # its share is 0.5, and what is in no block comes on top


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_hold_and_compute_what_one_does(
    kind: str, there: Path, first_and_second: list[dict[str, Any]]
) -> None:
    alone = scored(there, kind)
    tied = (
        {}
        if kind in ("untied", "reward")
        else AutoModelForCausalLM.from_pretrained(there / kind).all_tied_weights_keys
    )
    for found in (each[kind] for each in first_and_second):
        assert torch.allclose(found["numbers"], alone["numbers"], atol=1e-5)
        assert found["layout"] == alone["layout"]
        assert found.get("pad") == alone.get("pad")
        assert found.get("ending") == alone.get("ending")
        assert found["buffers"].keys() == alone["buffers"].keys()
        assert all(torch.equal(found["buffers"][name], buffer) for name, buffer in alone["buffers"].items())
    weights = first_and_second[0][kind]["weights"]
    assert weights.keys() == alone["weights"].keys() - set(tied)
    assert all(torch.equal(weight, alone["weights"][name]) for name, weight in weights.items())


def test_what_is_wrong_with_a_model_is_said_in_all_processes(first_and_second: list[dict[str, Any]]) -> None:
    first, second = (found["torn"] for found in first_and_second)
    assert "the language model cannot be loaded" in first
    assert first == second
