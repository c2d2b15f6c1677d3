"""The labelling bugs of the original research code and of public labelling tools, one test each, end to end.

Rows in a file -> label (real HTTP) -> prefer. Numbers in brackets are those of the list the project keeps.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stub_server import StubServer
from tutelage.critic.template import read_back
from tutelage.errors import DataError, TutelageError
from tutelage.inputs import Finished, Rows
from tutelage.records import Preference, Verdict
from tutelage.stages import label, prefer
from tutelage.stages.judging import Critic
from tutelage.store import Artifact

Says = Callable[[str, str, str], str]
"""(instruction, first, second) -> the critic's whole reply."""


def labelled(
    tmp_path: Path, says: Says, *texts: list[str], against: list[str] | None = None, **settings: Any
) -> Artifact:
    """Label the completions `texts[i]` of prompt i, all by one policy (or against a teacher's)."""

    def reply(messages: list[dict[str, str]]) -> str:
        found = read_back(messages[-1]["content"])
        assert found is not None
        return says(*found)

    inputs = {"completions": Rows(path=str(write(tmp_path / "policy.jsonl", texts, "policy")))}
    if against is not None:
        inputs["against"] = Rows(path=str(write(tmp_path / "teacher.jsonl", [[t] for t in against], "teacher")))
    with StubServer(reply) as server:
        critic = Critic(provider="openai", model="stub", base_url=server.openai_url, max_retries=0)
        config = label.Config(
            artifacts=tmp_path / "a", critic=critic, **{"max_invalid": 1.0, "max_flip": 1.0} | settings
        )
        return label.run(config, label.Inputs.model_validate(inputs))


