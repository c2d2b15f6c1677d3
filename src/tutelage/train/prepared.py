"""Encoded examples in memory-mapped files: made once, found again by what they are made of, held by the disk.

artifacts/prepared/<hash>/
    tokens.bin      prompt, chosen, rejected of one row after the other; two bytes a token, or four
    rows.bin        a record of fixed size per row: where its tokens begin, lengths, ids, weight
    silent.bin      parts of completions without loss, of the rows that have any
    prepared.json   what it was made of, and everything that was skipped or cut; written last
"""

from __future__ import annotations

import copy
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Generic, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from tutelage.config import Tree
from tutelage.disk import disk_errors, write_atomically
from tutelage.progress import say
from tutelage.records import digest
from tutelage.store import code_versions
from tutelage.train import parallel
from tutelage.train.columns import Columns, Name
from tutelage.train.encode import Encoder, Example
from tutelage.train.examples import Count
from tutelage.train.pairs import PairExample

PREPARED = "prepared"
"""Folder of encoded rows, beside the artifacts."""
FORMAT = 1
"""Another number where other code makes other tokens, or writes them otherwise."""
TOKENS, ROWS, SILENT, SAID = "tokens.bin", "rows.bin", "silent.bin", "prepared.json"
_LOCK = ".lock"
_BUFFER = 1 << 20
_ID = 16

P = TypeVar("P", Example, PairExample)


def row_type(branches: int) -> np.dtype[Any]:
    """Return what rows.bin holds of a row with so many completions."""
    return np.dtype(
        [
            ("id", f"S{_ID}"),
            ("prompt_id", f"S{_ID}"),
            ("group", f"S{_ID}"),
            ("ids", f"S{_ID}", (branches,)),
            ("weight", "<f8"),
            ("start", "<i8"),
            ("first_silent", "<i8"),
            ("lengths", "<i4", (1 + branches,)),  # of the prompt, and of each completion
            ("num_labels", "<i4", (branches,)),
            ("num_silent", "<i4", (branches,)),
        ]
    )


