"""An artifact is read like a file: every row becomes one item, and none is lost or held in memory."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from made import artifact, preference, said, verdict
from tutelage.data.artifacts import items_of_artifact
from tutelage.data.formats.item import Item
from tutelage.errors import ConfigError, DataError, StoreError
from tutelage.inputs import Finished, Source
from tutelage.records import Message, Prompt
from tutelage.store import Artifact

ONE, TWO, THREE = (Prompt.of(f"Say {word}.", source="here") for word in ("one", "two", "three"))
PROMPTS = [ONE, TWO, THREE]


def items(made: Artifact, **fields: object) -> tuple[list[Item], Counter[str]]:
    counted: Counter[str] = Counter()
    asked = Source.model_validate({"path": str(made.path)} | fields)
    return list(items_of_artifact(made, asked, lambda what, num: counted.update({what: num}))), +counted


def test_prompts_come_in_their_order_with_all_their_turns(tmp_path: Path) -> None:
    turns = [("user", "a"), ("assistant", "b"), ("user", "c")]
    long = Prompt(messages=tuple(Message.model_validate({"role": r, "content": c}) for r, c in turns))
    found, counted = items(artifact(tmp_path, "import", prompts=[TWO, long, ONE]))
    assert found == [Item(TWO), Item(long), Item(ONE)]
    assert not counted


def test_every_completion_is_an_item_and_so_is_a_prompt_without_one(tmp_path: Path) -> None:
    rows = [said(TWO, "zwei"), said(ONE, "eins"), said(TWO, "deux", index=1, stop_reason="length")]
    found, _ = items(artifact(tmp_path, "sample", prompts=PROMPTS, completions=rows))
    assert found == [Item(TWO, (rows[0],)), Item(ONE, (rows[1],)), Item(TWO, (rows[2],)), Item(THREE)]


def test_verdicts_stay_what_they_are_ties_and_unreadable_ones_too(tmp_path: Path) -> None:
    rows = [verdict(said(p, "a"), said(p, "b"), o) for p, o in zip(PROMPTS, ("RIGHT", "TIE", "INVALID"), strict=True)]
    found, _ = items(artifact(tmp_path, "label", prompts=PROMPTS, verdicts=rows))
    assert found == [Item(p, verdict=v) for p, v in zip(PROMPTS, rows, strict=True)]


def test_a_preference_is_a_verdict_for_its_chosen_completion(tmp_path: Path) -> None:
    chosen, rejected = said(ONE, "good"), said(ONE, "bad")
    rows = [preference(chosen, rejected)]
    made = artifact(tmp_path, "prefer", prompts=[ONE], preferences=rows, completions=[chosen])
    (winner, item), _ = items(made)
    assert winner == Item(ONE, (chosen,)), "the best of each prompt, for sft"
    assert item.verdict is not None
    assert (item.verdict.pair.left, item.verdict.pair.right, item.verdict.outcome) == (chosen, rejected, "LEFT")
    assert item.verdict.critic == f"prefer-{made.record.fingerprint[:8]}"
    assert rows[0].verdict_ids[0] in item.verdict.replies[0]
    assert not item.completions, "the rejected one must never be learnt"


def test_only_what_is_asked_for_comes_and_the_rest_is_counted(tmp_path: Path) -> None:
    rows = [said(p, text) for p in PROMPTS for text in ("a", "b")]
    made = artifact(tmp_path, "sample", prompts=PROMPTS, completions=rows)
    found, counted = items(made, max_prompts=2)
    assert len({i.prompt.id for i in found}) == 2
    assert len(found) == 4
    assert counted == {"left out: prompts beyond max_prompts": 1}
    assert items(made, fraction=1e-9)[0] == []


def test_texts_that_are_no_unicode_come_back_as_they_were(tmp_path: Path) -> None:
    odd = Prompt.of("half a pair: \ud800, a separator: \u2028, a null: \x00")
    rows = [said(odd, "\udfff\u0085")]
    assert items(artifact(tmp_path, "teach", prompts=[odd], completions=rows))[0] == [Item(odd, (rows[0],))]


def test_how_a_file_is_read_says_nothing_of_an_artifact(tmp_path: Path) -> None:
    made = artifact(tmp_path, "import", prompts=PROMPTS)
    with pytest.raises(ConfigError, match="is an artifact; max_words is for files from elsewhere"):
        items(made, max_words=3)
    assert list(items_of_artifact(made, Finished(path=str(made.path)), lambda what, num: None))


def test_an_artifact_without_prompts_is_refused(tmp_path: Path) -> None:
    made = artifact(tmp_path, "sft", log=[])
    with pytest.raises(StoreError, match=r"a sft artifact has no prompts\.jsonl"):
        items(made)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (b'{"prompt_id": "12", "author": "me"', "completions.jsonl, line 3: not a valid Completion: "),
        (b'{"prompt_id": "12", "author": "me"}', "line 3: not a valid Completion: text: Field required"),
        (b'{"prompt_id": "\\ud800", "author": "me"}', "line 3: not a valid Completion: text: Field required"),
        (b'{"prompt_id": "12", "author": "me", "text": "x"}', "about the prompt 12, which is not in its prompts"),
        (b'{"prompt_id": "no id", "author": "me", "text": "x"}', "about the prompt no id, which is not in its"),
        (b"\xff", "line 3: not UTF-8 (byte 0 of it)"),
        (b"[" * 100_000, "line 3: not a valid Completion"),
    ],
)
def test_a_damaged_row_is_one_error_that_names_it(tmp_path: Path, damage: bytes, says: str) -> None:
    made = artifact(tmp_path, "sample", prompts=PROMPTS, completions=[said(ONE, "a")])
    with (made.path / "completions.jsonl").open("ab") as file:
        file.write(b"\n" + damage + b"\n")
    with pytest.raises(DataError) as caught:
        items(made)
    assert says in str(caught.value)


def test_memory_does_not_grow_with_the_texts(tmp_path: Path) -> None:
    prompts = [Prompt.of(f"{i} " + "x" * 20_000) for i in range(400)]
    made = artifact(tmp_path, "teach", prompts=prompts, completions=[said(p, "y" * 20_000) for p in prompts])
    asked = Source(path=str(made.path))
    tracemalloc.start()
    num = sum(1 for _ in items_of_artifact(made, asked, lambda what, num: None))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert num == 400
    assert peak < 9_000_000, "of 16 million bytes of text"
