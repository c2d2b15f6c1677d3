"""Several completions of one prompt, not compared: `responses`, or `response1`, `response2`, ..."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tutelage.data.formats.item import UNKNOWN, Count, Format, Item, Options, Row, Skip, each, shown
from tutelage.data.formats.plain import read_prompt
from tutelage.errors import DataError
from tutelage.records import Completion

_NUMBERED = re.compile(r"response\d+")


def _read(where: str, row: Row, options: Options) -> Iterator[Item]:
    texts = row["responses"] if "responses" in row else [row[name] for name in row if _NUMBERED.fullmatch(name)]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise DataError(f"{where}: expected responses, a list of texts, found {shown(texts)}")
    if not texts:
        raise Skip("no responses")
    prompt = read_prompt(where, row, options)
    author = options.author or UNKNOWN
    yield Item(prompt, tuple(Completion(prompt_id=prompt.id, author=author, text=text) for text in texts))


def _write(items: Iterable[Item], count: Count) -> Iterator[Row]:
    for item in items:
        said = [m.model_dump() for m in item.prompt.messages]
        if item.completions:
            prompt = item.prompt.text if len(said) == 1 else said
            yield {"prompt": prompt, "responses": [c.text for c in item.completions]}
        else:
            count("not written: prompts without a completion", 1)


FORMAT = Format(
    "responses",
    "several completions of a prompt: prompt or instruction, input; responses (a list), or response1, response2, ...",
    ("prompts", "completions"),
    lambda row: ("responses" in row or "response1" in row) and not {"annotator1", "preference"} & row.keys(),
    each(_read),
    _write,
    columns=("prompt",),
)
