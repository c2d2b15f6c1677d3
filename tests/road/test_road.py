"""The whole road as a user walks it: `tutelage run`, again, and with something changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from running import command, tutelage
from small_road import record, stages_said

pytestmark = pytest.mark.slow


def test_the_road_makes_every_artifact_and_says_what_the_feedback_did(road: Path) -> None:
    stages = [path.name for path in sorted((road / "artifacts").iterdir()) if path.is_dir()]
    assert stages == [
        "1-teach",
        "2-sft",
        "3-sample",
        "4-label",
        "5-prefer",
        "6-dpo",
        "7-reward",
        "8-evaluate",
        "prepared",
        "references",
    ]
    evaluated = [record(p) for p in (road / "artifacts" / "8-evaluate").iterdir()]
    for rate in (r["win_rate"] for r in evaluated):
        assert rate["wins"] + rate["losses"] + rate["ties"] + rate["invalid"] == 20
        assert rate["judge"] == "miniature/critic_unbiased"


def test_a_second_run_does_nothing_and_says_so(road: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in (road / "artifacts").rglob("*") if p.is_file()}
    done = tutelage(road, "run", "recipe.yaml")
    assert "nothing to do: all 9 artifacts of small were already made" in done.stderr
    assert {p: p.stat().st_mtime_ns for p in (road / "artifacts").rglob("*") if p.is_file()} == before
    assert "Feedback" in done.stdout


def test_another_beta_runs_only_dpo_and_its_evaluation_again_and_says_why(road: Path, tmp_path: Path) -> None:
    shutil.copytree(road, tmp_path / "copy")
    done = tutelage(tmp_path / "copy", "run", "recipe.yaml", "dpo.loss.beta=0.05")
    assert stages_said(done.stderr) == ["dpo", "evaluate"]
    assert "(loss.beta 0.1 -> 0.05)" in done.stderr
    assert "(model changed)" in done.stderr


def test_moving_the_folder_changes_nothing(road: Path, tmp_path: Path) -> None:
    shutil.copytree(road, tmp_path / "elsewhere")
    done = tutelage(tmp_path / "elsewhere", "run", "recipe.yaml")
    assert stages_said(done.stderr) == []


def test_an_artifact_made_again_the_same_moves_nothing_after_it(road: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(road, tmp_path / "copy")
    shutil.rmtree(copy / "artifacts" / "1-teach")
    assert stages_said(tutelage(copy, "run", "recipe.yaml").stderr) == ["teach"]


def test_an_artifact_made_again_with_other_rows_is_another_input(road: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(road, tmp_path / "copy")
    record_file = next((copy / "artifacts" / "5-prefer").iterdir()) / "record.json"
    made = json.loads(record_file.read_text())
    record_file.write_text(json.dumps(made | {"content": "0" * 64}))
    assert stages_said(tutelage(copy, "run", "recipe.yaml").stderr)[0] == "dpo"


def test_the_samples_are_of_the_other_share(one: Callable[[str], Path]) -> None:
    trained = {json.loads(line)["prompt_id"] for line in (one("2-sft") / "trained.jsonl").open()}
    sampled = {json.loads(line)["id"] for line in (one("3-sample") / "prompts.jsonl").open()}
    assert trained
    assert sampled
    assert not trained & sampled


def test_the_chain_of_inputs_leads_back_to_the_prompts(one: Callable[[str], Path]) -> None:
    policy = record(one("6-dpo"))
    assert policy["inputs"]["model"]["artifact"] == record(one("2-sft"))["fingerprint"]
    assert policy["inputs"]["preferences"]["artifact"] == record(one("5-prefer"))["fingerprint"]
    assert policy["checkpoint"]["parent"] == record(one("2-sft"))["fingerprint"]
    assert policy["checkpoint"]["base_model"] == "miniature"
    assert record(one("1-teach"))["inputs"]["prompts"]["path"] == "prompts.jsonl"


def test_the_policy_starts_as_its_reference(one: Callable[[str], Path]) -> None:
    # the original's reference was half precision beside a full-precision policy: a margin at step 0
    first = json.loads((one("6-dpo") / "metrics.jsonl").read_text().splitlines()[0])
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-6)
    assert first["loss"] == pytest.approx(0.693147, abs=1e-5)


def test_one_prompt_is_followed_through_the_whole_road(road: Path, one: Callable[[str], Path]) -> None:
    prompt_id = json.loads((one("5-prefer") / "preferences.jsonl").read_text().splitlines()[0])["prompt_id"]
    shown = tutelage(road, "trace", prompt_id).stdout
    for stage in ("1-teach", "3-sample", "4-label", "5-prefer", "6-dpo"):
        assert f"artifacts/{stage}" in shown
    assert "2-sft" not in shown  # it is of the share that was not trained on by SFT
    assert all(word in shown for word in ("completion", "verdict", "preference", "trained on"))


def test_the_checkpoint_serves_plain_transformers_with_its_chat_format(one: Callable[[str], Path]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = one("6-dpo") / "checkpoint"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    turns = [{"role": "user", "content": "Add 2 and 3."}]
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    out = model.generate(**ids, max_new_tokens=40, do_sample=False)
    assert out[0, -1] == tokenizer.convert_tokens_to_ids("<|end|>")  # it has learnt to end


def test_the_reward_model_loads_and_scores_the_last_token(one: Callable[[str], Path]) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = one("7-reward") / "checkpoint"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    ended, open_ = tokenizer(["2 and 3 make 5.<|end|>", "2 and 3 make 5."], padding=True, return_tensors="pt")[
        "input_ids"
    ]
    scores = model(input_ids=ended[None]).logits, model(input_ids=open_[None]).logits
    assert scores[0].item() != scores[1].item()  # the end of the turn is scored: in the original it never was
    made = record(folder.parent)
    assert made["counts"]["preferences held out"] > 0
    assert 0 <= made["summary"]["held_out_accuracy"] <= 1


def test_head_to_head_takes_an_evaluation_as_the_baseline(road: Path, tmp_path: Path) -> None:
    evaluated = sorted((road / "artifacts" / "8-evaluate").iterdir())
    done = tutelage(
        road,
        "evaluate",
        f"completions={evaluated[0]}",
        f"baseline={evaluated[1]}",
        "judge=miniature_critic",
        "judging.max_invalid=0.3",
        f"artifacts={tmp_path}",
    )
    rate = record(Path(done.stdout.strip()))["win_rate"]
    assert rate["wins"] + rate["losses"] + rate["ties"] + rate["invalid"] == 20


def test_both_orders_are_asked_and_a_flip_is_a_tie(road: Path, one: Callable[[str], Path], tmp_path: Path) -> None:
    done = tutelage(
        road,
        "label",
        f"completions={one('3-sample')}",
        "critic=miniature_critic_biased",
        "max_invalid=0.3",
        f"artifacts={tmp_path}",
    )
    rows = [json.loads(line) for line in (Path(done.stdout.strip()) / "verdicts.jsonl").open()]
    assert all(row["orders"] == ["left_first", "right_first"] for row in rows)
    assert any(row["outcome"] == "TIE" for row in rows)


def test_the_originals_spelling_works(road: Path, one: Callable[[str], Path], tmp_path: Path) -> None:
    words = [f"preferences={one('5-prefer')}", "epochs=1", f"artifacts={tmp_path}"]
    done = tutelage(road, "train", "loss=dpo", f"model={one('2-sft')}", "loss.beta=0.3", *words)
    loss = record(Path(done.stdout.strip()))["config"]["loss"]
    assert (loss["name"], loss["beta"]) == ("sigmoid", 0.3)


def test_a_stage_called_from_python_finds_what_the_command_made(road: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tutelage.chat import Endpoint
    from tutelage.inputs import Prompts
    from tutelage.stages import teach

    monkeypatch.chdir(road)
    config = teach.Config(label="small", teacher=Endpoint(provider="miniature", model="weak"))
    artifact = teach.run(config, teach.Inputs(prompts=Prompts(path="prompts.jsonl")))
    assert len(list((road / "artifacts" / "1-teach").iterdir())) == 1
    assert artifact.record.counts["completions"] == 60


def test_a_recipe_that_evaluates_what_it_trains_on_is_refused(road: Path) -> None:
    import subprocess

    done = subprocess.run(
        command("run", "recipe.yaml", "prompts=evaluation.jsonl"), cwd=road, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "20 of 20 training prompts are evaluated too (20 exact)" in done.stderr
