"""The base model: shipped whole, fit to be a student, and made again by the command that made it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tutelage.errors import ModelError, TrainingError
from tutelage.miniature import TEACHERS, base_path, make_prompts, write
from tutelage.miniature.world import FAMILIES

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tutelage.miniature.build import ASSISTANT, END, MAX_LENGTH, PAD, USER, build  # noqa: E402
from tutelage.miniature.probe import Probe, probe  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def _one_thread_and_no_network():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("TUTELAGE_QUIET", "1")
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tokenizer():
    return transformers.AutoTokenizer.from_pretrained(base_path())


def test_the_shipped_base_loads_and_knows_its_world(tokenizer) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(base_path(), dtype=torch.float32)
    assert sum(p.numel() for p in model.parameters()) < 550_000
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    result = probe(model, tokenizer)
    assert result.passed, result.table()


def test_the_shipped_base_is_small_and_in_bf16() -> None:
    names = {path.name for path in base_path().iterdir()}
    assert {"model.safetensors", "tokenizer.json", "generation_config.json", "chat_template.jinja"} <= names
    assert (base_path() / "model.safetensors").stat().st_size < 1_100_000
    model = transformers.AutoModelForCausalLM.from_pretrained(base_path())
    assert model.dtype == torch.bfloat16


def test_the_chat_template_writes_turns_with_special_tokens(tokenizer) -> None:
    turns = [{"role": "user", "content": "Hot?"}, {"role": "assistant", "content": "Cold."}]
    assert tokenizer.apply_chat_template(turns, tokenize=False) == f"{USER}\nHot?\n{ASSISTANT}\nCold.{END}"
    opened = tokenizer.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True)
    assert opened == f"{USER}\nHot?\n{ASSISTANT}\n"
    assert (tokenizer.eos_token, tokenizer.pad_token) == (END, PAD)
    assert all(len(tokenizer(token)["input_ids"]) == 1 for token in (USER, ASSISTANT, END, PAD))
    with pytest.raises(Exception, match="roles user and assistant"):
        tokenizer.apply_chat_template([{"role": "system", "content": "Be brief."}], tokenize=False)


def test_every_prompt_with_its_completion_fits_the_model_and_decodes_to_itself(tokenizer) -> None:
    teacher = TEACHERS["strong"]
    turns = [
        [{"role": "user", "content": prompt}, {"role": "assistant", "content": write(teacher, prompt)}]
        for prompt in make_prompts(500, seed=3)
    ]
    texts = tokenizer.apply_chat_template(turns, tokenize=False)
    rows = tokenizer(texts, add_special_tokens=False)["input_ids"]
    assert max(map(len, rows)) < MAX_LENGTH / 2
    assert tokenizer.batch_decode(rows) == texts


def test_building_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        build(tmp_path / name, seed=5, steps=12, gate=False)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert "model.safetensors" in files
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


def test_a_base_that_has_learnt_nothing_is_refused_and_not_saved(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"has not learnt its world.*take more steps or another seed"):
        build(tmp_path / "base", steps=2)
    assert not (tmp_path / "base").exists()


def test_the_probe_asks_for_a_good_mean_and_for_no_family_left_behind() -> None:
    good = {name: 0.9 for name in FAMILIES}
    assert Probe(good).passed
    assert not Probe({**good, "polite": 0.1}).passed
    assert Probe({**good, "polite": 0.1}).worst == "polite 0.10"
    assert not Probe({name: 0.8 for name in FAMILIES}).passed


def test_a_missing_base_names_the_command_that_makes_it(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tutelage.miniature.base.resources.files", lambda name: tmp_path)
    with pytest.raises(ModelError, match="tutelage miniature build out="):
        base_path()
