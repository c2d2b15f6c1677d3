"""The plan of memory, against what torch keeps; what is said where it does not fit; how much there is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
)

import tiny
from tutelage.errors import TrainingError
from tutelage.train.available import available_memory
from tutelage.train.lora import add_adapters
from tutelage.train.memory import MemoryPlan, check_memory, lines, out_of_memory, plan_memory, require_fits
from tutelage.train.optimizer import make_optimizer
from tutelage.train.settings import Lora, Training

GIB = 1 << 30
ROWS, WIDTH = 2, 64
SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 176,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
}
MISTRAL_7B: dict[str, Any] = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}
LLAMA_70B: dict[str, Any] = {
    "vocab_size": 32000,
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
}


def small(kind: str) -> Any:
    """Wide enough that what is saved once, whatever the tokens, does not blur the comparison."""
    if kind == "gpt2":
        return GPT2LMHeadModel(GPT2Config(vocab_size=300, n_embd=64, n_layer=3, n_head=4, n_positions=128)).eval()
    if kind == "mixtral":
        return MixtralForCausalLM(MixtralConfig(**SIZES, num_key_value_heads=2, num_local_experts=4))
    if kind == "mistral":
        return MistralForCausalLM(MistralConfig(**SIZES, num_key_value_heads=1))
    return LlamaForCausalLM(LlamaConfig(**SIZES))


def on_meta(config: Any, model_class: Any) -> Any:
    with torch.device("meta"):
        return model_class(config)


@pytest.fixture(scope="module")
def mistral_7b() -> Any:
    return on_meta(MistralConfig(**MISTRAL_7B), MistralForCausalLM)


@pytest.fixture(scope="module")
def llama_70b() -> Any:
    return on_meta(LlamaConfig(**LLAMA_70B), LlamaForCausalLM)


def settings(**given: Any) -> Training:
    return Training(**{"precision": "float32", "micro_batch_tokens": ROWS * WIDTH, "batch_size": ROWS} | given)


def saved_bytes(model: Any, width: int, bfloat16: bool) -> int:
    """Bytes that autograd keeps of a forward pass through the blocks, weights not counted, each memory once."""
    weights = {w.untyped_storage().data_ptr() for w in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that its place is not used again
        return tensor

    ids = torch.randint(0, 300, (ROWS, width))
    with (
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        model.base_model(input_ids=ids, use_cache=False)
        return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


# ---- against what torch keeps -----------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [("llama", 0.95, 1.05), ("mistral", 0.95, 1.05), ("mixtral", 0.9, 1.1), ("gpt2", 0.6, 1.6)],
)
def test_activations_and_working_copy_are_what_the_backward_pass_keeps(
    kind: str, low: float, high: float, precision: Any
) -> None:
    model = small(kind)
    plan = plan_memory(model, settings(precision=precision), WIDTH)
    once = saved_bytes(model, WIDTH, precision == "bfloat16")
    of_tokens = saved_bytes(model, 2 * WIDTH, precision == "bfloat16") - once
    assert low < plan.activations / of_tokens < high
    head = 2 * 300 * 64  # in bfloat16; it is not in the pass measured
    copy = once - of_tokens
    assert plan.working_copy == pytest.approx(copy + head if precision == "bfloat16" else 0, rel=0.02)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_with_adapters_a_little_less_is_kept_than_planned(precision: Any) -> None:
    """A frozen matrix needs its input no more; its adapter does, so it is little."""
    model, config = small("llama"), settings(precision=precision, lora=Lora(rank=4))
    add_adapters(model, config)
    plan = plan_memory(model, config, WIDTH)
    once = saved_bytes(model, WIDTH, precision == "bfloat16")
    of_tokens = saved_bytes(model, 2 * WIDTH, precision == "bfloat16") - once
    assert 1 < plan.activations / of_tokens < 1.2


def test_with_checkpointing_only_the_inputs_of_blocks_are_kept() -> None:
    model = small("llama").train()
    model.activation_checkpointing_enable(
        {"use_reentrant": True}
    )  # this kind saves its inputs where a hook sees them
    off, full = (plan_memory(model, settings(activation_checkpointing=kind), WIDTH) for kind in ("off", "full"))
    one_block = (off.activations - 2 * 4 * 64 * ROWS * WIDTH) / 3  # while it is computed again
    assert saved_bytes(model, WIDTH, False) == pytest.approx(full.activations - one_block, rel=0.05)


def test_selective_checkpointing_lies_between_off_and_full(mistral_7b: Any) -> None:
    sizes = [
        plan_memory(mistral_7b, Training(activation_checkpointing=kind), 1024).activations
        for kind in ("off", "selective", "full")
    ]
    assert sizes[0] > 1.5 * sizes[1] > 1.5 * 1.5 * sizes[2]


@pytest.mark.parametrize("optimizer", ["rmsprop", "adamw"])
@pytest.mark.parametrize("frozen", [False, True])
def test_weights_gradients_and_optimizer_are_exact(optimizer: Any, frozen: bool) -> None:
    model = small("llama")
    model.model.requires_grad_(not frozen)
    plan = plan_memory(model, settings(optimizer=optimizer), WIDTH)
    stepping = make_optimizer(model.parameters(), settings(optimizer=optimizer))
    model(input_ids=torch.zeros(1, 4, dtype=torch.long)).logits.sum().backward()
    stepping.step()
    gradients = [w.grad for w in model.parameters() if w.grad is not None]
    states = [v for state in stepping.state.values() for name, v in state.items() if name != "step"]
    assert plan.weights == sum(w.nbytes for w in model.parameters())
    assert plan.gradients == sum(g.nbytes for g in gradients)
    assert plan.optimizer == sum(s.nbytes for s in states)


# ---- arithmetic -------------------------------------------------------------------------------------


def test_the_weights_gradients_and_rmsprop_of_mistral_7b_are_81_gib(mistral_7b: Any) -> None:
    plan = plan_memory(mistral_7b, Training(), 1024)
    assert (plan.weights + plan.gradients + plan.optimizer) / GIB == pytest.approx(81, abs=0.5)
    assert plan.working_copy / GIB == pytest.approx(13.2, abs=0.1)


def test_a_70b_model_is_planned_without_a_weight_in_memory(llama_70b: Any) -> None:
    alone, sharded = (plan_memory(llama_70b, Training(), 1024, num) for num in (1, 64))
    assert (alone.weights + alone.gradients + alone.optimizer) / GIB == pytest.approx(3 * 257, abs=1)
    assert sharded.weights == pytest.approx(alone.weights / 64, abs=1)
    assert sharded.optimizer == pytest.approx(alone.optimizer / 64, abs=1)
    gathered = 4 * (2 * 0.8556 + 0.5243) / 1.0737  # two blocks, embeddings and head
    assert sharded.working_copy / GIB == pytest.approx(gathered + 2 * 68.7 / 1.0737, abs=0.3)
    full = plan_memory(llama_70b, Training(activation_checkpointing="full"), 1024, 64)
    assert full.working_copy / GIB == pytest.approx(gathered + 2 * 68.7 / 80 / 1.0737, abs=0.3)
    assert sharded.activations == alone.activations / 8  # one example instead of the eight of a batch


def test_the_micro_batch_is_as_large_as_the_budget_the_batch_or_the_longest_item() -> None:
    def tokens(longest: int, **given: Any) -> int:
        return plan_memory(small("llama"), settings(**given), longest).load.tokens

    assert tokens(100, micro_batch_tokens=1000, batch_size=64) == 1000
    assert tokens(100, micro_batch_tokens=1000, batch_size=4) == 400
    assert tokens(100, micro_batch_tokens=10, batch_size=4) == 100


def test_a_reward_model_has_no_logits_and_tied_weights_count_once() -> None:
    scorer = LlamaForSequenceClassification(LlamaConfig(**SIZES, num_labels=1, pad_token_id=0))
    assert plan_memory(scorer, settings(), WIDTH).logits == 0
    tied = LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=True))
    assert (
        plan_memory(small("llama"), settings(), 1).weights - plan_memory(tied, settings(), 1).weights == 4 * 300 * 64
    )


@pytest.mark.parametrize("kind", ["gpt2", "llama", "mistral", "qwen2"])
def test_tiny_models_of_every_kind_have_a_plan(kind: str) -> None:
    plan = plan_memory(tiny.model(kind, 300), settings(), 10)
    assert 0 < plan.peak < 10 << 20


# ---- what is said -----------------------------------------------------------------------------------


def test_the_plan_is_one_line_that_adds_up(mistral_7b: Any) -> None:
    plan = plan_memory(mistral_7b, Training(), 1024)
    (line,) = lines(plan, 139 * GIB)
    assert line.startswith("memory: weights 27.0 GiB + gradients 27.0 + optimizer 27.0 + working copy 13.2 + activa")
    terms, total = line.rsplit(" = ", 1)
    numbers = [float(n) for n in re.findall(r" (\d+\.\d)(?: |$)", terms)]
    assert len(numbers) == 6
    assert sum(numbers) == pytest.approx(plan.peak / GIB, abs=0.3)
    assert total == f"{plan.peak / GIB:.1f} of 139 GiB"


def test_without_a_known_limit_nothing_is_refused_and_the_line_names_none(llama_70b: Any) -> None:
    plan = plan_memory(llama_70b, Training(), 1024, 8)
    assert lines(plan, None)[0].startswith("memory on each of 8 devices: weights 32.1 GiB + ")
    assert " of " not in lines(plan, None)[0].partition(": ")[2]
    require_fits(plan, None)
    require_fits(plan, plan.peak)


def refused(plan: MemoryPlan, available: int) -> list[str]:
    with pytest.raises(TrainingError) as caught:
        require_fits(plan, available)
    return str(caught.value).splitlines()


def test_what_does_not_fit_says_by_how_much_and_what_each_setting_would_bring(mistral_7b: Any) -> None:
    config = Training(optimizer="adamw", batch_size=64)
    plan = plan_memory(mistral_7b, config, 1024)
    first, *changes = refused(plan, 79 * GIB)
    assert first.startswith(f"training does not fit, by {plan.peak / GIB - 79:.1f} GiB (weights 27.0 GiB + ")
    assert first.endswith("change one or more of")
    changed = {
        "activation_checkpointing=full": plan_memory(
            mistral_7b, config.model_copy(update={"activation_checkpointing": "full"}), 1024
        ),
        "micro_batch_tokens=1024": plan_memory(
            mistral_7b, config.model_copy(update={"micro_batch_tokens": 1024}), 1024
        ),
        "devices=16": plan_memory(mistral_7b, config, 1024, 16),
        "optimizer=rmsprop": plan_memory(mistral_7b, config.model_copy(update={"optimizer": "rmsprop"}), 1024),
    }
    found = {word: float(size) for word, size in re.findall(r"^  (\S+): ([\d.]+) GiB", "\n".join(changes), re.M)}
    for word, other in changed.items():
        assert found[word] == pytest.approx(other.peak / GIB, abs=0.051)
    assert found.keys() == changed.keys() | {"lora=16"}
    assert list(found.values()) == sorted(found.values())
    assert all(line.endswith(", which fits") == (found[line.split(":")[0].strip()] <= 79) for line in changes)


def test_where_no_single_setting_is_enough_several_are_named_that_are(llama_70b: Any) -> None:
    plan = plan_memory(llama_70b, Training(batch_size=64), 1024)
    best = refused(plan, 79 * GIB)[1]
    assert best.startswith("  activation_checkpointing=full micro_batch_tokens=1024 devices=16: ")
    assert best.endswith(", which fits")
    assert plan_memory(llama_70b, Training(batch_size=1, activation_checkpointing="full"), 1024, 16).peak <= 79 * GIB
    assert plan_memory(llama_70b, Training(batch_size=1, activation_checkpointing="full"), 1024, 8).peak > 79 * GIB


def test_what_would_change_nothing_is_not_proposed(mistral_7b: Any) -> None:
    mistral_7b.requires_grad_(False)
    try:
        plan = plan_memory(mistral_7b, Training(batch_size=1, activation_checkpointing="full"), 64)
    finally:
        mistral_7b.requires_grad_(True)
    assert [line.split(":")[0].strip() for line in refused(plan, 27 * GIB)[1:]] == ["devices=2"]


# ---- how much there is ------------------------------------------------------------------------------


def machine(folder: Path, free: int, group: str = "", **files: str) -> Path:
    """A tree as Linux shows its memory in; `files` by path with `__` for a slash."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable: {free >> 10} kB\n")
    (folder / "proc/self/cgroup").write_text(group)
    for name, text in files.items():
        path = folder / "sys/fs/cgroup" / name.replace("__", "/").replace("_in_bytes", ".limit_in_bytes")
        path = path.with_name("memory.max") if path.name == "max" else path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


