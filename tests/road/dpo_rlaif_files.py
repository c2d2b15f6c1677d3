"""Files as the research code and its downloads leave them, of a few rows, where its commands would look for them."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path
from typing import Any

import torch

import architectures
import tiny

SHAREGPT = "ShareGPT_V3_unfiltered_cleaned_split_no_imsorry.json"
RUN = "sharegpt_mistral7b_2024-02-19_16-55-49_904051"
NUM = 36
"""Conversations of ShareGPT that are read; three more are not."""
NUM_EVALUATED = 6
_WORDS = ["paris", "fox", "capital", "quick", "today", "lazy", "hello", "brown", "dog", "france"]
_PROMPT = "Instruction: {instruction}\n\nOutput (a): {output_1}\n\nOutput (b): {output_2}\n\nWhich is better?"
_EVALUATOR = r"""
NAME:
  prompt_template: NAME/prompt.txt
  fn_completions: MAKER_completions
  completions_kwargs: {model_name: retired, max_tokens: 50, temperature: 0}
  completion_parser_kwargs: {outputs_to_match: {1: '(?:^|\n) ?Output \(a\)', 2: '(?:^|\n) ?Output \(b\)'}}
"""


def prefers_the_longer(messages: list[dict[str, str]]) -> str:
    """A critic that reads both completions back out of the prompt, as one has to; a teacher if there is none."""
    shown = re.split(r"\n\n(?:Output \([ab]\): |Which is)", messages[-1]["content"])
    if len(shown) < 3:
        return "a completion of the teacher"
    return "Output (a)" if len(shown[1]) > len(shown[2]) else "Output (b)"


def make_place(folder: Path) -> None:
    """Lay out `folder`: models and data sets under their names on the Hub, and `cache`, a PROJECT_CACHE."""
    draw = random.Random(0)
    prompts = [f"{number} {_sentence(draw, 5)}?" for number in range(NUM)]
    evaluated = [f"Evaluate {number}: {_sentence(draw, 6)}." for number in range(NUM_EVALUATED)]
    _write(folder / "TRI-ML/dpo-rlaif-data" / SHAREGPT, _sharegpt(draw, prompts, evaluated[0].upper()))
    reference = {"output": "a short text", "generator": "text_davinci_003", "dataset": "helpful_base"}
    _write(folder / "tatsu-lab/alpaca_eval/alpaca_eval.json", [{"instruction": p, **reference} for p in evaluated])
    tokenizer = tiny.llama_like(bos_token="<s>", eos_token="</s>")  # as Mistral's: nothing to pad with, no template
    mistral = architectures.folder(folder / "mistralai/Mistral-7B-v0.1", "mistral", tokenizer)
    settings = json.loads((mistral / "config.json").read_text())
    _write(mistral / "config.json", settings | {"max_position_embeddings": 1024})
    shutil.copytree(mistral, folder / "huggyllama/llama-7b")  # a Mistral too: it is only trained
    cache, data = folder / "cache", folder / "cache/sharegpt_data"
    _write(data / SHAREGPT, _sharegpt(draw, prompts, "another"))
    for model in ("gpt4", "claude"):
        taught = {p: [_sentence(draw, 12)] for p in prompts}
        _write(data / f"sharegpt1turn_df1.0_ff0_{model}_completions.json", taught)
    _leave_run(cache / RUN / "epoch-9", draw, prompts, evaluated)
    _leave_reward_model(folder, cache / "reward_training_test_2024-02-20_10-00-00_000001/epoch-1")


def make_evaluators(site: Path) -> None:
    """Lay out an installed alpaca_eval as far as it is read: two of its evaluators, with a prompt of ours."""
    for name, maker in (("gpt4", "openai"), ("claude", "anthropic")):
        folder = site / "alpaca_eval/evaluators_configs" / name
        folder.mkdir(parents=True)
        (folder / "prompt.txt").write_text(f"<|im_start|>user\n{_PROMPT}<|im_end|>")
        (folder / "configs.yaml").write_text(_EVALUATOR.replace("NAME", name).replace("MAKER", maker))


def _leave_run(run: Path, draw: random.Random, prompts: list[str], evaluated: list[str]) -> None:
    """What training, sampling, labelling and evaluating leave in the folder of an epoch."""
    samples = {f"Human: {p}\n\nAssistant: ": [_sentence(draw, 7)] for p in prompts}
    texts = list(samples.items())
    for ff, part in ((6000, texts[6:20]), (11000, texts[20:])):
        _write(run / f"sharegpt2turn_noeos_maxlen512_temp1.0/fastforward{ff}.json", dict(part))
    pairs = [
        {
            "instruction": prompt,
            "output_1": _sentence(draw, 9),
            "generator_1": "chatgpt",
            "output_2": samples[f"Human: {prompt}\n\nAssistant: "][0],
            "generator_2": "temp1.0",
            "annotator": "gpt4",
            "preference": preference,
        }
        for prompt, preference in zip(prompts, [1, 2, 1, 2, 0, None] * (NUM // 6), strict=True)
    ]
    _write(run / "comparisons_gpt4/temp1.0_vs_chatgpt/annotations.json", pairs)
    policy = [{"instruction": p, "output": _sentence(draw, 8)} for p in evaluated]
    _write(run / "alpaca_eval_temp0.7.json", policy)
    judged = [
        {**row, "instruction": p, "output_1": "a short text", "generator_1": "text_davinci_003"}
        for row, p in zip(pairs, evaluated, strict=False)
    ]
    _write(run / "gpt4/annotations.json", judged)
    weights = architectures.model("mistral", len(tiny.llama_like(bos_token="<s>", eos_token="</s>")), seed=1)
    torch.save({"step_idx": 4000, "state": weights.state_dict(), "metrics": {}}, run / "policy.pt")


def _leave_reward_model(folder: Path, epoch: Path) -> None:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    config = AutoConfig.from_pretrained(folder / "mistralai/Mistral-7B-v0.1", num_labels=1)
    scorer = AutoModelForSequenceClassification.from_config(config)
    epoch.mkdir(parents=True)
    torch.save({"state": scorer.state_dict(), "optimizer": {}, "epoch": 1, "step": 9}, epoch / "checkpoint.pt")


def _sharegpt(draw: random.Random, prompts: list[str], evaluated_too: str) -> list[dict[str, Any]]:
    """Conversations, and three that are left out: begun by the assistant, with a special token, and evaluated."""
    said = [[("human", p), ("gpt", _sentence(draw, 8)), ("human", "and?"), ("gpt", "so")] for p in prompts]
    said += [[("gpt", "first"), ("human", "who?"), ("gpt", "me")], [("human", "a </s> b"), ("gpt", "no")]]
    said.append([("human", evaluated_too), ("gpt", "known")])
    return [
        {"id": str(number), "conversations": [{"from": who, "value": text} for who, text in turns]}
        for number, turns in enumerate(said)
    ]


def _sentence(draw: random.Random, num: int) -> str:
    return " ".join(draw.choices(_WORDS, k=num))


def _write(path: Path, tree: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree))