class Prepared(Sequence[P], Columns, Generic[P]):
    """Rows of prepared files, each built when it is asked for; `places` says which of them, in which order.

    Raises:
        OSError, ValueError, KeyError, TypeError: the files are not there, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        said: dict[str, Any] = json.loads((path / SAID).read_text("utf-8"))
        self.branches: int = said["branches"]
        self.counts: dict[str, int] = said["counts"]
        self._hash: str = said["hash"]
        self._rows = _mapped(path / ROWS, row_type(self.branches), said["rows"])
        self._tokens = _mapped(path / TOKENS, np.dtype(said["token"]), said["tokens"])
        self._silent = _mapped(path / SILENT, np.dtype(("<i4", (2,))), said["silent"])
        self.places: NDArray[np.int64] = np.arange(len(self._rows))
        self._references: NDArray[np.float64] | None = None

    def take(self, which: NDArray[np.int64]) -> Prepared[P]:
        """Return some of these rows, in the order of `which`; nothing is copied but their places."""
        taken = copy.copy(self)
        taken.places = self.places[which]
        return taken

    def together(self, other: Prepared[P]) -> Prepared[P]:
        """Return the rows of both, each once, in the order of the files."""
        joined = copy.copy(self)
        joined.places = np.union1d(self.places, other.places)
        return joined

    def with_references(self, of: Prepared[P], values: NDArray[np.float64]) -> Prepared[P]:
        """Return these rows with what the reference says of the rows `of`, which all of these are among, (N, 2)."""
        told = copy.copy(self)
        told._references = np.full((len(self._rows), 2), np.nan)
        told._references[of.places] = values
        return told

    def column(self, name: Name | Literal["group"]) -> NDArray[Any]:
        """Return what rows.bin holds of each of these rows under `name`; their tokens are not read."""
        if name == "num_tokens":
            return self.column("lengths").sum(1)  # type: ignore[no-any-return]
        found: NDArray[Any] = self._rows[name][self.places]
        return found

    @property
    def content(self) -> str:
        """The hash of all tokens of these rows."""
        places = hashlib.sha256(self.places.astype("<i8").tobytes())
        return digest([self._hash, places.hexdigest()], 64)

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> P: ...

    @overload
    def __getitem__(self, index: slice) -> Prepared[P]: ...

    def __getitem__(self, index: int | slice) -> P | Prepared[P]:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        place = int(self.places[index])
        row = self._rows[place]
        start, spans = int(row["start"]), int(row["first_silent"])
        prompt_id, parts = row["prompt_id"].decode(), []
        for length in row["lengths"].tolist():
            parts.append(tuple(self._tokens[start : start + length].tolist()))
            start += length
        sides = []
        for name, ids, num in zip(row["ids"], parts[1:], row["num_silent"].tolist(), strict=True):
            silent = tuple((a, b) for a, b in self._silent[spans : spans + num].tolist()) if num else ()
            sides.append(Example(name.decode(), prompt_id, parts[0], ids, silent))
            spans += num
        if self.branches == 1:
            return sides[0]  # type: ignore[return-value]
        chosen, rejected = sides
        reference = (0.0, 0.0) if self._references is None else self._references[place].tolist()
        return PairExample(row["id"].decode(), chosen, rejected, float(row["weight"]), *reference)  # type: ignore[return-value]


def _mapped(path: Path, kind: np.dtype[Any], num: int) -> Any:
    """Map a file of `num` records; a file without any cannot be mapped.

    Raises:
        ValueError: the file has another size.
    """
    if path.stat().st_size != num * kind.itemsize:
        raise ValueError(f"{path} has {path.stat().st_size} bytes, expected {num * kind.itemsize}")
    base, shape = (kind.base, (num, *kind.shape))
    return np.memmap(path, base, "r", shape=shape) if num else np.zeros(shape, base)


def prepare(
    folder: Path,
    ingredients: Tree,
    encoder: Encoder,
    encoded: Callable[[Count], Iterable[tuple[str, P]]],
    branches: int,
    count: Count,
) -> Prepared[P]:
    """Return what `encoded` yields, from `folder` if it is there, else put there; count what was skipped and cut.

    Of several processes the first does it, and all map the same files.

    Args:
        ingredients: everything the rows depend on but the tokenizer: their text, and how it is cut.
        encoded: yields the group of each row's prompt, and the row; called only if the rows are not there.
        branches: completions of a row.

    Raises:
        TutelageError: whatever `encoded` raises.
        StoreError: the disk is full.
    """
    made_of = {"rows": ingredients, "encoder": identity_of(encoder), "format": FORMAT}
    path = folder / digest(made_of, 32)

    def first(still_at_it: Callable[[], None]) -> None:
        if _opened(path) is not None:
            say(f"  prepared rows: taken from {path}")
            return
        with disk_errors(path), _locked(path, still_at_it) as temporary:
            if temporary is not None:
                _write(temporary, encoded, branches, _token_type(encoder), made_of, still_at_it)
                shutil.rmtree(path, ignore_errors=True)
                temporary.rename(path)

    parallel.done_by_first(first)
    found: Prepared[P] = Prepared(path)
    for what, num in found.counts.items():
        count(what, num)
    return found


def identity_of(encoder: Encoder) -> Tree:
    """Return what tokens depend on beside the text: tokenizer, chat template, and the code that applies them."""
    tokenizer = encoder.tokenizer
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        words = sorted(tokenizer.get_vocab().items())
    else:  # every call sets anew what it pads and cuts
        said = json.loads(backend.to_str())
        words = sorted((name, value) for name, value in said.items() if name not in ("padding", "truncation"))
    probe = [{"role": "user", "content": "question"}]
    code = code_versions()
    return {
        "tokenizer": [type(tokenizer).__name__, digest(words, 64)],
        "special": digest([{k: str(v) for k, v in tokenizer.special_tokens_map.items()}, encoder.end_id], 64),
        "template": digest(tokenizer.chat_template, 64),
        # a template may write what is not in it, such as a date
        "written": tokenizer.apply_chat_template(probe, tokenize=False, add_generation_prompt=True),
        "code": {name: code[name] for name in ("tutelage", "transformers", "tokenizers") if name in code},
    }


def _token_type(encoder: Encoder) -> str:
    return "<u2" if max(encoder.tokenizer.get_vocab().values()) < 1 << 16 else "<u4"


def _opened(path: Path) -> Prepared[Any] | None:
    """Return what is there; None: nothing, or what a damaged disk or a curious hand left."""
    try:
        return Prepared(path)
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _locked(path: Path, still_at_it: Callable[[], None]) -> Iterator[Path | None]:
    """Lend an empty folder beside `path` to write to; None: another process has made `path` meanwhile.

    The lock lies in the folder that becomes `path`, so a kill lets go of it, and it is in nobody's way.
    """
    temporary, said = path.with_name(path.name + ".tmp"), False
    while _opened(path) is None:
        temporary.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            if _is_ours(stack, temporary / _LOCK):
                if _opened(path) is not None:  # made between our look and our lock
                    shutil.rmtree(temporary, ignore_errors=True)
                    break
                for left in temporary.iterdir():
                    if left.name != _LOCK:
                        left.unlink()
                try:
                    yield temporary
                except BaseException:
                    shutil.rmtree(temporary, ignore_errors=True)
                    raise
                return
        if not said:
            say(f"  another process is preparing these rows; waiting for {path}")
            said = True
        still_at_it()
        time.sleep(0.5)
    yield None


def _is_ours(stack: ExitStack, name: Path) -> bool:
    """Take the lock, until `stack` ends; False: another has it, or has just moved its folder to where it belongs."""
    try:
        lock = stack.enter_context(name.open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(name.stat(), os.fstat(lock.fileno()))
    except (BlockingIOError, FileNotFoundError):
        return False


class _Files:
    """The files being written."""

    def __init__(self, folder: Path, stack: ExitStack, branches: int, token: str) -> None:
        self.tokens, self.rows, self.silent = (
            stack.enter_context((folder / name).open("wb", buffering=_BUFFER)) for name in (TOKENS, ROWS, SILENT)
        )
        self.kind, self.token = row_type(branches), np.dtype(token)
        self.num_rows = self.num_tokens = self.num_silent = 0
        self.hash = hashlib.sha256()

    def add(self, group: str, item: Example | PairExample) -> None:
        sides = item.branches
        parts = [sides[0].prompt_ids, *(side.completion_ids for side in sides)]
        lengths = [len(part) for part in parts]
        ids = np.fromiter((i for part in parts for i in part), self.token, sum(lengths)).tobytes()
        spans = [span for side in sides for span in side.silent]
        row = np.zeros((), self.kind)
        names = (item.id, item.prompt_id, group, *(side.id for side in sides))
        assert max(map(len, names)) <= _ID, "ids are hashes of 16 digits"
        row["id"], row["prompt_id"], row["group"] = names[:3]
        row["ids"] = names[3:]
        row["weight"] = getattr(item, "weight", 1.0)
        row["start"], row["first_silent"], row["lengths"] = self.num_tokens, self.num_silent, lengths
        row["num_labels"] = [side.num_labels for side in sides]
        row["num_silent"] = [len(side.silent) for side in sides]
        self.tokens.write(ids)
        self.rows.write(row.tobytes())
        silent = np.array(spans, "<i4").tobytes()
        self.silent.write(silent)
        self.hash.update(row["lengths"].tobytes() + ids + silent)
        self.num_rows, self.num_tokens = self.num_rows + 1, self.num_tokens + sum(lengths)
        self.num_silent += len(spans)

    def synced(self) -> None:
        for file in (self.tokens, self.rows, self.silent):
            _sync(file)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _write(
    folder: Path,
    encoded: Callable[[Count], Iterable[tuple[str, P]]],
    branches: int,
    token: str,
    made_of: Tree,
    still_at_it: Callable[[], None],
) -> None:
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        files = _Files(folder, stack, branches, token)
        stack.enter_context(_all_cores())
        for group, item in encoded(lambda what, num: counts.update({what: num})):
            files.add(group, item)
            still_at_it()
        files.synced()
    said = {
        "rows": files.num_rows,
        "branches": branches,
        "tokens": files.num_tokens,
        "token": token,
        "silent": files.num_silent,
        "hash": files.hash.hexdigest(),
        "counts": counts,
        "made_of": made_of,
    }
    write_atomically(folder / SAID, json.dumps(said, indent=2) + "\n")


@contextmanager
def _all_cores() -> Iterator[None]:
    """Let the tokenizer use all cores meanwhile: one process encodes, and the others wait."""
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "true"
    try:
        yield
    finally:
        os.environ.pop(name) if before is None else os.environ.update({name: before})
