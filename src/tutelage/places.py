"""Where data lies: where the user says, in the folder of data sets ($TUTELAGE_DATA), or downloaded from the Hub."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tutelage.disk import file_hash, is_file, is_folder
from tutelage.errors import DataError
from tutelage.extras import is_installed
from tutelage.progress import say

DATA_FOLDER = "TUTELAGE_DATA"
"""The environment variable that names a folder of data sets."""
TEXT_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv")
SUFFIXES = (*TEXT_SUFFIXES, *(f"{suffix}.gz" for suffix in TEXT_SUFFIXES), ".parquet")
SAVED = ("dataset_dict.json", "state.json")
"""What `datasets` writes into a folder that it saves: of several splits, of one."""
CARD = "README.md"
_DESCRIPTIONS = (*SAVED, "dataset_info.json", "dataset_infos.json")
_BEING_MADE = ".lock"
"""In the folder of an artifact that is not finished."""
_HUB_NAME = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:/(.+))?")
"""owner/name of a data set, or owner/name/file of one."""


@dataclass(frozen=True)
class Place:
    """A file or folder of rows. commit: which version of a data set of the Hub it is."""

    path: Path
    commit: str | None = None


def find(path: str, revision: str | None = None) -> Place:
    """Return where the data that `path` names lies: there, below $TUTELAGE_DATA, or as a data set of the Hub.

    A data set of the Hub is downloaded if it is not there; offline (HF_HUB_OFFLINE=1), only what was downloaded
    before is found.

    Raises:
        DataError: names every place that was looked in, and what to do.
    """
    looked = ["the path itself"]
    if is_file(path) or is_folder(path):
        return Place(Path(path))
    _require_possible(path)
    root = os.environ.get(DATA_FOLDER)
    if root:
        below = Path(root).expanduser() / path
        looked.append(str(below))
        if is_file(below) or is_folder(below):
            return Place(below)
    else:
        looked.append(f"${DATA_FOLDER} (not set: a folder of data sets)")
    named = _HUB_NAME.fullmatch(path)
    if named is None or (named[2] is None and path.endswith(SUFFIXES)):
        there = f"{root}/{path}" if root else f"a folder, and set {DATA_FOLDER} to it"
        raise DataError(f"{path}: no such file or folder; looked in {_listed(looked)}. Copy it to {there}")
    looked.append(f"the Hugging Face cache {hub_cache()}")
    found, why = _of_hub(named[1], named[2], revision, str(hub_cache()))
    if found is None:
        what = f"{named[1]} {named[2]}" if named[2] else path
        at = f" --revision {revision}" if revision else ""
        raise DataError(
            f"{path}: no such file, folder or downloaded data set; looked in {_listed(looked)}{why}. "
            f"Download it with `hf download --repo-type dataset {what}{at}`, or copy it to "
            f"{f'{root}/{path}' if root else f'{path} in a folder that {DATA_FOLDER} names'}"
        )
    return found


def _require_possible(path: str) -> None:
    """Raise the error of a text that can be no path, or one out of reach: such are looked for nowhere else."""
    try:
        os.stat(path)  # noqa: PTH116 - as in disk
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise DataError(f"{path!r}: cannot be the name of a file ({error})") from None


def _listed(looked: list[str]) -> str:
    return f"{', '.join(looked[:-1])} and {looked[-1]}"


def hub_cache() -> Path:
    """Return the folder that data sets of the Hub are downloaded to."""
    home = os.environ.get("HF_HOME") or "~/.cache/huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or f"{home}/hub").expanduser()


@lru_cache(maxsize=64)
def _of_hub(name: str, file: str | None, revision: str | None, cache: str) -> tuple[Place | None, str]:
    """Return what the Hub (offline: its cache) has under a name, or why there is nothing.

    A single file is only looked for in the cache: it may as well be a path here that was mistyped.
    """
    if not is_installed("huggingface_hub"):
        return None, " (huggingface_hub is not installed: pip install 'tutelage[data]')"
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    if not file and os.environ.get("HF_HUB_OFFLINE", "").upper() not in ("1", "ON", "YES", "TRUE"):
        say(f"  {name}: asking the Hugging Face Hub")
    try:
        folder = Path(
            snapshot_download(
                name,
                repo_type="dataset",
                revision=revision,
                cache_dir=cache,
                allow_patterns=file,
                local_files_only=file is not None,
            )
        )
    except LocalEntryNotFoundError as error:
        missing = f": {str(error).splitlines()[0][:200]}" if "ncomplete" in type(error).__name__ else ""
        return None, missing
    except (OSError, HFValidationError) as error:
        return None, f" ({type(error).__name__}: {str(error).splitlines()[0][:200]})"
    if file and not is_file(folder / file):
        return None, f" (commit {folder.name} there is without this file)"
    return Place(folder / file if file else folder, folder.name), ""


# ---- folders ----------------------------------------------------------------------------------------


def data_files(folder: Path) -> list[Path]:
    """Return the files of rows below `folder`, in the order of their names."""
    found = (p for p in folder.rglob("*") if p.name.endswith(SUFFIXES) and p.name not in _DESCRIPTIONS)
    seen = [p for p in found if p.is_file() and not any(part.startswith(".") for part in p.relative_to(folder).parts)]
    return sorted(seen, key=lambda p: p.relative_to(folder).parts)


def is_saved(folder: Path) -> bool:
    """True if `datasets` saved a data set there."""
    return any(is_file(folder / name) for name in SAVED)


def is_data_set(folder: Path) -> bool:
    """True if `folder` holds rows from elsewhere, and is no artifact that is being made."""
    return not is_file(folder / _BEING_MADE) and (is_saved(folder) or bool(data_files(folder)))


def data_hash(place: Place) -> str:
    """Return a hash over the content of a file; of a folder, over the names and contents of all that is read."""
    folder = place.path
    if not is_folder(folder):
        return file_hash(folder)
    if is_saved(folder):
        # `datasets` puts what it computed from a data set beside it.
        files = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith((".", "cache-")))
    else:
        files = [*data_files(folder), *filter(is_file, [folder / CARD])]
    total = hashlib.sha256()
    for path in files:
        total.update(f"{path.relative_to(folder)}:{file_hash(path)}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()
