"""Verdicts that were imported: what prefer, panel, dpo and sft make of them, and what they cannot know."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tutelage.errors import ConfigError, DataError, StoreError
from tutelage.inputs import Finished, Model, Rows, Several, Source
from tutelage.records import Preference, Verdict
from tutelage.stages import dpo, importing, panel, prefer, sft
from tutelage.store import Artifact

Write = Callable[[str, list[Any]], Path]


@pytest.fixture
def imported(write_rows: Write, tmp_path: Path) -> Callable[..., Artifact]:
    """Import rows of alpaca_eval's annotations with these preferences, a question for each."""

    def write(*preferences: float | None, annotator: str = "judge") -> Artifact:
        row = {"output_1": "base", "output_2": "policy", "annotator": annotator}
        rows = [row | {"instruction": f"{n}?", "preference": p} for n, p in enumerate(preferences)]
        path = write_rows(f"{annotator}.jsonl", rows)
        config = importing.Config(artifacts=tmp_path / "a", label=annotator)
        return importing.run(config, importing.Inputs(rows=Source(path=str(path))))

    return write


Imported = Callable[..., Artifact]


def preferred(made: Artifact, **settings: Any) -> list[tuple[str, float]]:
    """The chosen texts and their weights."""
    config = prefer.Config(artifacts=made.path.parents[1], **settings)
    chosen = prefer.run(config, prefer.Inputs(verdicts=Finished(path=str(made.path))))
    return [(p.chosen.text, p.weight) for p in chosen.rows(prefer.PREFERENCES, Preference)]


def test_bug_1_from_the_file_to_the_preferences_nobody_wins_who_did_not(imported: Imported) -> None:
    made = imported(1, 2, 0, 1.5, None, -1, 1.25, 1.9)
    assert [text for text, _ in preferred(made)] == ["base", "policy", "base", "policy"]
    assert made.record.counts["verdicts"] == 8


def test_probabilities_of_a_file_weigh_and_whole_numbers_have_none(imported: Imported) -> None:
    assert preferred(imported(1.25, 2, 1.9), weights="probability") == [
        ("base", pytest.approx(0.5)),
        ("policy", pytest.approx(0.8)),
    ]
    with pytest.raises(ConfigError, match="min_probability: no verdict of judge has a probability"):
        preferred(imported(1, 2), min_probability=0.6)


def test_what_a_file_does_not_say_about_the_order_is_asked_for_in_vain(imported: Imported) -> None:
    made = imported(1, 2)
    with pytest.raises(ConfigError, match=r"consistent_only: .* or what was imported does not say so"):
        preferred(made, consistent_only=True)
    with pytest.raises(ConfigError, match="balance=side: nothing says on which side judge saw the completions"):
        preferred(made, balance="side")


def test_a_panel_may_have_members_that_were_imported(imported: Imported) -> None:
    one, other = imported(1, 2, 2), imported(1, 1, None, annotator="other")
    config = panel.Config(artifacts=one.path.parents[1])
    made = panel.run(config, panel.Inputs(verdicts=Several(paths=(str(one.path), str(other.path)))))
    assert [v.outcome for v in made.rows("verdicts.jsonl", Verdict)] == ["RIGHT", "TIE", "INVALID"]
    assert made.record.summary["critic"] == "panel(judge, other)"
    assert made.record.summary["both_orders"] is False


def test_the_first_of_two_verdicts_of_one_member_on_a_pair_counts_and_the_other_is_counted() -> None:
    from verdicts import verdict

    counts: dict[str, int] = {}
    first, second = verdict("a > b", critic="one"), verdict("a < b", critic="two")
    (ballot,) = panel.ballots_of(
        [[first, second]], lambda what, num: counts.update({what: counts.get(what, 0) + num})
    )
    assert list(ballot.verdicts.values()) == [first]
    assert counts["verdicts left out: another of the same artifact on the same pair"] == 1


def test_dpo_on_what_was_imported_says_which_command_comes_before(imported: Imported) -> None:
    made = imported(1, 2)
    inputs = dpo.Inputs(model=Model(path="miniature"), preferences=Finished(path=str(made.path)))
    with pytest.raises(StoreError, match=rf"expected an artifact of prefer; `tutelage prefer verdicts={made.path}`"):
        dpo.run(dpo.Config(artifacts=made.path.parents[1]), inputs)


def test_sft_on_preferences_says_how_completions_are_made_of_them(write_rows: Write, tmp_path: Path) -> None:
    said = "\n\nHuman: Why?\n\nAssistant: "
    path = write_rows("hh.jsonl", [{"chosen": f"{said}So.", "rejected": f"{said}No."}])
    inputs = sft.Inputs(model=Model(path="miniature"), completions=Rows(path=str(path)))
    with pytest.raises(DataError, match="`tutelage import` makes verdicts of them, `tutelage prefer` preferences"):
        sft.run(sft.Config(artifacts=tmp_path / "a"), inputs)


def test_rows_that_are_no_preferences_leave_an_artifact_without_verdicts(write_rows: Write, tmp_path: Path) -> None:
    path = write_rows("p.jsonl", [{"prompt": "Why?", "completion": "So.", "author": "me"}])
    config = importing.Config(artifacts=tmp_path / "a")
    made = importing.run(config, importing.Inputs(rows=Source(path=str(path))))
    with pytest.raises(
        StoreError, match=r"this import artifact has no verdicts.jsonl \(it has: completions.jsonl, prompts.jsonl\)"
    ):
        preferred(made)
    assert json.loads((made.path / "record.json").read_text())["summary"]["critic"] == ""
