"""A folder of files, a folder that `datasets` saved, or a data set of the Hub -> one row at a time."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from tutelage import extras
from tutelage.disk import is_file
from tutelage.errors import DataError
from tutelage.inputs import Prompts
from tutelage.places import CARD, SAVED, SUFFIXES, Place, data_files, is_saved
from tutelage.progress import say
from tutelage.store import Artifact

Rows = Iterator[tuple[str, dict[str, Any]]]
_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})(.*)")
_SPLITS = {"train": "training", "validation": "valid|dev|val", "test": "testing|eval|evaluation"}
"""The names of splits in names of files, as `datasets` knows them, by the first of each."""


def rows_of_folder(place: Place, rows: Prompts, read: Callable[[Path], Rows]) -> Rows:
    """Return (where, row) for each row of the data set in a folder.

    Files that are no data set of several parts are read one after another, in the order of their names.

    Raises:
        DataError: no rows, a file of several is missing, or several parts of which none was chosen.
        StoreError: an artifact that is not finished.
    """
    folder = place.path
    if is_saved(folder):
        return _saved(folder, rows)
    files = data_files(folder)
    if place.commit is None and not files:
        Artifact.open(folder)  # explains what is missing
    if place.commit or rows.subset or rows.split or _has_card(folder) or len(_splits_named(folder, files)) > 1:
        return _of_data_set(place, rows, read)
    _require_all_shards(folder, files)
    return (row for file in files for row in read(file))


def _has_card(folder: Path) -> bool:
    """True if the folder says itself which of its files belong together."""
    card = folder / CARD
    return is_file(card) and b"\nconfigs:" in card.read_bytes().partition(b"\n---")[0]


def _splits_named(folder: Path, files: Sequence[Path]) -> set[str]:
    names = [str(file.relative_to(folder)).lower() for file in files]
    return {
        split
        for split, others in _SPLITS.items()
        if any(re.search(rf"(?<![a-z0-9])({split}|{others})(?![a-z0-9])", name) for name in names)
    }


def _require_all_shards(folder: Path, files: Iterable[Path]) -> None:
    """Check that of files numbered 00000-of-00003 none is missing: a download that broke off would pass for whole."""
    found: dict[tuple[Path, str, int, str], set[int]] = defaultdict(set)
    for file in files:
        if match := _SHARD.fullmatch(file.name):
            found[file.parent, match[1], int(match[3]), match[4]].add(int(match[2]))
    for (parent, name, total, end), numbers in found.items():
        if missing := sorted(set(range(total)) - numbers):
            file = parent / f"{name}-{missing[0]:05}-of-{total:05}{end}"
            raise DataError(
                f"{folder}: {len(missing)} of {total} files are missing ({file} ...); download them again"
            )


def _chosen(what: str, asked: str | None, there: Sequence[str], where: str, usual: str) -> str:
    """Return the subset or split that is meant: the one asked for, the only one, or the usual one.

    Raises:
        DataError: there is no such one, or several of which none is usual; names them.
    """
    named = ", ".join(sorted(there)[:40])
    if asked is not None:
        if asked not in there:
            raise DataError(f"{where}: has no {what} {asked!r} (there are: {named})")
        return asked
    if len(there) > 1 and usual not in there:
        raise DataError(f"{where}: has several {what}s; give {what}= one of: {named}")
    chosen = there[0] if len(there) == 1 else usual
    if len(there) > 1:
        say(f"  {where}: {what} {chosen} (there are: {named})")
    return chosen


# ---- saved by datasets ------------------------------------------------------------------------------


def _saved(folder: Path, rows: Prompts) -> Rows:
    extras.require("data", f"{folder}: a folder that datasets saved")
    from datasets import load_from_disk

    if rows.subset is not None:
        raise DataError(f"{folder}: is a data set that was saved, which has no subsets; leave subset= out")
    try:
        found = load_from_disk(str(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: cannot be read as a data set that was saved ({_said(error)})") from None
    where = str(folder)
    if is_file(folder / SAVED[0]):
        split = _chosen("split", rows.split, list(found), where, "train")
        where, found = f"{where}, split {split}", found[split]
    elif rows.split is not None and str(found.split) != rows.split:
        raise DataError(
            f"{folder}: has no split {rows.split!r} (it is {found.split or 'of one split without a name'})"
        )
    return _numbered(where, found)


def _numbered(where: str, found: Iterable[Any]) -> Rows:
    rows = iter(found)
    number = 0
    while True:
        try:
            row = next(rows, None)
        except Exception as error:  # whatever the reader of some file format raises
            raise DataError(f"{where}: cannot be read after row {number} ({_said(error)})") from None
        if row is None:
            return
        number += 1
        yield f"{where}, row {number}", dict(row)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"


# ---- a data set of several parts --------------------------------------------------------------------


def _of_data_set(place: Place, rows: Prompts, read: Callable[[Path], Rows]) -> Rows:
    extras.require("data", f"{rows.path}: a data set with subsets or splits")
    split, files, builder = _parts(place.path, place.path.stat().st_mtime_ns, rows.path, rows.subset, rows.split)
    if files is None:
        return _numbered(f"{rows.path}, split {split}", builder.as_streaming_dataset(split=split))
    return (row for file in files for row in read(file))


@lru_cache(maxsize=16)
def _parts(
    folder: Path, changed: int, name: str, subset: str | None, split: str | None
) -> tuple[str, tuple[Path, ...] | None, Any]:
    """Return the split, its files (None: `datasets` has to read them), and what `datasets` makes of the folder."""
    from datasets import get_dataset_config_names, load_dataset_builder

    script = folder / f"{name.rstrip('/').rpartition('/')[2]}.py"
    if is_file(script):
        raise DataError(
            f"{name}: is a data set that a script has to make ({script.name}), and such are not run; its page on the "
            "Hub may have files under the revision refs/convert/parquet: give revision=refs/convert/parquet"
        )
    try:
        subsets = get_dataset_config_names(str(folder))
        chosen = _chosen("subset", subset, subsets, name, "default")
        builder = load_dataset_builder(str(folder), name=chosen)
    except DataError:
        raise
    except Exception as error:  # of many kinds, from reading a card to looking for files
        raise DataError(f"{name}: cannot be read as a data set ({_said(error)}); looked in {folder}") from None
    by_split = {str(key): [Path(file) for file in files] for key, files in (builder.config.data_files or {}).items()}
    taken = _chosen("split", split, list(by_split), name, "train")
    files = by_split[taken]
    _require_all_shards(folder, files)
    return taken, tuple(files) if all(file.name.endswith(SUFFIXES) for file in files) else None, builder
