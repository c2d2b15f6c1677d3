"""`tutelage data tokens`: what is shown is what is trained on, with and without colour."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny import byte_level, folder, llama_like, word_pieces
from tutelage.cli import main
from tutelage.records import Completion, Prompt
from tutelage.train.encode import Encoder, Example
from tutelage.train.settings import Truncation
from tutelage.train.template import chat_template
from tutelage.train.tokens import Style, TokenView
from tutelage.train.truncation import truncate

SPECIAL = {"eos_token": "<|im_end|>", "pad_token": "<|pad|>", "bos_token": "<|im_start|>"}
TOKENIZERS = {make.__name__: make(**SPECIAL) for make in (byte_level, llama_like, word_pieces)}
TALK = [("user", "Hi"), ("assistant", "Hello."), ("user", "Who?"), ("assistant", "The fox.")]
COLOUR = re.compile("\x1b\\[[0-9]+m")


def encoder(name: str = "byte_level") -> Encoder:
    tokenizer = TOKENIZERS[name]
    tokenizer.chat_template = chat_template("chatml")
    return Encoder(tokenizer)


def example(e: Encoder, said: str, stop: Any = "stop") -> Example:
    prompt = Prompt.of("Who?")
    return e.example(prompt, Completion(prompt_id=prompt.id, author="t", text=said, stop_reason=stop))


def shown(e: Encoder, whole: Example, kept: Example | None = None, **style: Any) -> str:
    return "\n".join(TokenView(e, Style(**style)).lines(whole, kept or whole))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder(tmp_path_factory.mktemp("model") / "tiny")


def rows(path: Path, *talks: Any) -> Path:
    lines = [{"messages": [{"role": role, "content": text} for role, text in talk]} for talk in talks]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return path


# ---- examples ---------------------------------------------------------------------------------------


def test_tokens_with_loss_and_without_are_told_apart_without_colour() -> None:
    e = encoder()
    text = shown(e, example(e, "the fox"))
    assert text.split("\n")[-2] == "  «the»« fox»«<|im_end|>»"
    assert "  <|im_start|>│a│s│sistan│t│⏎│\n" in text
    assert text.endswith("\n  16 tokens of the prompt without loss; 3 with loss")


def test_colour_says_no_more_than_the_marks() -> None:
    e = encoder()
    plain, coloured = (shown(e, example(e, "the fox"), colour=colour) for colour in (False, True))
    assert coloured != plain == COLOUR.sub("", coloured)


@pytest.mark.parametrize("name", ["byte_level", "llama_like"])
@given(
    said=st.text(
        st.characters(codec="utf-8", exclude_characters="<▁\ufffd") | st.sampled_from("\n«»│⏎ …"), max_size=15
    )
)
def test_any_completion_can_be_read_back_from_its_tokens(name: str, said: str) -> None:
    """Every token is there, no character is hidden, and none is taken for a mark."""
    e = encoder(name)
    whole = example(e, said)
    text = shown(e, whole, ids=True, width=10**6)
    marked = re.findall(r"«((?:\\[«»│⏎]|[^»])*)#(\d+)»", text, re.S)
    assert [int(number) for _, number in marked] == list(whole.completion_ids)
    assert all(c.isprintable() or c == "\n" for c in text)
    if said.isprintable() and not set(said) & set("…⏎\\"):
        back = "".join(token.replace("…", "") for token, _ in marked[:-1])
        assert re.sub(r"\\([«»│⏎])", r"\1", back) == said


def test_word_pieces_are_shown_as_they_are_read() -> None:
    e = encoder("word_pieces")
    assert shown(e, example(e, "The fox")).split("\n")[-2].endswith("« the»« fox»«<|im_end|>»".replace("«<", "« <"))


def test_what_a_text_says_to_the_terminal_is_shown_and_not_done() -> None:
    e = encoder()
    text = shown(e, example(e, "a\x1b[2Jb\r\u202e"))
    assert "\x1b" not in text
    assert "\r" not in text
    assert "\\x1b" in text


def test_what_was_cut_is_said_where_it_was() -> None:
    e = encoder()
    whole = example(e, "the fox " * 9)
    (kept,) = truncate([whole], 30, Truncation())
    text = shown(e, whole, kept)
    lost = len(whole.completion_ids) - len(kept.completion_ids)
    assert f"»[{lost} tokens cut]\n" in text
    assert text.endswith("with loss; its end is cut, so it is not taught to stop there")
    for keep in ("end", "start"):
        rule = Truncation(rule="original", max_prompt_length=5, keep=keep)
        (kept,) = truncate([whole], 30, rule)
        lines = shown(e, whole, kept).split("\n")
        where = [i for i, line in enumerate(lines) if line.endswith("[11 tokens of the prompt cut]")]
        assert where == [0 if keep == "end" else 1]


def test_a_completion_that_its_author_did_not_end_says_so() -> None:
    e = encoder()
    assert shown(e, example(e, "the fox", "length")).endswith("its author did not end it, so no end is taught")


def test_lines_are_no_wider_than_the_terminal() -> None:
    e = encoder()
    assert max(map(len, shown(e, example(e, "the quick fox " * 20), width=40).split("\n")[:-1])) <= 40


# ---- the command ------------------------------------------------------------------------------------


def test_a_conversation_is_shown_with_every_turn_that_is_learnt(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = rows(tmp_path / "rows.jsonl", TALK)
    assert main(["data", "tokens", f"rows={path}", f"model={model}", "loss_on=all"]) == 0
    out = capsys.readouterr().out
    assert out.count("«<|im_end|>»") == 2
    assert re.search(r"\d+ between turns without loss; \d+ with loss in 2 turns\n", out)
    assert "1 trained within a longer conversation" in out
    assert main(["data", "tokens", f"rows={path}", f"model={model}"]) == 0
    out = capsys.readouterr().out
    assert out.count("«<|im_end|>»") == 2
    assert "2. prompt" in out
    assert "between turns" not in out


def test_both_sides_of_a_preference_are_shown_after_one_prompt(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "Who?", "chosen": "the fox", "rejected": "the dog"}) + "\n", "utf-8")
    assert main(["data", "tokens", f"rows={path}", f"model={model}"]) == 0
    out = capsys.readouterr().out
    assert out.count("«the»") == 2
    assert out.count("<|im_start|>") == 2
    assert out.index("chosen") < out.index("« fox»") < out.index("rejected") < out.index("« dog»")


def test_colour_is_for_a_terminal_whose_user_wants_it(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["data", "tokens", f"rows={rows(tmp_path / 'rows.jsonl', TALK)}", f"model={model}"]

    def coloured() -> bool:
        assert main(words) == 0
        return bool(COLOUR.search(capsys.readouterr().out))

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert not coloured()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert coloured()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not coloured()


@pytest.mark.parametrize(
    ("talk", "words", "error"),
    [
        ([("user", "Hi")], [], "holds neither a completion nor a preference"),
        ([*TALK[:1], ("assistant", "x<|im_end|>")], [], "none of the first 1 rows can be trained on"),
        (TALK, ["num=0"], "num"),
        (TALK, ["max_length=50", "truncation=original"], "leaves no room for a completion"),
    ],
)
def test_what_cannot_be_shown_is_one_clear_error(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], talk: Any, words: list[str], error: str
) -> None:
    path = rows(tmp_path / "rows.jsonl", talk)
    assert main(["data", "tokens", f"rows={path}", f"model={model}", *words]) == 2
    assert error in capsys.readouterr().err
