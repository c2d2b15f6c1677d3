"""What stays of a text once case, white space, punctuation and the style of its quotes are set aside."""

from __future__ import annotations

import re
import unicodedata

from tutelage.records import Prompt, digest

_WORDS = re.compile(r"[^\W_]+", re.UNICODE)


def words_of(text: str) -> list[str]:
    """Return the words of `text` in one case and one form of every character (NFKC), without punctuation."""
    return _WORDS.findall(unicodedata.normalize("NFKC", text).casefold().replace("'", "").replace("’", ""))


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
