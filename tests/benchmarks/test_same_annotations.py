"""The script that compares annotations with alpaca_eval's: its judge can be asked, and it sees a difference."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

from evaluators import evaluator_folder

CRITIC = Path(__file__).parents[2] / "benchmarks" / "critic"


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, CRITIC / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


compared, ours, reply = (
    load("same_as_alpaca_eval").compared,
    load("same_as_alpaca_eval").ours,
    load("scripted_judge").reply,
)


def ask(**fields: object) -> Any:
    return reply({"messages": [{"role": "user", "content": "Which? Output (a) or Output (b)"}], **fields})


def test_the_judge_answers_in_the_form_that_is_asked_for() -> None:
    assert ask()["message"]["content"] in ("Output (a)", "Output (b)")
    called = ask(tools=[{"function": {"name": "rank"}}])["message"]["tool_calls"][0]
    assert [m["rank"] for m in json.loads(called["function"]["arguments"])["ordered_models"]] in ([1, 2], [2, 1])
    assert ask(logprobs=True)["logprobs"]["content"][0]["top_logprobs"]


def test_a_difference_is_seen_and_a_missing_preference_is_one_only_if_the_other_is_not() -> None:
    mine = [{"instruction": i, "preference": p} for i, p in (("a", 1.0), ("b", None), ("c", 2.0), ("d", 1.5))]
    theirs = [{"instruction": i, "preference": p} for i, p in (("a", 1.0), ("b", math.nan), ("c", 1.0), ("d", None))]
    assert compared(mine, theirs) == (4, 2, 1.0)
    assert compared(mine, mine) == (4, 0, 0.0)


def test_our_side_of_the_comparison_runs(tmp_path: Path) -> None:
    prompt = "{instruction} Output (a): {output_1} {output_2}"
    folder = evaluator_folder(tmp_path, prompt, r"^Output \(a\)", r"^Output \(b\)")
    for name in ("one", "two"):
        rows = [{"instruction": f"Q{i}", "output": f"{name} {i}", "generator": name} for i in range(5)]
        (tmp_path / f"{name}.json").write_text(json.dumps(rows))
    command = [sys.executable, str(CRITIC / "scripted_judge.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        rows = ours(url, folder, tmp_path / "one.json", tmp_path / "two.json", tmp_path / "artifacts")
        server.terminate()
    assert [row["generator_2"] for row in rows] == ["one"] * 5


def test_the_time_that_labels_take_is_printed() -> None:
    done = subprocess.run(
        [sys.executable, str(CRITIC / "labels.py"), "200"], capture_output=True, text=True, check=True
    )
    assert "CPU s" in done.stdout
