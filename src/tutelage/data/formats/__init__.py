"""The formats by name. To add one: a small file beside this one, its `FORMAT` in the list below."""

from __future__ import annotations

from pathlib import Path

from tutelage.config import nearest
from tutelage.data.formats import (
    alpaca,
    alpaca_eval,
    annotations_json,
    completions,
    hh,
    messages,
    pandalm,
    plain,
    rankings,
    responses,
    samples,
    sharegpt,
    shp,
    stackexchange,
    trl,
    trl_kto,
    trl_preference,
    ultrachat,
    ultrafeedback,
    wikitext,
)
from tutelage.data.formats.item import Format, Row, shown
from tutelage.errors import ConfigError, DataError

_FORMATS = (
    plain.FORMAT,
    messages.FORMAT,
    trl.PROMPT_ONLY,
    trl.PROMPT_COMPLETION,
    alpaca.FORMAT,
    alpaca_eval.FORMAT,
    sharegpt.FORMAT,
    completions.FORMAT,
    samples.FORMAT,
    ultrachat.FORMAT,
    wikitext.FORMAT,
    trl_preference.FORMAT,
    trl_kto.FORMAT,
    annotations_json.FORMAT,
    hh.FORMAT,
    shp.FORMAT,
    stackexchange.FORMAT,
    ultrafeedback.FORMAT,
    pandalm.FORMAT,
    rankings.FORMAT,
    responses.FORMAT,
)
FORMATS: dict[str, Format] = {f.name: f for f in _FORMATS}
_LONGEST_NAME = 100
"""Of a field; what is longer is text, in a table without a line of names."""


def format_named(name: str) -> Format:
    """Return the format `name`.

    Raises:
        ConfigError: there is none.
    """
    if name not in FORMATS:
        raise ConfigError(f"format={name}: unknown{nearest(name, list(FORMATS))} (there are: {', '.join(FORMATS)})")
    return FORMATS[name]


def recognise(path: Path | str, row: Row) -> Format:
    """Return the format that `row`, the first of the file, is written in.

    Raises:
        DataError: none fits, or several do.
    """
    found = [f for f in FORMATS.values() if f.fits(row)]
    if len(found) == 1:
        return found[0]
    fields = ", ".join(map(str, row))[:200] or "none"
    if found:
        names = " or ".join(f"format={f.name}" for f in found)
        raise DataError(f"{path}: the first row (fields: {fields}) could be read in several ways; give {names}")
    if row.keys() == {completions.KEY, completions.VALUE} and str(path).endswith((".json", ".json.gz")):
        raise DataError(
            f"{path}: is one JSON object, and the value of its first key is no list of completions but "
            f"{shown(row[completions.VALUE])}; expected {{prompt: [completion, ...]}}, or a list of rows"
        )
    if any(len(str(name)) > _LONGEST_NAME for name in row):
        raise DataError(
            f"{path}: what should be names of fields is text ({fields[:60]}...); the file seems to have no line with "
            "the names: say them (header=[instruction,input,response1,response2,preference] with the path)"
        )
    raise DataError(
        f"{path}: the first row has the fields {fields}, which is no format that is known; say which fields hold the "
        "prompt and the completion (prompt_field=NAME completion_field=NAME), or name a format "
        "(format=NAME; tutelage data formats lists them)"
    )
