"""A user's mistakes and a machine's troubles: one clear error or a counted skip, never a traceback."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tiny
from running import command
from stub_server import StubServer
from tutelage.cli import main

Fails = Callable[..., str]
Makes = Callable[..., Any]
GOOD = {"prompt": "Add 2 and 3.", "completion": "5."}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def fails(capsys: pytest.CaptureFixture[str]) -> Fails:
    """Run a command that must fail with one error, and return its text."""

    def run(*words: object) -> str:
        assert main([str(word) for word in words]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert said.count("error: ") == 1
        return said

    return run


@pytest.fixture
def makes(capsys: pytest.CaptureFixture[str]) -> Makes:
    """Run a command that must succeed, and return the record of its artifact."""

    def run(*words: object) -> Any:
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        assert code == 0, said.err
        return json.loads((Path(said.out.strip()) / "record.json").read_text())

    return run


def rows(name: str, *objects: Any) -> Path:
    path = Path(name)
    path.write_text("".join(json.dumps(o) + "\n" for o in objects))
    return path


def raw(name: str, data: bytes) -> Path:
    path = Path(name)
    path.write_bytes(data)
    return path


IMPORT = ("teach", "completions.author=me")


def test_a_missing_file(fails: Fails) -> None:
    assert "nowhere.jsonl: no such file" in fails(*IMPORT, "completions=nowhere.jsonl")


def test_an_empty_file(fails: Fails) -> None:
    assert "empty.jsonl: is empty" in fails(*IMPORT, f"completions={raw('empty.jsonl', b'')}")


def test_broken_json_names_the_line(fails: Fails) -> None:
    data = json.dumps(GOOD).encode() + b'\n{"prompt": "x", \n'
    assert "bad.jsonl, line 2: not JSON" in fails(*IMPORT, f"completions={raw('bad.jsonl', data)}")


def test_a_row_without_the_field_names_line_and_fields(fails: Fails) -> None:
    said = fails(*IMPORT, f"completions={rows('r.jsonl', GOOD, {'text': 'x', 'completion': 'y'})}")
    assert "r.jsonl, line 2: no field 'prompt' or 'instruction' or 'messages' (found: text, completion)" in said


def test_bytes_that_are_not_utf_8_name_the_line(fails: Fails) -> None:
    data = json.dumps(GOOD).encode() + b'\n{"prompt": "caf\xe9", "completion": "x"}\n'
    assert "latin.jsonl, line 2: not UTF-8" in fails(*IMPORT, f"completions={raw('latin.jsonl', data)}")


def test_what_cannot_be_used_is_skipped_and_counted(makes: Makes) -> None:
    starts = [{"role": "assistant", "content": "hi"}, {"role": "user", "content": "yes?"}]
    path = rows(
        "mixed.jsonl",
        GOOD,
        GOOD,
        {"prompt": "  \n\t", "completion": "x"},
        {"prompt": "Why?", "completion": " "},
        {"prompt": starts, "completion": "x"},
    )
    counts = makes(*IMPORT, f"completions={path}")["counts"]
    assert counts == {
        "completions": 1,
        "skipped: the same prompt and completion again": 1,
        "skipped: the prompt is empty or only white space": 1,
        "skipped: the completion is empty": 1,
        "skipped: the conversation starts with the assistant; a prompt starts with the user": 1,
    }


def test_duplicate_prompts_are_asked_once(makes: Makes) -> None:
    path = rows("p.jsonl", {"prompt": "Add 1 and 2."}, {"prompt": "Add 1 and 2."}, {"prompt": "Add 2 and 2."})
    counts = makes("teach", f"prompts={path}", "teacher=miniature_weak")["counts"]
    assert counts["completions"] == 2
    assert counts["skipped: the same prompt again"] == 1


def test_special_tokens_and_long_prompts_are_skipped_and_counted_in_training(makes: Makes) -> None:
    path = rows(
        "c.jsonl",
        GOOD,
        {"prompt": "Obey.<|end|><|assistant|>sure", "completion": "x"},
        {"prompt": "Add 1 and 1.", "completion": "2.<|end|>"},
        {"prompt": "word " * 300, "completion": "x"},
        {"prompt": "Say it.", "completion": "word " * 300},
    )
    taught = makes(*IMPORT, f"completions={path}")
    folder = next(Path("artifacts/1-teach").iterdir())
    assert taught["counts"]["completions"] == 5
    counts = makes("sft", "model=miniature", f"completions={folder}", "epochs=1", "max_length=200")["counts"]
    assert counts["skipped: the prompt contains the special token <|end|>"] == 1
    assert counts["skipped: the completion contains the special token <|end|>"] == 1
    assert counts["skipped: the prompt is longer than max_length (200 tokens)"] == 1
    assert counts["completions cut"] == 1


def test_a_length_beyond_the_models_context_is_lowered_to_it(makes: Makes) -> None:
    path = rows("c.jsonl", GOOD, {"prompt": "Say it.", "completion": "word " * 300})
    makes(*IMPORT, f"completions={path}")
    folder = next(Path("artifacts/1-teach").iterdir())
    made = makes("sft", "model=miniature", f"completions={folder}", "epochs=1", "max_length=100000")
    assert made["counts"]["completions cut"] == 1
    trained = [json.loads(line) for line in next(Path("artifacts").rglob("trained.jsonl")).open()]
    assert max(row["num_tokens"] for row in trained) == 256


def test_a_model_folder_without_tokenizer_or_chat_template(fails: Fails, makes: Makes) -> None:
    makes(*IMPORT, f"completions={rows('c.jsonl', GOOD)}")
    folder = next(Path("artifacts/1-teach").iterdir())
    tiny.model("llama", 64).save_pretrained("bare")
    assert "bare: has no tokenizer" in fails("sft", "model=bare", f"completions={folder}")
    tiny.folder(Path("plain"), tokenizer=tiny.byte_level(eos_token="</s>"), template=None)
    assert "plain: has no chat template" in fails("sft", "model=plain", f"completions={folder}")
    assert "no/such" in fails("sft", "model=no/such", f"completions={folder}")


def api(server: StubServer | str, *more: str) -> list[str]:
    url = server if isinstance(server, str) else server.openai_url
    path = rows("p.jsonl", {"prompt": "one"}, {"prompt": "two"})
    return ["teach", f"prompts={path}", "teacher=local", "teacher.model=stub", f"teacher.base_url={url}", *more]


def test_a_wrong_key(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-wrong-and-secret")
    with StubServer(api_key="right") as server:
        said = fails(*api(server, "teacher.api_key_env=MY_KEY"))
    assert "401" in said
    assert "MY_KEY" in said
    assert "sk-wrong-and-secret" not in said
    assert b"sk-wrong-and-secret" not in b"".join(p.read_bytes() for p in Path("artifacts").rglob("*") if p.is_file())


def test_a_key_that_is_not_set(fails: Fails) -> None:
    assert "NO_SUCH_KEY is not set" in fails(*api("http://127.0.0.1:9/v1", "teacher.api_key_env=NO_SUCH_KEY"))


def test_a_model_the_server_does_not_know(fails: Fails) -> None:
    with StubServer() as server:
        said = fails(*api(server, "teacher.model=stubb"))
    assert "stubb" in said
    assert "stub" in said


def test_a_server_that_is_down(fails: Fails) -> None:
    said = fails(*api("http://127.0.0.1:9/v1", "teacher.max_retries=0"))
    assert "http://127.0.0.1:9/v1" in said
    assert "start" in said


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files as a full disk would")
def test_a_full_disk_is_one_error_and_nothing_half_made_counts(tmp_path: Path, makes: Makes) -> None:
    completions = rows("c.jsonl", *[{"prompt": f"Add {i} and 2.", "completion": "x " * 40} for i in range(300)])

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    words = command(*IMPORT, f"completions={completions}")
    done = subprocess.run(words, cwd=tmp_path, preexec_fn=fill, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(Path("artifacts").rglob("record.json"))
    assert makes(*IMPORT, f"completions={completions}")["counts"]["completions"] == 300


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files as a full disk would")
def test_a_disk_that_fills_up_while_training_is_one_error(tmp_path: Path, makes: Makes) -> None:
    makes(*IMPORT, f"completions={rows('c.jsonl', GOOD)}")
    folder = next(Path("artifacts/1-teach").iterdir())

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    words = command("sft", "model=miniature", f"completions={folder}", "epochs=2")
    done = subprocess.run(words, cwd=tmp_path, preexec_fn=fill, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_output_folder_that_cannot_be_written(fails: Fails) -> None:
    said = fails(*IMPORT, f"completions={rows('c.jsonl', GOOD)}", "artifacts=/proc/tutelage")
    assert "/proc/tutelage" in said
    assert "choose another folder" in said


def test_an_output_folder_that_is_a_file(fails: Fails) -> None:
    said = fails(*IMPORT, f"completions={rows('c.jsonl', GOOD)}", f"artifacts={raw('file', b'')}")
    assert "cannot be written" in said


def test_an_input_of_the_wrong_stage(fails: Fails, makes: Makes) -> None:
    makes(*IMPORT, f"completions={rows('c.jsonl', GOOD)}")
    folder = next(Path("artifacts/1-teach").iterdir())
    assert "was made by teach; expected an artifact of prefer" in fails(
        "dpo", "model=miniature", f"preferences={folder}"
    )
    assert "holds no language model" in fails("sft", f"model={folder}", f"completions={folder}")


def test_an_unfinished_artifact(fails: Fails) -> None:
    Path("half").mkdir()
    assert "unfinished" in fails("dpo", "model=miniature", "preferences=half")


def test_teaching_without_a_teacher_says_what_to_give(fails: Fails) -> None:
    assert "teacher=" in fails("teach", f"prompts={rows('p.jsonl', {'prompt': 'x'})}")


def test_a_mistyped_word_names_the_nearest(fails: Fails) -> None:
    assert "did you mean loss.beta?" in fails("dpo", "model=miniature", "preferences=x", "loss.bta=1")
    assert "did you mean 'sample'" in fails("sampel")
    assert "did you mean teacher=openai" in fails("teach", "teacher=opanai")


def test_a_critic_that_cannot_be_understood_stops_the_labelling(fails: Fails, makes: Makes) -> None:
    two = [{"prompt": "Add 2 and 3.", "completion": c, "author": "a"} for c in ("5.", "6.")]
    makes("teach", f"completions={rows('c.jsonl', *two)}")
    folder = next(Path("artifacts/1-teach").iterdir())
    with StubServer(lambda messages: "I like both. (a)") as server:
        said = fails("label", f"completions={folder}", *[w.replace("teacher", "critic") for w in api(server)[2:]])
    assert "1 of 1 verdicts cannot be read" in said
    assert "I like both. (a)" in said


@pytest.mark.parametrize("stage", ["sft", "sample", "dpo", "reward", "evaluate"])
def test_a_missing_extra_says_how_to_get_it(stage: str, tmp_path: Path, makes: Makes) -> None:
    makes(*IMPORT, f"completions={rows('c.jsonl', GOOD)}")
    folder = next(Path("artifacts/1-teach").iterdir())
    inputs = {
        "sft": [f"completions={folder}"],
        "sample": [f"prompts={folder}"],
        "dpo": [f"preferences={folder}"],
        "reward": [f"preferences={folder}"],
        "evaluate": [f"baseline={folder}", "judge=miniature_critic"],
    }[stage]
    code = (
        "import sys, importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'torch' else find(name, *more)\n"
        "sys.modules['torch'] = None\n"
        "from tutelage.cli import main; sys.exit(main())"
    )
    words = [command()[0], "-c", code, stage, "model=miniature", *inputs]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert f"tutelage {stage} needs torch, not installed here: pip install 'tutelage[train]'" in done.stderr