CPU = torch.device("cpu")


def test_on_a_cpu_there_is_what_the_kernel_can_free_and_what_is_held(tmp_path: Path) -> None:
    assert available_memory(CPU, 1000, root=machine(tmp_path, 8 * GIB)) == 8 * GIB + 1000


def test_processes_on_one_machine_share_its_memory(tmp_path: Path) -> None:
    root = machine(tmp_path, 8 * GIB)
    assert available_memory(CPU, 0, num_processes=2, root=root) == 4 * GIB
    # the model that the first of them holds goes when it is sharded
    assert available_memory(CPU, 2 * GIB, num_processes=2, root=root) == 5 * GIB


@pytest.mark.parametrize(
    ("group", "files"),
    [
        ("0::/\n", {"max": str(GIB)}),
        ("0::/a/b\n", {"a__b__max": "max\n", "a__max": f"{GIB}\n"}),
        ("0::/not/seen/from/a/container\n", {"max": f"{GIB}\n"}),
        ("4:cpu,memory:/job\n0::/\n", {"memory__job__memory_in_bytes": f"{GIB}\n"}),
    ],
)
def test_a_limit_of_the_control_group_or_of_one_above_counts(
    group: str, files: dict[str, str], tmp_path: Path
) -> None:
    assert available_memory(CPU, 0, root=machine(tmp_path, 8 * GIB, group, **files)) == GIB


