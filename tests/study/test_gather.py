"""From artifacts to findings: every number is the one that the artifacts give, and what is missing is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from small_study import RECIPE, SmallStudy
from tutelage.errors import StudyError
from tutelage.findings import STUDY, Findings
from tutelage.measure.win_rate import scores
from tutelage.records import Verdict
from tutelage.study import costs
from tutelage.study.design import ways
from tutelage.study.gather import Material, curve_of, gather
from tutelage.study.recipe import StudyRecipe
from tutelage.study.running import Done
from tutelage.study.scores import Judgement


@pytest.fixture(scope="module")
def found(small: SmallStudy) -> Findings:
    return gather(small.graph, list(small.ways.values()), small.done)


def without(small: SmallStudy, arm: str, seed: int, what: str) -> Findings:
    """The findings if this artifact, and all that needs it, had failed."""
    key = small.graph.runs[arm, seed][what].key
    lost = {t.key for run in small.graph.runs.values() for t in run.values() if key in {n.key for n in t.all()}}
    made = {k: artifact for k, artifact in small.done.made.items() if k not in lost}
    return gather(small.graph, list(small.ways.values()), Done(made, dict.fromkeys(lost, "label: no credit left")))


def test_the_rate_of_an_arm_is_the_mean_of_what_evaluate_says_of_its_runs(small: SmallStudy, found: Findings) -> None:
    for arm in found.arms:
        (rate,) = arm.rates
        runs = small.runs[arm.name].items()
        said = {seed: scores(run["evaluate:judge"].rows("verdicts.jsonl", Verdict)) for seed, run in runs}
        common = set.intersection(*map(set, said.values()))  # one run's prompt alone is left out of both
        for seed, run in runs:
            assert rate.by_seed[seed] == pytest.approx(100 * sum(said[seed][p] for p in common) / len(common))
            alone = run["evaluate:judge"].record.win_rate
            assert alone is not None
            if len(said[seed]) == len(common):
                assert rate.by_seed[seed] == pytest.approx(alone.rate)
        assert rate.rate.value == pytest.approx(sum(rate.by_seed.values()) / 2)
        assert rate.rate.low is not None
        assert rate.rate.high is not None
        assert rate.rate.low <= rate.rate.value <= rate.rate.high


def test_a_difference_is_paired_by_seed_and_prompt(small: SmallStudy, found: Findings) -> None:
    by_seed = {
        arm: [scores(run["evaluate:judge"].rows("verdicts.jsonl", Verdict)) for run in small.runs[arm].values()]
        for arm in ("dpo-weak", "sft-weak-20")
    }
    common = set.intersection(*(set(run) for runs in by_seed.values() for run in runs))
    expected = [
        one[prompt] - other[prompt]
        for one, other in zip(by_seed["dpo-weak"], by_seed["sft-weak-20"], strict=True)
        for prompt in common
    ]
    compared = next(c for c in found.comparisons if (c.first, c.second) == ("dpo-weak", "sft-weak-20"))
    assert compared.difference.value == pytest.approx(100 * sum(expected) / len(expected))
    assert (compared.num_prompts, compared.num_seeds) == (len(common), 2)
    assert compared.says in found.verdict


def test_every_arm_with_feedback_names_its_start_and_has_a_why(found: Findings) -> None:
    assert {arm.name: arm.start for arm in found.arms} == {
        "sft-weak-20": None,
        "dpo-weak": "sft-weak-20",
        "best-of-n-weak": "sft-weak-20",
    }
    assert [why.arm for why in found.why] == ["dpo-weak", "best-of-n-weak"]


def test_an_arm_that_failed_says_where_and_why_and_the_others_are_all_there(small: SmallStudy) -> None:
    found = without(small, "dpo-weak", 1, "dpo")
    arms = {arm.name: arm for arm in found.arms}
    (missing,) = arms["dpo-weak"].missing
    assert (missing.seed, missing.stage, missing.why) == (1, "dpo", "label: no credit left")
    assert arms["dpo-weak"].seeds == (0,)
    assert arms["sft-weak-20"].seeds == arms["best-of-n-weak"].seeds == (0, 1)
    compared = next(c for c in found.comparisons if (c.first, c.second) == ("dpo-weak", "sft-weak-20"))
    assert compared.num_seeds == 1
    assert any("dpo-weak (seed 1)" in warning for warning in found.warnings)


def test_a_judge_that_could_not_be_asked_about_training_pairs_costs_no_run_and_is_said(small: SmallStudy) -> None:
    found = without(small, "dpo-weak", 0, "agree:judge")
    assert not any(arm.missing for arm in found.arms)
    assert any("agrees with dpo-weak's critic is not known" in warning for warning in found.warnings)


def test_an_arm_of_which_nothing_is_there_is_left_out_of_comparisons_alone(small: SmallStudy) -> None:
    found = without(small, "best-of-n-weak", 0, "sft")  # which every arm starts from
    arms = {arm.name: arm for arm in found.arms}
    assert all(arm.seeds == (1,) for arm in arms.values())
    assert len(found.comparisons) == 3


def test_findings_come_back_as_they_were_saved(found: Findings, tmp_path: Path) -> None:
    found.save(tmp_path)
    assert Findings.load(tmp_path) == found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"version": 99}', "of version 99"),
        ("[]", "of version None"),
        ("{", "not JSON"),
        ('{"version": 1}', "not what tutelage writes"),
    ],
)
def test_a_study_of_another_version_or_damaged_is_one_error(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / STUDY).write_text(text)
    with pytest.raises(StudyError, match=says):
        Findings.load(tmp_path)
    with pytest.raises(StudyError, match="no such file"):
        Findings.load(tmp_path / "elsewhere")


def test_what_is_saved_is_json_without_nan(found: Findings, tmp_path: Path) -> None:
    text = found.save(tmp_path).read_text()
    assert "percentage points" in json.loads(text)["about"]
    assert json.loads(text, parse_constant=lambda name: pytest.fail(f"found {name}"))


def test_a_scaling_curve_has_one_arm_a_fraction_and_keeps_the_settings_of_sft(small: SmallStudy) -> None:
    arms = """
  few: {{teacher: weak, fraction: 0.2, axes: {{sft.lr: [1e-4, 1e-3]}}}}
  all: {{teacher: weak, axes: {{sft.lr: [1e-4, 1e-3]}}}}
"""
    path = small.recipe.folder.parent / "curves.yaml"
    path.write_text(RECIPE.split("  sft-weak-20")[0].format(folder=path.parent) + arms.format())
    recipe = StudyRecipe.load(path)
    found = {way.name: way for way in ways(recipe)}
    score, cost = {0: {"a": 1.0, "b": 0.0}}, costs.cost(small.ways["dpo-weak"], small.runs["dpo-weak"])
    have = Material(recipe, list(found.values()), {}, {}, [Judgement("judge", dict.fromkeys(found, score))], [])
    points = curve_of(have, found["all-lr-0.001"], have.judgements[0].scores, dict.fromkeys(found, cost))
    assert [point.arm for point in points] == ["few-lr-0.001", "all-lr-0.001"]
