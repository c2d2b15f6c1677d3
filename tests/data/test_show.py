"""`tutelage data show`: what it says is true, fits the terminal, and cannot harm it."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from made import artifact, preference, said, verdict
from tutelage.cli import main
from tutelage.config import build, merge_words
from tutelage.data.show import COLUMNS, ShowConfig, show
from tutelage.data.texts import width_of
from tutelage.errors import DataError
from tutelage.records import Message, Prompt

Write = Callable[[str, list[Any]], Path]


def shown(path: Path, *words: str) -> str:
    return show(build(ShowConfig, merge_words(ShowConfig, {}, [f"rows={path}", *words]), "tutelage data show"))


def row(prompt: str, completion: str, author: str = "me") -> dict[str, str]:
    return {"prompt": prompt, "completion": completion, "author": author}


def has(text: str, *parts: str) -> bool:
    """True if a line of `text` holds all of `parts` in this order."""
    return re.search(".*".join(map(re.escape, parts)), text) is not None


def test_it_counts_prompts_completions_and_who_wrote_them(write_rows: Write) -> None:
    rows = [row("Say one.", "One."), row("Say two.", "Two.", "you"), row("Say two.", "2"), {"prompt": "Say nothing."}]
    text = shown(write_rows("rows.jsonl", rows))
    assert "3 prompts, 3 completions, 0 verdicts" in text
    assert has(text, "sources", "rows.jsonl 3")
    assert has(text, "authors", "me 2, you 1")
    assert text.startswith("plain: ")


def test_lengths_are_told_by_median_95th_percentile_and_maximum(write_rows: Write) -> None:
    rows = [row(f"{i} " + "word " * (i % 100), "x " * (i % 10 + 1)) for i in range(100)]
    text = shown(write_rows("rows.jsonl", rows))
    assert "prompts, words: median 50, p95 95, max 100" in text
    assert "completions, words: median 5, p95 10, max 10" in text
    assert "characters: median 10, p95 20, max 20" in text
    assert has(text, "  64-127  37  ", "█")


def test_turns_are_a_histogram_unless_every_prompt_is_one(write_rows: Write) -> None:
    def conversation(number: int, turns: int) -> dict[str, Any]:
        roles = ["user", "assistant"] * turns
        return {"prompt": [{"role": role, "content": f"{number} {i}"} for i, role in enumerate(roles[:-1])]}

    rows = [conversation(i, 1) for i in range(3)]
    assert "every prompt is one" in shown(write_rows("one.jsonl", rows))
    text = shown(write_rows("more.jsonl", [conversation(i, n) for i, n in enumerate((1, 2, 2, 12))]))
    assert has(text, "    1  1  █")
    assert has(text, "    2  2  █")
    assert has(text, "  10+  1  █")


def test_duplicates_are_exact_alike_and_of_completions(write_rows: Write) -> None:
    rows = [row("Say one.", "1"), row("say ONE", "2"), row("Say one.", "3")]
    rows += [row(f"Ask {i}.", "No comment.") for i in range(4)]
    text = shown(write_rows("rows.jsonl", rows))
    again, alike = Prompt.of("Say one.").id, Prompt.of("say ONE").id
    assert f"1 times a prompt that came before, as {again}" in text
    assert f"1 prompts like an earlier one but for case, spaces or punctuation, as {alike}" in text
    assert "1 completions that several prompts have in common:\n    4 prompts: No comment." in text


def test_odd_characters_and_special_tokens_are_counted_with_an_example(write_rows: Write) -> None:
    rows = [
        row("Plain.", "Plain."),
        row("Ask.", "Привет \u200b \ud800 Ã©"),
        row("<s> again", "x</s>"),
        row("b", "</s>"),
    ]
    text = shown(write_rows("rows.jsonl", rows))
    first = Prompt.of("Ask.").id
    for kind in ("Cyrillic", "zero-width characters", "lone surrogates", 'mojibake such as "Ã©"'):
        assert has(text, kind, " 0 ", " 1 ", first)
    assert has(text, "<s>  Llama 1 and 2, Mistral", " 1 ", " 0 ", Prompt.of("<s> again").id)
    assert has(text, "</s>", " 0 ", " 2 ", Prompt.of("<s> again").id)


def test_a_plain_file_has_nothing_odd(write_rows: Write) -> None:
    text = shown(write_rows("rows.jsonl", [row("Say one.", "One."), row("Say two.", "Two.")]))
    for title in ("duplicates", "special tokens, written out", "scripts and odd characters"):
        assert f"{title}\n  none" in text


def test_what_was_skipped_is_said_and_why(write_rows: Write) -> None:
    rows = [row("Say one.", "One."), row(" ", "blank"), row("long " * 50, "x"), row("Say END.", "x")]
    text = shown(write_rows("rows.jsonl", rows), "rows.max_words=40", "rows.without=[END]")
    assert has(text, "left out", "1 the prompt is empty or only white space")
    assert "1 the prompt has more than 40 words" in text
    assert "1 contains END" in text


def test_a_row_that_cannot_be_read_is_an_error_or_is_counted(write_rows: Write) -> None:
    path = write_rows("rows.jsonl", [row("Say one.", "One."), {"prompt": 3}])
    with pytest.raises(DataError, match="line 2"):
        shown(path)
    assert has(shown(path, "skip_bad=true"), "left out", "1 ")


def test_a_file_of_which_nothing_can_be_used_says_so(write_rows: Write) -> None:
    text = shown(write_rows("rows.jsonl", [row(" ", "x")]))
    assert "0 prompts, 0 completions, 0 verdicts" in text
    assert "1 the prompt is empty" in text


def test_an_artifact_of_verdicts_counts_outcomes_and_each_completion_once(tmp_path: Path) -> None:
    one, two = Prompt.of("Say one."), Prompt.of("Say two.")
    a, b, c = (said(one, text, "weak") for text in "abc")
    rows = [verdict(a, b), verdict(b, c, "RIGHT"), verdict(a, c, "TIE"), verdict(said(two, "x"), said(two, "y"))]
    text = shown(artifact(tmp_path, "label", prompts=[one, two], verdicts=rows).path)
    assert "2 prompts, 5 completions, 4 verdicts" in text
    assert has(text, "verdicts", "LEFT 2, RIGHT 1, TIE 1")
    assert has(text, "critics", "critic 4")
    assert text.startswith("artifact of label, ")


def test_an_artifact_of_preferences_shows_both_sides(tmp_path: Path) -> None:
    one = Prompt.of("Say one.")
    good, bad = said(one, "good"), said(one, "bad")
    made = artifact(tmp_path, "prefer", prompts=[one], preferences=[preference(good, bad)], completions=[good])
    text = shown(made.path)
    assert "1 prompts, 2 completions, 1 verdicts" in text
    assert has(text, "right, me", "bad")


def test_the_first_two_are_shown_shortened(write_rows: Write) -> None:
    rows = [row("Say one.", "One " * 200), row("Say two.", "Two."), row("Say three.", "Three.")]
    text = shown(write_rows("rows.jsonl", rows))
    examples = text[text.index("example 1") :]
    assert has(examples, "me", "One One")
    assert "…" in examples
    assert has(examples, "user", "Say two.")
    assert "Say three." not in examples
    assert len(examples.splitlines()) < 12


def test_of_a_long_conversation_the_end_is_shown(tmp_path: Path) -> None:
    turns = [Message(role=("user", "assistant")[i % 2], content=f"turn {i}") for i in range(9)]  # type: ignore[arg-type]
    text = shown(artifact(tmp_path, "import", prompts=[Prompt(messages=tuple(turns))]).path)
    assert "6 messages before these" in text
    assert has(text, "user", "turn 8")
    assert "turn 5" not in text


HOSTILE = "\x1b]0;title\x07\x1b[2J\u202etxet\u200b\ud800\r\n" + "漢字" * 90 + "word" * 90


def test_no_line_is_wider_than_the_terminal_and_none_can_harm_it(tmp_path: Path) -> None:
    prompt = Prompt.of(HOSTILE, source=HOSTILE)
    rows = [said(prompt, HOSTILE + str(i), HOSTILE + "b" * i) for i in range(12)]
    others = [Prompt.of(f"{HOSTILE} {i}") for i in range(3)]
    verdicts = [verdict(rows[0], rows[1], critic=HOSTILE), *(verdict(said(p, HOSTILE), rows_of(p)) for p in others)]
    made = artifact(tmp_path, "label", prompts=[prompt, *others], completions=rows, verdicts=verdicts)
    lines = shown(made.path).split("\n")
    assert max(map(width_of, lines)) <= COLUMNS
    assert all(line.isprintable() for line in lines)
    assert "\\x1b]0;title\\x07\\x1b[2J\\u202etxet\\u200b\\ud800\\r\\n漢字" in "\n".join(lines)


def rows_of(prompt: Prompt) -> Any:
    return said(prompt, "x", "nobody")


def test_memory_does_not_grow_with_the_texts(tmp_path: Path) -> None:
    prompts = [Prompt.of(f"{i} " + "x " * 10_000) for i in range(200)]
    made = artifact(tmp_path, "teach", prompts=prompts, completions=[said(p, f"{p.id} " * 1_000) for p in prompts])
    shown(made.path)
    tracemalloc.start()
    shown(made.path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000, "of 7 million characters, some of which are kept to be shown"


def test_the_command_prints_it(write_rows: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_rows("rows.jsonl", [row("Say one.", "One.")])
    assert main(["data", "show", f"rows={path}"]) == 0
    assert "1 prompts, 1 completions" in capsys.readouterr().out


def test_an_error_that_quotes_a_file_moves_no_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"\\u001b[2Jname\\u202e": "x"}\n')
    assert main(["data", "show", f"rows={path}"]) == 2
    said = capsys.readouterr().err
    assert "the first row has the fields \\x1b[2Jname\\u202e, which is no format" in said
    assert said.removesuffix("\n").isprintable()
