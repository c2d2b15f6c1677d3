"""`tutelage export`: what is written, what is counted instead, and where it is from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stub_hub import stub_hub
from tutelage.config import build, merge_words
from tutelage.data.card import ancestors
from tutelage.data.export import ExportConfig, export
from tutelage.errors import ConfigError, DataError
from tutelage.inputs import Finished, Source
from tutelage.records import Completion, Pair, Prompt, Verdict
from tutelage.stages import importing, prefer
from tutelage.store import Artifact, Made, Work

PROMPTS = [Prompt.of(f"Say {word}.", source="here") for word in ("one", "two", "three")]


def completion(prompt: Prompt, text: str, author: str = "weak") -> Completion:
    return Completion(prompt_id=prompt.id, author=author, text=text)


def verdict(prompt: Prompt, outcome: Any) -> Verdict:
    pair = Pair(left=completion(prompt, "A</s>"), right=completion(prompt, "B", "strong"))
    return Verdict(pair=pair, orders=("left_first",), outcome=outcome, critic="judge", replies=("x",))


def labelled(root: Path) -> Artifact:
    work = Work(root, "label", "run", {"critic": "judge"})
    with work.locked():
        work.write("prompts.jsonl", PROMPTS)
        work.write("verdicts.jsonl", [verdict(p, o) for p, o in zip(PROMPTS, ("LEFT", "RIGHT", "TIE"), strict=True)])
        return work.finish({}, {}, Made())


def taught(root: Path) -> Artifact:
    work = Work(root, "teach", "run", {"teacher": "weak"})
    with work.locked():
        work.write("prompts.jsonl", PROMPTS)
        work.write("completions.jsonl", [completion(p, p.text.upper()) for p in PROMPTS])
        return work.finish({}, {}, Made())


def run(made: Path, *words: str) -> str:
    return export(build(ExportConfig, merge_words(ExportConfig, {}, [f"rows={made}", *words]), "tutelage export"))


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]]


def test_completions_are_written_with_a_card_that_names_the_artifact(tmp_path: Path) -> None:
    made, out = taught(tmp_path / "artifacts"), tmp_path / "sft.jsonl"
    said = run(made.path, "format=messages", f"out={out}")
    assert said.startswith(f"{out}: 3 rows in the format messages")
    assert [row["messages"][-1] for row in lines(out)] == [
        {"role": "assistant", "content": p.text.upper()} for p in PROMPTS
    ]
    card = (tmp_path / "sft.jsonl.md").read_text("utf-8")
    assert made.record.fingerprint in card
    assert '"teacher": "weak"' in card


def test_the_card_goes_back_to_where_everything_began(tmp_path: Path) -> None:
    root = tmp_path / "artifacts"
    preferred = prefer.run(
        prefer.Config(artifacts=root), prefer.Inputs(verdicts=Finished(path=str(labelled(root).path)))
    )
    assert [made.record.stage for made in ancestors(preferred)] == ["prefer", "label"]


def test_what_a_format_does_not_hold_is_counted(tmp_path: Path) -> None:
    said = run(labelled(tmp_path / "artifacts").path, "format=trl_preference", f"out={tmp_path / 'p.jsonl'}")
    rows = lines(tmp_path / "p.jsonl")
    assert [(r["chosen"][0]["content"], r["rejected"][0]["content"]) for r in rows] == [
        ("A</s>", "B"),
        ("B", "A</s>"),
    ]
    assert "1 " in said.split("\n", 1)[1], "the tie"


def test_a_part_of_an_artifact_can_be_written(tmp_path: Path) -> None:
    made = taught(tmp_path / "artifacts")
    run(made.path, "format=messages", f"out={tmp_path / 'a.jsonl'}", "rows.max_prompts=1")
    assert len(lines(tmp_path / "a.jsonl")) == 1
    assert '"max_prompts": 1' in (tmp_path / "a.jsonl.md").read_text("utf-8")


def test_a_file_is_turned_into_another_without_an_artifact(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"instruction": "Hi.", "output": "Hello.", "generator": "me"}\n')
    run(source, "format=messages", f"out={tmp_path / 'out.json'}")
    assert json.loads((tmp_path / "out.json").read_text("utf-8")) == [
        {"messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]}
    ]
    assert "`in.jsonl` (SHA-256" in (tmp_path / "out.json.md").read_text("utf-8")


def test_what_was_exported_imports_as_it_was(tmp_path: Path) -> None:
    made = taught(tmp_path / "artifacts")
    run(made.path, "format=plain", f"out={tmp_path / 'a.jsonl'}")
    again = importing.run(
        importing.Config(artifacts=tmp_path / "again"), importing.Inputs(rows=Source(path=str(tmp_path / "a.jsonl")))
    )
    before, after = (a.rows("completions.jsonl", Completion) for a in (made, again))
    assert after == before


def test_prompts_alone_are_written_by_a_format_that_can_say_them(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"prompt": "Hi."}\n{"prompt": "Hi."}\n{"prompt": "Bye."}\n')
    run(source, "format=plain", f"out={tmp_path / 'out.jsonl'}")
    assert lines(tmp_path / "out.jsonl") == [{"prompt": "Hi."}, {"prompt": "Bye."}]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["format=messages"], "give out=FILE, or push=OWNER/NAME"),
        (["format=mesages", "out=a.jsonl"], "unknown; did you mean messages"),
        (["format=messages", "out=a.docx"], "unknown kind of file"),
        (["format=messages", "push=me"], "push: found 'me'"),
    ],
)
def test_a_mistake_is_one_error(tmp_path: Path, words: list[str], says: str) -> None:
    made = taught(tmp_path / "artifacts")
    with pytest.raises(ConfigError, match=says):
        run(made.path, *[word.replace("out=", f"out={tmp_path}/") for word in words])


def test_nothing_is_written_over_and_nothing_to_write_leaves_no_file(tmp_path: Path) -> None:
    made = taught(tmp_path / "artifacts")
    (tmp_path / "old.jsonl").write_text("old")
    with pytest.raises(ConfigError, match="is there already"):
        run(made.path, "format=messages", f"out={tmp_path / 'old.jsonl'}")
    with pytest.raises(DataError, match="nothing in it can be written as trl_preference: 3 left out: prompts and"):
        run(made.path, "format=trl_preference", f"out={tmp_path / 'new.jsonl'}")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["artifacts", "old.jsonl"]


# ---- the Hub ----------------------------------------------------------------------------------------


def push(made: Path, url: str) -> subprocess.CompletedProcess[str]:
    words = ["export", f"rows={made}", "format=messages", "push=me/mine"]
    # what the library reads once, when it is imported
    env = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"} | {
        "HF_ENDPOINT": url,
        "HF_TOKEN": "hf_secret",
    }
    return subprocess.run(
        [sys.executable, "-m", "tutelage", *words], env=env, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_data_set_is_made_on_the_hub_with_its_card_in_one_commit(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    made = taught(tmp_path / "artifacts").path
    with stub_hub() as hub:
        done = push(made, hub.url)
    assert done.returncode == 0, done.stderr
    assert "me/mine: 3 rows in the format messages" in done.stdout
    assert [(m["organization"], m["name"], m["visibility"]) for m in hub.made] == [("me", "mine", "private")]
    assert hub.commits == ["3 rows in the format messages"]
    (tmp_path / "found.parquet").write_bytes(hub.files["train.parquet"])
    assert len(parquet.read_table(tmp_path / "found.parquet")) == 3
    assert Artifact.open(made).record.fingerprint in hub.files["README.md"].decode()
    assert hub.tokens == {"Bearer hf_secret"}
    assert "hf_secret" not in done.stdout + done.stderr + hub.files["README.md"].decode()


def test_a_hub_that_refuses_or_is_not_there_is_one_error(tmp_path: Path) -> None:
    made = taught(tmp_path / "artifacts").path
    with stub_hub(refuses=401) as hub:
        refused = push(made, hub.url)
    gone = push(made, hub.url)  # nobody listens there any more
    for done, says in ((refused, "the Hub refuses"), (gone, "the Hub cannot be reached")):
        assert done.returncode == 2, done.stderr
        assert f"error: push=me/mine: {says}" in done.stderr
        assert "Traceback" not in done.stderr


def test_offline_nothing_is_pushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    pytest.importorskip("datasets")
    with pytest.raises(ConfigError, match="HF_HUB_OFFLINE is set"):
        run(taught(tmp_path / "artifacts").path, "format=messages", "push=me/mine")
