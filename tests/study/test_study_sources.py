"""The artifacts a study rests on, and what was really paid for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from small_study import SmallStudy
from tutelage.records import Bill, Usage
from tutelage.store import BEFORE_THE_ROAD, STAGES, Artifact, Made, Work
from tutelage.study.sources import sources, total


def make(folder: Path, stage: str, name: str, bill: Bill | None = None) -> Artifact:
    work = Work(folder, stage, "run", {"name": name})
    with work.locked():
        return work.finish({}, {}, Made(bill=bill))


def test_every_artifact_is_there_once_however_often_it_is_used(small: SmallStudy) -> None:
    used = [artifact for runs in small.runs.values() for run in runs.values() for artifact in run.values()]
    found = sources([*used, *small.artifacts])
    assert sorted(each.path for each in found) == sorted(str(p.parent) for p in _records(small))
    assert len(used) > len({artifact.path for artifact in used})


def _records(small: SmallStudy) -> list[Path]:
    return list(small.recipe.artifacts.glob("*/*/record.json"))


def test_the_artifacts_come_in_the_order_of_the_road_and_after_what_they_are_made_of(small: SmallStudy) -> None:
    found = sources(reversed(small.artifacts))
    stages = [each.stage for each in found]
    assert stages == sorted(stages, key=(*BEFORE_THE_ROAD, *STAGES).index)
    times = [each.finished_at for each in found if each.stage == "sample"]
    assert len(times) > 2
    assert times == sorted(times)


def test_a_source_says_what_its_record_says(small: SmallStudy) -> None:
    by_path = {each.path: each for each in sources(small.artifacts)}
    for path in _records(small):
        record, found = json.loads(path.read_text()), by_path[str(path.parent)]
        assert set(found.made_of) == {given["artifact"] for given in record["inputs"].values()} - {None}
        for name in ("stage", "label", "fingerprint", "content", "finished_at", "seconds", "counts", "code"):
            assert getattr(found, name) == record[name]


def test_every_fingerprint_that_something_is_made_of_is_itself_a_source(small: SmallStudy) -> None:
    found = sources(small.artifacts)
    assert {name for each in found for name in each.made_of} <= {each.fingerprint for each in found}


def test_dollars_are_what_was_paid_or_lost_not_what_was_reused(tmp_path: Path) -> None:
    bill = Bill(paid=Usage(dollars=2.0), lost=Usage(dollars=0.5), reused=Usage(dollars=40.0))
    taught, trained = make(tmp_path, "teach", "a", bill), make(tmp_path, "sft", "b")
    assert [each.dollars for each in sources([trained, taught])] == [2.5, 0.0]
    dollars, seconds = total([taught, trained, taught])
    assert dollars == 2.5
    assert seconds == pytest.approx(taught.record.seconds + trained.record.seconds)


def test_one_unknown_price_makes_the_total_unknown(tmp_path: Path) -> None:
    known, unknown = Bill(paid=Usage(dollars=2.0)), Bill(paid=Usage(dollars=None))
    artifacts = [make(tmp_path, "teach", "a", known), make(tmp_path, "label", "b", unknown)]
    assert [each.dollars for each in sources(artifacts)] == [2.0, None]
    assert total(artifacts)[0] is None


def test_nothing_costs_nothing() -> None:
    assert total([]) == (0.0, 0.0)
    assert sources([]) == []
