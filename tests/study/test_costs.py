"""What an arm took, held against what its artifacts' files say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from small_study import SmallStudy
from tutelage.findings import Cost
from tutelage.inputs import Rows
from tutelage.records import Trained, Usage
from tutelage.store import Artifact, Made, Work
from tutelage.study.costs import cost
from tutelage.study.recipe import Teacher


def cost_of(small: SmallStudy, arm: str, *seeds: int) -> Cost:
    runs = small.runs[arm]
    return cost(small.ways[arm], {seed: runs[seed] for seed in seeds or runs})


def rows(artifact: Artifact, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (artifact.path / name).open()]


def test_prompts_are_those_that_sft_learnt_and_those_that_were_used_up_for_the_critic(small: SmallStudy) -> None:
    found = cost_of(small, "dpo-weak", 0)
    run = small.runs["dpo-weak"][0]
    assert found.taught == len({c["prompt_id"] for c in rows(run["teach"], "completions.jsonl")}) == 15
    assert found.labelled == len({c["prompt_id"] for c in rows(run["sample"], "completions.jsonl")}) == 45
    assert run["label"].record.counts["verdicts"] < 45  # two equal completions are no pair, and used up all the same
    assert found.prompts == found.taught + found.labelled
    assert cost_of(small, "sft-weak-20", 0).labelled == 0


@pytest.mark.parametrize(("arm", "last"), [("dpo-weak", "dpo"), ("best-of-n-weak", "best")])
def test_tokens_are_those_of_all_steps_of_sft_and_of_what_follows(small: SmallStudy, arm: str, last: str) -> None:
    run = small.runs[arm][1]
    steps = rows(run["sft"], "metrics.jsonl") + rows(run[last], "metrics.jsonl")
    assert cost_of(small, arm, 1).tokens == sum(step["tokens"] for step in steps)


def test_the_tokens_of_a_preference_are_its_prompt_once_and_both_completions(small: SmallStudy) -> None:
    from tutelage.inputs import Model
    from tutelage.train.checkpoint import load_encoder

    run = small.runs["dpo-weak"][0]
    encoder = load_encoder(Model(path=str(run["sft"].path)))
    sizes = {row["id"]: row["num_tokens"] for row in rows(run["dpo"], "trained.jsonl")}
    prompts = {row["id"]: row["messages"][0]["content"] for row in rows(run["prefer"], "prompts.jsonl")}
    for preference in rows(run["prefer"], "preferences.jsonl")[:5]:
        texts = [preference[side]["text"] for side in ("chosen", "rejected")]
        least = sum(len(encoder.tokenizer.encode(t, add_special_tokens=False)) for t in texts)
        prompt = len(encoder.tokenizer.encode(prompts[preference["prompt_id"]], add_special_tokens=False))
        assert least + prompt <= sizes[preference["id"]] < least + 2 * prompt + 20


def test_seconds_are_of_all_stages_but_the_judges_opinion_of_training_pairs(small: SmallStudy) -> None:
    run = small.runs["dpo-weak"][0]
    assert "agree:judge" in run
    seconds = {name: artifact.record.seconds for name, artifact in run.items()}
    found = cost_of(small, "dpo-weak", 0)
    assert found.seconds == pytest.approx(sum(seconds.values()) - seconds["agree:judge"])
    on_devices = sum(seconds[name] for name in ("sft", "sample", "dpo", "draw"))
    assert found.device_hours == pytest.approx(on_devices / 3600)


def test_an_arms_cost_is_the_mean_over_its_seeds(small: SmallStudy) -> None:
    both, one, other = (cost_of(small, "dpo-weak", *seeds) for seeds in ((0, 1), (0,), (1,)))
    assert one.tokens != other.tokens
    for name in Cost.model_fields:
        assert getattr(both, name) == pytest.approx((getattr(one, name) + getattr(other, name)) / 2)


def test_the_miniature_asks_for_no_money(small: SmallStudy) -> None:
    found = cost_of(small, "dpo-weak")
    assert (found.teacher_dollars, found.critic_dollars, found.judge_dollars, found.dollars) == (0, 0, 0, 0)


# ---- money and processes, which the miniature has none of ------------------------------------------------


PAID, FREE = Usage(requests=1, dollars=3.0), Usage()


def make(folder: Path, stage: str, usage: Usage = FREE, **config: Any) -> Artifact:
    work = Work(folder, stage, "run", {"usage": usage.model_dump(), **config})
    with work.locked():
        work.write("trained.jsonl", [Trained(id="a", prompt_id="p", num_tokens=10)])
        work.write("prompts.jsonl", [])
        made = work.finish(config, {}, Made(usage=usage))
    return Artifact(path=made.path, record=made.record.model_copy(update={"seconds": 36.0}))


def a_run(folder: Path, taught: Usage = PAID, **others: Artifact) -> dict[str, Artifact]:
    return {
        "teach": make(folder, "teach", taught),
        "sft": make(folder, "sft", epochs=2, devices=4),
        "draw": make(folder, "sample"),
        **others,
    }


def test_dollars_are_what_the_rows_took_by_who_was_asked(small: SmallStudy, tmp_path: Path) -> None:
    run = a_run(tmp_path, label=make(tmp_path, "label", Usage(requests=1, dollars=5.0)))
    run |= {f"evaluate:{n}": make(tmp_path, "evaluate", Usage(requests=1, dollars=n)) for n in (7, 11)}
    run |= {"agree:7": make(tmp_path, "label", Usage(requests=1, dollars=100.0))}
    found = cost(small.ways["dpo-weak"], {0: run})
    assert (found.teacher_dollars, found.critic_dollars, found.judge_dollars, found.dollars) == (3, 5, 18, 8)


def test_an_unknown_price_of_one_seed_makes_the_arms_dollars_unknown(small: SmallStudy, tmp_path: Path) -> None:
    runs = {0: a_run(tmp_path), 1: a_run(tmp_path, Usage(requests=1, dollars=None))}
    found = cost(small.ways["sft-weak-20"], runs)
    assert found.teacher_dollars is None
    assert found.dollars is None
    assert found.critic_dollars == 0


def test_completions_from_a_file_that_does_not_say_what_they_cost_are_not_free(
    small: SmallStudy, tmp_path: Path
) -> None:
    from dataclasses import replace

    from_file = replace(small.ways["sft-weak-20"], teacher=Teacher(completions=Rows(path="gpt4.jsonl")))
    assert cost(from_file, {0: a_run(tmp_path, FREE)}).teacher_dollars is None
    assert cost(from_file, {0: a_run(tmp_path, Usage(requests=9, dollars=1.5))}).teacher_dollars == 1.5


def test_device_hours_are_wall_time_times_processes_and_tokens_count_every_epoch(
    small: SmallStudy, tmp_path: Path
) -> None:
    found = cost(small.ways["sft-weak-20"], {0: a_run(tmp_path)})
    assert found.device_hours == pytest.approx((4 * 36 + 36) / 3600)
    assert found.tokens == 20
