"""What decides an evaluation's identity, and which inputs it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tutelage.chat import Endpoint
from tutelage.errors import ConfigError, DataError
from tutelage.inputs import Rows
from tutelage.stages import evaluate
from tutelage.stages.asking import Judging
from tutelage.store import Artifact

TEMPLATE = "[user]\n{instruction}{first}{second}{fence}"


def run(tmp_path: Path, policy: list[Any], baseline: list[Any]) -> Artifact:
    for name, rows in (("policy", policy), ("baseline", baseline)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judge = Endpoint(provider="miniature", model="critic_unbiased")
    config = evaluate.Config(artifacts=tmp_path / "a", judge=judge, judging=Judging(max_invalid=1.0))
    return evaluate.run(
        config,
        evaluate.Inputs(
            completions=Rows(path=str(tmp_path / "policy.jsonl")),
            baseline=Rows(path=str(tmp_path / "baseline.jsonl")),
        ),
    )


def row(prompt: str, completion: str, author: str) -> dict[str, str]:
    return {"prompt": prompt, "completion": completion, "author": author}


def test_an_edited_template_is_another_one_and_a_moved_one_is_not(tmp_path: Path) -> None:
    path, moved = tmp_path / "t.txt", tmp_path / "moved.txt"
    path.write_text(TEMPLATE)
    moved.write_text(TEMPLATE)
    before = Judging(template=str(path)).identity()
    assert Judging(template=str(moved)).identity() == before
    path.write_text(TEMPLATE + " Think first.")
    assert Judging(template=str(path)).identity() != before


def test_a_template_that_is_not_there_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="no such file"):
        Judging(template="nowhere.txt")


def test_the_same_text_is_a_tie_and_nobody_is_asked(tmp_path: Path) -> None:
    made = run(tmp_path, [row("Work out 1 plus 1.", "2.", "me")], [row("Work out 1 plus 1.", "2.", "you")])
    assert made.record.win_rate is not None
    assert (made.record.win_rate.ties, made.record.win_rate.rate) == (1, 50.0)
    assert made.record.usage.requests == 0


def test_prompts_that_only_one_side_has_are_counted(tmp_path: Path) -> None:
    baseline = [row(f"Work out 1 plus {i}.", "x", "you") for i in range(1, 4)]
    policy = [row("Work out 1 plus 1.", "2.", "me"), row("Work out 5 plus 5.", "10.", "me")]
    made = run(tmp_path, policy, baseline)
    assert made.record.counts["prompts without a completion of the policy"] == 2
    assert made.record.counts["prompts judged"] == 1


def test_a_baseline_by_two_authors_is_refused(tmp_path: Path) -> None:
    both = [row("Work out 1 plus 1.", "2.", "one"), row("Work out 1 plus 1.", "3.", "two")]
    with pytest.raises(DataError, match="by one, two; give a file with one author"):
        run(tmp_path, [row("Work out 1 plus 1.", "4.", "me")], both)
