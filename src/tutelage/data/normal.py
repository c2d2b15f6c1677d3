"""What stays of a text once case, white space, punctuation and the style of its quotes are set aside."""

from __future__ import annotations

import re
import unicodedata

from tutelage.records import Prompt, digest

_APOSTROPHES = "'’‘‛ʼ`´′"
_MARKS = (
    "\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0df3\u0f71-\u0f84"
)
"""Vowels and other signs that belong to the letter before them, though Python counts them as no part of a word."""
_UNSPACED = re.compile(
    "[\u0e01-\u0eff\u1000-\u109f\u1780-\u17d3\u3005-\u3007\u3041-\u30ff\u3400-\u9fff\uac00-\ud7a3\U00020000-\U0003ffff]"
)
"""Scripts that put no spaces between words, or put them as the writer likes (Korean): a character is a word."""
_WORDS = re.compile(rf"[\w{_MARKS}]+")


def words_of(text: str) -> list[str]:
    """Return the words of `text` in one case and one form of every character (NFKC), without punctuation.

    Of scripts that are written without spaces every character is a word.
    """
    for apostrophe in _APOSTROPHES:
        text = text.replace(apostrophe, "")
    if not text.isascii():
        text = _UNSPACED.sub(r" \g<0> ", unicodedata.normalize("NFKC", text))
    return _WORDS.findall(text.casefold().replace("_", " "))


def normal(text: str) -> str:
    """Return `words_of` joined by spaces; a text without any word stays as it is, without outer white space."""
    return " ".join(words_of(text)) or text.strip()


def first_turn(prompt: Prompt) -> str:
    """Return the first thing the user says."""
    return next(m.content for m in prompt.messages if m.role == "user")


def group_of(prompt: Prompt) -> str:
    """Return what conversations have in common that begin alike: a hash of the first user turn's normal form.

    Parts of the data are drawn by it, so that a conversation, its continuations and a copy of it that is only
    written otherwise are on one side.
    """
    return digest(normal(first_turn(prompt)))