def test_where_nobody_says_how_much_there_is_nothing_is_known(tmp_path: Path) -> None:
    assert available_memory(CPU, 0, root=tmp_path) is None
    assert available_memory(torch.device("meta"), 0) is None


def test_a_model_that_waits_on_the_cpu_is_planned_for_where_it_will_be_trained() -> None:
    model = tiny.model("llama", 300)
    assert not plan_memory(model, settings(), 10, 2).load.on_gpu
    assert plan_memory(model, settings(), 10, 2, device=torch.device("cuda")).load.on_gpu


# ---- the call before training -----------------------------------------------------------------------


@dataclass(frozen=True)
class Item:
    num_tokens: int


def test_a_tiny_model_gets_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUTELAGE_QUIET", raising=False)
    plan = check_memory(tiny.model("llama", 300), settings(), [Item(20), Item(50)])
    assert plan.load.longest == 50
    shown = "".join(capsys.readouterr())
    assert shown.count("\n") == 1
    assert re.search(r"memory: weights \d\.\d MiB \+ .* = \d\.\d( of [\d,.]+)? MiB", shown)


def test_training_that_cannot_fit_is_refused_before_it_starts() -> None:
    with pytest.raises(TrainingError, match=r"does not fit, by .*\n  activation_checkpointing=full: "):
        check_memory(tiny.model("llama", 300), settings(), [Item(10**11)])


def test_the_largest_batch_counts_not_as_many_of_the_longest() -> None:
    items = [Item(500), *[Item(10)] * 15]
    assert (
        check_memory(tiny.model("llama", 300), settings(batch_size=8, micro_batch_tokens=8192), items).load.tokens
        == 500 + 7 * 10
    )
    assert (
        check_memory(tiny.model("llama", 300), settings(batch_size=8, micro_batch_tokens=8192), items, 2).load.tokens
        == 500
    )


def test_what_may_fit_on_a_gpu_is_tried_and_what_cannot_is_not(mistral_7b: Any) -> None:
    plan = plan_memory(mistral_7b, Training(batch_size=8), 1024)
    spared = int(0.4 * plan.activations)
    require_fits(plan, plan.peak - spared, spared)
    with pytest.raises(TrainingError, match="training does not fit"):
        require_fits(plan, plan.peak - spared - 1, spared)
    said = str(out_of_memory(plan))
    assert said.startswith("the GPU ran out of memory; change one or more of\n  ")
    assert "activation_checkpointing=full: " in said
