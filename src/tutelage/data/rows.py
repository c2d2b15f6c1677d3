"""Prompts and completions as stages take them: of an artifact, or read from rows of any known format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from tutelage.data.formats.item import UNKNOWN, Count
from tutelage.data.reading import read_items, require_holds
from tutelage.data.selection import selection_of
from tutelage.data.split import PARTS, is_split
from tutelage.disk import placed_rows
from tutelage.errors import ConfigError, DataError
from tutelage.inputs import Prompts, Rows, Selected
from tutelage.records import Completion, Preference, Prompt, Verdict
from tutelage.store import Artifact

PROMPTS, COMPLETIONS = "prompts.jsonl", "completions.jsonl"
RowOfPrompt = TypeVar("RowOfPrompt", Completion, Verdict, Preference)


def selected_prompts(made: Artifact, asked: Selected, count: Count) -> list[Prompt]:
    """Return the prompts of an artifact that an input asks for, and count the others.

    Raises:
        ConfigError: the input says how a file is read, but is an artifact; it is a split, but no part is named.
        DataError: nothing is left.
    """
    return [prompt for _, prompt in placed_prompts(made, asked, count)]


def placed_prompts(made: Artifact, asked: Selected, count: Count) -> Iterator[tuple[int, Prompt]]:
    """Yield the same, one at a time, each with the byte of prompts.jsonl that it begins at (see `disk.row_at`)."""
    refuse_file_settings(asked)
    if is_split(made) and asked.part is None:
        raise ConfigError(
            f"{asked.path}: is a split; say which part of it is meant (part={'|'.join(PARTS)}), or give "
            f"{Path(asked.path) / PROMPTS} for all its prompts"
        )
    selection = selection_of(asked, lambda: made.each(PROMPTS, Prompt))
    found, left_out = False, Counter[str]()
    for place, prompt in placed_rows(made.file(PROMPTS), Prompt):
        reason = selection.refuses(prompt)
        if reason is None:
            found = True
            yield place, prompt
        else:
            left_out[f"left out: prompts {reason}"] += 1
    if left_out and not found:
        said = ", ".join(f"{num} {what.removeprefix('left out: ')}" for what, num in left_out.items())
        raise DataError(f"{asked.path}: none of its prompts is left{asked.asked_for()}: {said}")
    for what, num in left_out.items():
        count(what, num)


def refuse_file_settings(asked: Selected) -> None:
    """Check that an artifact is not to be read as a file is.

    Raises:
        ConfigError: the input says how a file is read.
    """
    only_files = set(type(asked).model_fields) - set(Selected.model_fields)
    given = sorted(name for name in only_files if getattr(asked, name) not in (None, ()))
    if given:
        raise ConfigError(
            f"{asked.path}: is an artifact; {', '.join(given)} is for files from elsewhere, leave it out"
        )


def selected_rows(
    made: Artifact, asked: Selected, name: str, kind: type[RowOfPrompt], count: Count
) -> tuple[list[Prompt], list[RowOfPrompt]]:
    """Return the prompts of an artifact that an input asks for, and the rows of one of its files that belong to them.

    Every stage reads an artifact's completions, verdicts or preferences here, but those that train: they hold none.

    Raises:
        ConfigError, DataError: as `selected_prompts`.
        StoreError: the artifact has no such file.
    """
    rows = made.rows(name, kind)
    prompts = selected_prompts(made, asked, count)
    ids = {p.id for p in prompts}
    kept = [row for row in rows if row.prompt_id in ids]
    if len(kept) < len(rows):
        count(of_other_prompts(name), len(rows) - len(kept))
    return prompts, kept


def of_other_prompts(name: str) -> str:
    """Return what rows of the file `name` are counted as whose prompts are not asked for."""
    return f"left out: {name.removesuffix('.jsonl')} of other prompts"


def read_prompts(rows: Prompts, count: Count) -> list[Prompt]:
    """Read the prompts of an artifact or a file, each once, in the file's order.

    Skips and counts duplicates, blank prompts, and conversations that begin or end with the assistant.

    Raises:
        DataError: the file is damaged, a row lacks the field, or no usable prompt is left.
    """
    made = rows.artifact()
    if made is not None:
        return selected_prompts(made, rows, count)
    prompts: dict[str, Prompt] = {}
    for item in read_items(rows, count):
        if item.prompt.id in prompts:
            count("skipped: the same prompt again", 1)
        else:
            prompts[item.prompt.id] = item.prompt
    if not prompts:
        raise DataError(f"{rows.path}: holds no usable prompt{rows.asked_for()}")
    return list(prompts.values())


def read_completions(
    rows: Rows, count: Count, keep_empty: bool = False, known_author: bool = False
) -> tuple[list[Prompt], list[Completion]]:
    """Read prompts with their completions from an artifact or a file (also alpaca_eval's model_outputs.json).

    Several completions of one prompt by one author get the indices 0, 1, ... Skips and counts what
    `read_prompts` skips, and empty completions unless `keep_empty`: nothing can be learnt from one, but a policy
    that says nothing is judged by that.

    Raises:
        DataError: as `read_prompts`; nobody says who wrote a completion although that has to be known.
    """
    made = rows.artifact()
    if made is not None:
        return selected_rows(made, rows, COMPLETIONS, Completion, count)
    require_holds(rows, "completions")
    prompts: dict[str, Prompt] = {}
    numbered = Numbered()
    found: list[Completion] = []
    for item in read_items(rows, count):
        if not item.completions:
            count("skipped: a prompt without a completion", 1)
        for completion in item.completions:
            if known_author and completion.author == UNKNOWN:
                raise DataError(f"{rows.path}: nothing says who wrote the completions; give author=NAME with them")
            if not (keep_empty or completion.text.strip()):
                count("skipped: the completion is empty", 1)
            elif (kept_as := numbered(completion)) is None:
                count("skipped: the same prompt and completion again", 1)
            else:
                prompts.setdefault(item.prompt.id, item.prompt)
                found.append(kept_as)
    if not prompts:
        raise DataError(
            f"{rows.path}: holds no usable completion{rows.asked_for()}; if they are in a field of another name, "
            "give completion_field=NAME"
        )
    return list(prompts.values()), by_prompt(found)


class Numbered:
    """Numbers the completions of one prompt by one author, and knows those that come twice.

    It keeps hashes, not texts: of a million completions, 200 MB.
    """

    def __init__(self) -> None:
        self._found: set[int] = set()
        self._nums: dict[int, int] = {}

    def __call__(self, completion: Completion) -> Completion | None:
        """Return the completion with its number; None: the same text came before."""
        author = hash((completion.prompt_id, completion.author))
        text = hash((author, completion.text))
        if text in self._found:
            return None
        self._found.add(text)
        num = self._nums.get(author, 0)
        self._nums[author] = num + 1
        return completion if num == 0 else completion.model_copy(update={"index": num})


def by_prompt(completions: list[Completion]) -> list[Completion]:
    """Return `completions` with those of one prompt by one author together, where the first of them stood."""
    groups: dict[tuple[str, str], list[Completion]] = {}
    for completion in completions:
        groups.setdefault((completion.prompt_id, completion.author), []).append(completion)
    return [c for group in groups.values() for c in group]
