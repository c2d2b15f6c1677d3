"""Several critics, one verdict a pair: nobody's vote is lost, turned into another, or counted twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from verdicts import BOTH, ONE, verdict

from tutelage.errors import ConfigError, StoreError
from tutelage.inputs import Finished
from tutelage.records import Preference, Prompt, Usage, Verdict, digest
from tutelage.stages import get, panel, prefer
from tutelage.stages.label import VERDICTS
from tutelage.store import Artifact, Made, Work

PROMPT = Prompt.of("Why?")


def together(*critics: str, **settings: Any) -> Verdict:
    """One verdict of critics that say "a > b" and so on of the same pair; 'a > b .9' with a probability."""
    verdicts = []
    for number, said in enumerate(critics):
        words = said.split()
        probability = float(words[3]) if words[3:] else None
        verdicts.append([verdict(" ".join(words[:3]), probability, critic=f"critic {number}")])
    (ballot,) = panel.ballots_of(verdicts, lambda what, num: None)
    return panel.panel_verdict(ballot, panel.Config(**settings), "panel")


# ---- the rules --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("critics", "outcome", "probability"),
    [
        (["a > b", "a > b", "a < b"], "LEFT", 2 / 3),
        (["a < b", "a < b", "a = b"], "RIGHT", 1 / 6),
        (["a > b", "a < b"], "TIE", 0.5),
        (["a > b", "a = b"], "TIE", 0.75),
        (["a > b", "a > b", "a = b", "a < b"], "TIE", 0.625),  # half is not more than half
        (["a = b", "a = b", "a > b"], "TIE", 2 / 3),
        (["a > b", "a > b", "a ? b"], "LEFT", 1.0),  # an unreadable verdict is nobody's vote
        (["a > b", "a < b", "a ? b"], "TIE", 0.5),
        (["a > b", "a ? b", "a ? b"], "INVALID", None),
    ],
)
def test_the_majority_of_the_readable_verdicts_decides(
    critics: list[str], outcome: str, probability: float | None
) -> None:
    made = together(*critics)
    assert (made.outcome, made.probability) == (outcome, pytest.approx(probability))


@pytest.mark.parametrize(
    ("critics", "outcome", "probability"),
    [
        (["a > b .6", "a > b .6", "a < b .1"], "RIGHT", 1.3 / 3),
        (["a > b .7", "a < b .3"], "TIE", 0.5),
        (["a > b", "a < b .2", "a = b"], "LEFT", 1.7 / 3),
        (["a < b", "a < b .4", "a ? b"], "RIGHT", 0.2),
        (["a ? b", "a ? b"], "INVALID", None),
    ],
)
def test_the_mean_probability_decides_and_a_verdict_without_one_is_sure(
    critics: list[str], outcome: str, probability: float | None
) -> None:
    made = together(*critics, rule="mean_probability")
    assert (made.outcome, made.probability) == (outcome, pytest.approx(probability))


def test_min_votes_says_how_many_must_be_readable() -> None:
    assert together("a > b", "a ? b", min_votes=1).outcome == "LEFT"
    assert together("a > b", "a > b", "a > b", min_votes=3).outcome == "LEFT"
    assert together("a > b", "a > b", "a ? b", min_votes=3).outcome == "INVALID"


def test_all_replies_and_all_that_they_cost_are_kept_also_the_unreadable_ones() -> None:
    critics = [
        [verdict("a > b").model_copy(update={"usage": Usage(requests=2, dollars=0.5)})],
        [verdict("a ? b", orders=ONE).model_copy(update={"usage": Usage(requests=1, dollars=0.25)})],
    ]
    (ballot,) = panel.ballots_of(critics, lambda what, num: None)
    made = panel.panel_verdict(ballot, panel.Config(), "panel")
    assert made.orders == (*BOTH, *ONE)
    assert made.replies == tuple(r for (v,) in critics for r in v.replies)
    assert made.usage == Usage(requests=3, dollars=0.75)


# ---- the same pair ----------------------------------------------------------------------------------


def test_a_pair_given_the_other_way_round_is_recognised_and_its_verdict_turned() -> None:
    counts: Counter[str] = Counter()
    critics = [[verdict("a > b", 0.9)], [verdict("b > a", 0.8, orders=ONE)]]
    (ballot,) = panel.ballots_of(critics, lambda what, num: counts.update({what: num}))
    assert [(v.outcome, v.probability, v.orders) for v in ballot.verdicts.values()] == [
        ("LEFT", 0.9, BOTH),
        ("RIGHT", pytest.approx(0.2), ("left_first",)),
    ]
    assert {v.pair.id for v in ballot.verdicts.values()} == {ballot.pair.id}
    assert +counts == {"verdicts turned: the pair was given the other way round": 1}


@given(st.sampled_from("<>=?"), st.sampled_from([None, 0.0, 0.25, 0.5, 1.0]), st.sampled_from([BOTH, ONE]))
def test_a_verdict_turned_twice_is_the_same_verdict(sign: str, probability: float | None, orders: Any) -> None:
    said = verdict(f"a {sign} b", None if sign == "?" else probability, orders=orders)
    assert panel.turned(said).pair.left == said.pair.right
    assert panel.turned(panel.turned(said)) == said


def test_pairs_that_only_some_critics_judged_are_judged_by_those_and_counted() -> None:
    counts: Counter[str] = Counter()
    critics = [[verdict("a > b"), verdict("a > c")], [verdict("c > a"), verdict("b > c")]]
    ballots = panel.ballots_of(critics, lambda what, num: counts.update({what: num}))
    assert [sorted(ballot.verdicts) for ballot in ballots] == [[0], [0, 1], [1]]
    assert counts["pairs that not every critic judged"] == 2


@given(st.lists(st.sampled_from("<>=?"), min_size=2, max_size=5), st.sampled_from(["majority", "mean_probability"]))
def test_whichever_way_round_the_pair_was_given_the_same_completion_wins(signs: list[str], rule: str) -> None:
    verdicts = [verdict(f"a {sign} b", critic=str(number)) for number, sign in enumerate(signs)]
    config = panel.Config(rule=rule)  # type: ignore[arg-type]

    def made(*given: Verdict) -> Verdict:
        (ballot,) = panel.ballots_of([[v] for v in given], lambda what, num: None)
        return panel.panel_verdict(ballot, config, "panel")

    there, back = made(*verdicts), made(*map(panel.turned, verdicts))
    assert back.outcome == panel.turned(there).outcome


# ---- the stage --------------------------------------------------------------------------------------

Label = Callable[..., Artifact]


@pytest.fixture
def labelled(tmp_path: Path) -> Label:
    """Write an artifact of label in which `critic` says these things of completions of one prompt."""

    def write(critic: str, *said: str, stage: str = "label") -> Artifact:
        work = Work(tmp_path, stage, critic.strip("\x1b[2J"), {"seed": digest([critic, said])})
        work.path.mkdir(parents=True)
        work.write("prompts.jsonl", [PROMPT])
        work.write(VERDICTS, [verdict(each, prompt=PROMPT.id, critic=critic) for each in said])
        return work.finish({}, {}, Made(summary={"critic": critic}))

    return write


def sit(tmp_path: Path, *members: Artifact, words: tuple[str, ...] = ()) -> Artifact:
    listed = f"verdicts=[{','.join(str(m.path) for m in members)}]"
    return panel.run(*get("panel").configure([listed, f"artifacts={tmp_path}", *words]))


def test_a_panel_signs_with_all_names_and_says_how_far_they_agree(
    labelled: Label, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TUTELAGE_QUIET")
    one = labelled("x", "a > b", "a > c", "b < c", "b = d")
    two = labelled("y", "a > b", "c > a", "b < c", "b ? d")
    made = sit(tmp_path, one, two, labelled("z\x1b[2J", "a > b"))
    assert {v.critic for v in made.rows(VERDICTS, Verdict)} == {"panel(x, y, z\x1b[2J)"}
    said = made.record.summary
    assert said["agreement"][0] == {
        "critics": ["x", "y"],
        "num_pairs": 3,
        "agreement": 2 / 3,
        "kappa": pytest.approx(0.4),
    }
    assert said["agreement"][1]["kappa"] is None
    assert said["krippendorff_alpha"] is not None
    assert made.record.counts["pairs with fewer than min_votes readable verdicts"] == 1
    narration = capsys.readouterr().err
    assert "3   66.7%   0.40  x and y" in narration
    assert "Krippendorff's alpha of all 3: " in narration
    assert "\x1b" not in narration


def test_two_critics_of_one_name_are_numbered(labelled: Label, tmp_path: Path) -> None:
    made = sit(tmp_path, labelled("x", "a > b"), labelled("x", "a < b"), labelled("y", "a > b"))
    assert made.record.summary["critic"] == "panel(x #1, x #2, y)"


def test_a_panel_may_sit_on_a_panel_and_prefer_takes_what_it_says(labelled: Label, tmp_path: Path) -> None:
    inner = sit(tmp_path, labelled("x", "a > b"), labelled("y", "b < a"))
    made = sit(tmp_path, inner, labelled("z", "a > b"))
    config = prefer.Config(artifacts=tmp_path, min_probability=1, consistent_only=True)
    chosen = prefer.run(config, prefer.Inputs(verdicts=Finished(path=str(made.path))))
    assert [p.chosen.text for p in chosen.rows(prefer.PREFERENCES, Preference)] == ["a"]


def test_its_members_are_in_the_record_and_in_the_fingerprint(labelled: Label, tmp_path: Path) -> None:
    one, two, three = labelled("x", "a > b"), labelled("y", "a > b"), labelled("z", "a > b")
    made = sit(tmp_path, one, two)
    assert {name: i.artifact for name, i in made.record.inputs.items()} == {
        "verdicts.1": one.record.fingerprint,
        "verdicts.2": two.record.fingerprint,
    }
    assert sit(tmp_path, one, three).record.fingerprint != made.record.fingerprint
    one.path.rename(tmp_path / "moved")
    again = sit(tmp_path, Artifact.open(tmp_path / "moved"), two)
    assert again.path == made.path


def test_the_same_artifact_twice_is_refused_as_it_would_vote_twice(labelled: Label, tmp_path: Path) -> None:
    one = labelled("x", "a > b")
    with pytest.raises(ConfigError, match=r"are the same artifact; each critic votes once"):
        sit(tmp_path, one, one)


def test_what_cannot_be_a_panel_is_one_clear_error(labelled: Label, tmp_path: Path) -> None:
    one, two = labelled("x", "a > b"), labelled("y", "a > b")
    with pytest.raises(ConfigError, match="min_votes: found 3, but there are only 2 critics"):
        sit(tmp_path, one, two, words=("min_votes=3",))
    with pytest.raises(ConfigError, match=r"two or more: \[FOLDER,FOLDER\]"):
        sit(tmp_path, one)
    with pytest.raises(ConfigError, match=r"verdicts.paths: .*two or more: \[FOLDER,FOLDER\]"):
        get("panel").configure([f"verdicts={one.path}"])
    with pytest.raises(StoreError, match="was made by evaluate; expected an artifact of label or panel"):
        sit(tmp_path, one, labelled("z", "a > b", stage="evaluate"))
    with pytest.raises(StoreError, match="nowhere: no such artifact folder"):
        panel.run(*get("panel").configure([f"verdicts=[{one.path},nowhere]"]))
