"""Weights of the research code (policy.pt, checkpoint.pt): read bit for bit, or refused; never run."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

import architectures
import tiny
from tutelage import stages
from tutelage.errors import ModelError
from tutelage.inputs import Model, RewardModel
from tutelage.records import Completion, Prompt
from tutelage.train.checkpoint import load_encoder, load_model
from tutelage.train.legacy import read_archive
from tutelage.train.reward_critic import load_reward_critic, score_completions
from tutelage.train.reward_model import load_reward_model

IDS = torch.tensor([[5, 9, 2, 77, 31, 8]])
METRICS = {"loss/eval": 1.5, "rewards_eval/margins": numpy.float64(0.25), "counters": numpy.int64(3), "list": [0.5]}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """The model that the research code started from: an architecture and a tokenizer, and weights nobody wants."""
    return architectures.folder(tmp_path / "base", "mistral")


def policy(path: Path, state: dict[str, Any], **other: Any) -> Path:
    """Write what the research code's trainer saves."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"step_idx": 4000, "state": state, "metrics": METRICS, **other}, path)
    return path


def trained(base: Path, kind: str = "mistral") -> Any:
    """Other weights than those in `base`."""
    return architectures.model(kind, AutoConfig.from_pretrained(base).vocab_size, seed=1).eval()


def classifier(base: Path, seed: int = 1) -> Any:
    torch.manual_seed(seed)
    config = AutoConfig.from_pretrained(base, num_labels=1)
    return AutoModelForSequenceClassification.from_config(config).eval()


def source(base: Path, archive: Path) -> Model:
    return Model(path=str(base), chat_format="original", archive=str(archive))


# ---- language models ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", architectures.SETTINGS)
def test_a_policy_loads_bit_for_bit(kind: str, tmp_path: Path) -> None:
    base = architectures.folder(tmp_path / "base", kind)
    model = trained(base, kind)
    archive = policy(tmp_path / "policy.pt", model.state_dict())
    loaded = load_model(source(base, archive))
    assert torch.equal(loaded(IDS).logits, model(IDS).logits)
    assert not torch.equal(loaded(IDS).logits, load_model(Model(path=str(base)))(IDS).logits)


@pytest.mark.parametrize("kind", architectures.SETTINGS)
def test_weights_under_the_names_of_their_time_load_bit_for_bit(kind: str, tmp_path: Path) -> None:
    """Saved folders keep the names that transformers had then: Mixtral's experts one by one, for example."""
    base = architectures.folder(tmp_path / "base", kind)
    model = trained(base, kind)
    model.save_pretrained(tmp_path / "saved")
    archive = policy(tmp_path / "policy.pt", load_file(tmp_path / "saved" / "model.safetensors"))
    assert torch.equal(load_model(source(base, archive))(IDS).logits, model(IDS).logits)


