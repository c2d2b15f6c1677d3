"""A part, a fraction or a count of prompts, of files and of artifacts: always the same ones, and the rest counted."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tutelage.data.rows import read_completions, read_prompts, selected_rows
from tutelage.errors import ConfigError, DataError, StoreError
from tutelage.inputs import Finished, Prompts, Rows
from tutelage.records import Completion, Message, Prompt
from tutelage.stages import splitting
from tutelage.store import Artifact, Made, Work

WriteRows = Callable[[str, list[Any]], Path]
TEXTS = [f"Say {i}." for i in range(200)]
PROMPTS = [Prompt.of(text) for text in TEXTS]


def read(path: Path, **asked: Any) -> tuple[list[str], Counter[str]]:
    """The texts of the prompts taken, and what was counted."""
    counted: Counter[str] = Counter()
    found = read_prompts(Prompts(path=str(path), **asked), lambda what, num: counted.update({what: num}))
    return [p.messages[0].content for p in found], counted


def taught(root: Path, prompts: list[Prompt] = PROMPTS) -> Artifact:
    """An artifact of teach, two completions a prompt."""
    work = Work(root, "teach", "run", {"num": len(prompts)})
    with work.locked():
        work.write("prompts.jsonl", prompts)
        texts = ("one", "two")
        work.write(
            "completions.jsonl",
            [
                Completion(prompt_id=p.id, author="me", text=text, index=i)
                for p in prompts
                for i, text in enumerate(texts)
            ],
        )
        return work.finish({}, {}, Made())


def split(root: Path, prompts: Path, **sizes: Any) -> Artifact:
    return splitting.run(
        splitting.Config(artifacts=root, **sizes), splitting.Inputs(prompts=Prompts(path=str(prompts)))
    )


@pytest.fixture
def rows(write_rows: WriteRows) -> Path:
    return write_rows("p.jsonl", [{"prompt": text} for text in TEXTS])


# ---- fractions and counts ---------------------------------------------------------------------------


def test_a_fraction_takes_about_that_part_and_counts_the_rest(rows: Path) -> None:
    found, counted = read(rows, fraction=0.3)
    assert 35 < len(found) < 85
    assert counted == {"left out: rows of prompts beyond the fraction": 200 - len(found)}


def test_all_of_an_input_counts_nothing_and_calls_nobody(rows: Path) -> None:
    assert read(rows) == (TEXTS, {})


def test_a_count_takes_exactly_so_many_and_counts_the_rest(rows: Path) -> None:
    found, counted = read(rows, max_prompts=30)
    assert len(found) == 30
    assert found != TEXTS[:30]
    assert counted == {"left out: rows of prompts beyond max_prompts": 170}


def test_a_count_of_more_than_there_is_takes_all(rows: Path) -> None:
    assert read(rows, max_prompts=200) == read(rows, max_prompts=10_000) == (TEXTS, {})


def test_a_count_of_a_fraction_is_a_count_and_a_fraction(rows: Path) -> None:
    tenth = read(rows, fraction=0.5)[0]
    found, counted = read(rows, fraction=0.5, max_prompts=20)
    assert len(found) == 20
    assert set(found) < set(tenth)
    assert counted == {
        "left out: rows of prompts beyond the fraction": 200 - len(tenth),
        "left out: rows of prompts beyond max_prompts": len(tenth) - 20,
    }


@pytest.mark.parametrize("asked", [{"fraction": 0.3}, {"max_prompts": 30}, {"fraction": 0.5, "max_prompts": 20}])
def test_it_is_the_same_prompts_whatever_the_order_and_of_an_artifact_too(
    rows: Path, asked: dict[str, Any], write_rows: WriteRows, tmp_path: Path
) -> None:
    shuffled = random.Random(0).sample(TEXTS, len(TEXTS))
    there = write_rows("shuffled.jsonl", [{"prompt": text} for text in shuffled])
    here = read(rows, **asked)[0]
    assert set(here) == set(read(there, **asked)[0])
    assert here == read(taught(tmp_path / "a").path, **asked)[0]


def test_another_seed_takes_others(rows: Path) -> None:
    assert read(rows, max_prompts=30)[0] != read(rows, max_prompts=30, fraction_seed=1)[0]


def test_a_larger_fraction_or_count_takes_the_same_and_more(rows: Path) -> None:
    assert set(read(rows, fraction=0.2)[0]) < set(read(rows, fraction=0.4)[0])
    assert set(read(rows, max_prompts=20)[0]) < set(read(rows, max_prompts=21)[0])


def test_a_row_that_comes_twice_is_one_prompt_of_a_count(write_rows: WriteRows) -> None:
    path = write_rows("p.jsonl", [{"prompt": text} for text in [*TEXTS, *TEXTS]])
    assert len(read(path, max_prompts=30)[0]) == 30


def test_conversations_that_begin_alike_are_taken_together(write_rows: WriteRows) -> None:
    def continued(text: str) -> list[dict[str, str]]:
        said = (("user", text), ("assistant", "Well."), ("user", "Go on."))
        return [{"role": role, "content": content} for role, content in said]

    path = write_rows("p.jsonl", [*({"prompt": t} for t in TEXTS), *({"prompt": continued(t)} for t in TEXTS)])
    for asked in ({"fraction": 0.3}, {"max_prompts": 30}):
        assert set(Counter(read(path, **asked)[0]).values()) == {2}
    assert len(read(path, max_prompts=31)[0]) == 30


def test_a_share_of_a_fraction_is_a_share_of_it(rows: Path) -> None:
    """Drawn in one order, the first tenth would lie within the first share wholly."""
    from tutelage.data.share import OfPrompts

    share = OfPrompts(share=(0.0, 0.5))
    found = read(rows, fraction=0.5)[0]
    assert 0.3 < sum(share.takes(Prompt.of(t)) for t in found) / len(found) < 0.7


def test_nothing_left_is_an_error_that_says_what_was_asked_for(rows: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"p.jsonl: holds no usable prompt \(asked for: fraction=1e-09\)"):
        read(rows, fraction=1e-9)
    path = taught(tmp_path / "a").path
    said = rf"{path}: none of its prompts is left \(asked for: fraction=1e-09\): 200 prompts beyond the fraction"
    with pytest.raises(DataError, match=said):
        read(path, fraction=1e-9)


def test_the_original_took_the_first_rows_and_so_a_subset_that_depended_on_the_order_of_files(
    rows: Path, write_rows: WriteRows
) -> None:
    """data_fraction was rows[:int(n * fraction)], of shards in the order of os.listdir."""
    halves = [write_rows("a.jsonl", [{"prompt": t} for t in TEXTS[100:] + TEXTS[:100]]), rows]
    first, second = (set(read(path, fraction=0.1)[0]) for path in halves)
    assert first == second
    assert first != set(TEXTS[:20])


# ---- rows that belong to the prompts ----------------------------------------------------------------


def test_completions_of_an_artifact_go_with_their_prompts_and_are_counted(tmp_path: Path) -> None:
    made = taught(tmp_path)
    counted: Counter[str] = Counter()
    asked = Rows(path=str(made.path), max_prompts=30)
    prompts, completions = read_completions(asked, lambda what, num: counted.update({what: num}))
    assert len(prompts) == 30
    assert [c.prompt_id for c in completions] == [p.id for p in prompts for _ in range(2)]
    assert counted == {
        "left out: prompts beyond max_prompts": 170,
        "left out: completions of other prompts": 340,
    }


def test_completions_of_a_file_go_with_their_prompts(write_rows: WriteRows) -> None:
    path = write_rows("c.jsonl", [{"prompt": t, "completion": w, "author": "a"} for t in TEXTS for w in ("x", "y")])
    prompts, completions = read_completions(Rows(path=str(path), max_prompts=30), lambda what, num: None)
    assert len(prompts) == 30
    assert len(completions) == 60
    assert {c.prompt_id for c in completions} == {p.id for p in prompts}


# ---- parts of a split -------------------------------------------------------------------------------


def test_the_parts_of_a_split_are_apart_and_are_all_there_is(rows: Path, tmp_path: Path) -> None:
    made = split(tmp_path / "a", rows, sft=0.2, preference=0.5, validation=20, evaluation=40)
    found = {part: read(made.path, part=part)[0] for part in ("sft", "preference", "validation", "evaluation")}
    assert len(found["evaluation"]) == 40
    assert len(found["validation"]) == 20
    every = [text for texts in found.values() for text in texts]
    assert len(every) == len(set(every)) < 200
    counted = read(made.path, part="sft")[1]
    assert counted == {"left out: prompts of other parts of the split": 200 - len(found["sft"])}


def test_a_part_of_other_rows_is_of_the_same_prompts(rows: Path, tmp_path: Path, write_rows: WriteRows) -> None:
    made = split(tmp_path / "a", rows)
    of_split = set(read(made.path, part="sft")[0])
    asked = {"part": "sft", "part_of": str(made.path)}
    assert set(read(taught(tmp_path / "b").path, **asked)[0]) == of_split
    assert set(read(rows, **asked)[0]) == of_split
    more = write_rows("more.jsonl", [{"prompt": t} for t in [*TEXTS, "Sing 1.", "Sing 2."]])
    found, counted = read(more, **asked)
    assert set(found) == of_split
    assert counted["left out: rows of prompts that the split does not know"] == 2


def test_a_fraction_of_a_part_is_of_that_part(rows: Path, tmp_path: Path) -> None:
    made = split(tmp_path / "a", rows)
    whole, some = read(made.path, part="preference")[0], read(made.path, part="preference", max_prompts=25)[0]
    assert len(some) == 25
    assert set(some) < set(whole)


def test_rows_of_an_artifact_go_with_the_part(rows: Path, tmp_path: Path) -> None:
    made, completed = split(tmp_path / "a", rows), taught(tmp_path / "b")
    asked = Finished(path=str(completed.path), part="sft", part_of=str(made.path))
    prompts, completions = selected_rows(completed, asked, "completions.jsonl", Completion, lambda what, num: None)
    assert {p.messages[0].content for p in prompts} == set(read(made.path, part="sft")[0])
    assert len(completions) == 2 * len(prompts)


def test_a_part_of_what_is_no_split_is_one_error_that_says_what_to_give(rows: Path, tmp_path: Path) -> None:
    for path in (rows, taught(tmp_path).path):
        with pytest.raises(ConfigError, match=rf"part=sft: {path} is no artifact of split; .* part_of=FOLDER"):
            read(path, part="sft")
    with pytest.raises(StoreError, match="was made by teach; expected an artifact of split"):
        read(rows, part="sft", part_of=str(taught(tmp_path).path))
    with pytest.raises(StoreError, match="no such artifact folder"):
        read(rows, part="sft", part_of=str(tmp_path / "nowhere"))


def test_a_split_without_a_part_is_an_error_since_nobody_can_mean_all_of_it(rows: Path, tmp_path: Path) -> None:
    made = split(tmp_path / "a", rows)
    with pytest.raises(ConfigError, match=r"is a split; say which part of it is meant \(part=sft\|preference\|"):
        read(made.path)
    assert len(read(made.path / "prompts.jsonl")[0]) == 200


def test_a_part_of_which_the_rows_have_none_says_so(rows: Path, tmp_path: Path) -> None:
    made = split(tmp_path / "a", rows)
    others = taught(tmp_path / "b", [Prompt.of("Sing.")])
    with pytest.raises(DataError, match=r"\(asked for: part=sft\): 1 prompts that the split does not know"):
        read(others.path, part="sft", part_of=str(made.path))


# ---- what is remembered -----------------------------------------------------------------------------


def test_what_is_taken_is_part_of_an_inputs_identity(rows: Path, tmp_path: Path) -> None:
    made, other = split(tmp_path / "a", rows), split(tmp_path / "a", rows, seed=1)
    asked: list[dict[str, Any]] = [
        {},
        {"fraction": 0.5},
        {"fraction": 0.5, "fraction_seed": 1},
        {"max_prompts": 3},
        {"part": "sft", "part_of": str(made.path)},
        {"part": "preference", "part_of": str(made.path)},
        {"part": "sft", "part_of": str(other.path)},
    ]
    for path in (str(rows), str(taught(tmp_path / "b").path)):
        assert len({json.dumps(Prompts(path=path, **each).identity()) for each in asked}) == len(asked)


def test_the_split_that_a_part_is_of_is_its_content_and_not_its_place(rows: Path, tmp_path: Path) -> None:
    made = split(tmp_path / "a", rows)
    moved = tmp_path / "moved"
    moved.symlink_to(made.path)
    here, there = (Prompts(path=str(rows), part="sft", part_of=str(path)) for path in (made.path, moved))
    assert here.identity() == there.identity()


def test_the_record_names_the_split_that_rows_were_taken_by(rows: Path, tmp_path: Path) -> None:
    made = split(tmp_path / "a", rows)
    asked = Rows(path=str(rows), part="sft", part_of=str(made.path))
    records = asked.records("completions")
    assert {name: r.artifact for name, r in records.items()} == {
        "completions": None,
        "completions.part_of": made.record.fingerprint,
    }


def test_a_system_message_makes_another_prompt_which_the_split_does_not_know(rows: Path, tmp_path: Path) -> None:
    made = split(tmp_path / "a", rows)
    system = Message(role="system", content="Be brief.")
    others = taught(tmp_path / "b", [Prompt(messages=(system, *PROMPTS[0].messages)), *PROMPTS[1:]])
    counted = read(others.path, part="preference", part_of=str(made.path))[1]
    assert counted["left out: prompts that the split does not know"] == 1
