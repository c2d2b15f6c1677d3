"""Artifacts: folders that explain themselves. `record.json` is written last; present means finished.

    artifacts/4-label/<label>-<first 8 digits of the fingerprint>/
        record.json      stage, settings, inputs, counts, usage, code versions, seconds
        verdicts.jsonl   rows, one record a line

The fingerprint is the hash of the stage, its settings and the content of its inputs, minus the settings
marked as runtime. The same call again finds its artifact and returns at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import json
import os
import platform
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field

from tutelage import __version__
from tutelage.disk import (
    brief,
    disk_errors,
    dump_json,
    dumped,
    each_row,
    file_hash,
    is_file,
    is_folder,
    read_rows,
    visible,
    write_atomically,
)
from tutelage.errors import StoreError
from tutelage.records import Bill, Checkpoint, Record, Usage, WinRate, digest

STAGES = ("teach", "sft", "sample", "label", "prefer", "dpo", "reward", "evaluate", "audit", "panel")
BEFORE_THE_ROAD = ("import", "split")
"""Stages that only get the data ready; their folders are numbered 0."""
RECORD = "record.json"
METRICS, TRAINED, MARGINS = "metrics.jsonl", "trained.jsonl", "margins.jsonl"
"""What training leaves beside a checkpoint: what each step logged, the rows it was trained on, and after DPO the
rewards of chosen minus rejected."""
ASIDE = (METRICS, "adapter", "checkpoints", "tensorboard", "wandb")
"""What an artifact holds beside its result: speeds, the same with the path of a base model, models on the way, what
other programs keep to show it."""
AnyRecord = TypeVar("AnyRecord", bound=Record)


class InputRecord(Record):
    """Where an input was found, and the fingerprint of the artifact it is (None for a foreign file)."""

    path: str
    artifact: str | None = None


class ArtifactRecord(Record):
    """What `record.json` says."""

    stage: str
    label: str
    fingerprint: str
    content: str
    """The hash of the rows and weights that were made; with the fingerprint, what later stages depend on."""
    identity: dict[str, Any]
    """Every setting and input that the result depends on, by dotted name; the fingerprint is its hash."""
    inputs: dict[str, InputRecord]
    config: dict[str, Any]
    counts: dict[str, int]
    summary: dict[str, Any]
    usage: Usage = Usage()
    """What the rows took, whoever paid for them."""
    bill: Bill | None = None
    """What was paid over APIs to make this artifact."""
    checkpoint: Checkpoint | None = None
    win_rate: WinRate | None = None
    code: dict[str, str]
    finished_at: str
    seconds: float


class Artifact(Record):
    """A finished artifact: its folder and its record."""

    path: Path
    record: ArtifactRecord

    @classmethod
    def open(cls, path: Path | str) -> Artifact:
        """Read a finished artifact.

        Raises:
            StoreError: no such folder, not an artifact, unfinished, or an unreadable record.
        """
        folder = Path(path)
        if is_file(folder):
            raise StoreError(f"{folder}: is a file; expected an artifact folder")
        if not is_folder(folder):
            raise StoreError(f"{folder}: no such artifact folder")
        if not is_artifact(folder):
            raise StoreError(
                f"{folder}: has no {RECORD}, so it is unfinished or not an artifact; "
                "run the command that makes it again, it goes on where it stopped"
            )
        try:
            said = json.loads((folder / RECORD).read_bytes())
            return cls(path=folder, record=ArtifactRecord.model_validate(said))
        except OSError as error:
            raise StoreError(f"{folder / RECORD}: cannot be read ({error.strerror})") from None
        except (ValueError, RecursionError) as error:
            raise StoreError(
                f"{folder / RECORD}: not a record of this version of tutelage: {brief(error)}; remove {folder} to "
                "have it made again, or use the tutelage that made it"
            ) from None

    def rows(self, name: str, kind: type[AnyRecord]) -> list[AnyRecord]:
        """Read the rows of one of the artifact's files."""
        return read_rows(self.file(name), kind)

    def each(self, name: str, kind: type[AnyRecord]) -> Iterator[AnyRecord]:
        """Yield the rows of one of the artifact's files, a row at a time."""
        return each_row(self.file(name), kind)

    def file(self, name: str) -> Path:
        """Return the path of one of the artifact's files, which must be there."""
        if not (self.path / name).is_file():
            there = ", ".join(sorted(p.name for p in self.path.glob("*.jsonl"))) or "no rows"
            raise StoreError(
                f"{self.path}: this {self.record.stage} artifact has no {name} (it has: {there}); check the input"
            )
        return self.path / name


def is_artifact(path: Path | str) -> bool:
    """True if `path` is a folder with a record."""
    return is_file(Path(path) / RECORD)


def folder_of(root: Path, stage: str) -> Path:
    """Return the folder that holds the artifacts of `stage`."""
    return root / (f"0-{stage}" if stage in BEFORE_THE_ROAD else f"{STAGES.index(stage) + 1}-{stage}")


def all_artifacts(root: Path, *stages: str) -> Iterator[Artifact]:
    """Yield the finished artifacts of `stages` (all, if none is named) in the order of the road, older first.

    A folder whose record cannot be read (of another version, edited by hand) is left out.
    """
    for stage in stages or (*BEFORE_THE_ROAD, *STAGES):
        folder = folder_of(root, stage)
        found = []
        for path in sorted(folder.iterdir()) if is_folder(folder) else []:
            with contextlib.suppress(StoreError):
                found.append(Artifact.open(path))
        yield from sorted(found, key=lambda a: a.record.finished_at)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return `tree` as one level with dotted names."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Say in words which settings or inputs differ: `loss.beta 0.1 -> 0.05`."""
    said = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if before != after:
            content = key.endswith((".content", ".artifact"))
            differ = f"{key} {_short(before)} -> {_short(after)}"
            said.append(f"{key.rpartition('.')[0]} changed" if content else differ)
    return list(dict.fromkeys(said))


