"""The parity script compares what it should: equal figures pass, and a difference is shown."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

MEASURE = Path(__file__).parents[2] / "benchmarks" / "measure"


def run(script: str, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(MEASURE / script), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def row(index: int, preference: float, **more: Any) -> dict[str, Any]:
    names = {"generator_1": "base", "generator_2": "mine", "annotator": "judge"}
    texts = {"instruction": f"Question {index}?", "output_1": "a", "output_2": "bb"}
    return texts | names | {"preference": preference} | more


def data(folder: Path, published: float) -> Path:
    """Two wins of two: 100 %."""
    folder.mkdir()
    alternatives = [{"token": "m", "logprob": -900.0}, {"token": "M", "logprob": 0.0}]
    raw = {"logprobs": {"content": [{"top_logprobs": alternatives}]}}
    from tutelage.data.alpaca_eval import is_switched

    straight = [i for i in range(50) if not is_switched(f"Question {i}?")][:2]
    rows = [row(i, 2.0, raw_completion=raw) for i in straight]
    (folder / "annotations.json").write_text(json.dumps(rows), "utf-8")
    (folder / "judge_leaderboard.csv").write_text(f",win_rate,standard_error\nmine,{published},0\n", "utf-8")
    return folder


def test_equal_figures_have_no_gap(tmp_path: Path) -> None:
    done = run("parity.py", data(tmp_path / "data", 100.0))
    assert done.returncode == 0, done.stderr
    assert "1 published rows: win rates within 0.0e+00, standard errors within 0.0e+00" in done.stdout
    assert "2 preferences recomputed" in done.stdout
    assert "nothing predicted" in done.stdout


def test_a_published_figure_that_differs_is_shown(tmp_path: Path) -> None:
    done = run("parity.py", data(tmp_path / "data", 99.0))
    assert "win rates within 1.0e+00" in done.stdout


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    done = run("parity.py", tmp_path)
    assert done.returncode == 1
    assert "holds no annotations.json" in done.stderr


def test_the_list_of_instructions_holds_no_text_and_needs_all_805(tmp_path: Path) -> None:
    source, target = tmp_path / "eval.json", tmp_path / "hashes.txt"
    source.write_text(json.dumps([{"instruction": f"Question {i}?", "dataset": "own"} for i in range(805)]), "utf-8")
    assert run("instructions.py", source, "--out", target).returncode == 0
    lines = [line for line in target.read_text("utf-8").splitlines() if not line.startswith("#")]
    assert len(lines) == 805
    assert "Question" not in target.read_text("utf-8")
    source.write_text(json.dumps([{"instruction": "Question?", "dataset": "own"}] * 805), "utf-8")
    refused = run("instructions.py", source, "--out", target)
    assert "1 different instructions in 805 rows; expected 805" in refused.stderr
