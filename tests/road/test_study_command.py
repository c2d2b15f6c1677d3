"""`tutelage study` as a user runs it: planned, killed with its processes, gone on with, and reported."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from html import unescape
from pathlib import Path

import pytest

from running import command, narrating, tutelage
from small_study import RECIPE
from tutelage.findings import STUDY, Findings
from tutelage.report.study_words import typeset

pytestmark = pytest.mark.slow


def refused(folder: Path, *words: object) -> str:
    done = subprocess.run(command("study", *words), cwd=folder, capture_output=True, text=True, env=narrating())
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def processes_in(folder: Path) -> list[str]:
    """The processes that were started in `folder` and live on."""
    found = []
    for cwd in Path("/proc").glob("[0-9]*/cwd"):
        try:
            found += [cwd.parent.name] if cwd.resolve() == folder.resolve() else []
        except OSError:  # it ended meanwhile
            continue
    return found


def test_a_study_that_was_killed_goes_on_and_ends_in_a_report(tmp_path: Path) -> None:
    recipe = RECIPE.replace("seeds: [0, 1]", "seeds: [0]").replace("agreement_pairs: 20", "agreement_pairs: 0")
    recipe = recipe.replace("{folder}/", "").replace("{{", "{").replace("}}", "}")
    recipe = "".join(line for line in recipe.splitlines(keepends=True) if "best-of-n" not in line)
    (tmp_path / "recipe.yaml").write_text(recipe)
    plan = tutelage(tmp_path, "study", "recipe.yaml", "--dry-run").stdout
    assert "dpo-weak" in plan
    assert not (tmp_path / "artifacts").exists()
    words = ("study", "recipe.yaml", "workers=2")
    assert "not one run is finished" in refused(tmp_path, "recipe.yaml", "--report")

    begun = subprocess.Popen(command(*words), cwd=tmp_path, env=narrating(), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("artifacts/2-sft/*/record.json")):
        assert begun.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    begun.send_signal(signal.SIGKILL)
    begun.wait()
    made = {path: path.stat().st_mtime_ns for path in tmp_path.glob("artifacts/*/*/record.json")}
    while processes_in(tmp_path):  # nobody trains on for a study that is gone
        assert time.monotonic() < deadline
        time.sleep(0.05)

    said = tutelage(tmp_path, *words)
    assert "stages to run" in said.stderr
    assert "dpo-weak" in said.stdout
    assert all(path.stat().st_mtime_ns == before for path, before in made.items())
    report = unescape(re.sub("<[^>]+>", "", (tmp_path / "study" / "report.html").read_text())).replace("\xa0", " ")
    found = Findings.load(tmp_path / "study")
    assert all(typeset(sentence) in report for sentence in found.verdict)
    assert {arm.seeds for arm in found.arms} == {(0,)}
    assert any(path.name == "win_rates.png" for path in (tmp_path / "study" / "figures").iterdir())
    assert tutelage(tmp_path, "study", "recipe.yaml", "--report").stdout == said.stdout

    (tmp_path / "study" / STUDY).write_text(json.dumps({"version": 0}))
    assert "of version 0 of study.json" in refused(tmp_path, "recipe.yaml", "--report")
    assert "of version 0 of study.json" in refused(tmp_path, "recipe.yaml")


def test_a_recipe_that_is_wrong_is_one_error_before_anything_is_made(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path, "nothing.yaml")
    assert "the first word is the recipe's path" in refused(tmp_path, "name=x")
    assert "are two things; give one" in refused(tmp_path, "miniature", "--report", "--dry-run")
    assert "judges.unbiased is the model that gives the feedback" in refused(
        tmp_path, "miniature", "judges.unbiased=miniature_critic"
    )
    assert not list(tmp_path.glob("study-miniature/artifacts/*"))
