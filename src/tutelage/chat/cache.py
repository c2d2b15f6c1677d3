"""`tutelage cache`: what the kept replies are and cost, the same as rows for others, and which may go."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import Field

from tutelage.chat.providers import NotAReplyError, load_json, read_usage
from tutelage.config import Folder, Group
from tutelage.disk import disk_errors, is_file, visible
from tutelage.errors import ConfigError, StoreError
from tutelage.records import Usage

REPLIES = "replies.jsonl"
_DAY_SECONDS = 86_400


class Stats(Group):
    """Which replies are kept."""

    artifacts: Folder = Field(Path("artifacts"), description="folder that holds all artifacts, and the replies")


class Export(Stats):
    """Write requests and replies as JSON lines."""

    out: Path = Field(description="file to write; it must not be there yet")
    model: str | None = Field(None, description="only those of this model")


class Prune(Stats):
    """Remove replies; without a choice, only what cannot be read."""

    model: str | None = Field(None, description="those of this model (and as old as said, if that is said too)")
    older_than_days: float | None = Field(
        None, ge=0, description="those that are older", json_schema_extra={"unit": "days"}
    )
    dry_run: bool = Field(False, description="true: only say what would go")


@dataclass
class _OfModel:
    """What is kept of one model."""

    replies: int = 0
    in_batches: int = 0
    unreadable: int = 0
    usage: Usage = field(default_factory=Usage)


def stats(config: Stats) -> str:
    """Return a table: per model, the replies and their tokens; then attempts that brought none."""
    path = _journal(config)
    of: dict[str, _OfModel] = {}
    ends: dict[str, set[str]] = {"sent": set(), "reply": set(), "failed": set(), "lost": set()}
    num_torn, first, last = 0, time.time(), 0.0
    for row in _rows(path):
        if row is None:
            num_torn += 1
            continue
        kind = next(iter(row))
        ends[kind].add(row["try"])
        first, last = min(first, row["at"]), max(last, row["at"])
        if kind == "reply":
            _add(of.setdefault(row["model"], _OfModel()), row)
    lines = [f"{path}: {path.stat().st_size / 1e6:,.1f} MB"]
    if last:
        lines[0] += f", from {_day(first)} to {_day(last)}"
    lines.append(f"{'model':<32}{'replies':>10}{'in batches':>12}{'unreadable':>12}{'input':>14}{'output':>14}")
    for model, kept in sorted(of.items()):
        lines.append(
            f"{visible(model):<32}{kept.replies:>10,}{kept.in_batches:>12,}{kept.unreadable:>12,}"
            f"{kept.usage.input_tokens:>14,}{kept.usage.output_tokens:>14,}"
        )
    unanswered = ends["sent"] - ends["reply"] - ends["failed"] - ends["lost"]
    lines.append(
        f"attempts: {len(ends['sent']):,}, of which {len(ends['failed']):,} refused (not billed), "
        f"{len(ends['lost']):,} lost and {len(unanswered):,} cut off with their process (perhaps billed); "
        f"torn lines: {num_torn:,}"
    )
    return "\n".join(lines)


def _add(kept: _OfModel, row: dict[str, Any]) -> None:
    kept.replies += 1
    kept.in_batches += row["batch"] is True
    try:
        kept.usage += read_usage(load_json(row["body"]))
    except NotAReplyError:
        kept.unreadable += 1


def export(config: Export) -> str:
    """Write a row per reply: key, when, who paid, the request as it was sent, the reply as it came."""
    path = _journal(config)
    num = 0
    if config.out.exists():
        raise StoreError(f"{config.out}: is there already; choose another name or remove it")
    temporary = config.out.with_name(config.out.name + ".tmp")
    with disk_errors(config.out), temporary.open("w", encoding="utf-8") as file:
        for row in _rows(path):
            if row is None or "reply" not in row or config.model not in (None, row["model"]):
                continue
            try:
                said = load_json(row["body"])
            except NotAReplyError:
                said = row["body"]
            kept = {name: row[name] for name in ("at", "model", "payer", "batch", "request")}
            file.write(json.dumps({"key": row["reply"], **kept, "reply": said}) + "\n")
            num += 1
        temporary.replace(config.out)
    return f"{config.out}: {num:,} replies"


def prune(config: Prune) -> str:
    """Rewrite the journal without what is to go: whole, or not at all; nobody may be asking meanwhile."""
    path = _journal(config)
    if config.model is None and config.older_than_days is None:
        goes: Callable[[dict[str, Any]], bool] = lambda row: False  # noqa: E731
    else:
        before = time.time() - (config.older_than_days or 0.0) * _DAY_SECONDS
        gone = {r["try"] for r in _rows(path) if r and "reply" in r and config.model in (None, r["model"])}
        goes = lambda row: row["at"] <= before and (config.model is None or row["try"] in gone)  # noqa: E731
    num_kept = num_gone = num_torn = 0
    temporary = path.with_name(path.name + ".tmp")
    with disk_errors(path), _alone(path), temporary.open("wb") as file:
        for line, row in _lines(path):
            if row is None or goes(row):
                num_torn += row is None
                num_gone += row is not None and "reply" in row
                continue
            num_kept += "reply" in row
            file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())
        if config.dry_run:
            temporary.unlink()
        else:
            temporary.replace(path)
    would = "would go" if config.dry_run else "removed"
    return f"{path}: {num_gone:,} replies and {num_torn:,} torn lines {would}, {num_kept:,} replies kept"


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the journal so that nobody appends to it."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # What was opened may have been replaced before it was locked, by another prune.
            is_ours = os.path.samestat(os.fstat(file.fileno()), path.stat())
        except BlockingIOError:
            is_ours = False
        if not is_ours:
            raise StoreError(f"{path}: another process is asking or pruning now; wait for it, then prune")
        yield


def _journal(config: Stats) -> Path:
    path = config.artifacts / REPLIES
    if not is_file(path):
        raise ConfigError(f"{path}: no such file; give artifacts=FOLDER, the folder that teach or label wrote to")
    return path


def _lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """Yield every line that is not blank, and its row if it is whole."""
    with disk_errors(path), path.open("rb") as file:
        yield from _parsed(file)


def _parsed(file: BinaryIO) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    for raw in file:
        line = raw.rstrip(b"\n")
        if not line:
            continue
        try:
            row = json.loads(line)
            whole = isinstance(row, dict) and {"try", "at"} <= row.keys()
        except (ValueError, RecursionError):
            whole = False
        yield line, row if whole else None


def _rows(path: Path) -> Iterator[dict[str, Any] | None]:
    return (row for _, row in _lines(path))


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


ACTIONS: dict[str, tuple[type[Any], Callable[[Any], str]]] = {
    "stats": (Stats, stats),
    "export": (Export, export),
    "prune": (Prune, prune),
}
