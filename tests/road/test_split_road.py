"""A recipe with a `split`: each step takes its part of one frozen artifact, and evaluates what nothing learnt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from running import tutelage
from small_road import record, stages_said, world
from tutelage import pipeline
from tutelage.chat import Endpoint
from tutelage.data.rows import read_prompts
from tutelage.data.split import InPart
from tutelage.errors import ConfigError, DataError, ModelError
from tutelage.estimate import of_road
from tutelage.inputs import Prompts
from tutelage.pipeline import Recipe
from tutelage.stages import teach
from tutelage.store import Artifact

SPLIT = ["sft.share=[0,1]", "sample.share=[0,1]", "split.sft=0.4", "split.preference=0.6"]
OWN = [*SPLIT, "split.evaluation=12", "evaluation.prompts=null"]
"""Without prompts of another file, a part of these is evaluated."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small world, and in it."""
    monkeypatch.chdir(world(tmp_path))
    return tmp_path


def recipe(folder: Path, *words: str) -> Recipe:
    return Recipe.load(folder / "recipe.yaml", words)


def answered(made: Recipe, part: Any) -> Artifact:
    """The weak teacher's completions of a part of a recipe's split: the baseline where that part is evaluated."""
    prompts = Prompts(path=str(pipeline.divide(made).path), part=part)
    config = teach.Config(artifacts=made.artifacts, label="baseline", seed=7, teacher=_weak())
    return teach.run(config, teach.Inputs(prompts=prompts))


def _weak() -> Endpoint:
    return Endpoint(provider="miniature", model="weak")


def parts(split: Artifact) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in split.rows("parts.jsonl", InPart):
        found.setdefault(str(row.part), set()).add(row.prompt_id)
    return found


def test_the_teacher_is_asked_about_the_prompts_for_sft_alone_and_an_estimate_leaves_nothing(folder: Path) -> None:
    before = sorted(folder.iterdir())
    whole, divided = of_road(recipe(folder)), of_road(recipe(folder, *SPLIT))
    assert sorted(folder.iterdir()) == before
    assert (whole[0].stage, whole[0].requests) == ("teach", 60)
    of_sft = len(parts(pipeline.divide(recipe(folder, *SPLIT)))["sft"])
    assert divided[0].requests == of_sft < 40
    assert divided[1].requests == 60 - of_sft  # a pair of each prompt for preferences
    assert [e.requests for e in divided[2:]] == [20, 20]


def test_what_is_made_is_found_by_an_estimate_too(folder: Path) -> None:
    made = recipe(folder, *SPLIT)
    prompts = Prompts(path=str(pipeline.divide(made).path), part="sft")
    done = teach.run(made.of(made.teach), teach.Inputs(prompts=prompts))
    assert of_road(made)[0].note == f"already made: {done.path}"


def test_a_part_is_evaluated_where_no_other_prompts_are_given(folder: Path) -> None:
    made = recipe(folder, *OWN)
    split = pipeline.divide(made)
    found = pipeline.parts_of(made, split)
    path = str(split.path)
    assert found.taught == Prompts(path=path, part="sft")
    assert found.sampled == Prompts(path=path, part="preference")
    assert found.evaluated == Prompts(path=path, part="evaluation")
    other = recipe(folder, *SPLIT, "split.evaluation=12")
    assert pipeline.parts_of(other, pipeline.divide(other)).evaluated == other.evaluation.prompts
    baseline_only = recipe(folder, *SPLIT, "evaluation.prompts=null")
    assert pipeline.parts_of(baseline_only, pipeline.divide(baseline_only)).evaluated is None


def test_a_split_made_by_hand_is_the_recipes(folder: Path) -> None:
    words = ["prompts=prompts.jsonl", "sft=0.4", "preference=0.6", "evaluation=12", "leakage.overlap=null"]
    by_hand = tutelage(folder, "split", *words).stdout.strip()
    assert pipeline.divide(recipe(folder, *OWN)).path == Path(by_hand)


