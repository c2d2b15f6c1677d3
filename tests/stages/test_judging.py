"""What decides an evaluation's identity, and which inputs it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stub_server import StubServer
from tutelage.errors import ConfigError, CriticError, DataError
from tutelage.inputs import Rows
from tutelage.measure.annotations import read_annotations
from tutelage.stages import evaluate
from tutelage.stages import label as label_stage
from tutelage.stages.judging import Critic, Judging
from tutelage.store import Artifact

TEMPLATE = "[user]\n{instruction}{first}{second}{fence}"


def run(tmp_path: Path, policy: list[Any], baseline: list[Any]) -> Artifact:
    for name, rows in (("policy", policy), ("baseline", baseline)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judge = Critic(provider="miniature", model="critic_unbiased")
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


def label(tmp_path: Path, reply: str, rows: list[Any], **settings: Any) -> Artifact:
    (tmp_path / "two.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with StubServer(lambda messages: reply) as server:
        critic = Critic(provider="openai", model="stub", base_url=server.openai_url, max_retries=0)
        config = label_stage.Config(artifacts=tmp_path / "a", critic=critic, **settings)
        return label_stage.run(config, label_stage.Inputs(completions=Rows(path=str(tmp_path / "two.jsonl"))))


TWO = [row("Why?", "Because.", "me"), row("Why?", "Why not.", "me")]


def test_a_critic_whose_replies_are_all_cut_labels_nothing(tmp_path: Path) -> None:
    # the reply's beginning ends with words that would be a verdict
    said = "At first sight Verdict: A but looking closer it is wrong.\n\nVerdict: B"
    with pytest.raises(CriticError, match="2 replies were cut at max_tokens"):
        label(tmp_path, said, TWO, max_tokens=5)


def test_the_same_pair_is_judged_once_though_both_inputs_hold_it(tmp_path: Path) -> None:
    (tmp_path / "two.jsonl").write_text("".join(json.dumps(row) + "\n" for row in TWO))
    both = Rows(path=str(tmp_path / "two.jsonl"))
    with StubServer(lambda messages: "Verdict: A") as server:
        critic = Critic(provider="openai", model="stub", base_url=server.openai_url)
        config = label_stage.Config(artifacts=tmp_path / "a", critic=critic, max_flip=1.0)
        made = label_stage.run(config, label_stage.Inputs(completions=both, against=both))
    assert made.record.counts["verdicts"] == 1
    assert made.record.counts["skipped: the same pair again"] == 1


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


def test_what_is_not_judged_is_counted(tmp_path: Path) -> None:
    policy = [row("Work out 1 plus 1.", f"{i}.", "me") for i in (2, 3, 4)]
    made = run(tmp_path, policy, [row("Work out 1 plus 1.", "x", "you"), row("Work out 2 plus 2.", "y", "you")])
    assert made.record.counts["not judged: further completions of the policy"] == 2
    assert made.record.counts["prompts without a completion of the policy"] == 1


def test_a_completion_that_says_nothing_is_judged_and_not_left_out(tmp_path: Path) -> None:
    policy = [row("Work out 1 plus 1.", "", "me"), row("Work out 2 plus 2.", "4.", "me")]
    made = run(tmp_path, policy, [row(f"Work out {i} plus {i}.", f"{2 * i}.", "you") for i in (1, 2)])
    assert made.record.win_rate is not None
    assert (made.record.win_rate.losses, made.record.win_rate.ties, made.record.win_rate.missing) == (1, 1, 0)


def test_prompts_without_a_verdict_are_missing_and_bound_the_win_rate(tmp_path: Path) -> None:
    policy = [row("Work out 1 plus 1.", "2.", "me")]
    made = run(tmp_path, policy, [row(f"Work out {i} plus {i}.", f"{2 * i}.", "you") for i in (1, 2, 3, 4)])
    rate = made.record.win_rate
    assert rate is not None
    assert (rate.ties, rate.missing, rate.num_prompts) == (1, 3, 4)
    assert rate.bounds == (12.5, 87.5)


def test_an_evaluation_leaves_what_alpaca_eval_would_leave(tmp_path: Path) -> None:
    policy = [row("Work out 1 plus 1.", "2.", "me"), row("Work out 2 plus 2.", "5.", "me")]
    made = run(tmp_path, policy, [row(f"Work out {i} plus {i}.", f"{2 * i}.", "you") for i in (1, 2)])
    outputs = json.loads((made.path / "model_outputs.json").read_text())
    assert outputs[0] == {"instruction": "Work out 1 plus 1.", "output": "2.", "generator": "me"}
    annotations = read_annotations(made.path / "annotations.json")
    assert [(a.output_1, a.generator_1, a.generator_2) for a in annotations] == [
        ("4.", "you", "me"),
        ("2.", "you", "me"),
    ]
    assert sorted(a.preference or 0 for a in annotations) == [1.0, 1.5]
    head, own = (made.path / "leaderboard.csv").read_text().splitlines()
    assert head.startswith(",win_rate,standard_error")
    assert own.startswith("me,25.0,25.0")
