"""The plan of a study: what it says comes true, and what is wrong is said before anything is paid for or trained."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from small_study import RECIPE, SmallStudy
from stub_server import StubServer
from tutelage.errors import AuthenticationError, ConfigError, DataError, ModelError, TutelageError, UnknownModelError
from tutelage.findings import ComparisonFound, Findings, Span
from tutelage.study.commands import graph_of
from tutelage.study.costs import cost
from tutelage.study.design import ways
from tutelage.study.ground import check
from tutelage.study.plan import plan
from tutelage.study.recipe import StudyRecipe
from tutelage.study.tasks import Graph

PRICED = """
name: priced
models: {base: miniature}
prompts: prompts.jsonl
evaluation: {prompts: evaluation.jsonl, baseline: baseline.jsonl}
teachers:
  weak: {endpoint: {preset: local, model: t, price: {input: 0, output: 10}}}
critics:
  critic: {preset: local, model: c, price: {input: 0, output: 20}}
judges:
  judge: {preset: local, model: j, price: {input: 0, output: 30}}
seeds: [0, 1]
agreement_pairs: 10
arms:
  sft: {teacher: weak}
  dpo: {teacher: weak, fraction: 0.5, feedback: dpo, sample: {share: [0, 1]}}
teach: {max_tokens: 100}
label: {max_tokens: 50}
evaluate: {judging: {max_tokens: 40}}
"""


def save(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty prompts, ten to evaluate on, and the opponent's completions, in the current folder."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "prompts.jsonl", [{"prompt": f"What is the number {n} called in town {n}?"} for n in range(40)])
    evaluated = [f"Say {n} words about colour {n}." for n in range(10)]
    save(tmp_path / "evaluation.jsonl", [{"prompt": text} for text in evaluated])
    rows = [{"prompt": text, "completion": f"No: {text}", "author": "they"} for text in evaluated]
    save(tmp_path / "baseline.jsonl", rows)
    return tmp_path


def graph(folder: Path, recipe: str = PRICED, *words: str) -> Graph:
    path = folder / "recipe.yaml"
    path.write_text(recipe)
    return graph_of(StudyRecipe.load(path, words))[1]


def row(text: str, begins: str) -> list[str]:
    """The cells after the first ones of the line of a table that begins so."""
    found = [line for line in text.splitlines() if line.strip().startswith(f"{begins}  ")]
    assert len(found) == 1, f"{begins!r} begins {len(found)} rows of:\n{text}"
    return re.split(r"  +", found[0].strip())[1:]


def moved(small: SmallStudy, **changes: Any) -> Graph:
    recipe = small.recipe.model_copy(update=changes)
    return Graph(recipe, ways(recipe), small.graph.prompts, small.graph.evaluated)


# ---- stages -------------------------------------------------------------------------------------------------


def test_what_arms_share_is_counted_once(tmp_path: Path) -> None:
    said = plan(graph(tmp_path, RECIPE.format(folder=tmp_path)))
    # two seeds: teach, sft, sample, label and prefer are those of all three arms
    for stage, num in (("split", 1), ("teach", 1), ("sft", 2), ("sample", 2), ("label", 2), ("prefer", 2)):
        assert row(said, stage) == [f"{num}", "0"]
    assert row(said, "dpo") == row(said, "sft on what was chosen") == ["2", "0"]
    assert row(said, "sample to evaluate") == row(said, "evaluate") == ["6", "0"]
    assert row(said, "label by the judges") == ["1", "0"]
    assert "Together 28 stages; 53 if each arm and seed made its own (sft: 4 in place of 8)." in said


def test_the_plan_says_how_many_artifacts_there_will_be(small: SmallStudy, tmp_path: Path) -> None:
    made = len(list(small.recipe.artifacts.glob("*/*/record.json")))
    assert row(plan(moved(small, artifacts=tmp_path / "other")), "together") == [f"{made}", "0"]
    said = plan(small.graph)
    assert row(said, "together") == ["0", f"{made}"]
    assert "Everything is made." in said
    assert "Nothing is left to ask." in said


def test_a_plan_writes_nothing(files: Path) -> None:
    before = graph(files)
    there = sorted(path.name for path in files.rglob("*"))
    plan(before)
    check(before)
    assert sorted(path.name for path in files.rglob("*")) == there


# ---- money --------------------------------------------------------------------------------------------------


def test_dollars_are_what_the_requests_cost_at_most(files: Path) -> None:
    said = plan(graph(files))
    # dollars for a million tokens of output, input is free here
    assert row(said, "teach weak")[1:3] + row(said, "teach weak")[-2:] == ["40", "0", "<= $0.0400", "<= $0.0200"]
    # a pair of each prompt in both orders, and of each seed: 40 * 2 * 2 * 50 tokens at $20
    assert row(said, "label critic")[1] == "160"
    assert row(said, "label critic")[-2:] == ["<= $0.1600", "<= $0.0800"]
    # ten prompts in both orders, of two arms with two seeds: 10 * 2 * 4 * 40 tokens at $30
    assert row(said, "evaluate judge")[1] == "80"
    assert row(said, "evaluate judge")[-2] == "<= $0.0960"
    # ten pairs in both orders, of the first seed: 10 * 2 * 50 tokens (as label says) at $30
    assert row(said, "agree judge")[1] == "20"
    assert row(said, "agree judge")[-2] == "<= $0.0240"


def test_an_arm_costs_what_its_run_takes_whoever_else_needs_it(files: Path) -> None:
    said = plan(graph(files))
    taught = int(row_of_costs(said, "dpo")[0])
    assert row_of_costs(said, "sft")[:3] == ["40", "0", "40"]
    assert row_of_costs(said, "sft")[-3:] == ["<= $0.0400", "$0", "<= $0.0400"]
    assert row_of_costs(said, "dpo")[1:3] == ["40", f"{40 + taught}"]
    assert row_of_costs(said, "dpo")[-3:] == [
        f"<= ${taught / 1000:.4f}",
        "<= $0.0800",
        f"<= ${taught / 1000 + 0.08:.4f}",
    ]
    assert f"dpo - sft; prompts: {40 + taught} against 40" in said


def row_of_costs(said: str, arm: str) -> list[str]:
    return row(said.partition("What the training data")[2].partition("Comparisons")[0], arm)


def test_replies_that_are_kept_cost_nothing_again(files: Path) -> None:
    with StubServer() as server:
        words = [f"teachers.weak.endpoint.base_url={server.openai_url}", "teachers.weak.endpoint.model=stub"]
        of_half = graph(files, PRICED, *words).runs["dpo", 0]["teach"]
        split = of_half.needs["prompts"][1]
        made = {split.key: split.does.run(split.config, split.inputs({}))}
        num = of_half.does.run(of_half.config, of_half.inputs(made)).record.counts["completions"]
        asked = len(server.requests)
        said = plan(graph(files, PRICED, *words))
        assert len(server.requests) == asked
    assert row(said, "teach weak")[1:3] == ["40", f"{num}"]
    assert row(said, "teach weak")[-2] == f"<= ${(40 - num) / 1000:.4f}"
    assert row(said, "teach") == ["1", "1"]


def test_a_baseline_that_is_judged_alone_is_asked_about_once(files: Path) -> None:
    words = ["evaluate.judging.template=pointwise"]
    for more, times in (["judges.judge.sends_seed=false"], 1), ([], 2):  # a seed makes another question of it
        said = plan(graph(files, PRICED, *words, *more))
        assert row(said, "evaluate judge")[1] == f"{4 * 10 + times * 10}"


def test_many_prompts_are_estimated_from_some(files: Path) -> None:
    save(files / "prompts.jsonl", [{"prompt": f"What is the number {n:04d} called?"} for n in range(1200)])
    said = plan(graph(files, PRICED, "leakage.action=allow"))
    assert row(said, "label critic")[1] == "4,800"
    assert row(said, "label critic")[-2] == "<= $4.80"
    assert "1,000 prompts at most stand for all of them" in said


# ---- time and tokens ----------------------------------------------------------------------------------------


def test_finished_runs_tell_how_long_another_seed_takes(small: SmallStudy) -> None:
    said = plan(moved(small, seeds=(0, 1, 2), workers=2))
    assert row(said, "sft") == ["1", "2"]
    assert row(said, "together") == ["12", "28"]
    assert re.search(r"About \d+s of work, as \d+ finished artifacts of the same stages and models took\.", said)
    assert "With workers=2 about" in said
    assert "Nothing is known yet" not in said


def test_nothing_is_known_of_another_model(small: SmallStudy, tmp_path: Path) -> None:
    said = plan(moved(small, artifacts=tmp_path / "other"))
    assert "Nothing is known yet of teach, sft, sample, evaluate, label, dpo with these models" in " ".join(
        said.split()
    )
    assert row_of_costs(said, "sft-weak-20")[3] == "not known yet"


def test_tokens_of_a_finished_arm_are_those_it_was_trained_on(small: SmallStudy) -> None:
    said = plan(small.graph)
    for name, way in small.ways.items():
        assert row_of_costs(said, name)[3] == f"~{cost(way, small.runs[name]).tokens:,.0f}"


# ---- what it can show ---------------------------------------------------------------------------------------


def test_more_seeds_show_smaller_differences(files: Path) -> None:
    said = plan(graph(files))
    effects = [[float(cell.replace("none", "inf")) for cell in row(said, f"{num} seeds")] for num in (2, 4, 5)]
    assert all(a >= b for one, two in pairwise(effects) for a, b in zip(one, two, strict=True))
    assert effects[0][-1] == float("inf")  # two seeds and a few prompts show nothing, and the plan says so
    assert all(one[-1] > two[-1] for one, two in pairwise(effects))
    assert all(alike <= differ <= differ_more for alike, differ, differ_more in effects)


def earlier(seed_deviation: float, prompt_deviation: float) -> Findings:
    difference = Span(value=1.0, low=-3.0, high=5.0)
    compared = ComparisonFound(
        first="dpo",
        second="sft",
        judge="judge",
        question="feedback over none",
        difference=difference,
        length_controlled=difference,
        p_value=0.6,
        adjusted_p_value=0.6,
        num_prompts=10,
        num_seeds=2,
        seed_deviation=seed_deviation,
        prompt_deviation=prompt_deviation,
        outcome="cannot tell",
        says="It cannot tell.",
    )
    return Findings(
        name="priced",
        made_at="2026-11-28",
        tutelage="0",
        recipe={},
        baseline="they",
        judges=("judge",),
        seeds=(0, 1),
        match="prompts",
        margin=3.0,
        num_prompts=10,
        verdict=(),
        warnings=(),
        arms=(),
        comparisons=(compared,),
    )


def test_an_earlier_run_tells_how_far_training_runs_differ(files: Path) -> None:
    before = graph(files)
    earlier(seed_deviation=2.4, prompt_deviation=41.0).save(before.recipe.folder)
    said = plan(before)
    assert "training runs differ by 2.4 points" in " ".join(said.split())
    effects = [float(re.findall(rf"{num} seeds: +([\d.]+)", said)[0]) for num in (2, 4, 5)]
    assert effects == sorted(effects, reverse=True)
    assert effects[-1] > 41 / 10**0.5  # ten prompts: no number of seeds shows less


def test_cautions_name_what_weakens_the_verdict(files: Path) -> None:
    words = ["seeds=[3]", "critics.critic.model=gpt-4o", "judges.judge.model=gpt-4-turbo", "budget.usd=0.1"]
    said = " ".join(plan(graph(files, PRICED, *words)).partition("Take care")[2].split())
    assert "critic critic and judge judge are of one family (openai)" in said
    assert "one seed: what is found holds for these training runs" in said
    assert "10 prompts to evaluate on: fewer than 100" in said
    assert "budget.usd=0.1: $0.10 of it are left, and up to $0.19 may be needed" in said
    assert "margin=3: so small a difference may be missed here" in said


def test_a_plan_that_can_show_nothing_says_so_without_a_number(files: Path) -> None:
    said = plan(graph(files)).partition("Take care")[2]  # two seeds and ten prompts
    assert "no difference can be told here, however large" in said
    assert "points is told" not in said


# ---- what is wrong ------------------------------------------------------------------------------------------

LEAK = [{"prompt": "Say 3 words about colour 3."}, {"prompt": "Another"}]


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        (["prompts=nowhere.jsonl"], DataError, "nowhere.jsonl"),
        (["models.base=./nowhere"], ModelError, "nowhere: no such model folder"),
        (["evaluation.baseline=nowhere.jsonl"], DataError, "nowhere.jsonl"),
        (["prompts=leak.jsonl"], DataError, "leakage.action=remove"),
        (["evaluation.prompts=prompts.jsonl", "prompts=leak.jsonl"], DataError, "for none of the 40 prompts"),
        (["critics.critic={preset: local, model: c}", "budget.usd=3"], ConfigError, "price of c unknown"),
        (["label.template=letter", "critics.critic.offers_logprobs=false"], ConfigError, "no log-probabilities"),
        (
            ["teachers.weak=miniature_weak", "teachers.weak.endpoint.model=wek"],
            UnknownModelError,
            "did you mean 'weak'",
        ),
        (["teachers.weak=miniature_weak", "teach.mode=batch"], ConfigError, "no batches"),
        (["sample.num_samples=1"], ConfigError, "sample.num_samples: found 1"),
        (["arms.dpo.fraction=0.0001"], DataError, "falls into the share [0, 0.0001]"),
        (["teachers.weak={completions: baseline.jsonl}"], DataError, "for none of the"),
        (["judges.judge.api_key_env=NO_SUCH_KEY"], AuthenticationError, "NO_SUCH_KEY is not set"),
    ],
)
def test_what_is_wrong_is_one_error_before_anything_runs(
    files: Path, words: list[str], error: type[TutelageError], says: str
) -> None:
    save(files / "leak.jsonl", LEAK)
    wrong = graph(files, PRICED, *words)
    with pytest.raises(error, match=re.escape(says)):
        check(wrong)
    assert not (files / "artifacts").exists()


def test_a_key_that_is_not_there_is_no_reason_not_to_plan(files: Path) -> None:
    said = plan(graph(files, PRICED, "judges.judge.api_key_env=NO_SUCH_KEY"))
    assert "the environment variable NO_SUCH_KEY is not set" in " ".join(said.split())


def test_a_teacher_that_is_a_file_is_asked_nothing_and_its_price_is_not_known(files: Path) -> None:
    rows = [json.loads(line) for line in (files / "prompts.jsonl").read_text().splitlines()]
    save(files / "written.jsonl", [row | {"completion": "It is.", "author": "t"} for row in rows[:30]])
    said = plan(graph(files, PRICED, "teachers.weak={completions: written.jsonl}"))
    assert "teach weak" not in said
    assert row_of_costs(said, "sft")[:2] == ["30", "0"]
    assert row_of_costs(said, "sft")[-1] == "unknown"
    assert "written.jsonl: has a completion for 30 of 40 prompts to be taught" in said


def test_prompts_that_are_held_out_are_no_training_prompts(files: Path) -> None:
    words = ["evaluation={held_out: 0.25, teacher: weak}"]
    said = plan(graph(files, PRICED, *words))
    held_out = int(row(said, "opponent weak")[1])
    assert int(row(said, "teach weak")[1]) + held_out == 40
    assert row_of_costs(said, "sft")[0] == f"{40 - held_out}"
