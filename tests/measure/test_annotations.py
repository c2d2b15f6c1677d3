"""Every preference that alpaca_eval's files hold is read by a stated rule, and every other one is refused."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotated import annotation, row, written
from tutelage.errors import DataError
from tutelage.measure.annotations import Annotation, annotations_of, read_annotations, write_annotations
from tutelage.records import Completion, Outcome, Pair, Prompt, Verdict


def read_one(tmp_path: Path, **fields: Any) -> Annotation:
    [found] = read_annotations(written(tmp_path / "annotations.json", [row(**fields)]))
    return found


@pytest.mark.parametrize(
    ("stored", "preference", "score"),
    [
        (1, 1.0, 0.0),
        (2, 2.0, 1.0),
        (2.0, 2.0, 1.0),
        (1.25, 1.25, 0.25),
        (1.5, 1.5, 0.5),
        (0, 1.5, 0.5),
        (0.0, 1.5, 0.5),
        (None, None, None),
        (math.nan, None, None),
        (-1, None, None),
        (-1.0, None, None),
    ],
)
def test_each_encoding_of_a_preference_has_its_meaning(
    tmp_path: Path, stored: object, preference: float | None, score: float | None
) -> None:
    found = read_one(tmp_path, preference=stored)
    assert (found.preference, found.score) == (preference, score)


@pytest.mark.parametrize(
    "stored", [3, 0.5, -2, 2.0000001, "a", "1", True, False, [], {}, math.inf, 10**400, "\x1b[2J"]
)
def test_any_other_preference_is_an_error_that_names_the_row(tmp_path: Path, stored: object) -> None:
    path = written(tmp_path / "annotations.json", [row(), row(preference=stored)])
    with pytest.raises(DataError, match=r"annotations.json, row 2: a preference of '.*expected a number from 1") as e:
        read_annotations(path)
    assert str(e.value).isprintable()


def test_a_row_without_a_preference_is_missing_among_rows_that_have_one(tmp_path: Path) -> None:
    bare = {name: value for name, value in row().items() if name != "preference"}
    found = read_annotations(written(tmp_path / "annotations.json", [row(), bare]))
    assert [a.preference for a in found] == [1, None]


def test_a_file_without_any_preference_says_what_it_holds_instead(tmp_path: Path) -> None:
    bare = {name: value for name, value in row().items() if name != "preference"}
    with pytest.raises(DataError, match=r"no row has a field 'preference' \(found: annotator, generator_1.*expected"):
        read_annotations(written(tmp_path / "annotations.json", [bare | {"label": 1}]))


def test_a_file_of_completions_says_which_text_it_lacks(tmp_path: Path) -> None:
    path = written(tmp_path / "model_outputs.json", [{"instruction": "Hi", "output": "Hello", "generator": "m"}])
    with pytest.raises(DataError, match=r"row 1: no field 'output_1' \(found: instruction, output, generator\)"):
        read_annotations(path)


def test_a_text_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="row 1: 'output_2' is no text but 'None'"):
        read_one(tmp_path, output_2=None)


def test_an_empty_completion_is_a_text(tmp_path: Path) -> None:
    assert read_one(tmp_path, output_2="").output_2 == ""


@pytest.mark.parametrize("extra", [{"price_per_example": 0.01}, {"_date": None}, {"id": 3, "config": "top_p=0.9"}])
def test_fields_of_other_versions_are_left_alone(tmp_path: Path, extra: dict[str, Any]) -> None:
    assert read_one(tmp_path, **extra) == annotation()


@pytest.mark.parametrize("name", ["raw_completion", "_raw_completion"])
def test_the_judges_reply_is_kept_under_both_names_it_has_had(tmp_path: Path, name: str) -> None:
    assert read_one(tmp_path, **{name: {"index": 0}}).raw == {"index": 0}


def test_names_that_are_not_given_are_unknown(tmp_path: Path) -> None:
    found = read_one(tmp_path, generator_1=None, generator_2="", annotator=math.nan, dataset=None)
    assert (found.generator_1, found.generator_2, found.annotator, found.dataset) == ("unknown",) * 3 + (None,)


def test_an_empty_list_is_no_file_of_annotations(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no rows"):
        read_annotations(written(tmp_path / "annotations.json", []))


@pytest.mark.parametrize("name", ["a.json", "a.json.gz", "a.jsonl", "a.jsonl.gz"])
def test_every_form_of_file_holds_the_same_rows(tmp_path: Path, name: str) -> None:
    rows = [row(preference=1.25), row(preference=None)]
    text = "".join(json.dumps(r) + "\n" for r in rows) if "jsonl" in name else json.dumps(rows)
    data = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert [a.preference for a in read_annotations(tmp_path / name)] == [1.25, None]


# ---- from verdicts, and written -----------------------------------------------------------------------


def verdict(outcome: Outcome, probability: float | None = None) -> Verdict:
    prompt_id = Prompt.of("Why?").id
    return Verdict(
        pair=Pair(
            left=Completion(prompt_id=prompt_id, author="policy", text="left"),
            right=Completion(prompt_id=prompt_id, author="baseline", text="right"),
        ),
        orders=("left_first",),
        outcome=outcome,
        critic="judge",
        replies=("the reply",),
        probability=probability,
    )


@pytest.mark.parametrize(
    ("outcome", "probability", "preference"),
    [
        ("LEFT", None, 2),
        ("RIGHT", None, 1),
        ("TIE", None, 1.5),
        ("INVALID", None, None),
        ("LEFT", 0.75, 1.75),
        ("RIGHT", 0.0, 1),
        ("INVALID", 0.75, None),
    ],
)
def test_a_verdict_is_a_preference_for_the_left_completion_as_output_2(
    outcome: Outcome, probability: float | None, preference: float | None
) -> None:
    prompt = Prompt.of("Why?")
    [found] = annotations_of(
        [verdict(outcome, probability)], {prompt.id: prompt}, "base", "mine", {"Why?": "koala"}.get
    )
    assert found == Annotation(
        "Why?", "right", "left", "base", "mine", "judge", "koala", preference, raw=["the reply"]
    )


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.lists(st.tuples(TEXTS, TEXTS, st.none() | st.floats(1, 2)), min_size=1, max_size=5))
def test_what_is_written_is_read_again_unchanged(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, float | None]]
) -> None:
    annotations = [annotation(0, p, output_1=one, output_2=two, raw=["r"]) for one, two, p in rows]
    path = tmp_path_factory.mktemp("written") / "new" / "annotations.json"
    write_annotations(path, annotations)
    assert read_annotations(path) == annotations


def test_a_lone_half_of_a_character_survives_being_written(tmp_path: Path) -> None:
    write_annotations(tmp_path / "a.json", [annotation(output_2="\ud83d")])
    assert read_annotations(tmp_path / "a.json")[0].output_2 == "\ud83d"
