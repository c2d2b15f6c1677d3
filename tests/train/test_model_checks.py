"""What is no model to train is refused before any training, in one sentence; and what a turn's end is worth."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    CohereConfig,
    CohereForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

import architectures
import tiny
from tutelage import stages
from tutelage.errors import ModelError
from tutelage.inputs import Model
from tutelage.records import Completion, Prompt
from tutelage.train.checkpoint import check_left_to_right, check_vocabulary, load_encoder, load_model
from tutelage.train.encode import Encoder
from tutelage.train.reward_model import load_reward_model

SMALL: dict[str, Any] = {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
HEADER = "{{ m['role'] + ': ' + m['content'] }}"
OPENING = "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"


def template(ending: str) -> str:
    """A chat template that writes `ending` after every message."""
    return f"{{% for m in messages %}}{HEADER}{ending}{{% endfor %}}{OPENING}"


def encoder(chat_template: str, **special: str) -> Encoder:
    tokenizer = tiny.byte_level(**(special or {"eos_token": "</s>"}))
    tokenizer.chat_template = chat_template
    return Encoder(tokenizer)


def saved(model: Any, path: Path, **special: str) -> Model:
    tokenizer = tiny.byte_level(**(special or {"eos_token": "</s>"}))
    tokenizer.chat_template = template("{{ eos_token }}")
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return Model(path=str(path))


# ---- architectures ------------------------------------------------------------------------------------


def test_a_bert_is_refused_for_it_sees_what_comes_later(tmp_path: Path) -> None:
    source = saved(BertForMaskedLM(BertConfig(num_attention_heads=2, **SMALL)), tmp_path)
    with pytest.raises(ModelError, match=r"BertLMHeadModel sees the tokens that come later.* expected a causal"):
        load_model(source)


def test_a_t5_is_refused_by_its_configuration(tmp_path: Path) -> None:
    config = T5Config(vocab_size=400, d_model=32, d_kv=16, d_ff=64, num_layers=1, num_heads=2)
    source = saved(T5ForConditionalGeneration(config), tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"never read")
    with pytest.raises(ModelError, match=r"is a T5ForConditionalGeneration; expected a causal language model"):
        load_model(source)
    with pytest.raises(ModelError, match=r"is a T5ForConditionalGeneration; expected a causal language model"):
        load_reward_model(source, load_encoder(source), 0)


def test_a_model_without_a_scoring_sibling_is_no_start_of_a_reward_model(tmp_path: Path) -> None:
    config = CohereConfig(num_attention_heads=2, bos_token_id=0, eos_token_id=1, **SMALL)
    source = saved(CohereForCausalLM(config), tmp_path)
    load_model(source)
    with pytest.raises(
        ModelError, match=r"is a CohereForCausalLM, of which transformers has no SequenceClassification"
    ):
        load_reward_model(source, load_encoder(source), 0)


@pytest.mark.parametrize("what", ["model", "tokenizer"])
def test_code_that_comes_with_a_model_is_not_run(what: str, tmp_path: Path) -> None:
    source = saved(architectures.model("llama", 400), tmp_path)
    code = f"import pathlib\npathlib.Path({str(tmp_path / 'mark')!r}).touch()\nclass Mine: ...\n"
    (tmp_path / "mine.py").write_text(code, "utf-8")
    autos = {"AutoConfig": "mine.Mine", "AutoModelForCausalLM": "mine.Mine", "AutoTokenizer": ["mine.Mine", None]}
    name = "config.json" if what == "model" else "tokenizer_config.json"
    written = json.loads((tmp_path / name).read_text("utf-8"))
    unknown = {"model_type": "mine"} if what == "model" else {"tokenizer_class": "Mine"}
    (tmp_path / name).write_text(json.dumps(written | unknown | {"auto_map": autos}), "utf-8")
    with pytest.raises(ModelError, match=r"cannot be loaded: .*custom code"):
        load_model(source) if what == "model" else load_encoder(source)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("kind", ["mistral", "qwen3"])  # an untied head, and a tied one that could be made up
def test_a_reward_model_is_no_language_model(kind: str, tmp_path: Path) -> None:
    config = architectures.model(kind, 400).config
    config.num_labels = 1
    source = saved(AutoModelForSequenceClassification.from_config(config), tmp_path)
    with pytest.raises(ModelError, match="ForSequenceClassification, which scores and does not write"):
        load_model(source)


@pytest.mark.parametrize("kind", architectures.SETTINGS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_architecture_of_the_presets_reads_left_to_right(kind: str, dtype: str) -> None:
    model = architectures.model(kind, 400).eval()
    for weight in model.parameters():  # sharp attention and large logits, as after training
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.3)
    check_left_to_right(model.to(getattr(torch, dtype)), "somewhere")


def test_a_bert_is_found_out_in_low_precision_too() -> None:
    from transformers import BertLMHeadModel

    model = BertLMHeadModel(BertConfig(num_attention_heads=2, **SMALL)).eval()
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.3)
    with pytest.raises(ModelError, match="sees the tokens that come later"):
        check_left_to_right(model.to(torch.bfloat16), "somewhere")


# ---- the end of a turn --------------------------------------------------------------------------------


def test_a_tokenizer_without_any_end_of_turn_is_refused_by_name(tmp_path: Path) -> None:
    source = saved(architectures.model("llama", 400), tmp_path, pad_token="<|pad|>")
    for given in (source, Model(path=source.path, chat_format="human_assistant")):
        with pytest.raises(ModelError, match=r"ends a turn|cannot be used") as caught:
            load_encoder(given)
        assert str(caught.value).startswith(f"{tmp_path}: ")


@pytest.mark.parametrize("ending", ["", "\n", "\n\n"])
def test_where_the_template_ends_nothing_the_eos_does_and_it_is_said(ending: str) -> None:
    e = encoder(template(ending))
    assert e.end_id == e.tokenizer.eos_token_id
    assert e.notes == ["its chat template ends no completion; the tokenizer's EOS </s> does, as a label too"]
    prompt = Prompt.of("hello")
    example = e.example(prompt, Completion(prompt_id=prompt.id, author="t", text="hi"))
    assert example.completion_ids[-1] == e.tokenizer.eos_token_id


def test_the_opening_of_the_next_turn_is_no_end_of_this_one() -> None:
    """Like chatml, but with the <|im_end|> forgotten."""
    forgot = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '\n' }}{% endfor %}"
    forgot += "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    e = encoder(forgot, eos_token="</s>", bos_token="<|im_start|>", pad_token="<|im_end|>")
    assert e.end_id == e.tokenizer.eos_token_id
    assert "EOS </s>" in e.notes[0]


@pytest.mark.parametrize("ending", [" END", "\n### End\n", " [/A]{{ eos_token }}", "<|im_end|>\n"])
def test_an_end_that_is_plain_text_is_refused_for_it_would_not_be_learnt(ending: str) -> None:
    with pytest.raises(ModelError, match=r"ends the assistant's text with .*no special token.*\{\{ eos_token \}\}"):
        encoder(template(ending))


@pytest.mark.parametrize("ending", ["{{ eos_token }}", "{{ eos_token }}\n", " {{ eos_token }}\n\n"])
def test_a_template_that_ends_its_turns_needs_no_note(ending: str) -> None:
    assert encoder(template(ending)).notes == []


def test_a_template_that_leaves_the_completion_out_is_refused() -> None:
    with pytest.raises(ModelError, match="leaves the assistant's text out"):
        encoder("{{ messages[0]['content'] + eos_token }}")


def test_a_template_that_opens_no_turn_for_the_assistant_is_said() -> None:
    e = encoder(template("{{ eos_token }}").replace(OPENING, ""))
    assert e.notes == ["its chat template opens a completion otherwise than it writes an earlier one"]


def test_notes_are_shown_with_the_models_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TUTELAGE_QUIET")
    folder = architectures.folder(tmp_path, "llama", template=template(""))
    load_encoder(Model(path=str(folder)))
    assert f"{folder}: its chat template ends no completion" in capsys.readouterr().err


# ---- padding is no label, the end is one --------------------------------------------------------------


@pytest.fixture
def padded_with_eos(tmp_path: Path) -> Path:
    """A model whose tokenizer pads with the EOS, as most base models' users set it."""
    tokenizer = tiny.byte_level(eos_token="</s>", pad_token="</s>")
    return architectures.folder(tmp_path / "base", "llama", tokenizer, template("{{ eos_token }}"))


