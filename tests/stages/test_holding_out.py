"""sft, dpo and reward: the same prompts held out by each, evaluated, sampled, shown, and left out of training."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tutelage.errors import ConfigError, DataError
from tutelage.inputs import Finished, Model, Rows
from tutelage.records import Completion, Preference, Prompt
from tutelage.stages import dpo, get, reward, sft
from tutelage.store import Artifact, Made, Work, flatten

PROMPTS = [Prompt.of(f"Add {a} and {b}.") for a in range(1, 5) for b in range(1, 6)]
GOOD, BAD = (
    [Completion(prompt_id=p.id, author=text, text=text, stop_reason="stop") for p in PROMPTS]
    for text in ("It is a sum.", "No.")
)
TRAIN: dict[str, Any] = {
    "lr": 1e-4,
    "epochs": 2,
    "batch_size": 4,
    "held_out": 0.4,
    "max_length": 60,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Completions, and an artifact of prefer."""
    made = tmp_path_factory.mktemp("rows")
    rows = [{"prompt": p.text, "completion": c.text, "author": "me"} for p, c in zip(PROMPTS, GOOD, strict=True)]
    (made / "completions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    work = Work(made, "prefer", "run", {})
    with work.locked():
        work.write("prompts.jsonl", PROMPTS)
        preferences = [
            Preference(prompt_id=p.id, chosen=good, rejected=bad, verdict_ids=("v",))
            for p, good, bad in zip(PROMPTS, GOOD, BAD, strict=True)
        ]
        work.write("preferences.jsonl", preferences)
        work.finish({}, {}, Made())
    return made


def run(stage: str, folder: Path, out: Path, **changed: Any) -> Artifact:
    settings: dict[str, Any] = {"artifacts": out, **TRAIN, **changed}
    model = Model(path="miniature")
    if stage == "sft":
        rows = Rows(path=str(folder / "completions.jsonl"))
        return sft.run(sft.Config(**settings), sft.Inputs(model=model, completions=rows))
    (preferred,) = (folder / "5-prefer").iterdir()
    module: Any = {"dpo": dpo, "reward": reward}[stage]
    given = module.Inputs(model=model, preferences=Finished(path=str(preferred)))
    made: Artifact = module.run(module.Config(**settings), given)
    return made


def rows_of(artifact: Artifact, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (artifact.path / name).read_text().splitlines()]


@pytest.mark.parametrize("stage", ["sft", "dpo", "reward"])
def test_held_out_prompts_are_evaluated_and_not_trained_on(stage: str, folder: Path, tmp_path: Path) -> None:
    made = run(stage, folder, tmp_path)
    what = "completions" if stage == "sft" else "preferences"
    trained = {row["prompt_id"] for row in rows_of(made, "trained.jsonl")}
    counts = made.record.counts
    assert counts[what] == len(trained)
    assert counts[what] + counts[f"{what} held out"] == len(PROMPTS)
    assert counts[f"{what} held out"] > 3
    steps = counts["steps"]
    rows = rows_of(made, "eval.jsonl")
    assert [row["step"] for row in rows] == [0, steps // 2, steps]
    assert rows[-1]["eval/loss"] < rows[0]["eval/loss"]
    summary = made.record.summary
    assert {k: v for k, v in summary.items() if k.startswith("eval/")}.items() <= rows[-1].items()
    assert ("eval/accuracy" in summary) == (stage != "sft")
    assert not (made.path / "samples.jsonl").exists()


def test_every_stage_holds_out_the_same_prompts(folder: Path, tmp_path: Path) -> None:
    trained = [
        {row["prompt_id"] for row in rows_of(run(stage, folder, tmp_path, epochs=1), "trained.jsonl")}
        for stage in ("sft", "dpo", "reward")
    ]
    assert trained[0] == trained[1] == trained[2]


def test_a_conversation_is_held_out_and_shared_out_with_its_continuation(tmp_path: Path) -> None:
    """Drawn by the prompt's id, one of the two was trained on and the other tested."""
    more = [{"role": "assistant", "content": "It is a sum."}, {"role": "user", "content": "Again."}]
    talks = [[{"role": "user", "content": p.text}, *more[: 2 * turns]] for p in PROMPTS for turns in (0, 1)]
    rows = [{"prompt": talk, "completion": "It is a sum.", "author": "me"} for talk in talks]
    (tmp_path / "completions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = run("sft", tmp_path, tmp_path / "a", epochs=1, share=(0.0, 0.7), max_length=100)
    of_prompt = {Prompt(messages=tuple(talk)).id: talk[0]["content"] for talk in talks}  # type: ignore[arg-type]
    trained = Counter(of_prompt[row["prompt_id"]] for row in rows_of(made, "trained.jsonl"))
    assert set(trained.values()) == {2}
    counts = made.record.counts
    assert (
        counts["completions"] + counts["completions held out"] + counts["left out: completions outside the share"]
        == 40
    )
    assert min(counts[what] for what in ("completions", "completions held out")) > 0
    assert counts["completions held out"] % 2 == counts["left out: completions outside the share"] % 2 == 0


def test_reward_tells_its_accuracy_on_what_was_held_out_with_an_error_over_prompts(
    folder: Path, tmp_path: Path
) -> None:
    summary = run("reward", folder, tmp_path, epochs=1).record.summary
    assert summary["held_out_accuracy"] == summary["eval/accuracy"]  # one preference a prompt
    assert summary["held_out_standard_error"] >= 0


def test_dpo_starts_from_a_margin_of_zero_on_held_out_preferences_too(folder: Path, tmp_path: Path) -> None:
    first = rows_of(run("dpo", folder, tmp_path, epochs=1), "eval.jsonl")[0]
    assert first["eval/rewards/margins"] == pytest.approx(0, abs=1e-6)
    assert first["eval/loss"] == pytest.approx(0.693147, abs=1e-5)


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_samples_are_of_held_out_prompts(stage: str, folder: Path, tmp_path: Path) -> None:
    made = run(stage, folder, tmp_path, epochs=1, eval_samples=3, eval_drawing={"max_tokens": 8})
    rows = rows_of(made, "samples.jsonl")
    trained = {row["prompt_id"] for row in rows_of(made, "trained.jsonl")}
    assert [row["step"] for row in rows] == [0] * 3 + [made.record.counts["steps"]] * 3
    assert not {row["prompt_id"] for row in rows} & trained
    assert {row["prompt"] for row in rows} <= {p.text for p in PROMPTS}
    assert 0 <= made.record.summary["eval/ended"] <= 1
    assert made.record.summary["eval/num_tokens"] <= 8


def test_at_most_so_many_are_evaluated_and_the_rest_is_counted(folder: Path, tmp_path: Path) -> None:
    whole = run("sft", folder, tmp_path, epochs=1)
    part = run("sft", folder, tmp_path, epochs=1, max_eval_examples=2)
    assert rows_of(whole, "trained.jsonl") == rows_of(part, "trained.jsonl")
    held_out = whole.record.counts["completions held out"]
    assert part.record.counts["completions held out"] == 2
    assert part.record.counts["completions held out beyond max_eval_examples"] == held_out - 2


def test_without_held_out_there_is_no_evaluation(folder: Path, tmp_path: Path) -> None:
    made = run("sft", folder, tmp_path, epochs=1, held_out=0)
    assert made.record.counts["completions"] == len(PROMPTS)
    assert not (made.path / "eval.jsonl").exists()
    assert not any(name.startswith("eval/") for name in made.record.summary)


def test_all_held_out_is_an_error(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"all 20 completions are of held-out prompts.*lower held_out"):
        run("sft", folder, tmp_path, held_out=0.999999)


def test_trackers_change_neither_what_the_artifact_is_nor_what_is_in_it(folder: Path, tmp_path: Path) -> None:
    plain = run("sft", folder, tmp_path / "plain", epochs=1)
    shown = run("sft", folder, tmp_path / "shown", epochs=1, trackers=("tensorboard",), project="mine")
    assert shown.record.fingerprint == plain.record.fingerprint
    assert shown.record.content == plain.record.content
    assert list((shown.path / "tensorboard").iterdir())
    assert {p.name for p in shown.path.iterdir()} - {p.name for p in plain.path.iterdir()} == {"tensorboard"}


def test_what_tensorboard_shows_is_what_the_files_say(folder: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    made = run(
        "dpo", folder, tmp_path, epochs=1, trackers=("tensorboard",), eval_samples=1, eval_drawing={"max_tokens": 4}
    )
    found = EventAccumulator(str(made.path / "tensorboard"))
    found.Reload()
    for name, tag in (("metrics.jsonl", "loss"), ("eval.jsonl", "eval/accuracy"), ("eval.jsonl", "eval/num_tokens")):
        wanted = {row["step"]: row[tag] for row in rows_of(made, name)}
        assert {event.step: event.value for event in found.Scalars(tag)} == pytest.approx(wanted)
    assert "samples/text_summary" in found.Tags()["tensors"]


@pytest.mark.parametrize("word", ["eval_every=5", "max_eval_examples=5", "eval_samples=5"])
def test_settings_of_an_evaluation_that_would_never_be_are_refused(word: str) -> None:
    with pytest.raises(ConfigError, match=r"give held_out, such as 0\.05"):
        get("sft").configure(["model=m", "completions=c", word])


def test_how_often_is_part_of_what_the_artifact_is_and_where_it_is_shown_is_not() -> None:
    def identity(*words: str) -> dict[str, Any]:
        return flatten(get("sft").configure(["model=m", "completions=c", "held_out=0.1", *words])[0].identity())

    assert identity("eval_every=5") != identity()
    assert identity("trackers=[wandb,trackio]", "project=mine") == identity()


def test_one_tracker_needs_no_brackets_and_an_unknown_one_is_refused_with_those_there_are() -> None:
    def trackers(word: str) -> tuple[str, ...]:
        given: tuple[str, ...] = get("sft").configure(["model=m", "completions=c", f"trackers={word}"])[0].trackers
        return given

    assert trackers("wandb") == ("wandb",)
    with pytest.raises(ConfigError, match="'tensorboard', 'wandb' or 'trackio'"):
        trackers("mlflow")
