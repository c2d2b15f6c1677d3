"""WikiText: `{"text"}`, paragraphs of Wikipedia. One rule makes a prompt of the beginning: that of the research code.

Of a text of more than 100 characters, the first 10 words are the prompt and the others the completion, where a word
ends with a space; shorter texts are skipped and counted. Both together are the text again. Rows of a text alone could
be anything, so that no file is taken for this: the format has to be named.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tutelage.data.formats.item import WAITING, Count, Format, Item, Options, Row, Skip, each, one_turn, text_of
from tutelage.records import Completion

AUTHOR = "wikipedia"
_CHARS, _WORDS = 100, 10


def _halves(text: str) -> tuple[str, str] | None:
    """Return the two parts of a text; None: it is too short for that."""
    words = text.split(" ")
    if len(text) <= _CHARS or len(words) <= _WORDS:
        return None
    return " ".join(words[:_WORDS]) + " ", " ".join(words[_WORDS:])


def _read(where: str, row: Row, options: Options) -> Iterator[Item]:
    halves = _halves(text_of(where, row, "text"))
    if halves is None:
        raise Skip(f"a text of {_CHARS} characters or {_WORDS} words at most")
    prompt = one_turn(halves[0], options)
    yield Item(prompt, (Completion(prompt_id=prompt.id, author=options.author or AUTHOR, text=halves[1]),))


def _write(items: Iterable[Item], count: Count) -> Iterator[Row]:
    for item in items:
        if not item.completions:
            count(WAITING, 1)
        for completion in item.completions:
            if _halves(item.prompt.text + completion.text) == (item.prompt.text, completion.text):
                yield {"text": item.prompt.text + completion.text}
            else:
                count(f"not written: prompts that are not the first {_WORDS} words of a text", 1)


FORMAT = Format(
    "wikitext",
    "WikiText: {text}; the first 10 words are the prompt, the others the completion; has to be named",
    ("prompts", "completions"),
    lambda row: False,
    each(_read),
    _write,
)