def write(path: Path, texts: Any, author: str) -> Path:
    rows = [
        {"prompt": f"Why {i}?", "completion": t, "author": author} for i, group in enumerate(texts) for t in group
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def preferred(made: Artifact, **settings: Any) -> list[Preference]:
    config = prefer.Config(artifacts=made.path.parents[1], **settings)
    chosen = prefer.run(config, prefer.Inputs(verdicts=Finished(path=str(made.path))))
    return chosen.rows(prefer.PREFERENCES, Preference)


def better(word: str) -> Says:
    """Choose the completion that holds `word`."""
    return lambda instruction, first, second: f"Verdict: {'A' if word in first else 'B'}"


def test_bug_1_a_tie_or_an_unreadable_reply_is_nobodys_loss(tmp_path: Path) -> None:
    replies = {"Why 0?": "Verdict: tie", "Why 1?": "1.5", "Why 2?": "null", "Why 3?": "", "Why 4?": "Verdict: A or B"}
    two = [[f"good {i}", f"bad {i}"] for i in range(6)]

    def says(instruction: str, first: str, second: str) -> str:
        return replies[instruction] if instruction in replies else better("good")(instruction, first, second)

    made = labelled(tmp_path, says, *two)
    counts = made.record.counts
    assert (counts["TIE"], counts["INVALID"], counts["LEFT"], counts["RIGHT"]) == (1, 4, 1, 0)
    assert [p.chosen.text for p in preferred(made)] == ["good 5"]


def test_bug_5_exactly_as_many_comparisons_as_asked_for(tmp_path: Path) -> None:
    made = labelled(tmp_path, better("good"), *[[f"good {i}", f"bad {i}"] for i in range(20)])
    assert len(preferred(made, max_pairs=7)) == 7


def test_bug_7_a_name_means_nothing_so_a_renamed_folder_is_the_same_input(tmp_path: Path) -> None:
    made = labelled(tmp_path, better("good"), ["good", "bad"])
    config = prefer.Config(artifacts=tmp_path / "a")
    before = prefer.run(config, prefer.Inputs(verdicts=Finished(path=str(made.path))))
    shutil.move(made.path, tmp_path / "mistral7b_1.0")
    after = prefer.run(config, prefer.Inputs(verdicts=Finished(path=str(tmp_path / "mistral7b_1.0"))))
    assert after.record.fingerprint == before.record.fingerprint


def test_bug_8_every_sample_of_a_prompt_is_compared_not_only_the_first(tmp_path: Path) -> None:
    made = labelled(tmp_path, better("good"), ["bad 1", "bad 2", "good"])
    shown = [{v.pair.left.text, v.pair.right.text} for v in made.rows(label.VERDICTS, Verdict)]
    assert len(shown) == 3
    assert {"bad 2", "good"} in shown


def test_bug_17_a_teachers_long_completion_is_judged_whole(tmp_path: Path) -> None:
    long = "teacher " * 3000 + "GOOD END"
    made = labelled(tmp_path, better("GOOD END"), ["short"], against=[long])
    assert [v.outcome for v in made.rows(label.VERDICTS, Verdict)] == ["RIGHT"]


@pytest.mark.parametrize("order", ["both", "random", "fixed"])
def test_the_verdict_goes_back_to_the_completion_it_was_about_in_every_order(tmp_path: Path, order: str) -> None:
    made = labelled(tmp_path, better("good"), *[[f"good {i}", f"bad {i}"] for i in range(12)], order=order)
    assert {p.chosen.text.split()[0] for p in preferred(made)} == {"good"}
    assert len(preferred(made)) == 12


def test_a_failed_request_is_no_score_of_zero_and_is_asked_for_again(tmp_path: Path) -> None:
    def broken(instruction: str, first: str, second: str) -> str:
        raise RuntimeError("the critic fell over")

    with pytest.raises(TutelageError):
        labelled(tmp_path, broken, ["good", "bad"])
    made = labelled(tmp_path, better("good"), ["good", "bad"])
    assert [v.outcome for v in made.rows(label.VERDICTS, Verdict)] == ["LEFT"]


def test_a_pair_that_got_no_reply_is_left_out_and_counted(tmp_path: Path) -> None:
    def some(instruction: str, first: str, second: str) -> str:
        if instruction == "Why 1?":
            raise RuntimeError("the critic fell over")
        return better("good")(instruction, first, second)

    made = labelled(tmp_path, some, ["good 0", "bad 0"], ["good 1", "bad 1"], max_failures=1.0)
    assert made.record.counts["pairs without a reply"] == 1
    assert made.record.counts["verdicts"] == 1


def test_the_first_number_in_a_reply_is_no_score(tmp_path: Path) -> None:
    def reply(messages: list[dict[str, str]]) -> str:
        return "There are 9 faults in it." if "bad" in messages[-1]["content"] else "Only 1 fault.\nScore: 8"

    path = write(tmp_path / "policy.jsonl", [["good", "bad"]], "policy")
    with StubServer(reply) as server:
        critic = Critic(provider="openai", model="stub", base_url=server.openai_url)
        config = label.Config(artifacts=tmp_path / "a", critic=critic, template="pointwise", max_invalid=1.0)
        made = label.run(config, label.Inputs(completions=Rows(path=str(path))))
    assert [v.outcome for v in made.rows(label.VERDICTS, Verdict)] == ["INVALID"]


def test_a_tie_never_becomes_a_preference_for_a_text_over_itself(tmp_path: Path) -> None:
    made = labelled(tmp_path, lambda i, a, b: "Verdict: tie", ["one", "two"])
    with pytest.raises(DataError, match="tie"):
        preferred(made)
    made = labelled(tmp_path, better("good"), ["same", "same", "good"])
    assert made.record.counts["skipped: the same prompt and completion again"] == 1
    assert all(p.chosen.text != p.rejected.text for p in preferred(made))


def test_a_verdict_that_is_taken_back_is_no_verdict(tmp_path: Path) -> None:
    made = labelled(tmp_path, lambda i, a, b: "Verdict: A\n\nActually, B is better: it is complete.", ["one", "two"])
    assert [v.outcome for v in made.rows(label.VERDICTS, Verdict)] == ["INVALID"]
