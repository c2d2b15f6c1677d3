"""What happened inside an arm with feedback, held against what its artifacts' files say."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from small_study import SmallStudy
from tutelage.errors import DataError
from tutelage.findings import ConfidenceBin, Why
from tutelage.inputs import Model
from tutelage.measure.confidence import NOBODY_SURE
from tutelage.records import Completion, Margin, Pair, Preference, Prompt, Record, Verdict
from tutelage.stages.judging import Critic, Showing
from tutelage.store import Artifact, Made, Work
from tutelage.study import why as module
from tutelage.study.scores import reader
from tutelage.study.why import CURVES, kept_places, why

JUDGES = ("judge",)


def rows(artifact: Artifact, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (artifact.path / name).open()]


def why_of(small: SmallStudy, arm: str) -> Why:
    return why(small.ways[arm], small.runs[arm], small.runs["sft-weak-20"], JUDGES)


@pytest.fixture(scope="module")
def fed(small: SmallStudy) -> Why:
    return why_of(small, "dpo-weak")


# ---- training -------------------------------------------------------------------------------------------


def test_the_curves_are_what_dpo_logged_seed_by_seed(small: SmallStudy, fed: Why) -> None:
    assert [curve.seed for curve in fed.curves] == [0, 1]
    for curve in fed.curves:
        logged = rows(small.runs["dpo-weak"][curve.seed]["dpo"], "metrics.jsonl")
        assert list(curve.steps) == [row["step"] for row in logged]
        assert curve.values == {name: tuple(row[name] for row in logged) for name in CURVES}


def test_of_sft_on_what_the_critic_chose_there_is_the_loss(small: SmallStudy) -> None:
    found = why_of(small, "best-of-n-weak")
    logged = rows(small.runs["best-of-n-weak"][1]["best"], "metrics.jsonl")
    assert found.curves[1].values == {"loss": tuple(row["loss"] for row in logged)}
    assert found.by_confidence == ()
    assert found.confidence_note == "SFT on what the critic chose has no reward"


@pytest.mark.parametrize("num", [0, 1, 2, 99, 100, 101, 150, 199, 200, 4321])
def test_at_most_a_hundred_steps_are_kept_evenly_with_the_first_and_the_last(num: int) -> None:
    places = kept_places(num)
    assert len(places) == len(set(places)) == min(num, 100)
    assert places[:1] + places[-1:] == ([0, num - 1] if num else [])
    gaps = {after - before for before, after in pairwise(places)}
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_damaged_metrics_are_one_error_with_file_and_line(small: SmallStudy, tmp_path: Path) -> None:
    run = small.runs["dpo-weak"][0]
    shutil.copytree(run["dpo"].path, tmp_path / "dpo", ignore=shutil.ignore_patterns("checkpoint"))
    with (tmp_path / "dpo" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    torn = {0: {**run, "dpo": Artifact.open(tmp_path / "dpo")}}
    with pytest.raises(DataError, match=r"metrics.jsonl, line 5: not JSON .*; remove its folder and run the study"):
        why(small.ways["dpo-weak"], torn, None, JUDGES)


# ---- completions ----------------------------------------------------------------------------------------


def by_prompt(small: SmallStudy, arm: str) -> tuple[list[float], list[float]]:
    """Mean words, and mean share that ended, of each evaluated prompt over the two seeds."""
    words, ended = defaultdict(list), defaultdict(list)
    for run in small.runs[arm].values():
        for row in rows(run["draw"], "completions.jsonl"):
            words[row["prompt_id"]].append(len(row["text"].split()))
            ended[row["prompt_id"]].append(row["stop_reason"] == "stop")
    return [sum(each) / 2 for each in words.values()], [sum(each) / 2 for each in ended.values()]


@pytest.mark.parametrize("when", ["before", "after"])
def test_words_are_a_mean_over_seeds_with_an_interval_over_prompts(small: SmallStudy, fed: Why, when: str) -> None:
    words, ended = by_prompt(small, "sft-weak-20" if when == "before" else "dpo-weak")
    found = getattr(fed, f"words_{when}")
    mean = sum(words) / 16
    half = 1.959964 * math.sqrt(sum((w - mean) ** 2 for w in words) / 15 / 16)
    assert found.num == len(words) == 16
    assert (found.value, found.low, found.high) == pytest.approx((mean, mean - half, mean + half))
    share = getattr(fed, f"ended_{when}")
    assert share.value == pytest.approx(100 * sum(ended) / 16)
    assert 0 <= share.low <= share.value <= share.high <= 100
    assert share.low < share.high


def test_without_the_arm_before_there_is_a_note_and_no_number(small: SmallStudy) -> None:
    found = why(small.ways["dpo-weak"], small.runs["dpo-weak"], None, JUDGES)
    assert (found.words_before.value, found.ended_before.value) == (None, None)
    assert found.words_before.note == "the arm before its feedback is no arm of this study"
    assert found.words_after.value is not None


def test_only_seeds_that_the_arm_has_too_count_before_it(small: SmallStudy) -> None:
    runs, start = small.runs["dpo-weak"], small.runs["sft-weak-20"]
    one = why(small.ways["dpo-weak"], {1: runs[1]}, start, JUDGES)
    assert one.words_before == why(small.ways["dpo-weak"], {1: runs[1]}, {1: start[1]}, JUDGES).words_before
    other = why(small.ways["dpo-weak"], {1: runs[1]}, {0: start[0]}, JUDGES)
    assert other.words_before.note == "no run has completions of the evaluated prompts"


# ---- preferences and verdicts ---------------------------------------------------------------------------


def test_what_the_student_drew_itself_is_on_policy(small: SmallStudy, fed: Why) -> None:
    num = sum(len(rows(run["prefer"], "preferences.jsonl")) for run in small.runs["dpo-weak"].values())
    assert (fed.on_policy.value, fed.on_policy.num) == (100, num)


def test_agreement_is_of_the_pairs_that_critic_and_judge_both_decided(small: SmallStudy, fed: Why) -> None:
    run = small.runs["dpo-weak"][0]
    critic, judge = (
        {row["pair"]["id"]: row["outcome"] for row in rows(run[name], "verdicts.jsonl")}
        for name in ("label", "agree:judge")
    )
    both = [(critic[i], judge[i]) for i in judge if {critic[i], judge[i]} <= {"LEFT", "RIGHT"}]
    found = fed.agreement["judge"]
    assert found.num == len(both) > 5
    assert found.value == pytest.approx(100 * sum(one == other for one, other in both) / len(both))
    assert found.low < found.value <= found.high <= 100


def test_a_judge_that_was_not_asked_about_training_pairs_has_no_agreement(small: SmallStudy) -> None:
    assert why_of(small, "best-of-n-weak").agreement == {}


def test_label_noise_is_told_from_how_often_the_orders_contradict_each_other(small: SmallStudy, fed: Why) -> None:
    flips, decided = 0, 0
    for run in small.runs["dpo-weak"].values():
        flips += run["label"].record.counts["flips"]
        decided += sum(row["outcome"] in ("LEFT", "RIGHT") for row in rows(run["label"], "verdicts.jsonl"))
    by_prompts = defaultdict(list)
    for run in small.runs["dpo-weak"].values():
        for row in rows(run["label"], "verdicts.jsonl"):
            said = [
                reader(Critic(provider="miniature", model="critic"), Showing())(reply) for reply in row["replies"]
            ]
            if None not in said and 0.5 not in said:  # shown in both orders, the same slot twice is a flip
                by_prompts[row["pair"]["left"]["prompt_id"]].append(said[0] == said[1])
    assert sum(map(sum, by_prompts.values())) == flips > 0
    assert sum(map(len, by_prompts.values())) == flips + decided
    share = sum(sum(each) / len(each) for each in by_prompts.values()) / len(by_prompts)
    error = (1 - math.sqrt(1 - 2 * share)) / 2
    assert fed.label_noise.value == pytest.approx(100 * error**2 / (error**2 + (1 - error) ** 2))
    assert fed.label_noise.num == len(by_prompts)
    assert "errors that both orders share are not seen" in fed.label_noise.note


def test_of_very_many_labels_some_tell_the_noise(small: SmallStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LABELS", 20)
    found = why_of(small, "dpo-weak")
    assert 5 < found.label_noise.num < 35
    assert found.agreement == why_of(small, "dpo-weak").agreement


def test_labels_drawn_by_lot_are_wrong_half_the_time(small: SmallStudy) -> None:
    way = small.ways["dpo-weak"]
    by_lot = replace(way, arm=way.arm.model_copy(update={"feedback": "shuffled"}))
    found = why(by_lot, small.runs["dpo-weak"], None, JUDGES)
    assert found.label_noise.value == 50
    assert found.label_noise.note == "the labels are random, whatever the critic said"


def test_a_critic_that_gives_no_probabilities_has_no_confidence_and_it_is_said(fed: Why) -> None:
    assert fed.by_confidence == ()
    assert fed.confidence_note == NOBODY_SURE


def test_no_file_is_read_twice(small: SmallStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: Counter[str] = Counter()
    real = Path.open

    def counting(path: Path, *args: Any, **kwargs: Any) -> Any:
        opened[str(path)] += 1
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", counting)
    why_of(small, "dpo-weak")
    of_rows = {path: num for path, num in opened.items() if path.endswith(".jsonl") and "metrics" not in path}
    assert len(of_rows) > 8
    assert set(of_rows.values()) == {1}


# ---- what the miniature has none of: completions of others, and a critic that says how sure it is ---------


def make(folder: Path, stage: str, counts: int = 0, **files: Sequence[Record]) -> Artifact:
    work = Work(folder, stage, "run", {"files": {name: [str(row) for row in each] for name, each in files.items()}})
    with work.locked():
        for name, each in files.items():
            work.write(f"{name}.jsonl", each)
        work.count("verdicts", counts)
        (work.path / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5}\n')
        return work.finish({}, {}, Made())


@pytest.fixture
def told(tmp_path: Path) -> dict[str, Artifact]:
    """A run whose student drew three of four pairs, of which the critic says how sure it is: .9, .6 and .95."""
    sft = make(tmp_path, "sft")
    student = Model(path=str(sft.path)).author()
    verdicts, preferences = [], []
    for number, probability in enumerate([0.9, 0.6, 0.95, None]):
        prompt = Prompt.of(f"What is {number}?")
        left, right = (
            Completion(prompt_id=prompt.id, author=author, text=text)
            for author, text in (("teacher" if number == 3 else student, "one"), (student, "two"))
        )
        pair = Pair(left=left, right=right)
        said = Verdict(
            pair=pair, orders=("left_first",), outcome="LEFT", critic="c", replies=("A",), probability=probability
        )
        verdicts.append(said)
        preferences.append(Preference(prompt_id=prompt.id, chosen=left, rejected=right, verdict_ids=(said.id,)))
    values = zip(preferences, [1.0, 2.0, -3.0, 4.0], strict=True)
    margins = [Margin(id=p.id, prompt_id=p.prompt_id, margin=value) for p, value in values]
    return {
        "sft": sft,
        "label": make(tmp_path, "label", 4, verdicts=verdicts),
        "prefer": make(tmp_path, "prefer", preferences=preferences),
        "dpo": make(tmp_path, "dpo", margins=margins),
    }


def test_a_pair_with_a_completion_of_somebody_else_is_off_policy(
    small: SmallStudy, told: dict[str, Artifact]
) -> None:
    found = why(small.ways["dpo-weak"], {0: told}, None, JUDGES).on_policy
    assert (found.value, found.num) == (75, 4)


def test_the_policys_reward_is_set_beside_how_sure_the_critic_was(
    small: SmallStudy, told: dict[str, Artifact]
) -> None:
    found = why(small.ways["dpo-weak"], {0: told}, None, JUDGES)
    assert found.by_confidence == (
        ConfidenceBin(low=0.6, high=0.7, num=1, accuracy=1.0),
        ConfidenceBin(low=0.9, high=1.0, num=2, accuracy=0.5),
    )
    assert found.confidence_note == "1 of 4 pairs have no probability and are left out"


def test_a_run_without_margins_has_no_reward_to_show_and_it_is_said(
    small: SmallStudy, told: dict[str, Artifact]
) -> None:
    (told["dpo"].path / "margins.jsonl").unlink()
    found = why(small.ways["dpo-weak"], {0: told}, None, JUDGES)
    assert (found.by_confidence, found.confidence_note) == ((), "no pair has a margin")


def test_labels_shown_in_one_order_cannot_tell_their_noise(small: SmallStudy, told: dict[str, Artifact]) -> None:
    found = why(small.ways["dpo-weak"], {0: told}, None, JUDGES).label_noise
    assert found.value is None
    assert "both orders" in found.note


@pytest.mark.parametrize(
    ("reply", "share"), [("Verdict: A", 1.0), ("Verdict: B", 0.0), ("Verdict: tie", 0.5), ("Both are fine.", None)]
)
def test_a_reply_says_how_much_of_the_first_slot_it_is_for(reply: str, share: float | None) -> None:
    assert reader(Critic(provider="miniature", model="critic"), Showing())(reply) == share


def test_points_of_a_completion_alone_are_for_no_slot() -> None:
    critic = Critic(provider="miniature", model="critic")
    assert reader(critic, Showing(template="pointwise"))("Score: 7") is None
