"""Carrying out a study: what it may spend, and what becomes of arms that fail."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import pytest

from small_study import RECIPE
from stub_server import StubServer
from tutelage.errors import StudyError
from tutelage.study.commands import graph_of, run
from tutelage.study.plan import plan
from tutelage.study.recipe import StudyRecipe
from tutelage.study.running import Done, _Course, carry_out, look_up

ASKED = (
    RECIPE.split("teachers:")[0].replace("{{teacher: weak}}", "{{teacher: known}}")
    + """
teachers:
  known: miniature_weak
  one: {{endpoint: {{preset: local, base_url: "URL", model: one, price: {{input: 0, output: 10000}}}}}}
  two: {{endpoint: {{preset: local, base_url: "URL", model: two, price: {{input: 0, output: 10000}}}}}}
judges: {{judge: miniature_critic_unbiased}}
seeds: [0]
arms: {{one: {{teacher: one}}, two: {{teacher: two}}}}
teach: {{max_tokens: 20}}
"""
)


def carried_out(folder: Path, server: StubServer, *words: str) -> Done:
    """Carry out a study whose two teachers are asked over HTTP, ten US cents a token."""
    path = folder / "recipe.yaml"
    path.write_text(ASKED.format(folder=folder).replace("URL", server.openai_url))
    return carry_out(graph_of(StudyRecipe.load(path, words))[1])


def paid(folder: Path) -> float:
    rows = map(json.loads, (folder / "artifacts" / "replies.jsonl").read_text().splitlines())
    bodies = [json.loads(row["body"]) for row in rows if "reply" in row]
    return sum(body["usage"]["completion_tokens"] * 10_000 / 1e6 for body in bodies)


def test_what_a_stage_spent_until_the_budget_ended_is_not_there_for_the_next_one(tmp_path: Path) -> None:
    with StubServer(lambda messages: "one two three", models=("one", "two")) as server:
        for _ in range(2):  # when it is run again, the stages before remember what they spent
            done = carried_out(tmp_path, server, "budget.usd=1")
            assert 0.8 < paid(tmp_path) <= 1
            said = " ".join(plan(graph_of(StudyRecipe.load(tmp_path / "recipe.yaml", ["budget.usd=1"]))[1]).split())
            assert f"budget.usd=1: ${1 - paid(tmp_path):.2f} of it are left" in said
        assert "teach" in str(done.failed)
        assert "other stages left of the study's budget.usd=1" in str(done.failed)


def test_ctrl_c_in_a_terminal_stops_all_processes_without_a_word_of_theirs(tmp_path: Path) -> None:
    with StubServer(models=("one", "two"), latency=1.0) as server:
        path = tmp_path / "recipe.yaml"
        path.write_text(ASKED.format(folder=tmp_path).replace("URL", server.openai_url))
        # tests may themselves be run in the background, where SIGINT is ignored
        program = (
            "import signal, sys, tutelage.cli as t; signal.signal(2, signal.default_int_handler); sys.exit(t.main())"
        )
        command = [sys.executable, "-c", program, "study", str(path), "workers=2"]
        study = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
        children = Path(f"/proc/{study.pid}/task/{study.pid}/children")
        until = time.monotonic() + 60
        while len(children.read_text().split()) < 3:  # one of them is Python's own
            assert study.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        os.killpg(study.pid, signal.SIGINT)
        said = study.communicate(timeout=60)[1]
    assert study.returncode == 130
    assert "Traceback" not in said
    assert "the same command goes on" in said


def test_a_study_that_runs_already_is_not_run_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(ASKED.format(folder=tmp_path).replace("URL", "http://127.0.0.1:9/v1"))
    recipe = StudyRecipe.load(path)
    recipe.folder.mkdir()
    with (recipe.folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StudyError, match="another process is running this study now"):
            run(recipe)
        with pytest.raises(StudyError, match="not one run is finished"):
            run(recipe, only_report=True)


def test_a_reason_for_which_many_runs_are_missing_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(folder=tmp_path))
    with pytest.raises(StudyError) as error:
        run(StudyRecipe.load(path), only_report=True)
    assert str(error.value).splitlines()[1:] == [
        "  sft-weak-20, seeds 0 and 1; dpo-weak, seeds 0 and 1; best-of-n-weak, seeds 0 and 1: teach: not run yet"
    ]


def test_two_stages_that_make_the_same_artifact_do_not_run_at_once(tmp_path: Path) -> None:
    """They would meet at its lock, and one fail the other's arm: here one teacher's file lies in two places."""
    path, rows = tmp_path / "recipe.yaml", '{"instruction": "why ?", "output": "so .", "generator": "T"}\n'
    recipe = ASKED.format(folder=tmp_path)
    for name in ("one", "two"):
        (tmp_path / f"{name}.jsonl").write_text(rows)
        line = next(line for line in recipe.splitlines() if line.startswith(f"  {name}: {{endpoint"))
        recipe = recipe.replace(line, f"  {name}: {{completions: {tmp_path}/{name}.jsonl}}")
    path.write_text(recipe)
    graph = graph_of(StudyRecipe.load(path, ["workers=2"]))[1]
    graph.split.does.run(graph.split.config, graph.split.inputs({}))
    teaching = [graph.runs[arm, 0]["teach"] for arm in ("one", "two")]
    course = _Course(graph, look_up(graph), list(teaching), lambda stage, config, inputs: Future())
    for task in teaching:
        course._look_at(task)
    assert course.waiting == teaching[1:]


def test_a_script_that_workers_read_again_is_told_how_it_has_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(folder=tmp_path))
    # as it is while a process that was spawned reads the script which started it
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(StudyError, match='under `if __name__ == "__main__":`'):
        run(StudyRecipe.load(path))