def sft(folder: Path, rows: Path, tmp_path: Path, *words: str) -> Any:
    stage = stages.get("sft")
    given = [f"model={folder}", f"completions={rows}", f"artifacts={tmp_path / 'artifacts'}", "optimizer=adamw"]
    return stage.run(*stage.configure([*given, *words]))


def test_the_eos_is_trained_though_padding_is_the_same_token(
    padded_with_eos: Path, write_rows: Callable[[str, list[Any]], Path], tmp_path: Path
) -> None:
    """The loss of the first step is that of every completion token and the EOS, and of no padding."""
    texts = {"short": "a", "much longer than that": "so is this completion, by many more tokens"}
    rows = write_rows("r.jsonl", [{"instruction": p, "output": c, "generator": "t"} for p, c in texts.items()])
    made = sft(padded_with_eos, rows, tmp_path, "epochs=1")
    encoder, model = load_encoder(Model(path=str(padded_with_eos))), load_model(Model(path=str(padded_with_eos)))
    assert encoder.tokenizer.pad_token_id == encoder.end_id
    logps = []
    for text, answer in texts.items():
        start, whole = f"user: {text}</s>assistant: ", f"user: {text}</s>assistant: {answer}</s>"
        ids = encoder.tokenizer(whole, add_special_tokens=False, return_tensors="pt")["input_ids"]
        num_prompt = len(encoder.tokenizer(start, add_special_tokens=False)["input_ids"])
        assert ids[0, -1] == encoder.end_id
        of_all = model(ids).logits[0, :-1].double().log_softmax(-1)
        logps += of_all.gather(1, ids[0, 1:, None])[num_prompt - 1 :, 0].tolist()
    first = json.loads((made.path / "metrics.jsonl").read_text("utf-8").splitlines()[0])
    assert first["loss"] == pytest.approx(-sum(logps) / len(logps), abs=1e-5)