def test_names_of_wrappers_and_buffers_of_older_versions_are_no_obstacle(base: Path, tmp_path: Path) -> None:
    model = trained(base)
    state = {}
    for number, (name, weight) in enumerate(model.state_dict().items()):
        wrapped = name.replace("layers.0.", "layers.0._checkpoint_wrapped_module.")
        state[f"{'module.' if number % 2 else ''}_fsdp_wrapped_module.{wrapped}"] = weight
    state["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    assert torch.equal(load_model(source(base, policy(tmp_path / "p.pt", state)))(IDS).logits, model(IDS).logits)


def test_a_mask_that_old_gpt2_saved_is_no_obstacle_but_its_biases_are_weights(tmp_path: Path) -> None:
    base = architectures.folder(tmp_path / "base", "gpt2")
    model = trained(base, "gpt2")
    torch.nn.init.normal_(model.transformer.h[0].attn.c_attn.bias)
    state = model.state_dict() | {
        "transformer.h.0.attn.bias": torch.ones(1, 1, 8, 8),
        "transformer.h.0.attn.masked_bias": torch.tensor(-1e4),
    }
    assert torch.equal(load_model(source(base, policy(tmp_path / "p.pt", state)))(IDS).logits, model(IDS).logits)


def test_a_tied_head_may_be_missing(tmp_path: Path) -> None:
    base = architectures.folder(tmp_path / "base", "qwen3")
    model = trained(base, "qwen3")
    state = model.state_dict()
    del state["lm_head.weight"]
    assert torch.equal(load_model(source(base, policy(tmp_path / "p.pt", state)))(IDS).logits, model(IDS).logits)


def test_an_untied_head_may_not(base: Path, tmp_path: Path) -> None:
    state = trained(base).state_dict()
    del state["lm_head.weight"]
    with pytest.raises(ModelError, match=r"does not fit MistralForCausalLM .*: lm_head\.weight is missing\. Give"):
        load_model(source(base, policy(tmp_path / "p.pt", state)))


def test_the_folder_of_a_run_is_as_good_as_the_file(base: Path, tmp_path: Path) -> None:
    archive = policy(tmp_path / "run" / "LATEST" / "policy.pt", trained(base).state_dict())
    by_folder, by_file = source(base, archive.parent), source(base, archive)
    assert by_folder.identity() == by_file.identity()
    assert torch.equal(load_model(by_folder)(IDS).logits, load_model(by_file)(IDS).logits)


def test_an_archive_needs_no_weights_beside_the_architecture(base: Path, tmp_path: Path) -> None:
    model = trained(base)
    (base / "model.safetensors").unlink()
    assert torch.equal(
        load_model(source(base, policy(tmp_path / "p.pt", model.state_dict())))(IDS).logits, model(IDS).logits
    )


def test_the_weights_are_part_of_a_models_identity_and_of_how_its_completions_are_signed(
    base: Path, tmp_path: Path
) -> None:
    one = source(base, policy(tmp_path / "one.pt", trained(base).state_dict()))
    moved = source(base, policy(tmp_path / "moved" / "one.pt", trained(base).state_dict()))
    other = source(base, policy(tmp_path / "two.pt", trained(base).state_dict(), step_idx=1))
    without = Model(path=str(base), chat_format="original")
    assert one.identity() == moved.identity()
    assert len({json.dumps(m.identity()) for m in (one, other, without)}) == 3
    assert len({m.author() for m in (one, other, without)}) == 3
    assert one.author() == moved.author()
    assert "archive" not in without.identity()  # or artifacts made before would be made again


def test_a_model_that_was_trained_from_an_archive_needs_it_no_more(
    base: Path, tmp_path: Path, write_rows: Any
) -> None:
    archive = policy(tmp_path / "policy.pt", trained(base).state_dict())
    before = archive.read_bytes()
    rows = write_rows("rows.jsonl", [{"instruction": "q", "output": "a", "generator": "t"}])
    words = [f"model={base}", "model.chat_format=original", f"model.archive={archive}", f"completions={rows}"]
    stage = stages.get("sft")
    made = stage.run(*stage.configure([*words, f"artifacts={tmp_path / 'artifacts'}", "epochs=1", "lr=1e-12"]))
    assert archive.read_bytes() == before  # the weights that are trained are mapped from it
    again = load_model(Model(path=str(made.path)))
    assert torch.allclose(again(IDS).logits, trained(base)(IDS).logits, atol=1e-5)
    assert made.record.identity["model.archive"] == source(base, archive).identity()["archive"]


def test_another_way_of_writing_turns_than_the_research_codes_is_said(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TUTELAGE_QUIET")
    archive = policy(tmp_path / "policy.pt", trained(base).state_dict())
    load_encoder(Model(path=str(base), chat_format="human_assistant", archive=str(archive)))
    assert "model.chat_format=original is its way" in capsys.readouterr().err
    load_encoder(source(base, archive))
    assert capsys.readouterr().err == ""


# ---- reward models ------------------------------------------------------------------------------------


def test_a_reward_model_starts_from_a_policy_with_a_new_head(base: Path, tmp_path: Path) -> None:
    model = trained(base)
    start = source(base, policy(tmp_path / "policy.pt", model.state_dict()))
    made = load_reward_model(start, load_encoder(start), seed=3)
    assert torch.equal(made.model.layers[2].mlp.up_proj.weight, model.model.layers[2].mlp.up_proj.weight)
    assert made.score.weight.shape == (1, 32)
    assert torch.equal(made.score.weight, load_reward_model(start, load_encoder(start), seed=3).score.weight)
    assert not torch.equal(made.score.weight, load_reward_model(start, load_encoder(start), seed=4).score.weight)


def test_a_reward_trainers_checkpoint_is_a_critic_that_scores_as_it_did(base: Path, tmp_path: Path) -> None:
    """It padded with the EOS, so the score is that of the last token before the EOS."""
    model = classifier(base)
    saved = {"state": model.state_dict(), "optimizer": {"state": {}, "param_groups": []}, "epoch": 1, "step": 9}
    torch.save(saved, tmp_path / "checkpoint.pt")
    critic = RewardModel(path=str(base), chat_format="original", archive=str(tmp_path))
    prompt = Prompt.of("hello")
    completions = [Completion(prompt_id=prompt.id, author="t", text=text) for text in ("a", "a longer one")]
    scores = score_completions(critic, {prompt.id: prompt}, completions, None, 512, "float32", lambda *_: None)
    _, encoder = load_reward_critic(critic)
    for completion in completions:
        example = encoder.example(prompt, completion)
        ids = torch.tensor([example.prompt_ids + example.completion_ids[:-1]])
        hidden = model.model(ids).last_hidden_state[0, -1]
        assert scores[completion.id] == pytest.approx(float(model.score(hidden).detach()), abs=1e-6)


@pytest.mark.parametrize("kind", [Model, RewardModel])
def test_the_other_kind_of_weights_is_refused(kind: Any, base: Path, tmp_path: Path) -> None:
    """A policy has no head that scores, and a reward model none that writes."""
    model = trained(base) if kind is RewardModel else classifier(base)
    archive = policy(tmp_path / "x.pt", model.state_dict())
    given = kind(path=str(base), chat_format="original", archive=str(archive))
    says = "has no scoring head" if kind is RewardModel else r"lm_head\.weight is missing; score\.weight is not known"
    with pytest.raises(ModelError, match=says):
        load_reward_critic(given) if kind is RewardModel else load_model(given)


# ---- what is refused ----------------------------------------------------------------------------------


def test_weights_of_another_model_are_named_up_to_three(base: Path, tmp_path: Path) -> None:
    other = architectures.model("mistral", 999)
    state = {name: weight for name, weight in other.state_dict().items() if "layers.1" not in name}
    with pytest.raises(ModelError, match="does not fit MistralForCausalLM") as caught:
        load_model(source(base, policy(tmp_path / "p.pt", state)))
    assert str(caught.value).count(" is missing") == 3
    assert "and 8 more" in str(caught.value)


def test_a_shape_that_differs_is_shown(base: Path, tmp_path: Path) -> None:
    state = trained(base).state_dict()
    state["model.norm.weight"] = torch.ones(7)
    with pytest.raises(ModelError, match=r"model\.norm\.weight is \(7,\) instead of \(32,\)"):
        load_model(source(base, policy(tmp_path / "p.pt", state)))


@pytest.mark.parametrize("keep", [0, 1, 100, 5_000, -1])
def test_a_torn_file_is_one_clear_error(base: Path, tmp_path: Path, keep: int) -> None:
    archive = policy(tmp_path / "policy.pt", trained(base).state_dict())
    archive.write_bytes(archive.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"policy\.pt: cannot be read as a file of torch\.save; it is torn"):
        read_archive(archive)


@pytest.mark.parametrize(
    "held",
    [
        {"model": {}},
        {"state": {}},
        {"state": {"a": 1}},
        {"state": None},
        [],
        7,
        torch.ones(2),
        {"step_idx": 1, "state": {"state": {}, "param_groups": []}, "metrics": {}},  # optimizer.pt beside it
        {"lm_head.weight": torch.ones(2)},
    ],
)
def test_a_foreign_file_is_one_clear_error(tmp_path: Path, held: Any) -> None:
    torch.save(held, tmp_path / "policy.pt")
    with pytest.raises(ModelError, match="holds no weights under 'state'"):
        read_archive(tmp_path / "policy.pt")


@pytest.mark.parametrize("content", [b"hello\n", b"PK\x03\x04nonsense", b'{"state": 1}', b"\x80\x05N."])
def test_a_file_of_another_kind_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "policy.pt").write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read as a file"):
        read_archive(tmp_path / "policy.pt")


def test_an_archive_that_is_not_there_says_what_was_looked_for(base: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere: no such file; model\.archive is the research code's policy\.pt"):
        source(base, tmp_path / "nowhere").identity()
    with pytest.raises(ModelError, match=r"policy\.pt: no such file"):
        source(base, tmp_path).identity()
    with pytest.raises(ModelError, match=r"checkpoint\.pt: no such file; reward_model\.archive"):
        RewardModel(path=str(base), archive=str(tmp_path)).identity()


def test_an_artifact_has_weights_already(base: Path, tmp_path: Path, write_rows: Any) -> None:
    rows = write_rows("rows.jsonl", [{"instruction": "q", "output": "a", "generator": "t"}])
    stage = stages.get("sft")
    words = [f"model={base}", "model.chat_format=original", f"completions={rows}", "epochs=1"]
    made = stage.run(*stage.configure([*words, f"artifacts={tmp_path / 'artifacts'}"]))
    archive = policy(tmp_path / "policy.pt", trained(base).state_dict())
    with pytest.raises(ModelError, match=r"an artifact has weights of its own, model\.archive="):
        source(made.path, archive).identity()


# ---- what must never run ------------------------------------------------------------------------------


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path, how: str) -> None:
        self.mark, self.how = mark, how

    def __reduce__(self) -> Any:
        calls: dict[str, Any] = {
            "system": (os.system, (f"touch {self.mark}",)),
            "exec": (exec, (f"open({str(self.mark)!r}, 'w').close()",)),
            "method": (Path.touch, (self.mark,)),
        }
        return calls[self.how]


def test_the_bomb_would_go_off(tmp_path: Path) -> None:
    for how in ("system", "exec", "method"):
        mark = tmp_path / how
        pickle.loads(pickle.dumps(Bomb(mark, how)))
        assert mark.exists()


@pytest.mark.parametrize("how", ["system", "exec", "method"])
@pytest.mark.parametrize("place", ["metrics", "state", "key", "bare"])
def test_no_code_in_a_file_runs(base: Path, tmp_path: Path, how: str, place: str) -> None:
    mark, archive, state = tmp_path / "mark", tmp_path / "policy.pt", trained(base).state_dict()
    bomb = Bomb(mark, how)
    held: dict[str, Any] = {
        "metrics": {"state": state, "metrics": {"loss": bomb}},
        "state": {"state": state | {"model.norm.weight": bomb}, "metrics": {}},
        "key": {"state": state, bomb: 1},
        "bare": bomb,
    }
    torch.save(held[place], archive)
    with pytest.raises(ModelError, match=r"asks for \S+ to be run while it is read.* It was not run"):
        load_model(source(base, archive))
    assert not mark.exists()


@pytest.mark.parametrize("protocol", [2, 4])
def test_no_code_in_a_plain_pickle_runs(tmp_path: Path, protocol: int) -> None:
    mark, archive = tmp_path / "mark", tmp_path / "policy.pt"
    archive.write_bytes(pickle.dumps({"state": Bomb(mark, "system")}, protocol=protocol))
    with pytest.raises(ModelError):
        read_archive(archive)
    assert not mark.exists()


def test_what_stands_for_numpys_numbers_runs_nothing_of_numpys(tmp_path: Path) -> None:
    """An object array would unpickle what it holds; it is refused, and so is a bomb within a number."""
    mark = tmp_path / "mark"
    for held in (numpy.array([Bomb(mark, "system")], dtype=object), numpy.array([1.0])):
        torch.save({"state": {"a": torch.ones(1)}, "metrics": {"x": held}}, tmp_path / "policy.pt")
        with pytest.raises(ModelError, match=r"asks for numpy\S*_reconstruct to be run"):
            read_archive(tmp_path / "policy.pt")
    assert not mark.exists()


def test_numbers_under_numpys_older_name_are_read_past(base: Path, tmp_path: Path) -> None:
    """numpy 1, which the research code ran on, pickled scalars under numpy.core instead of numpy._core."""
    archive, older = policy(tmp_path / "policy.pt", {"a": torch.ones(2)}), tmp_path / "older.pt"
    with zipfile.ZipFile(archive) as read, zipfile.ZipFile(older, "w") as write:
        for item in read.infolist():
            content = read.read(item)
            if item.filename.endswith("data.pkl"):
                assert b"numpy._core.multiarray" in content
                content = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            write.writestr(item, content)
    assert torch.equal(read_archive(older)["a"], torch.ones(2))


def test_the_model_itself_may_be_a_base_model_by_name(tmp_path: Path) -> None:
    """The tokenizer, too, comes from the model and not from the archive."""
    base = tiny.folder(tmp_path / "base")
    archive = policy(tmp_path / "p.pt", AutoModelForCausalLM.from_pretrained(base).state_dict())
    given = Model(path=str(base), archive=str(archive))
    assert load_encoder(given).tokenizer.get_vocab() == load_encoder(Model(path=str(base))).tokenizer.get_vocab()
