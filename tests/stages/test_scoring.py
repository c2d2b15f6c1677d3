"""Where a reward model decides: how it is given, how long its texts may be, what it cannot score, who it is not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import reward_road
from reward_road import CRITIC, RewardRoad
from tutelage.errors import ConfigError, CriticError, DataError, ModelError
from tutelage.estimate import of_stage
from tutelage.inputs import Model, RewardModel, Rows
from tutelage.records import Completion, Pair, Prompt
from tutelage.stages import label
from tutelage.stages.judging import Critic
from tutelage.stages.scoring import Scoring, score_pairs
from tutelage.store import Artifact, Work


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> RewardRoad:
    """Return a road to a reward model that has hardly learnt anything."""
    return reward_road.make(tmp_path_factory.mktemp("scoring"), num_prompts=8, epochs=1)


def score(road: RewardRoad, folder: Path, **given: Any) -> Artifact:
    inputs = label.Inputs(
        completions=Rows(path=str(given.pop("completions", road.completions))),
        reward_model=RewardModel(path=str(given.pop("reward_model", road.trained.path))),
    )
    return label.run(label.Config(artifacts=folder, **given), inputs)


def rows(path: Path, *texts: str) -> Path:
    row = {"prompt": "Work out 2 plus 3.", "author": "me"}
    path.write_text("".join(json.dumps(row | {"completion": text}) + "\n" for text in texts))
    return path


def test_the_length_is_that_of_the_training_unless_another_is_given(road: RewardRoad, tmp_path: Path) -> None:
    long = rows(tmp_path / "long.jsonl", *("2 and 3 make 5. " * 20 + end for end in ("Yes.", "No.")))
    short = score(road, tmp_path, completions=long)
    assert short.record.counts["completions cut"] == 2
    assert short.record.counts["TIE"] == 1  # what differs was cut off
    whole = score(road, tmp_path, completions=long, scoring=Scoring(max_length=500))
    assert "completions cut" not in whole.record.counts
    assert whole.record.counts["TIE"] == 0


def test_what_is_too_long_is_treated_as_in_training(road: RewardRoad, tmp_path: Path) -> None:
    trained = tmp_path / "trained"
    shutil.copytree(road.trained.path, trained)
    record = json.loads((trained / "record.json").read_text())
    record["config"]["truncation"] = {"rule": "skip"}
    (trained / "record.json").write_text(json.dumps(record))
    texts = ("5.", "6.", "2 and 3 make 5. " * 20)
    found = score(road, tmp_path, completions=rows(tmp_path / "c.jsonl", *texts), reward_model=trained, max_invalid=1)
    assert found.record.counts["skipped: longer than max_length (120 tokens)"] == 1
    assert found.record.counts["INVALID"] == 2
    assert "completions cut" not in found.record.counts


def test_a_pair_that_cannot_be_scored_is_invalid_and_too_many_of_them_are_an_error(
    road: RewardRoad, tmp_path: Path
) -> None:
    path = rows(tmp_path / "three.jsonl", "5.", "6.", "<|end|>")
    with pytest.raises(
        CriticError, match=r"2 of 3 pairs cannot be scored \(allowed: max_invalid=0.05\).*special token"
    ):
        score(road, tmp_path, completions=path)
    counts = score(road, tmp_path, completions=path, max_invalid=0.7).record.counts
    assert counts["INVALID"] == 2
    assert counts["skipped: the completion contains the special token <|end|>"] == 1


def test_a_reward_model_asks_nobody_so_that_there_is_nothing_to_estimate(road: RewardRoad, tmp_path: Path) -> None:
    inputs = label.Inputs(
        completions=Rows(path=str(road.completions)), reward_model=RewardModel(path=str(road.trained.path))
    )
    [found] = of_stage(label.STAGE, label.Config(artifacts=tmp_path), inputs)
    assert (found.stage, found.note) == ("label", "asks nobody: free")


@pytest.mark.parametrize(("critic", "says"), [(CRITIC, "two critics"), (None, "no critic")])
def test_exactly_one_critic_is_given(critic: Critic | None, says: str, road: RewardRoad, tmp_path: Path) -> None:
    inputs = label.Inputs(
        completions=Rows(path=str(road.completions)),
        reward_model=RewardModel(path=str(road.trained.path)) if critic else None,
    )
    for act in (label.run, label.plan):
        with pytest.raises(ConfigError, match=rf"{says}; give critic= .*anthropic.* or reward_model= "):
            act(label.Config(artifacts=tmp_path, critic=critic), inputs)


def test_an_artifact_of_another_stage_is_no_reward_model_and_a_reward_model_no_student(
    road: RewardRoad, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="a prefer artifact holds no reward model; give one made by reward, a model"):
        score(road, tmp_path, reward_model=road.preferred.path)
    with pytest.raises(ModelError, match="a reward artifact holds no language model; give one made by sft or dpo, a"):
        Model(path=str(road.trained.path)).folder()


def test_the_identity_of_a_reward_model_is_its_content_and_not_its_place(road: RewardRoad, tmp_path: Path) -> None:
    moved = shutil.copytree(road.trained.path / "checkpoint", tmp_path / "moved")
    one, other = RewardModel(path=str(road.trained.path / "checkpoint")), RewardModel(path=str(moved))
    assert one.identity() == other.identity()
    assert one.author() == other.author()
    (moved / "config.json").write_text((moved / "config.json").read_text() + "\n")
    assert one.identity() != other.identity()
    with pytest.raises(ModelError):
        RewardModel(path=str(tmp_path / "nowhere")).identity()


def test_a_completion_of_a_prompt_that_is_not_there_is_named(road: RewardRoad, tmp_path: Path) -> None:
    one, other = (Completion(prompt_id=Prompt.of("Why?").id, author="me", text=t) for t in ("Because.", "Why not."))
    source, work = RewardModel(path=str(road.trained.path)), Work(tmp_path, "label", "run", {})
    with pytest.raises(
        DataError, match=f"completion {one.id} answers the prompt {one.prompt_id}, which is not there"
    ):
        score_pairs(source, Scoring(), [Pair(left=one, right=other)], {}, work, max_invalid=0)
