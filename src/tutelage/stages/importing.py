"""Rows of any known format -> an artifact: prompts, and what there is of completions and verdicts about them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TextIO

from pydantic import Field

from tutelage.config import Group, StageConfig
from tutelage.data.formats.item import Item
from tutelage.data.reading import format_of, read_items
from tutelage.data.rows import COMPLETIONS, PROMPTS, Numbered
from tutelage.data.writing import whole
from tutelage.disk import dump_json
from tutelage.errors import ConfigError, DataError
from tutelage.inputs import Source
from tutelage.progress import say
from tutelage.records import Record
from tutelage.stages.base import Stage
from tutelage.stages.label import VERDICTS
from tutelage.store import Made, Work


class Config(StageConfig):
    """What happens to rows that cannot be read."""

    skip_bad: bool = Field(False, description="count rows that cannot be read and leave them out; false: stop at one")


class Inputs(Group):
    """A file or a data set."""

    rows: Source


def body(config: Config, inputs: Inputs, work: Work) -> Made:
    """Write prompts.jsonl, and completions.jsonl or verdicts.jsonl; a row at a time, however many there are.

    Completions of one prompt by one author are numbered as they come; what comes twice is counted and left out.
    """
    rows = inputs.rows
    if rows.artifact() is not None:
        raise ConfigError(f"{rows.path}: is an artifact already; rows= is a file or a data set from elsewhere")
    found = format_of(rows)
    say(f"  format: {found.name} ({found.says})")
    with ExitStack() as stack:
        names = (PROMPTS, COMPLETIONS, VERDICTS)
        paths = {name: stack.enter_context(whole(work.path / name)) for name in names}
        files = {name: stack.enter_context(path.open("w", encoding="utf-8")) for name, path in paths.items()}
        kept = _Kept(files, work)
        for item in read_items(rows, work.count, config.skip_bad):
            kept.add(item)
    if not kept.prompts:
        why = "; ".join(f"{num:,} {what}" for what, num in work.counts.items() if num)
        raise DataError(f"{rows.path}: holds no usable row{rows.asked_for()}: {why or 'it is empty'}")
    for name in (COMPLETIONS, VERDICTS):
        if not work.counts.get(name.removesuffix(".jsonl")):
            (work.path / name).unlink()
    return Made(summary={"format": found.name, "both_orders": False, "critic": ", ".join(sorted(kept.critics))})


class _Kept:
    """Writes each record once. Ids are hashes: as numbers, a million of them take 60 MB."""

    def __init__(self, files: Mapping[str, TextIO], work: Work) -> None:
        self.files, self.work = files, work
        self.prompts: set[int] = set()
        self.verdicts: set[int] = set()
        self.critics: set[str] = set()
        self.numbered = Numbered()

    def add(self, item: Item) -> None:
        """Write what an item holds that is new."""
        if _is_new(item.prompt.id, self.prompts):
            self._write(PROMPTS, item.prompt)
        elif not item.completions and item.verdict is None:
            self.work.count("skipped: the same prompt again", 1)
        for completion in item.completions:
            if not completion.text.strip():
                self.work.count("skipped: the completion is empty", 1)
            elif (kept := self.numbered(completion)) is None:
                self.work.count("skipped: the same prompt and completion again", 1)
            else:
                self._write(COMPLETIONS, kept)
        if item.verdict is not None:
            if _is_new(item.verdict.id, self.verdicts):
                self._write(VERDICTS, item.verdict)
                self.critics.add(item.verdict.critic)
            else:
                self.work.count("skipped: the same verdict again", 1)

    def _write(self, name: str, record: Record) -> None:
        self.files[name].write(dump_json(record.model_dump(mode="json")) + "\n")
        self.work.count(name.removesuffix(".jsonl"), 1)


def _is_new(name: str, known: set[int]) -> bool:
    number = int(name, 16)
    if number in known:
        return False
    known.add(number)
    return True


STAGE = Stage("import", Config, Inputs, body)
run = STAGE.run
