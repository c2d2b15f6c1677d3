"""What is odd about a text, and how it is shown so that nothing in it can hide or move the cursor."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.data.histogram import Lengths, bar, bars, beside
from tutelage.data.repeats import Repeats
from tutelage.data.texts import clip, fold, oddities, pad, special_tokens, width_of

ANY = st.text(st.characters(), max_size=300)
"""Lone surrogates too."""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Plain English, 100 % of it:\n\ttrue.", ""),
        ("naïve", "Latin"),
        ("“so” — he said…", "typographic"),
        ("Привет", "Cyrillic"),
        ("漢字", "CJK ideographs"),
        ("かな", "Hiragana"),
        ("カナー", "Katakana"),
        ("한글", "Hangul"),
        ("مرحبا", "Arabic"),
        ("हिन्दी", "Devanagari"),
        ("ไทย", "Thai"),
        ("😀", "emoji"),
        ("☀️", "emoji"),
        ("x ≤ ½", "symbols"),
        ("𝐛𝐨𝐥𝐝", "styled"),
        ("ℭ", "styled"),
        ("a\x00", "control"),
        ("\x1b[31m", "control"),
        ("a\r\nb", "carriage"),
        ("a\u200bb", "zero-width"),
        ("\ufeffa", "zero-width"),
        ("a\u202eb", "bidi"),
        ("a\u2028b", "line and paragraph"),
        ("\ud83d", "lone surrogates"),
        ("\ufffd", "replacement"),
        ("\ue000", "private-use"),
        ("a\U000e0041", "other invisible"),
        ("a\xa0b", "spaces that are none"),
    ],
)
def test_a_text_is_of_one_kind(text: str, found: str) -> None:
    kinds = oddities(text)
    assert len(kinds) == bool(found)
    assert all(kind.startswith(found) for kind in kinds)


@pytest.mark.parametrize("text", ["café", "it’s “so”", "£5 — 10 °C", "Ærø", "ça", "à la", "naïveté", "🎉"])
def test_utf8_that_was_read_as_latin_1_is_known_from_what_it_should_have_been(text: str) -> None:
    assert not any("mojibake" in kind for kind in oddities(text))
    for wrong in ("latin-1", "cp1252"):
        try:
            broken = text.encode("utf-8").decode(wrong)
        except UnicodeDecodeError:
            continue
        assert any("mojibake" in kind for kind in oddities(broken)), wrong


@pytest.mark.parametrize("text", ["São João", "L'HÔTEL DE LÂ", "ÃO", "Â B", "10 ÷ 2 × Ã"])
def test_letters_that_mojibake_is_made_of_may_stand_alone(text: str) -> None:
    assert not any("mojibake" in kind for kind in oddities(text))


def test_special_tokens_are_found_as_they_are_written() -> None:
    text = "<s>[INST] <<SYS>>x<</SYS>> hi [/INST] </s><|im_start|>user<|im_end|><|endoftext|><|eot_id|><unk>"
    assert len(special_tokens(text)) == 11
    assert special_tokens("a < b > c [list] <b>bold</b> | <|> im_end eot_id <S>") == set()


@given(ANY)
def test_oddities_and_special_tokens_take_any_text(text: str) -> None:
    assert all(oddities(text))
    assert special_tokens(text + "</s>") >= {"</s>"}


@given(ANY, st.integers(2, 60))
def test_a_clipped_text_is_one_line_that_fits_and_can_do_nothing(text: str, columns: int) -> None:
    shown = clip(text, columns)
    assert shown.isprintable()
    assert width_of(shown) <= columns
    assert width_of(pad(text, columns)) == columns


@given(ANY, st.integers(8, 60), st.integers(1, 4))
def test_a_folded_text_is_few_lines_that_fit_and_can_do_nothing(text: str, columns: int, num: int) -> None:
    lines = fold(text, columns, num)
    assert 1 <= len(lines) <= num
    assert all(line.isprintable() and width_of(line) <= columns for line in lines)
    if text.isprintable() and width_of(text) <= columns:
        assert lines == [text.rstrip()]


def test_what_is_left_out_of_a_text_is_marked() -> None:
    assert clip("a" * 20, 20) == "a" * 20
    assert clip("a" * 21, 20) == "a" * 19 + "…"
    assert clip("漢" * 11, 20) == "漢" * 9 + "…"
    assert fold("one two three four five six", 10, 2) == ["one two", "… five six"]
    assert fold("one two three four five\x1bsix", 12, 1) == ["…five\\x1bsix"]
    assert fold("one two three", 10, 2) == ["one two", "three"]
    assert fold("", 10, 2) == [""]


# ---- histograms -------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=50))
def test_quantiles_are_those_of_the_sorted_lengths_and_every_length_is_in_one_bin(lengths: list[int]) -> None:
    counted = Lengths()
    for length in lengths:
        counted.add(length)
    ranked = sorted(lengths)
    assert counted.quantile(1) == ranked[-1]
    assert counted.quantile(0.5) == ranked[(len(ranked) - 1) // 2]
    bins = counted.bins()
    assert [num for *_, num in bins] == [sum(a <= n <= b for n in lengths) for a, b, _ in bins]
    assert sum(num for *_, num in bins) == len(lengths)
    assert all(b + 1 == c for (_, b, _), (c, _, _) in pairwise(bins))


def test_bars_are_as_long_as_their_shares_and_the_least_is_seen() -> None:
    assert bar(1, 10) == "██████████"
    assert bar(0.55, 10) == "█████▌"
    assert bar(1e-9, 10) == "▏"
    assert bar(0, 10) == ""
    assert bars([("a", 10), ("long", 5)], 18) == ["     a  10  ██████", "  long   5  ███"]
    assert bars([], 20) == []
    assert Lengths().lines("none", 40) == ["none: median 0, p95 0, max 0"]


def test_two_blocks_stand_side_by_side() -> None:
    assert beside(["a", "b"], ["c"], 4) == ["a   c", "b"]
    assert beside([], ["c"], 4) == ["    c"]


def test_a_text_is_repeated_if_two_prompts_have_it() -> None:
    seen = Repeats()
    for text, prompt in [("a", 1), ("a", 1), ("b", 1), ("b", 2), ("b", 1), ("c", 1), ("c", 2), ("c", 3)]:
        seen.add(text, prompt)
    assert seen.most() == [("c", 3), ("b", 2)]
