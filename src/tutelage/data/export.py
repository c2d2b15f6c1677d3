"""`tutelage export`: an artifact, or a file of any known format, -> a file that another program takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from pydantic import Field

from tutelage.config import Group
from tutelage.data.artifacts import items_of_artifact
from tutelage.data.card import card
from tutelage.data.formats import format_named
from tutelage.data.formats.item import Count, Format, Item, Row
from tutelage.data.reading import read_items
from tutelage.data.writing import write_rows
from tutelage.disk import disk_errors, write_atomically
from tutelage.errors import ConfigError, DataError
from tutelage.inputs import Source

USAGE = "tutelage export rows=ARTIFACT format=NAME out=FILE [push=OWNER/NAME] [key=value ...]"


class ExportConfig(Group):
    """What is written, how, and where to."""

    rows: Source = Field(description="an artifact, or a file or data set of any known format")
    format: str = Field(description="how rows are written: tutelage data formats lists what there is")
    out: Path | None = Field(
        None,
        description="the file: .jsonl, .json, .csv (.gz too) or .parquet; NAME.md beside it says where it is from",
    )
    push: str | None = Field(
        None,
        pattern=r"^[\w.-]+/[\w.-]+$",
        description="owner/name of a data set on the Hugging Face Hub, which gets the rows as Parquet and the card; "
        "the token is that of `hf auth login`, or HF_TOKEN",
    )
    private: bool = Field(True, description="whether a data set that push makes is seen by its owner alone")


def export(config: ExportConfig) -> str:
    """Write what is asked for; return what was written, and what was left out, in words.

    Raises:
        ConfigError: neither out nor push is given; the format can only be read; out is there already.
        DataError: there is nothing to write, or rows that the file cannot hold.
        StoreError: the disk is full.
    """
    form = format_named(config.format)
    if form.write is None:
        raise ConfigError(f"format={form.name}: can only be read; tutelage data formats lists those to write")
    if config.out is None and config.push is None:
        raise ConfigError("give out=FILE, or push=OWNER/NAME for a data set on the Hub")
    if config.push is not None and form.container == "object":
        raise ConfigError(f"format={form.name}: is one JSON object and no table; choose another to push")
    counts: Counter[str] = Counter()
    said = []
    if config.out is not None:
        note = config.out.with_name(config.out.name + ".md")
        for path in (config.out, note):
            if path.exists():
                raise ConfigError(f"{path}: is there already; give another name, or remove it")
        with disk_errors(config.out):
            num = write_rows(config.out, _rows(config, form, counts), form.container)
            _check_some(config, num, counts, config.out)
            write_atomically(note, card(config.out, config.rows, form, num, counts))
        said.append(f"{config.out}: {num:,} rows in the format {form.name}; {note.name} says where they are from")
    if config.push is not None:
        from tutelage.data.push import push

        said.append(push(config.push, config.private, config.rows, form, lambda found: _rows(config, form, found)))
    return "\n".join([*said, *(f"  {num:,} {what}" for what, num in counts.items() if num)])


def _check_some(config: ExportConfig, num: int, counts: Counter[str], out: Path) -> None:
    if num == 0:
        out.unlink()
        why = "; ".join(f"{n:,} {what}" for what, n in counts.items() if n) or "it has no rows"
        raise DataError(f"{config.rows.path}: nothing in it can be written as {config.format}: {why}")


def _rows(config: ExportConfig, form: Format, counts: Counter[str]) -> Iterator[Row]:
    def count(what: str, num: int) -> None:
        counts[what] += num

    made = config.rows.artifact()
    items = read_items(config.rows, count) if made is None else items_of_artifact(made, config.rows, count)
    assert form.write is not None, "checked by export"
    return form.write(_that_fit(items, form, count), count)


def _that_fit(items: Iterable[Item], form: Format, count: Count) -> Iterator[Item]:
    """Yield the items that a format is for: verdicts, else completions, else prompts, each prompt once.

    Rows that begin with a prompt alone are taken for prompts, by a format that holds both.
    """
    seen: set[int] = set()
    items = iter(items)
    first = next(items, None)
    bare = first is not None and first.verdict is None and not first.completions
    for item in () if first is None else chain((first,), items):
        if "verdicts" in form.holds:
            fits, what = item.verdict is not None, "prompts and completions, since the format holds preferences"
        elif "completions" in form.holds and not (bare and "prompts" in form.holds):
            fits, what = bool(item.completions), "prompts and verdicts, since the format holds completions"
        else:
            key = int(item.prompt.id, 16)
            fits, what = key not in seen, "rows of a prompt that is written already"
            item = Item(item.prompt)
            seen.add(key)
        if fits:
            yield item
        else:
            count(f"left out: {what}", 1)