def _short(value: Any) -> str:
    """A setting in a line of narration: long texts cut, line breaks and control characters as escapes."""
    text = visible(str(value))
    return text if len(text) <= 60 else text[:59] + "…"


# ---- work -------------------------------------------------------------------------------------------


class Work:
    """An artifact being made: its folder, its counts, and the last step that makes it finished."""

    def __init__(self, root: Path, stage: str, label: str, identity: dict[str, Any]) -> None:
        self.root, self.stage, self.label = root, stage, label
        self.identity = {"stage": stage, **identity}
        self.fingerprint = digest(self.identity, 64)
        self.folder = folder_of(root, stage)
        self.path = self._find() or self.folder / f"{label}-{self.fingerprint[:8]}"
        self._temporary: list[Path] = []
        self.counts: dict[str, int] = {}
        self.started = time.monotonic()

    def _find(self) -> Path | None:
        """A folder of this fingerprint, whatever its label: finished ones first, then unfinished ones."""
        found = sorted(self.folder.glob(f"*-{self.fingerprint[:8]}"), key=lambda p: (not is_artifact(p), p.name))
        return found[0] if found else None

    def finished(self) -> Artifact | None:
        """Return the artifact if it is already there."""
        if not is_artifact(self.path):
            return None
        artifact = Artifact.open(self.path)
        if artifact.record.fingerprint != self.fingerprint:
            raise StoreError(
                f"{self.path}: holds an artifact of other settings whose fingerprint begins alike; move it away"
            )
        return artifact

    def why(self) -> str:
        """Say why the stage has to run: new, to be continued, or what changed since the last one."""
        with disk_errors(self.folder):
            if is_folder(self.path) and any(p.name != ".lock" for p in self.path.iterdir()):
                return "goes on where it stopped"
            last = [a for a in all_artifacts(self.root, self.stage) if a.record.label == self.label][-1:]
        said = changes(last[0].record.identity, self.identity) if last else []
        return "; ".join(said[:6]) if said else "new"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process.

        Raises:
            StoreError: another process is making the same artifact.
        """
        name = self.path / ".lock"
        with disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = name.open("w")
        with lock:
            with disk_errors(name):
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    ours = name.exists() and os.path.samestat(name.stat(), os.fstat(lock.fileno()))
                except BlockingIOError:
                    ours = False
            if not ours:  # held by another process, or removed by one that finished in between
                raise StoreError(
                    f"{self.path}: another process is making this artifact now; wait for it, "
                    "then run the command again"
                )
            try:
                yield
            finally:
                if os.listdir(self.path) == [".lock"]:  # noqa: PTH208 - nothing was made: leave nothing behind
                    name.unlink()
                    self.path.rmdir()

    def count(self, what: str, num: int) -> None:
        """Record how many of something there were: rows made, skipped, and why."""
        self.counts[what] = self.counts.get(what, 0) + num

    def remove_when_finished(self, path: Path) -> None:
        """Keep a file or folder only for going on after a crash: it goes once `record.json` is there."""
        self._temporary.append(path)

    def write(self, name: str, rows: Iterable[Record]) -> None:
        """Write a file of rows, whole or not at all."""
        write_atomically(self.path / name, dumped(rows))

    def _content(self) -> str:
        """The hash of what was made: rows and weights, without timings."""
        apart = {RECORD, f"{RECORD}.tmp", ".lock", *ASIDE, *(path.name for path in self._temporary)}
        files = (p for p in self.path.rglob("*") if p.is_file() and p.name not in apart)
        made = sorted(p for p in files if p.relative_to(self.path).parts[0] not in apart)
        return digest([[str(p.relative_to(self.path)), file_hash(p)] for p in made], 64)

    def finish(self, config: dict[str, Any], inputs: dict[str, InputRecord], made: Made) -> Artifact:
        """Write `record.json`, which makes the folder an artifact."""
        record = ArtifactRecord(
            stage=self.stage,
            label=self.label,
            fingerprint=self.fingerprint,
            content=self._content(),
            identity=self.identity,
            inputs=inputs,
            config=config,
            counts=self.counts,
            code=code_versions(),
            finished_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            seconds=round(time.monotonic() - self.started, 3),
            **{name: getattr(made, name) for name in Made.model_fields},
        )
        write_atomically(self.path / RECORD, dump_json(record.model_dump(mode="json"), indent=2) + "\n")
        for path in (*self._temporary, self.path / ".lock"):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return Artifact(path=self.path, record=record)


class Made(Record):
    """What a stage's body hands back for the record."""

    summary: dict[str, Any] = Field(default_factory=dict)
    usage: Usage = Usage()
    bill: Bill | None = None
    checkpoint: Checkpoint | None = None
    win_rate: WinRate | None = None


def code_versions() -> dict[str, str]:
    """Return the versions of this package, Python and the libraries that shape a result."""
    versions = {"tutelage": __version__, "python": platform.python_version()}
    for package in ("torch", "transformers", "tokenizers"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions
