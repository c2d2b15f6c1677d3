"""The research code's complete example at tiny size: its recipe, on files as it wrote them, with a real Mistral."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

import architectures
import tiny
from evaluators import evaluator_folder
from stub_server import StubServer
from tutelage.data.split import InPart
from tutelage.errors import DataError
from tutelage.estimate import of_road
from tutelage.pipeline import Recipe, run
from tutelage.records import Completion, Prompt, Verdict
from tutelage.store import Artifact

RECIPES = Path(__file__).parents[2] / "recipes"
ROADS = sorted(path.name for path in RECIPES.glob("*.yaml") if "study" not in path.name)
WORDS = ["paris", "fox", "capital", "quick", "today", "lazy", "hello", "brown", "dog", "france"]
PROMPT = "Instruction: {instruction}\n\nOutput (a): {output_1}\n\nOutput (b): {output_2}\n\nWhich is better?"


def sentence(draw: random.Random, num: int) -> str:
    return " ".join(draw.choices(WORDS, k=num))


def sharegpt(path: Path, asked_too: str) -> None:
    """Conversations as ShareGPT_V3_unfiltered_cleaned_split_no_imsorry.json has them, and some that are left out."""
    draw = random.Random(0)
    rows = []
    for number in range(60):
        turns = [
            ("human", f"{number} {sentence(draw, 5)}?"),
            ("gpt", sentence(draw, 8)),
            ("human", "and?"),
            ("gpt", "so"),
        ]
        rows.append(turns)
    rows += [[("gpt", "first"), ("human", "who?"), ("gpt", "me")], [("human", "a </s> b"), ("gpt", "no")]]
    rows.append([("human", asked_too), ("gpt", "known")])
    tree = [
        {"id": str(i), "conversations": [{"from": who, "value": text} for who, text in turns]}
        for i, turns in enumerate(rows)
    ]
    path.write_text(json.dumps(tree))


def alpaca_eval(path: Path) -> list[str]:
    """Rows as alpaca_eval's own reference file has them."""
    draw = random.Random(1)
    asked = [f"Evaluate {number}: {sentence(draw, 6)}." for number in range(6)]
    fields = {"output": "a short text", "generator": "text_davinci_003", "dataset": "helpful_base"}
    path.write_text(json.dumps([{"instruction": text, **fields} for text in asked]))
    return asked


def prefers_the_longer(messages: list[dict[str, str]]) -> str:
    """Read both completions back out of the prompt, as a judge has to."""
    shown = re.split(r"\n\n(?:Output \([ab]\): |Which is)", messages[-1]["content"])
    return "Output (a)" if len(shown[1]) > len(shown[2]) else "Output (b)"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place with the files that the example downloads."""
    asked = alpaca_eval(tmp_path / "alpaca_eval.json")
    sharegpt(tmp_path / "sharegpt.json", asked[0].upper())
    evaluator_folder(tmp_path, PROMPT, r"Output \(a\)", r"Output \(b\)")
    tokenizer = tiny.llama_like(bos_token="<s>", eos_token="</s>")  # as Mistral's: no token to pad with, no template
    architectures.folder(tmp_path / "mistral", "mistral", tokenizer)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "a key")
    return tmp_path


def tiny_example(server: StubServer, *more: str) -> Recipe:
    """The recipe, with no more changed than size and place demand."""
    asked = [
        f"{who}.{key}={value}"
        for who in ("label.critic", "evaluate.judge")
        for key, value in (("model", "stub"), ("base_url", server.openai_url), ("evaluator", "evaluators/mine"))
    ]
    paths = [f"{what}.path=sharegpt.json" for what in ("prompts", "completions", "against")]
    size = [f"{stage}.{key}" for stage in ("sft", "dpo") for key in ("devices=1", "epochs=1", "max_length=96")]
    place = ["model.path=mistral", "evaluation.baseline=alpaca_eval.json", *paths, *asked]
    size += ["sample.max_tokens=16", "evaluate.drawing.max_tokens=16"]
    return Recipe.load(RECIPES / "sharegpt_mistral7b.yaml", [*place, *size, *more])


def made(stage: str) -> Artifact:
    (path,) = Path("artifacts", stage).iterdir()
    return Artifact.open(path)


def texts(artifact: Artifact) -> set[str]:
    return {p.text for p in artifact.rows("prompts.jsonl", Prompt)}


def test_the_complete_example_runs_from_sharegpt_to_alpaca_eval_and_asks_what_was_estimated(folder: Path) -> None:
    with StubServer(prefers_the_longer) as server:
        example = tiny_example(server)
        labelling, *evaluating = (each.requests for each in of_road(example)[1:])
        road = run(example)
        num = len(server.requests)
        assert labelling < num <= labelling + sum(evaluating)  # a policy that wrote the same is not judged twice
        run(example)
        assert len(server.requests) == num, "the second run asked again"
    parts = {row.prompt_id: row.part for row in made("0-split").rows("parts.jsonl", InPart)}
    num_sft = sum(part == "sft" for part in parts.values())
    assert 0 < num_sft < 15
    assert len(parts) == 60, "a conversation with </s>, one that begins with gpt, or an evaluated prompt is in a part"
    taught = list(made("1-teach").rows("completions.jsonl", Completion))
    assert {c.author for c in taught} == {"chatgpt"}
    assert len(taught) == num_sft
    assert all(parts[c.prompt_id] == "sft" for c in taught)
    verdicts = list(made("4-label").rows("verdicts.jsonl", Verdict))
    student = made("2-sft")
    assert {(v.pair.left.author, v.pair.right.author) for v in verdicts} == {
        (f"sft-{student.record.fingerprint[:8]}", "chatgpt")
    }
    assert len(verdicts) == labelling == 60 - num_sft
    assert all(parts[v.pair.prompt_id] == "preference" for v in verdicts)
    assert made("6-dpo").record.inputs["model"].artifact == student.record.fingerprint
    for evaluation in (road.before, road.after):
        rate = evaluation.record.win_rate
        assert rate is not None
        assert (rate.baseline, rate.wins + rate.losses + rate.ties) == ("text_davinci_003", 6)
        assert {"annotations.json", "leaderboard.csv"} <= {path.name for path in evaluation.path.iterdir()}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], r"others\.json: holds no usable completion \(asked for: part=preference\)"),
        (["split=null", "leakage.action=allow"], r"others\.json: against has a completion for none of the prompts"),
        (["against.path=nowhere.json"], r"nowhere\.json: no such file"),
    ],
)
def test_unusable_completions_to_judge_against_are_refused_before_training(
    folder: Path, words: list[str], said: str
) -> None:
    Path("others.json").write_text(json.dumps({"another prompt": ["a completion"]}))
    others = ["against.path=others.json", "against.format=completions"]
    with StubServer(prefers_the_longer) as server, pytest.raises(DataError, match=said):
        run(tiny_example(server, *others, *words))
    assert not Path("artifacts", "2-sft").exists()


@pytest.mark.parametrize("name", ROADS)
def test_every_recipe_lacks_nothing_but_the_names_of_today_s_models(folder: Path, name: str) -> None:
    judges = ("label.critic", "evaluate.judge")
    evaluators = [f"{who}.evaluator=evaluators/mine" for who in judges]  # of alpaca_eval, which need not be installed
    recipe = Recipe.load(RECIPES / name, [*evaluators, *(f"{who}.model=NAME" for who in judges)])
    assert recipe.name == Path(name).stem.replace("_", "-")
