"""An artifact -> items, a row at a time, as if it were a file: what it holds can be shown, checked and exported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from tutelage.data.formats.item import Count, Item
from tutelage.data.rows import COMPLETIONS, PROMPTS, refuse_file_settings
from tutelage.data.selection import Selection, selection_of
from tutelage.disk import each_row, placed_rows, row_at
from tutelage.errors import DataError, StoreError
from tutelage.inputs import Selected
from tutelage.records import Completion, Pair, Preference, Prompt, Verdict
from tutelage.store import Artifact

VERDICTS, PREFERENCES = "verdicts.jsonl", "preferences.jsonl"
_NOT_TAKEN = -1


def items_of_artifact(made: Artifact, asked: Selected, count: Count) -> Iterator[Item]:
    """Yield what an artifact holds of the prompts that are asked for, file by file, in the files' order.

    An item per completion, per verdict and per preference (a verdict for its chosen completion, of a critic that is
    called after the artifact), and at last one per prompt that none of them is about. Memory grows by some bytes a
    row, not by its text. Counts the prompts that were not asked for.

    Raises:
        ConfigError: what is asked for is only for files from elsewhere.
        StoreError: the artifact holds no prompts.
        DataError: a row is damaged, or about a prompt that is not there.
    """
    refuse_file_settings(asked)
    path = made.path / PROMPTS
    if not path.is_file():
        raise StoreError(f"{made.path}: a {made.record.stage} artifact has no {PROMPTS}; check the input")
    prompts = _Prompts(path, selection_of(asked, lambda: each_row(path, Prompt)))
    for reason, num in prompts.left_out.items():
        count(f"left out: prompts {reason}", num)
    spoken_of: set[int] = set()
    for prompt_id, what in _rows(made):
        key = _key(prompt_id)
        if key not in prompts.places:
            raise DataError(f"{made.path}: has a row about the prompt {prompt_id}, which is not in its {PROMPTS}")
        if (prompt := prompts.get(key)) is not None:
            spoken_of.add(key)
            yield Item(prompt, (what,)) if isinstance(what, Completion) else Item(prompt, verdict=what)
    for key in prompts.places:
        if key not in spoken_of and (prompt := prompts.get(key)) is not None:
            yield Item(prompt)


def _key(prompt_id: str) -> int:
    """An id as a number, which takes less memory; -1 if it is none of ours."""
    try:
        return int(prompt_id, 16)
    except ValueError:
        return -1


class _Prompts:
    """The prompts of a file by id, read again when they are needed: a million of them need not fit into memory."""

    def __init__(self, path: Path, selection: Selection) -> None:
        self.path = path
        self.places: dict[int, int] = {}
        self.left_out: Counter[str] = Counter()
        """How many prompts are not asked for, by the reason."""
        for at, prompt in placed_rows(path, Prompt):
            reason = selection.refuses(prompt)
            self.places[_key(prompt.id)] = at if reason is None else _NOT_TAKEN
            if reason is not None:
                self.left_out[reason] += 1
        self._at = lru_cache(maxsize=1024)(self._read)

    def get(self, key: int) -> Prompt | None:
        """Return the prompt whose id is `key`, or None if it is not asked for."""
        at = self.places[key]
        return None if at == _NOT_TAKEN else self._at(at)

    def _read(self, at: int) -> Prompt:
        with self.path.open("rb") as file:
            return row_at(file, at, Prompt)


def _rows(made: Artifact) -> Iterator[tuple[str, Completion | Verdict]]:
    """Yield (prompt id, what is said about it)."""
    if (path := made.path / COMPLETIONS).is_file():
        for completion in each_row(path, Completion):
            yield completion.prompt_id, completion
    if (path := made.path / VERDICTS).is_file():
        for verdict in each_row(path, Verdict):
            yield verdict.pair.prompt_id, verdict
    if (path := made.path / PREFERENCES).is_file():
        critic = f"{made.record.stage}-{made.record.fingerprint[:8]}"
        for preference in each_row(path, Preference):
            yield preference.prompt_id, _verdict_of(preference, critic)


def _verdict_of(preference: Preference, critic: str) -> Verdict:
    return Verdict(
        pair=Pair(left=preference.chosen, right=preference.rejected),
        orders=("unknown",),
        outcome="LEFT",
        critic=critic,
        replies=("verdicts " + " ".join(preference.verdict_ids),),
    )