def test_a_student_learns_to_end_though_padding_is_the_same_token(
    padded_with_eos: Path, write_rows: Callable[[str, list[Any]], Path], tmp_path: Path
) -> None:
    """Were the EOS masked as padding, all that could be learnt is the full stop before it."""
    rows = write_rows("r.jsonl", [{"instruction": f"q{i}", "output": ".", "generator": "t"} for i in range(8)])
    made = sft(padded_with_eos, rows, tmp_path, "epochs=20", "lr=0.01")
    encoder = load_encoder(Model(path=str(padded_with_eos)))
    prompt = Prompt.of("q3")
    example = encoder.example(prompt, Completion(prompt_id=prompt.id, author="t", text="."))
    ids = torch.tensor([example.prompt_ids + example.completion_ids[:-1]])

    def chance(folder: Path) -> float:
        with torch.no_grad():
            logits = AutoModelForCausalLM.from_pretrained(folder)(ids).logits[0, -1]
        return float(logits.softmax(-1)[encoder.end_id])

    assert chance(padded_with_eos) < 0.1
    assert chance(made.path / "checkpoint") > 0.9


# ---- vocabularies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [0, 1, 64])
def test_rows_without_a_token_are_fine(rows: int, tmp_path: Path) -> None:
    """Embeddings are often rounded up to a multiple of 64."""
    tokenizer = tiny.byte_level(eos_token="</s>")
    source = saved(architectures.model("llama", len(tokenizer) + rows), tmp_path)
    check_vocabulary(load_model(source), load_encoder(source), source.path)


def test_tokens_without_a_row_are_refused_before_training(
    tmp_path: Path, write_rows: Callable[[str, list[Any]], Path]
) -> None:
    num_tokens = len(tiny.byte_level(eos_token="</s>"))
    saved(architectures.model("llama", num_tokens - 1), tmp_path / "m")
    rows = write_rows("r.jsonl", [{"instruction": "q", "output": "a", "generator": "t"}])
    with pytest.raises(
        ModelError, match=f"the tokenizer has {num_tokens} tokens, the model embeddings for {num_tokens - 1}"
    ):
        sft(tmp_path / "m", rows, tmp_path)
