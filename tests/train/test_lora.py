"""LoRA: what is trained, what is saved, and that base and adapters are found again to the bit."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.checkpoint import FileSystemReader
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

import tiny
from running import in_two
from tutelage import extras
from tutelage.errors import ConfigError, MissingExtraError, ModelError
from tutelage.inputs import Model
from tutelage.stages import dpo, sft
from tutelage.train import parallel
from tutelage.train.checkpoint import load_encoder, load_model
from tutelage.train.encode import Example
from tutelage.train.fit import make_scorer
from tutelage.train.loop import METRICS, Trainer
from tutelage.train.lora import add_adapters
from tutelage.train.objectives import DPOObjective, SFTObjective, reward_objective
from tutelage.train.pairs import PairExample
from tutelage.train.reference import numbers, reference_of
from tutelage.train.resume import RESUME
from tutelage.train.reward_model import load_reward_model
from tutelage.train.saving import save_adapter, save_checkpoint
from tutelage.train.scorer import LogpScorer, RewardScorer
from tutelage.train.settings import Lora, Training

ITEMS = [Example(str(i), f"p{i}", (1, 2, 3 + i), tuple(range(10 + i, 14 + i))) for i in range(10)]
PAIRS = [
    PairExample(str(i), e, Example(f"{i}r", e.prompt_id, e.prompt_ids, tuple(range(30 + i, 35 + i))))
    for i, e in enumerate(ITEMS)
]
IDS = torch.tensor([[5, 6, 7, 8, 9, 10]])
ALL = "down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj"


def settings(**changed: Any) -> Training:
    lora = Lora(**{"rank": 4, **changed.pop("lora", {})})
    given = {"lr": 1e-2, "epochs": 2, "batch_size": 4, "save_every_seconds": 0.0, "precision": "float32"}
    return Training(**{**given, "lora": lora, **changed})


def fresh(kind: str = "llama", **changed: Any) -> LogpScorer:
    """A scorer of a random model with adapters."""
    return make_scorer(LogpScorer, tiny.small(kind), ITEMS, settings(**changed))


def trained(folder: Path, scorer: Any = None, **changed: Any) -> Any:
    """The same after training it; what it needs to go on lies in `folder`."""
    folder.mkdir(exist_ok=True)
    scorer = scorer or fresh(**changed)
    Trainer(scorer, ITEMS, SFTObjective(), settings(**changed), folder).run("sft")
    return scorer


def adapters(model: Any) -> dict[str, torch.Tensor]:
    return {name: w for name, w in model.named_parameters() if "lora_" in name}


def logps(scorer: LogpScorer) -> torch.Tensor:
    with torch.no_grad():
        return scorer(ITEMS)


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model.eval()(input_ids=IDS, use_cache=False).logits
    return found


# ---- what is trained ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["llama", "gpt2", "gpt_neox", "opt", "falcon", "mixtral", "qwen3_moe", "gemma3_text"]
)
def test_adapters_stand_beside_the_matrices_of_the_blocks_and_change_nothing_yet(kind: str, tmp_path: Path) -> None:
    before = logps(make_scorer(LogpScorer, tiny.small(kind), ITEMS, Training()))
    scorer = fresh(kind)
    assert torch.equal(logps(scorer), before)
    trained_names = {name for name, w in scorer.model.named_parameters() if w.requires_grad}
    assert trained_names == set(adapters(scorer.model)) != set()
    assert not any("lm_head" in name or "embed" in name for name in trained_names)
    assert {w.dtype for w in adapters(scorer.model).values()} == {torch.float32}


def test_only_the_matrices_asked_for_are_adapted() -> None:
    found = adapters(fresh(lora={"target": ["q_proj", "mlp.down_proj"]}).model)
    assert len(found) == 2 * 2 * 2  # blocks, matrices, A and B
    assert all("q_proj" in name or "down_proj" in name for name in found)


def test_the_start_depends_on_the_seed_and_on_nothing_else() -> None:
    one, same, other = (adapters(fresh(seed=seed).model) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one if "lora_A" in name)


def test_training_moves_the_adapters_and_not_the_base(tmp_path: Path) -> None:
    scorer = trained(tmp_path)
    start = dict(tiny.small("llama").named_parameters())
    for name, weight in scorer.model.named_parameters():
        if "lora_" in name:
            assert weight.abs().max() > 0
        else:
            assert torch.equal(weight, start[name.replace(".base_layer", "")])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_without_its_adapters_a_trained_policy_is_the_reference_to_the_bit(precision: Any, tmp_path: Path) -> None:
    config = settings(precision=precision)
    scorer = make_scorer(LogpScorer, tiny.small("llama"), PAIRS, config)
    reference = reference_of(scorer, PAIRS, config, tmp_path / "references", {"model": "m"}, "tokens")
    pairs = [replace(p, reference_chosen=c, reference_rejected=r) for p, (c, r) in zip(PAIRS, reference, strict=True)]
    Trainer(scorer, pairs, DPOObjective("sigmoid", beta=0.1), config, tmp_path).run("dpo")
    assert (numbers(scorer, pairs, 8192, precision, "policy") != reference).any()
    scorer.model.disable_adapters()
    assert numbers(scorer, pairs, 8192, precision, "base").tolist() == reference.tolist()


@pytest.mark.parametrize("which", ["selective", "full"])
def test_checkpointed_activations_change_no_bit(which: Any, tmp_path: Path) -> None:
    kept = adapters(trained(tmp_path / "kept").model)
    again = adapters(trained(tmp_path / "again", activation_checkpointing=which).model)
    assert all(torch.equal(weight, again[name]) for name, weight in kept.items())


def test_alpha_is_twice_the_rank_unless_given() -> None:
    for lora, scale in (({"rank": 4}, 8), ({"rank": 4, "alpha": 3}, 3)):
        config = fresh(lora=lora).model.peft_config["default"]
        assert (config.r, config.lora_alpha, config.lora_dropout) == (4, scale, 0.0)


# ---- going on -----------------------------------------------------------------------------------------


def test_a_killed_run_goes_on_to_the_same_bits_from_adapters_alone(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", optimizer="adamw")
    run = Trainer(fresh(optimizer="adamw"), ITEMS, SFTObjective(), settings(optimizer="adamw"), tmp_path)
    for step in range(3):
        run._step(step, False)
    run.resume.save(3)
    run.resume.finish()
    (saved,) = (tmp_path / RESUME).iterdir()
    names = {name for name in FileSystemReader(saved).read_metadata().state_dict_metadata if "." in name}
    assert names
    assert all("lora_" in name or name.startswith("optimizer.param_groups.") for name in names)
    other = trained(tmp_path, fresh(seed=9), optimizer="adamw")  # what is drawn at the start is replaced
    assert all(torch.equal(w, adapters(whole.model)[name]) for name, w in adapters(other.model).items())


# ---- what is saved ------------------------------------------------------------------------------------


def source(folder: Path, kind: str = "llama") -> Model:
    """A folder with a small model, as a stage takes it."""
    tokenizer = tiny.byte_level(eos_token="<|im_end|>", pad_token="<|pad|>", bos_token="<|im_start|>")
    path = tiny.folder(folder / "base", tokenizer=tokenizer)
    tiny.small(kind, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id).save_pretrained(path)
    return Model(path=str(path))


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mixtral", "gemma3_text"])  # gpt2's matrices are transposed
def test_memory_checkpoint_and_adapter_on_its_base_are_one_model(kind: str, tmp_path: Path) -> None:
    base = source(tmp_path, kind)
    scorer = make_scorer(LogpScorer, load_model(base), ITEMS, settings())
    scorer = trained(tmp_path, scorer)
    before = {name: w.clone() for name, w in scorer.model.state_dict().items()}
    save_checkpoint(scorer, load_encoder(base), tmp_path / "checkpoint")
    save_adapter(scorer, base.folder(), tmp_path / "adapter")
    assert all(torch.equal(w, before[name]) for name, w in scorer.model.state_dict().items())
    with scorer.as_loaded() as model:
        wanted = logits(model)
    names = set(tiny.small(kind, vocab_size=300).state_dict())
    checkpoint = AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint")
    assert set(checkpoint.state_dict()) == names
    assert checkpoint.dtype == torch.float32
    start = AutoModelForCausalLM.from_pretrained(base.folder())
    adapted = peft.PeftModel.from_pretrained(start, tmp_path / "adapter")
    found = logits(adapted)
    with adapted.disable_adapter():
        assert (logits(adapted) - wanted).abs().max() > 0.01  # what was trained is more than rounding
    assert torch.allclose(logits(checkpoint), wanted, atol=1e-5)
    assert torch.allclose(found, wanted, atol=1e-5)
    assert torch.allclose(logits(adapted.merge_and_unload()), wanted, atol=1e-5)


def test_the_adapter_says_what_it_belongs_to(tmp_path: Path) -> None:
    base = source(tmp_path)
    scorer = make_scorer(LogpScorer, load_model(base), ITEMS, settings(lora={"target": ["v_proj", "q_proj"]}))
    save_adapter(scorer, base.folder(), tmp_path / "adapter")
    assert {path.name for path in (tmp_path / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    said = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert (said["base_model_name_or_path"], said["r"], said["lora_alpha"]) == (base.folder(), 4, 8)
    again = peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter")
    assert type(again.get_base_model()).__name__ == "LlamaForCausalLM"


def test_a_reward_model_trains_its_head_whole_and_saves_it(tmp_path: Path) -> None:
    base = source(tmp_path)
    encoder = load_encoder(base)
    scorer = make_scorer(RewardScorer, load_reward_model(base, encoder, 0), PAIRS, settings())
    start = scorer.model.score.weight.clone()
    Trainer(scorer, PAIRS, reward_objective, settings(), tmp_path).run("reward")
    assert not torch.equal(scorer.model.score.weight, start)
    save_checkpoint(scorer, encoder, tmp_path / "checkpoint")
    save_adapter(scorer, base.folder(), tmp_path / "adapter")
    with scorer.as_loaded() as model:
        wanted = logits(model)
    checkpoint = AutoModelForSequenceClassification.from_pretrained(tmp_path / "checkpoint")
    assert torch.equal(checkpoint.score.weight, scorer.model.score.weight)
    assert torch.allclose(logits(checkpoint), wanted, atol=1e-5)
    torch.manual_seed(7)  # a head of its own, which the adapter's takes the place of
    start_again = AutoModelForSequenceClassification.from_pretrained(base.folder(), num_labels=1)
    adapted = peft.PeftModel.from_pretrained(start_again, tmp_path / "adapter")
    assert torch.allclose(logits(adapted), wanted, atol=1e-5)


def test_the_checkpoint_can_be_trained_again(tmp_path: Path) -> None:
    base = source(tmp_path)
    scorer = trained(tmp_path, make_scorer(LogpScorer, load_model(base), ITEMS, settings()))
    save_checkpoint(scorer, load_encoder(base), tmp_path / "checkpoint")
    again = Model(path=str(tmp_path / "checkpoint"))
    policy = make_scorer(LogpScorer, load_model(again), PAIRS, settings())
    assert torch.allclose(logps(policy), logps(scorer), atol=1e-4)


# ---- what is said -------------------------------------------------------------------------------------


def said(capsys: pytest.CaptureFixture[str], config: Any) -> str:
    capsys.readouterr()
    make_scorer(LogpScorer, tiny.small("llama"), ITEMS, config)
    return "".join(capsys.readouterr())


def test_one_line_says_what_is_trained_and_one_that_the_learning_rate_is_for_all_weights(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TUTELAGE_QUIET", raising=False)
    shown = said(capsys, dpo.Config(lora=Lora(rank=4)))
    assert f"LoRA of rank 4, alpha 8, beside {ALL}: 4,096 of " in shown
    assert "lr=1e-07 is the default for training all weights" in shown
    assert "lr=1e-06" in shown
    assert "lr=1e-06 is the default" in said(capsys, sft.Config(lora=Lora(rank=4)))
    assert "default" not in said(capsys, dpo.Config(lora=Lora(rank=4), lr=1e-6))
    assert "LoRA" not in said(capsys, dpo.Config())


def test_the_memory_plan_counts_gradients_and_optimizer_of_the_adapters_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tutelage.train.memory import plan_memory

    model = tiny.small("llama")
    add_adapters(model, settings())
    plan = plan_memory(model, settings(optimizer="adamw"), 20)
    num = sum(w.numel() for w in adapters(model).values())
    assert (plan.gradients, plan.optimizer) == (4 * num, 8 * num)
    assert plan.weights == 4 * sum(w.numel() for w in model.parameters())


# ---- what cannot be -----------------------------------------------------------------------------------


def test_a_target_that_is_nowhere_is_answered_with_what_there_is() -> None:
    with pytest.raises(ModelError) as caught:
        fresh(lora={"target": ["q_proj", "w_proj"]})
    assert str(caught.value) == (
        f"lora.target: LlamaForCausalLM has no matrix called w_proj; did you mean v_proj? (there are {ALL}; "
        "all-linear is all of them)"
    )


def test_what_peft_would_take_for_other_weights_is_refused_with_what_can_be_asked_for() -> None:
    with pytest.raises(
        ModelError, match=r"takes down_proj, gate_proj, up_proj for other.*lora\.target=\[in_proj_ba,"
    ):
        fresh("qwen3_next")


def test_an_architecture_whose_kernel_reads_past_adapters_is_refused() -> None:
    with pytest.raises(ModelError, match=r"lora: .*out_proj.* incompatible with Mamba.* lora\.target \(of dt_proj, "):
        fresh("mamba")


def test_without_peft_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda package: package != "peft")
    with pytest.raises(MissingExtraError, match=r"lora=4 needs peft.*pip install 'tutelage\[lora\]'"):
        fresh()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lora=-1"], r"lora\.rank: found '-1'"),
        (["lora=big"], r"lora\.rank: found 'big'"),
        (["lora=null"], r"lora: found None: expected a rank or its settings"),
        (["lora.alpha=16"], r"lora\.alpha is read where lora\.rank is at least 1"),
        (["lora=0", "lora.target=q_proj"], r"lora\.target is read where lora\.rank is at least 1"),
        (["lora=4", "lora.target=[]"], r"lora\.target: found \[\]"),
        (["lora=4", "lora.alpha=0"], r"lora\.alpha: found '0'"),
    ],
)
def test_settings_that_cannot_be_are_one_config_error(words: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        sft.STAGE.configure(["model=m", "completions=c", *words])


def test_a_rank_stands_for_the_group_and_a_name_for_a_list() -> None:
    config, _ = sft.STAGE.configure(["model=m", "completions=c", "lora=16", "lora.target=q_proj"])
    assert config.lora == Lora(rank=16, target=("q_proj",))
    assert config.identity()["lora"] == {"rank": 16, "alpha": None, "target": ["q_proj"]}
    nested, _ = sft.STAGE.configure(["model=m", "completions=c", "lora={rank: 16, alpha: 8}"])
    assert (nested.lora.scale, config.lora.scale) == (8, 32)


# ---- several processes --------------------------------------------------------------------------------


def one_of_two(rank: int, folder: Path, port: int) -> None:
    """Train and save as one of two processes, on the CPU."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    parallel.start()
    base = Model(path=str(folder / "base"))
    once: Any = {"save_every_seconds": 1e6}
    scorer = make_scorer(LogpScorer, load_model(base), ITEMS, settings(**once))
    trained(folder / "two", scorer, **once)
    save_checkpoint(scorer, load_encoder(base), folder / "two/checkpoint")
    save_adapter(scorer, base.folder(), folder / "two/adapter")
    tiny.leave()


