"""Hugging Face folders in and out, and what is said of broken ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import tiny
from tutelage.errors import ModelError
from tutelage.inputs import Model
from tutelage.train.checkpoint import check_vocabulary, load_encoder, load_model, save_checkpoint
from tutelage.train.scorer import LogpScorer


def test_a_saved_checkpoint_loads_with_plain_transformers(tmp_path: Path) -> None:
    source = Model(path=str(tiny.folder(tmp_path / "m")))
    model, encoder = load_model(source), load_encoder(source)
    save_checkpoint(LogpScorer(model), encoder, tmp_path / "checkpoint")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "checkpoint")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert tokenizer.chat_template == tiny.CHATML
    assert again.generation_config.eos_token_id == encoder.end_id
    assert not (tmp_path / "checkpoint.tmp").exists()


def test_a_chat_format_given_by_name_is_stored_with_the_checkpoint(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "m", tokenizer=tiny.byte_level(eos_token="</s>"), template=None)
    source = Model(path=str(folder), chat_format="human_assistant")
    encoder = load_encoder(source)
    save_checkpoint(LogpScorer(load_model(source)), encoder, tmp_path / "checkpoint")
    stored = load_encoder(Model(path=str(tmp_path / "checkpoint")))
    assert stored.tokenizer.chat_template == encoder.tokenizer.chat_template
    assert stored.end_id == stored.tokenizer.eos_token_id


def test_a_folder_without_a_tokenizer_says_so(tmp_path: Path) -> None:
    tiny.model("llama", 64).save_pretrained(tmp_path / "m")
    with pytest.raises(ModelError, match="has no tokenizer"):
        load_encoder(Model(path=str(tmp_path / "m")))


def test_a_tokenizer_without_a_chat_template_names_the_choices(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "m", tokenizer=tiny.byte_level(eos_token="</s>"), template=None)
    with pytest.raises(ModelError, match=r"no chat template.*human_assistant.*chatml.*\.jinja"):
        load_encoder(Model(path=str(folder)))


def test_an_unknown_chat_format_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="did you mean chatml"):
        load_encoder(Model(path=str(tiny.folder(tmp_path / "m")), chat_format="chatlm"))


def test_broken_weights_are_one_clear_error(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "m")
    (folder / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    with pytest.raises(ModelError, match="the model cannot be loaded"):
        load_model(Model(path=str(folder)))


def test_a_name_that_is_nothing_is_one_clear_error() -> None:
    with pytest.raises(ModelError, match="no preset, folder or model on the Hub"):
        load_encoder(Model(path="no/such-model"))


def test_weights_that_are_missing_are_not_made_up(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tiny.folder(tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "layers.1.mlp" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"3 weights are missing.*layers\.1\.mlp"):
        load_model(Model(path=str(folder)))


def test_a_tokenizer_larger_than_the_embeddings_is_refused(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "m")
    source = Model(path=str(folder))
    encoder = load_encoder(source)
    encoder.tokenizer.add_tokens([f"new{i}" for i in range(3)])
    with pytest.raises(ModelError, match="resize them"):
        check_vocabulary(load_model(source), encoder, source.path)


def test_chatml_needs_its_tokens(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "m", tokenizer=tiny.byte_level(eos_token="</s>"), template=None)
    with pytest.raises(ModelError, match="chatml needs"):
        load_encoder(Model(path=str(folder), chat_format="chatml"))
