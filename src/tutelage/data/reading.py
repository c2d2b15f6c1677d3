"""A file of any known format -> items, one at a time: recognised, filtered, and of its prompts the part asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from tutelage.data.formats import FORMATS, format_named, recognise
from tutelage.data.formats.item import Count, Format, Holds, Item, Options, Row, count_nothing
from tutelage.data.selection import Selection, selection_of
from tutelage.data.sources import open_rows
from tutelage.errors import ConfigError, DataError
from tutelage.inputs import Prompts


def read_items(rows: Prompts, count: Count, skip_bad: bool = False) -> Iterator[Item]:
    """Yield what the rows of a file say, in its order; memory stays bounded however large it is.

    Counts what the filters leave out. Whether a prompt comes twice is for the reader to settle.

    Raises:
        DataError: the file is damaged, of no known format, or a row cannot be read (unless `skip_bad`: counted).
        ConfigError: there is no such format.
    """
    selection = selection_of(rows, lambda: (item.prompt for item in _all(rows, count_nothing, skip_bad)))
    items = _all(rows, count, skip_bad)
    return items if selection.takes_all else _selected(items, selection, count)


def format_of(rows: Prompts) -> Format:
    """Return the format of a file: the one that is named, or recognised by its first row.

    Fields that are named for the better and the worse completion make it TRL's preferences. One that is named for the
    prompt or the completion makes it plain, whatever else it looks like, unless it holds preferences.
    """
    return format_named(rows.format) if rows.format else _recognised(rows, _first(rows)[0])


def _recognised(rows: Prompts, first: Row) -> Format:
    if rows.format:
        return format_named(rows.format)
    if any(getattr(rows, name, None) for name in ("chosen_field", "rejected_field")):
        return format_named("trl_preference")
    named = rows.prompt_field or getattr(rows, "completion_field", None)
    preferences = any(f.fits(first) for f in FORMATS.values() if "verdicts" in f.holds)
    return format_named("plain") if named and not preferences else recognise(rows.path, first)


def require_holds(rows: Prompts, what: Holds) -> None:
    """Check that a file can hold `what`.

    Raises:
        DataError: its format does not, and what to do.
    """
    found = format_of(rows)
    if what not in found.holds:
        hint = (
            "they are preferences: `tutelage import` makes verdicts of them, `tutelage prefer` preferences, and the "
            "better ones completions"
            if "verdicts" in found.holds
            else f"it holds {' and '.join(found.holds)}"
        )
        raise DataError(f"{rows.path}: a file in the format {found.name} has no {what} to read; {hint}")


def _first(rows: Prompts) -> tuple[Row, Iterator[tuple[str, Row]]]:
    found = open_rows(rows)
    first = next(found, None)
    if first is None:
        raise DataError(f"{rows.path}: holds no usable row")
    return first[1], chain((first,), found)


def _all(rows: Prompts, count: Count, skip_bad: bool) -> Iterator[Item]:
    first, every = _first(rows)
    found = _recognised(rows, first)
    columns = {
        name: value for name in ("prompt", "completion", "chosen", "rejected", "author")
        if (value := getattr(rows, f"{name}_field", None)) is not None
    }  # fmt: skip
    if unread := [name for name in columns if name not in found.columns]:
        raise ConfigError(
            f"{rows.path}: is read as {found.name}, which knows its fields by their own names; leave out "
            f"{', '.join(f'{name}_field' for name in unread)}, or give format=plain or format=trl_preference"
        )
    options = Options(
        source=Path(rows.path).name,
        columns=columns,
        num_turns=rows.num_turns or found.num_turns,
        author=getattr(rows, "author", None),
        without=rows.without,
        skip_bad=skip_bad,
    )
    yield from _filtered(found.read(every, options, count), rows, count)


def _filtered(items: Iterator[Item], rows: Prompts, count: Count) -> Iterator[Item]:
    return items if rows.without == () and rows.max_words is rows.max_chars is None else _kept(items, rows, count)


def _kept(items: Iterable[Item], rows: Prompts, count: Count) -> Iterator[Item]:
    for item in items:
        text = item.prompt.text
        if rows.without and (found := next((t for t in rows.without if _holds(item, t)), None)) is not None:
            count(f"skipped: contains {found}", 1)
        elif rows.max_words is not None and len(text.split()) > rows.max_words:
            count(f"skipped: the prompt has more than {rows.max_words} words", 1)
        elif rows.max_chars is not None and len(text) > rows.max_chars:
            count(f"skipped: the prompt has more than {rows.max_chars} characters", 1)
        else:
            yield item


def _holds(item: Item, text: str) -> bool:
    pair = () if item.verdict is None else (item.verdict.pair.left, item.verdict.pair.right)
    said = chain((m.content for m in item.prompt.messages), (c.text for c in (*item.completions, *pair)))
    return any(text in each for each in said)


def _selected(items: Iterable[Item], selection: Selection, count: Count) -> Iterator[Item]:
    for item in items:
        reason = selection.refuses(item.prompt)
        if reason is None:
            yield item
        else:
            count(f"left out: rows of prompts {reason}", 1)
