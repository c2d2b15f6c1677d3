"""One prompt followed through the road, and nothing a model wrote can act on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tutelage.errors import DataError, StoreError
from tutelage.records import Completion, Margin, Pair, Preference, Prompt, Record, Trained, Verdict
from tutelage.report.trace import trace
from tutelage.store import RECORD, Artifact, Made, Work

HOSTILE = "Red\x1b[2J\x9b31m\x07\r\n\u202eevil\u2028\x7f\ud83d<script>{x}"


def make(root: Path, stage: str, **files: Sequence[Record]) -> Artifact:
    work = Work(root, stage, "run", {"files": sorted(files)})
    with work.locked():
        for name, rows in files.items():
            work.write(f"{name}.jsonl", rows)
        return work.finish({}, {}, Made())


def road(root: Path, text: str = "Red.", author: str = "weak", asked: str = "Name a colour.") -> Prompt:
    prompt, other = Prompt.of(asked), Prompt.of("Name a city.")
    left = Completion(prompt_id=prompt.id, author=author, text=text, stop_reason="stop")
    right = Completion(prompt_id=prompt.id, author=author, text="Blue.", index=1)
    rome = Completion(prompt_id=other.id, author=author, text="Rome.")
    verdict = Verdict(
        pair=Pair(left=left, right=right),
        orders=("left_first",),
        outcome="LEFT",
        critic="judge",
        replies=(f"{text}\nVerdict: A",),
    )
    preference = Preference(prompt_id=prompt.id, chosen=left, rejected=right, verdict_ids=(verdict.id,))
    make(root, "sample", prompts=[prompt, other], completions=[left, rome, right])
    make(root, "label", prompts=[prompt], verdicts=[verdict])
    make(root, "prefer", prompts=[prompt], preferences=[preference])
    make(root, "teach", prompts=[other], completions=[rome])
    return prompt


def test_a_prompt_is_followed_in_the_order_of_the_road(tmp_path: Path) -> None:
    prompt = road(tmp_path)
    lines = list(trace(tmp_path, prompt.id))
    folders = [Path(line).parent.name for line in lines if not line.startswith(" ")]
    assert folders == ["3-sample", "4-label", "5-prefer"]
    kinds = [line.split()[0] for line in lines if line.startswith(" ")]
    assert kinds == ["prompt", "completion", "completion", "prompt", "verdict", "prompt", "preference"]
    text = "\n".join(lines)
    assert f'prompt {prompt.id}: "Name a colour."' in text
    assert 'by weak [stop]: "Red."' in text
    assert "by judge: LEFT of" in text
    assert '"Red." over "Blue."' in text
    assert "Rome" not in text


def test_what_training_made_of_a_preference_is_told_too(tmp_path: Path) -> None:
    prompt = road(tmp_path)
    about = {"id": "0123456789abcdef", "prompt_id": prompt.id}
    make(tmp_path, "dpo", trained=[Trained(**about, num_tokens=9)], margins=[Margin(**about, margin=-0.25)])
    assert [line.strip() for line in trace(tmp_path, prompt.id)][-2:] == [
        "trained on 0123456789abcdef (9 tokens)",
        "reward of chosen minus rejected of 0123456789abcdef, once trained: -0.250",
    ]


def test_the_beginning_of_an_id_is_enough_if_it_is_one_prompts(tmp_path: Path) -> None:
    prompt = road(tmp_path)
    assert list(trace(tmp_path, prompt.id[:6])) == list(trace(tmp_path, prompt.id))


def test_a_beginning_of_several_ids_is_refused_and_shows_them(tmp_path: Path) -> None:
    prompt = road(tmp_path)
    with pytest.raises(StoreError, match="2 prompts begin with ''") as caught:
        list(trace(tmp_path, ""))
    assert prompt.id in str(caught.value)


@pytest.mark.parametrize("wrong", ["0000", '", "', "\\", "\x1b", "\ud83d", "prompt_id", "é" * 1000])
def test_an_id_that_no_artifact_mentions_is_one_error(tmp_path: Path, wrong: str) -> None:
    road(tmp_path)
    with pytest.raises(StoreError, match="none of 4 artifacts mentions"):
        list(trace(tmp_path, wrong))


def test_the_id_of_a_completion_is_not_taken_for_a_prompt(tmp_path: Path) -> None:
    prompt = road(tmp_path)
    completion = Completion(prompt_id=prompt.id, author="weak", text="Red.", stop_reason="stop")
    with pytest.raises(StoreError, match="none of 4 artifacts"):
        list(trace(tmp_path, completion.id))


def test_a_folder_without_artifacts_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="none of 0 artifacts"):
        list(trace(tmp_path / "nowhere", "00"))


def test_nothing_that_was_written_by_a_model_or_a_file_can_move_the_cursor(tmp_path: Path) -> None:
    prompt = road(tmp_path, text=HOSTILE, author=f"weak{HOSTILE}", asked=f"Name a colour.{HOSTILE}")
    lines = list(trace(tmp_path, prompt.id))
    assert all(line.isprintable() for line in lines)
    assert all(line.encode("utf-8") for line in lines)
    text = "\n".join(lines)
    assert r"Red\x1b[2J\x9b31m\x07\r\n\u202eevil\u2028\x7f\ud83d<script>{x}" in text
    assert len(lines) == len([line for line in lines if line.startswith(("  ", str(tmp_path)))])


def test_letters_of_any_script_stay_letters(tmp_path: Path) -> None:
    prompt = road(tmp_path, text="größer 你好 🙂")
    assert any('"größer 你好 🙂"' in line for line in trace(tmp_path, prompt.id))


def test_a_long_text_is_cut(tmp_path: Path) -> None:
    prompt = road(tmp_path, text="x" * 100_000)
    assert all(len(line) < 700 for line in trace(tmp_path, prompt.id))


def test_a_text_that_mentions_the_id_is_not_about_the_prompt(tmp_path: Path) -> None:
    prompt = road(tmp_path)
    gossip = Prompt.of(f'What is "{prompt.id}"?')
    work = Work(tmp_path, "sample", "gossip", {"gossip": True})
    with work.locked():
        work.write("prompts.jsonl", [gossip])
        work.write("completions.jsonl", [Completion(prompt_id=gossip.id, author=prompt.id, text=f'"{prompt.id}"')])
        work.finish({}, {}, Made())
    assert not any("gossip" in line for line in trace(tmp_path, prompt.id))


def test_a_broken_row_about_the_prompt_is_one_error_and_one_about_another_is_not_looked_at(tmp_path: Path) -> None:
    prompt = road(tmp_path)
    (path,) = tmp_path.glob("3-sample/*/completions.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"about": "something else\n\xff\n')
    assert len(list(trace(tmp_path, prompt.id))) == 10
    path.write_bytes(whole + f'{{"prompt_id": "{prompt.id}", "text'.encode())
    with pytest.raises(DataError, match=r"completions\.jsonl, line 4: not a valid Completion"):
        list(trace(tmp_path, prompt.id))


def test_a_record_that_cannot_be_read_does_not_hide_the_other_artifacts(tmp_path: Path) -> None:
    prompt = road(tmp_path)
    (record,) = tmp_path.glob(f"4-label/*/{RECORD}")
    record.write_text("{")
    assert [Path(line).parent.name for line in trace(tmp_path, prompt.id) if not line.startswith(" ")] == [
        "3-sample",
        "5-prefer",
    ]
