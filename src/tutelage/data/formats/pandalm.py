"""PandaLM's test set: two completions, and what three people said of them (0: alike, 1, 2).

What more than half of them say is the verdict, else it is a tie.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tutelage.data.formats.item import UNKNOWN, Format, Item, Options, Row, Skip, each, judged, name_of, shown
from tutelage.data.formats.plain import read_prompt
from tutelage.errors import DataError
from tutelage.records import Completion, Outcome

_ANNOTATORS = ("annotator1", "annotator2", "annotator3")
_OUTCOMES: dict[int, Outcome] = {0: "TIE", 1: "LEFT", 2: "RIGHT"}


def _read(where: str, row: Row, options: Options) -> Iterator[Item]:
    if "gpt_result" in row:
        raise DataError(
            f"{where}: only says what a model thought of row {name_of(row.get('idx'))} of PandaLM's test set, not "
            "the texts; read testset-v1.json, or put its fields beside these"
        )
    votes = [row.get(name) for name in _ANNOTATORS]
    if any(type(vote) is not int or vote not in _OUTCOMES for vote in votes):
        raise DataError(f"{where}: expected {', '.join(_ANNOTATORS)}, each 0 (alike), 1 or 2; found {shown(votes)}")
    texts = [row.get(name) for name in ("response1", "response2")]
    if any(isinstance(text, bool) for text in texts):
        raise Skip("a response is no text but true or false")
    if not all(isinstance(text, str) for text in texts):
        raise DataError(f"{where}: expected the texts response1 and response2, found {shown(texts)}")
    prompt = read_prompt(where, row, options)
    left, right = (
        Completion(prompt_id=prompt.id, author=author, text=str(text))
        for author, text in zip(_authors(row, options), texts, strict=True)
    )
    most, num = Counter(votes).most_common(1)[0]
    outcome = _OUTCOMES[int(most or 0)] if 2 * num > len(votes) else "TIE"
    yield judged(prompt, left, right, outcome, "PandaLM's annotators", ", ".join(map(str, votes)))


def _authors(row: Row, options: Options) -> tuple[str, str]:
    """Return who wrote the two: the comparison's key is their names, joined by the only underscore in it."""
    names = name_of(row.get("cmp_key")).split("_")
    if options.author or len(names) != 2 or not all(names):
        return (options.author or UNKNOWN,) * 2
    return names[0], names[1]


FORMAT = Format(
    "pandalm",
    "PandaLM's test set: instruction, input, response1, response2, and three annotators, of whom the majority counts",
    ("verdicts",),
    lambda row: "annotator1" in row or "gpt_result" in row,
    each(_read),
    columns=("prompt",),
)