@pytest.mark.slow
def test_two_processes_with_sharded_weights_train_and_save_the_same_adapter(tmp_path: Path) -> None:
    base = source(tmp_path)
    one = trained(tmp_path / "one", make_scorer(LogpScorer, load_model(base), ITEMS, settings()))
    save_adapter(one, base.folder(), tmp_path / "one/adapter")
    in_two(one_of_two, tmp_path)
    wanted, found = (load_file(tmp_path / who / "adapter/adapter_model.safetensors") for who in ("one", "two"))
    assert {name: w.shape for name, w in wanted.items()} == {name: w.shape for name, w in found.items()}
    losses = [[json.loads(row)["loss"] for row in (tmp_path / who / METRICS).open()] for who in ("one", "two")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)  # RMSprop makes much of rounding where gradients are tiny
    start = AutoModelForCausalLM.from_pretrained(base.folder())
    adapted = logits(peft.PeftModel.from_pretrained(start, tmp_path / "two/adapter"))
    assert torch.allclose(
        logits(AutoModelForCausalLM.from_pretrained(tmp_path / "two/checkpoint")), adapted, atol=1e-5
    )
    again = make_scorer(LogpScorer, load_model(base), ITEMS, settings())
    run = Trainer(again, ITEMS, SFTObjective(), settings(), tmp_path / "two")
    assert run.resume.load() == run.plan.num_steps  # by one process, what two had saved
    for name, weight in adapters(again.model).items():
        assert torch.equal(weight, found[f"base_model.model.{name.replace('.default', '')}"])
