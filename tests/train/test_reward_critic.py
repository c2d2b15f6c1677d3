"""A reward model as the critic: its scores are the reward stage's own, and what is no reward model is refused."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from tutelage.errors import ModelError
from tutelage.inputs import Model, RewardModel
from tutelage.records import Completion, Preference, Prompt
from tutelage.train.checkpoint import load_encoder
from tutelage.train.encode import Encoder, Example
from tutelage.train.examples import encode_preferences
from tutelage.train.reward_critic import load_reward_critic, score_completions
from tutelage.train.reward_model import load_reward_model
from tutelage.train.saving import save_checkpoint
from tutelage.train.scorer import RewardScorer
from tutelage.train.settings import Truncation

PROMPTS = [Prompt.of(q) for q in ("What is the capital of France?", "hello there", "the quick brown fox")]
SPECIAL = {"eos_token": "<|im_end|>", "pad_token": "<|pad|>", "bos_token": "<|im_start|>"}
KINDS = ["llama", "mistral", "gpt2", "qwen2"]


def completions() -> list[Completion]:
    """Short ones, long ones, one without an end, and one that is only an end."""
    texts = ["Paris.", "The capital of France is Paris. " * 2, "", "dog", "over the lazy dog 0123456789", "Paris"]
    return [
        Completion(prompt_id=p.id, author="me", text=t, stop_reason="length" if t == "dog" else "stop", index=i)
        for p in PROMPTS
        for i, t in enumerate(texts)
    ]


ALL = completions()
PREFERENCES = [
    Preference(prompt_id=a.prompt_id, chosen=a, rejected=b, verdict_ids=("v",))
    for a, b in itertools.pairwise(ALL)
    if a.prompt_id == b.prompt_id
]


def trained(folder: Path, kind: str = "llama", tokenizer: Any = None) -> tuple[Any, Encoder, Path]:
    """Return a reward model as the reward stage holds it, its encoder, and the checkpoint it saves."""
    tokenizer = tokenizer or tiny.byte_level(**SPECIAL | ({"unk_token": "<|endoftext|>"} if kind == "qwen2" else {}))
    source = Model(path=str(tiny.folder(folder / "m", kind, tokenizer)))
    encoder = load_encoder(source)
    model = load_reward_model(source, encoder, seed=1)
    save_checkpoint(RewardScorer(model), encoder, folder / "checkpoint")
    return model, encoder, folder / "checkpoint"


def score(path: Path, rows: list[Completion], **settings: Any) -> tuple[dict[str, float], dict[str, int]]:
    counts: dict[str, int] = {}

    def count(what: str, num: int) -> None:
        counts[what] = counts.get(what, 0) + num

    given: dict[str, Any] = {"max_length": 100, "micro_batch_tokens": 64, "precision": "float32"} | settings
    found = score_completions(RewardModel(path=str(path)), {p.id: p for p in PROMPTS}, rows, count=count, **given)
    return found, counts


@torch.no_grad()
def stages_own(model: Any, encoder: Encoder, max_length: int) -> dict[str, float]:
    """The scores that the reward stage's objective computes of its preferences, by the completion's id."""
    by_id = {prompt.id: prompt for prompt in PROMPTS}
    rows = ((by_id[each.prompt_id], each) for each in PREFERENCES)
    encoded = encode_preferences(encoder, rows, max_length, Truncation(), lambda what, num: None)
    pairs = [pair for _, pair in encoded]
    examples = [branch for pair in pairs for branch in pair.branches]
    return dict(zip((e.id for e in examples), RewardScorer(model)(pairs).flatten().tolist(), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_that_the_reward_stage_trains(kind: str, tmp_path: Path) -> None:
    model, encoder, path = trained(tmp_path, kind)
    wanted = stages_own(model, encoder, 100)
    found, counts = score(path, ALL)
    assert found.keys() == wanted.keys() == {c.id for c in ALL}
    assert found == pytest.approx(wanted, abs=1e-5)
    assert len({round(s, 6) for s in found.values()}) == len(ALL)
    assert counts == {}


@pytest.mark.parametrize("kind", KINDS)
def test_the_score_is_that_of_the_last_token_although_padding_was_the_end(kind: str, tmp_path: Path) -> None:
    """GPT-2, Llama and Mistral come with no padding token of their own."""
    tokenizer = tiny.byte_level(**SPECIAL | {"pad_token": "<|im_end|>", "unk_token": "<|endoftext|>"})
    _, encoder, path = trained(tmp_path, kind, tokenizer)
    model, _ = load_reward_critic(RewardModel(path=str(path)))
    found, _ = score(path, ALL, micro_batch_tokens=10_000)
    assert encoder.tokenizer.pad_token_id != encoder.end_id
    for completion in ALL:
        example = encoder.example({p.id: p for p in PROMPTS}[completion.prompt_id], completion)
        assert found[completion.id] == pytest.approx(alone(model, example), abs=1e-5)


@torch.no_grad()
def alone(model: Any, example: Example) -> float:
    """The head on the last hidden state of the sequence by itself: no padding, no search for the last token."""
    ids = torch.tensor([example.prompt_ids + example.completion_ids])
    hidden = getattr(model, model.base_model_prefix)(ids).last_hidden_state
    return float(model.score(hidden)[0, -1, 0])


def test_a_classifier_from_elsewhere_whose_padding_is_its_end_is_scored_at_its_end(tmp_path: Path) -> None:
    _, encoder, path = trained(tmp_path)
    encoder.tokenizer.pad_token = "<|im_end|>"
    encoder.tokenizer.save_pretrained(path)
    config = json.loads((path / "config.json").read_text()) | {"pad_token_id": encoder.end_id}
    (path / "config.json").write_text(json.dumps(config))
    found, _ = score(path, ALL, micro_batch_tokens=10_000)
    model, encoder = load_reward_critic(RewardModel(path=str(path)))
    ended = encoder.example(PROMPTS[0], ALL[0])
    assert found[ALL[0].id] == pytest.approx(alone(model, ended), abs=1e-5)
    cut = dataclasses.replace(ended, completion_ids=ended.completion_ids[:-1])
    assert abs(found[ALL[0].id] - alone(model, cut)) > 1e-4


def test_neither_the_order_nor_the_micro_batches_matter(tmp_path: Path) -> None:
    _, _, path = trained(tmp_path)
    wanted, _ = score(path, ALL)
    assert score(path, ALL[::-1])[0] == wanted
    for budget in (1, 40, 10_000):
        assert score(path, ALL, micro_batch_tokens=budget)[0] == pytest.approx(wanted, abs=1e-5)


def test_a_completion_that_does_not_fit_is_cut_as_in_training_and_counted(tmp_path: Path) -> None:
    model, encoder, path = trained(tmp_path)
    length = len(encoder.prompt_ids(PROMPTS[2])) + 3
    found, counts = score(path, ALL, max_length=length)
    too_long = [e for e in PROMPTS if len(encoder.prompt_ids(e)) >= length]
    assert counts[f"skipped: the prompt is longer than max_length ({length} tokens)"] == 6 * len(too_long) > 0
    assert counts["completions cut"] > 0
    wanted = stages_own(model, encoder, length)
    assert wanted
    assert {i: found[i] for i in wanted} == pytest.approx(wanted, abs=1e-5)


def test_completions_that_are_the_same_after_cutting_tie_exactly(tmp_path: Path) -> None:
    _, encoder, path = trained(tmp_path)
    length = len(encoder.prompt_ids(PROMPTS[1])) + 2
    rows = [
        Completion(prompt_id=PROMPTS[1].id, author="me", text=f"hello, how are you {tail}", index=i)
        for i, tail in enumerate(["today?", "there?", "doing over there, Paris?"])
    ]
    found, counts = score(path, rows, max_length=length)
    assert len(set(found.values())) == 1
    assert counts["completions cut"] == 3


def test_what_cannot_be_encoded_has_no_score_and_is_counted(tmp_path: Path) -> None:
    _, _, path = trained(tmp_path)
    marked = Completion(prompt_id=PROMPTS[0].id, author="me", text="Paris<|im_end|>")
    found, counts = score(path, [*ALL, marked])
    assert marked.id not in found
    assert counts == {"skipped: the completion contains the special token <|im_end|>": 1}


def test_in_bfloat16_scores_keep_their_digits(tmp_path: Path) -> None:
    """A head in bfloat16 has 8 bits: of thousands of completions many would tie."""
    _, _, path = trained(tmp_path)
    exact, rough = (score(path, ALL, precision=p)[0] for p in ("float32", "bfloat16"))
    assert rough == pytest.approx(exact, abs=0.05)
    values = torch.tensor(list(rough.values()))
    assert (values != values.bfloat16().float()).any()


# ---- what is no reward model --------------------------------------------------------------------------


def test_a_language_model_is_refused_for_its_head_would_be_random(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "m")
    with pytest.raises(ModelError, match=r"has no scoring head, .* random .*`tutelage reward`"):
        score(folder, ALL)


def test_a_classifier_with_several_labels_is_refused(tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    folder = tiny.folder(tmp_path / "m")
    AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3).save_pretrained(folder)
    with pytest.raises(ModelError, match="a classifier with 3 labels; a reward model has one"):
        score(folder, ALL)


def test_a_classifier_that_reads_both_ways_is_refused(tmp_path: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    folder = tiny.folder(tmp_path / "m")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertForSequenceClassification(BertConfig(vocab_size=500, num_labels=1, **sizes)).save_pretrained(folder)
    with pytest.raises(ModelError, match="BertForSequenceClassification does not read left to right"):
        score(folder, ALL)


def test_a_tokenizer_larger_than_the_model_is_refused(tmp_path: Path) -> None:
    _, encoder, path = trained(tmp_path)
    encoder.tokenizer.add_tokens([f"new{i}" for i in range(3)])
    encoder.tokenizer.save_pretrained(path)
    with pytest.raises(ModelError, match="resize them"):
        score(path, ALL)


def test_weights_that_are_missing_are_not_made_up(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    _, _, path = trained(tmp_path)
    weights = load_file(path / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "layers.1.mlp" not in name}
    save_file(kept, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="3 weights are missing"):
        score(path, ALL)


@pytest.mark.parametrize("name", ["no/such-model", "miniature"])
def test_a_name_that_holds_no_reward_model_is_one_clear_error(name: str) -> None:
    with pytest.raises(ModelError, match=r"no preset, folder or model on the Hub|has no scoring head"):
        score(Path(name), ALL)


def test_a_model_without_a_chat_template_says_which_word_gives_one(tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "m", tokenizer=tiny.byte_level(eos_token="</s>"), template=None)
    with pytest.raises(ModelError, match=r"give reward_model\.chat_format=human_assistant"):
        score(folder, ALL)