def test_a_baseline_that_answers_nothing_that_is_evaluated_is_told_before_anything_is_asked(folder: Path) -> None:
    said = r"baseline\.jsonl: has a completion for none of the prompts that are evaluated \(.*part=evaluation"
    with pytest.raises(DataError, match=said):
        pipeline.run(recipe(folder, *OWN))
    assert [p.name for p in (folder / "artifacts").iterdir()] == ["0-split"]


def test_a_model_that_is_not_there_is_told_before_anything_is_divided(folder: Path) -> None:
    with pytest.raises(ModelError, match="no such model folder"):
        pipeline.run(recipe(folder, *SPLIT, "model=./nowhere"))
    assert not (folder / "artifacts").exists()


def test_prompts_that_are_evaluated_from_another_file_cannot_be_divided(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "evaluation.jsonl").read_text().splitlines()[:3]]
    with (folder / "prompts.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    for words in (SPLIT, [*SPLIT, "evaluation.prompts=null"]):
        with pytest.raises(DataError, match=r"prompts\.jsonl: 3 of 63 training prompts are evaluated too"):
            pipeline.run(recipe(folder, *words))


@pytest.mark.parametrize("words", [[], SPLIT])
def test_what_is_removed_is_in_nothing_that_is_learnt(folder: Path, words: list[str]) -> None:
    held_out = [json.loads(line)["prompt"] for line in (folder / "evaluation.jsonl").read_text().splitlines()]
    with (folder / "prompts.jsonl").open("a") as file:
        file.writelines(json.dumps({"prompt": text}) + "\n" for text in (held_out[0], held_out[1].upper()))
    asked = recipe(folder, *words)
    with pytest.raises(DataError, match=r"2 of 62 training prompts are evaluated too \(1 exact, 1 normalised\)"):
        pipeline.run(asked)
    made = recipe(folder, *words, "leakage.action=remove")
    split = pipeline.divide(made)
    found = pipeline.parts_of(made, split)
    pipeline.check_inputs(made, found)
    learnt = [p.text for part in {found.taught, found.sampled} for p in read_prompts(part, lambda what, num: None)]
    assert len(learnt) == 60
    assert {held_out[0], held_out[1].upper()}.isdisjoint(learnt)
    assert sum(e.requests for e in of_road(made) if e.stage in ("teach", "label")) >= 60


def test_a_recipe_has_one_gate_for_all_stages(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"split\.leakage: a recipe has one for all stages; give leakage instead"):
        recipe(folder, *SPLIT, "split.leakage.action=remove")


@pytest.mark.slow
def test_a_road_with_a_split_learns_and_evaluates_each_part_where_it_belongs(folder: Path) -> None:
    baseline = answered(recipe(folder, *OWN), "evaluation")
    words = [*OWN, f"evaluation.baseline={baseline.path}"]
    tutelage(folder, "run", "recipe.yaml", *words)
    split = Artifact.open(next((folder / "artifacts" / "0-split").iterdir()))
    part = parts(split)
    assert {name: len(ids) for name, ids in part.items()}["evaluation"] == 12

    def ids(stage: str, name: str = "trained.jsonl", key: str = "prompt_id") -> set[str]:
        lines = next((folder / "artifacts" / stage).glob("small*")).joinpath(name).read_text().splitlines()
        return {json.loads(line)[key] for line in lines}

    assert ids("1-teach", "completions.jsonl") == ids("2-sft") == part["sft"]
    assert ids("3-sample", "completions.jsonl") <= part["preference"]
    assert ids("6-dpo") <= part["preference"]
    assert ids("8-evaluate", "prompts.jsonl", "id") == part["evaluation"]
    evaluated = [record(path)["win_rate"] for path in (folder / "artifacts" / "8-evaluate").iterdir()]
    assert [sum(rate[k] for k in ("wins", "losses", "ties", "invalid")) for rate in evaluated] == [12, 12]
    again = tutelage(folder, "run", "recipe.yaml", *words)
    assert stages_said(again.stderr) == []
    assert "nothing to do: all 10 artifacts of small were already made" in again.stderr
