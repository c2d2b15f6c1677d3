"""Every model preset can be trained: its architecture, at tiny size, with its way of writing turns."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

import architectures
import tiny
from tutelage import stages
from tutelage.config import preset_names
from tutelage.errors import ConfigError, ModelError
from tutelage.inputs import Model
from tutelage.records import Completion, Prompt
from tutelage.train.blocks import transformer_blocks
from tutelage.train.checkpoint import load_encoder, load_model
from tutelage.train.encode import Encoder
from tutelage.train.template import settled

ARCHITECTURES = {
    "gpt2": "gpt2",
    "gpt2-large": "gpt2",
    "gpt2-xl": "gpt2",
    "gptj": "gptj",
    "pythia28": "gpt_neox",
    "pythia69": "gpt_neox",
    "llama7b": "llama",
    "llama30b": "llama",
    "llama2_7b": "llama",
    "llama2_13b": "llama",
    "llama2_70b": "llama",
    "yi_6b": "llama",
    "deepseek7b": "llama",
    "mistral7b": "mistral",
    "zephyr_sft": "mistral",
    "mixtral": "mixtral",
    "qwen3_0.6b": "qwen3",
    "qwen3_0.6b_base": "qwen3",
    "qwen3_4b": "qwen3",
    "qwen3_4b_base": "qwen3",
    "qwen3_8b": "qwen3",
    "qwen3_8b_base": "qwen3",
    "llama3.2_1b": "llama",
    "llama3.2_1b_instruct": "llama",
    "llama3.1_8b": "llama",
    "llama3.1_8b_instruct": "llama",
    "gemma3_1b": "gemma3_text",
    "gemma3_1b_it": "gemma3_text",
    "smollm3_3b": "smollm3",
    "smollm3_3b_base": "smollm3",
    "olmo2_1b": "olmo2",
    "olmo2_1b_instruct": "olmo2",
    "olmo2_7b": "olmo2",
    "olmo2_7b_instruct": "olmo2",
}
ONE_OF_EACH = {kind: preset for preset, kind in reversed(ARCHITECTURES.items())}
# What the families whose models come with a chat template write, in short: written anew, with their tokens.
ZEPHYR = "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}{% endfor %}" + (
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
QWEN3 = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{{ m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{% endif %}"
)
SMOLLM3 = (
    "{% if enable_thinking is not defined %}{% set enable_thinking = true %}{% endif %}"
    "{{ '<|im_start|>system\nToday: ' + strftime_now('%d %B %Y') + '\nReasoning: ' }}"
    "{{ '/think' if enable_thinking else '/no_think' }}{{ '<|im_end|>\n' }}" + QWEN3
)
LLAMA3 = (
    "{{ bos_token }}{% if strftime_now is defined %}{% set today = strftime_now('%d %b %Y') %}{% endif %}"
    "{{ '<|start_header_id|>system<|end_header_id|>\n\n' + today + '<|eot_id|>' }}{% for m in messages %}"
    "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}{{ '<start_of_turn>' + m['role'].replace('assistant', 'model') + '\n' }}"
    "{{ m['content'] + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
TEMPLATES = {
    "mistral": ZEPHYR,
    "qwen3": QWEN3,
    "smollm3": SMOLLM3,
    "llama": LLAMA3,
    "gemma3_text": GEMMA,
    "olmo2": ZEPHYR,
}
TOKENS = {
    "qwen3": ["<|im_start|>", "<|im_end|>"],
    "smollm3": ["<|im_start|>", "<|im_end|>"],
    "llama": ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "gemma3_text": ["<start_of_turn>", "<end_of_turn>"],
}
ENDS = {"qwen3": "<|im_end|>", "smollm3": "<|im_end|>", "llama": "<|eot_id|>", "gemma3_text": "<end_of_turn>"}
NO_BOS = ("qwen3", "smollm3", "gpt2", "gptj", "gpt_neox")


@cache
def tokenizer(kind: str) -> Any:
    bos = {} if kind in NO_BOS else {"bos_token": "<s>"}
    if kind == "mistral":
        return tiny.sentencepiece_like(eos_token="</s>", **bos)
    made = tiny.byte_level(eos_token="</s>", **bos)
    made.add_special_tokens({"additional_special_tokens": TOKENS.get(kind, [])})
    return made


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], Path]:
    """Where a tiny model of an architecture lies, with a chat template of its own or without."""
    root = tmp_path_factory.mktemp("models")

    def of(kind: str, with_template: bool) -> Path:
        path = root / f"{kind}-{with_template}"
        if not path.exists():
            architectures.folder(path, kind, tokenizer(kind), TEMPLATES[kind] if with_template else None)
        return path

    return of


def chosen(preset: str, *words: str) -> Model:
    inputs = stages.get("sft").configure([f"model={preset}", "completions=c.jsonl", *words])[1]
    model: Model = inputs.model
    return model


@pytest.mark.parametrize("preset", preset_names("model"))
def test_a_preset_loads_with_its_way_of_writing_turns(preset: str, place: Callable[[str, bool], Path]) -> None:
    kind = ARCHITECTURES[preset]
    path = place(kind, chosen(preset).chat_format is None)
    source = chosen(preset, f"model.path={path}")
    encoder, model = load_encoder(source), load_model(source)
    assert encoder.notes == []
    ends = ENDS.get(kind, "</s>") if source.chat_format != "human_assistant" else "</s>"
    prompt = Prompt.of("What is the capital of France?")
    example = encoder.example(prompt, Completion(prompt_id=prompt.id, author="t", text="Paris."))
    assert encoder.tokenizer.convert_ids_to_tokens(example.completion_ids[-1]) == ends
    turns = [{"role": "user", "content": prompt.text}, {"role": "assistant", "content": "Paris."}]
    whole = encoder.tokenizer.apply_chat_template(turns, tokenize=False)
    decoded = encoder.tokenizer.decode(example.prompt_ids + example.completion_ids)
    assert decoded.split() == whole.split() or kind == "mistral"  # sentencepiece puts spaces beside special tokens
    assert decoded.replace(" ", "") == whole.replace(" ", "").rstrip("\n")
    logits = model(input_ids=torch.tensor([example.prompt_ids + example.completion_ids])).logits
    assert logits.shape[:2] == (1, example.num_tokens)


def test_every_preset_says_what_it_is_and_names_a_model_of_the_hub() -> None:
    assert ARCHITECTURES.keys() == set(preset_names("model"))
    for preset in ARCHITECTURES:
        model = chosen(preset)
        assert model.path.count("/") == 1
        assert model.chat_format in (None, "human_assistant", "chatml")
    assert len({chosen(preset).path for preset in ARCHITECTURES}) == len(ARCHITECTURES)


@pytest.mark.parametrize("kind", architectures.SETTINGS)
def test_one_step_of_sft_moves_the_weights(
    kind: str, place: Callable[[str, bool], Path], write_rows: Callable[[str, list[Any]], Path], tmp_path: Path
) -> None:
    preset = ONE_OF_EACH[kind]
    path = place(kind, chosen(preset).chat_format is None)
    rows = write_rows(
        "rows.jsonl", [{"instruction": f"question {i}", "output": f"answer {i}", "generator": "t"} for i in range(2)]
    )
    words = [f"model={preset}", f"model.path={path}", f"completions={rows}", f"artifacts={tmp_path}"]
    stage = stages.get("sft")
    made = stage.run(*stage.configure([*words, "epochs=1", "lr=0.001", "optimizer=adamw"]))
    assert made.record.counts["completions"] == 2
    assert made.record.counts["steps"] == 1
    before, after = (AutoModelForCausalLM.from_pretrained(p) for p in (path, made.path / "checkpoint"))
    assert after.config.model_type == kind
    moved = [not torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    assert sum(moved) > len(moved) / 2
    assert AutoTokenizer.from_pretrained(made.path / "checkpoint").chat_template


@pytest.mark.parametrize("kind", architectures.SETTINGS)
def test_the_blocks_of_every_architecture_are_found(kind: str) -> None:
    model = architectures.model(kind, 64)
    blocks = transformer_blocks(model)
    assert len(blocks) == model.config.num_hidden_layers == architectures.NUM_BLOCKS
    assert len({type(block) for block in blocks}) == 1
    assert "attention" in str(blocks[0]).lower()


def test_the_blocks_of_a_reward_model_are_those_below_its_head() -> None:
    config = architectures.model("mistral", 64).config
    config.num_labels = 1
    assert len(transformer_blocks(AutoModelForSequenceClassification.from_config(config))) == 3


def test_a_tower_for_images_is_no_part_of_the_blocks_though_it_is_higher() -> None:
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 5, "num_attention_heads": 2}
    text = architectures.SETTINGS["gemma3_text"] | {"vocab_size": 64}
    config = AutoConfig.for_model(
        "gemma3", text_config=text, vision_config=tower | {"image_size": 28, "patch_size": 14}
    )
    blocks = transformer_blocks(AutoModelForCausalLM.from_config(config))
    assert len(blocks) == 3
    assert type(blocks[0]).__name__ == "Gemma3DecoderLayer"


def test_experts_are_no_blocks_however_many_there_are() -> None:
    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.experts = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(9))

    class Backbone(torch.nn.Module):
        def __init__(self, *layers: torch.nn.Module) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList(layers)

        def get_decoder(self) -> torch.nn.Module:
            return self

    assert [type(block) for block in transformer_blocks(Backbone(Block(), Block()))] == [Block, Block]
    with pytest.raises(ModelError, match="no transformer blocks found"):
        transformer_blocks(Backbone(Block(), torch.nn.Linear(2, 2)))


def test_any_other_model_needs_its_name_and_nothing_else(place: Callable[[str, bool], Path]) -> None:
    path = place("llama", True)
    assert chosen(str(path)) == Model(path=str(path))
    assert load_model(chosen(str(path))).config.model_type == "llama"


def test_the_research_codes_word_for_a_model_is_answered_with_ours() -> None:
    with pytest.raises(ConfigError, match=r"model\.name_or_path: unknown key; did you mean model\.path\?"):
        chosen("gpt2", "model.name_or_path=x")


# ---- what is settled in a model's own template --------------------------------------------------------


@pytest.mark.parametrize("kind", ["qwen3", "smollm3"])
def test_a_template_that_can_ask_for_thought_does_not(kind: str, place: Callable[[str, bool], Path]) -> None:
    encoder = load_encoder(Model(path=str(place(kind, True))))
    text = encoder.tokenizer.decode(encoder.prompt_ids(Prompt.of("hello")))
    assert text.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert ("/no_think" in text) == (kind == "smollm3")


@pytest.mark.parametrize("kind", ["smollm3", "llama"])
def test_a_prompt_is_the_same_tomorrow(
    kind: str, place: Callable[[str, bool], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, prompt = Model(path=str(place(kind, True))), Prompt.of("hello")
    today, raw = load_encoder(source).prompt_ids(prompt), raw_prompt(source)
    tomorrow(monkeypatch)
    assert raw_prompt(source) != raw
    assert load_encoder(source).prompt_ids(prompt) == today


def tomorrow(monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import datetime

    from transformers.utils import chat_template_utils

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return cls(2091, 1, 1, tzinfo=tz)

    monkeypatch.setattr(chat_template_utils, "datetime", Tomorrow)


def raw_prompt(source: Model) -> str:
    raw = AutoTokenizer.from_pretrained(source.path)
    return str(raw.apply_chat_template([{"role": "user", "content": "hello"}], tokenize=False))


def test_what_is_settled_is_said_once_and_goes_with_the_checkpoint(
    place: Callable[[str, bool], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.delenv("TUTELAGE_QUIET")
    encoder = load_encoder(Model(path=str(place("smollm3", True))))
    said = capsys.readouterr().err
    assert "told not to" in said
    assert "today's date" in said
    encoder.tokenizer.save_pretrained(tmp_path)
    again = load_encoder(Model(path=str(tmp_path)))
    assert again.tokenizer.chat_template == encoder.tokenizer.chat_template
    assert capsys.readouterr().err == ""
    raw = AutoTokenizer.from_pretrained(tmp_path)  # as any server loads it
    text = raw.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False, add_generation_prompt=True)
    assert raw(text, add_special_tokens=False)["input_ids"] == list(encoder.prompt_ids(Prompt.of("x")))


def test_a_template_with_nothing_to_settle_stays_as_it_is() -> None:
    assert settled(tiny.CHATML) == (tiny.CHATML, [])


# ---- the research code's own format -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mistral", "gpt2"])
def test_the_original_format_gives_the_research_codes_tokens(kind: str, place: Callable[[str, bool], Path]) -> None:
    """It encoded prompt and completion apart, without a beginning of text, and put the EOS after both."""
    encoder = load_encoder(Model(path=str(place(kind, False)), chat_format="original"))
    if kind == "mistral":  # as in Llama's and Mistral's own, no token spans two words
        words = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
        encoder.tokenizer.backend_tokenizer.pre_tokenizer = words
        encoder = Encoder(encoder.tokenizer)
    prompt = Prompt.of("What is the capital of France?")
    example = encoder.example(prompt, Completion(prompt_id=prompt.id, author="t", text="Paris is."))

    def ids(text: str) -> tuple[int, ...]:
        return tuple(encoder.tokenizer(text, add_special_tokens=False)["input_ids"])

    assert example.prompt_ids == ids("Human: What is the capital of France?\n\nAssistant: ")
    assert example.completion_ids == (*ids("Paris is."), encoder.tokenizer.eos_token_id)
    chat = [*prompt.messages, {"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]
    turns = [m if isinstance(m, dict) else m.model_dump() for m in chat]
    text = encoder.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text == ("Human: What is the capital of France?\n\nAssistant: a\n\nHuman: b\n\nAssistant: ")
