"""Files of rows from elsewhere -> records. Damage is an error that names the line; unusable rows are counted."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tutelage.errors import DataError
from tutelage.inputs import Prompts, Rows
from tutelage.records import Completion, Message, Prompt

Count = Callable[[str, int], None]
PROMPTS, COMPLETIONS = "prompts.jsonl", "completions.jsonl"
_PROMPT_FIELDS = ("prompt", "instruction", "messages")
_COMPLETION_FIELDS = ("completion", "output")
_AUTHOR_FIELDS = ("author", "generator")


def read_objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (where, object) for each row of a .jsonl or .json file, .gz too.

    Raises:
        DataError: missing, empty, not UTF-8 (names the line), not JSON (names the line), or not objects.
    """
    text = _read(path)
    if not text.strip():
        raise DataError(f"{path}: is empty; expected one JSON object a line")
    if path.name.removesuffix(".gz").endswith(".json"):
        yield from _json_list(path, text)
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{where}: not JSON ({error}); expected one JSON object a line") from None
            yield where, _object(where, row)


def _json_list(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {error.lineno}: not JSON ({error.msg}); "
            "expected a list of objects, or one object a line in a file named .jsonl"
        ) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or too many brackets
        raise DataError(f"{path}: not JSON that can be read ({error})") from None
    if not isinstance(rows, list):
        raise DataError(f"{path}: expected a JSON list of objects, found a {type(rows).__name__}")
    for number, row in enumerate(rows, 1):
        yield f"{path}, row {number}", _object(f"{path}, row {number}", row)


def _object(where: str, row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected an object such as {{'prompt': ...}}, found {str(row)[:60]!r}")
    return row


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a whole gzip file ({error})") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({getattr(error, 'strerror', error)})") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: not UTF-8 (byte {error.start}); convert the file first") from None


def _field(where: str, row: dict[str, Any], name: str | None, names: tuple[str, ...], setting: str) -> Any:
    """Return the value of field `name`, or of the first of `names` that the row has."""
    for candidate in (name,) if name else names:
        if candidate in row:
            return row[candidate]
    wanted = repr(name) if name else " or ".join(map(repr, names))
    found = ", ".join(row)[:200] or "none"
    raise DataError(f"{where}: no field {wanted} (found: {found}); name the right one, for example {setting}=NAME")


def _refuse_alpaca_input(where: str, row: dict[str, Any], name: str | None) -> None:
    """Refuse to guess at Alpaca's rows, whose prompt is in two fields: half a prompt trains the wrong thing."""
    if name is None and "prompt" not in row and "instruction" in row and row.get("input"):
        raise DataError(
            f"{where}: has an 'input' beside its 'instruction'; join the two into one field, or give "
            "prompt_field=instruction to leave the input out"
        )


def prompt_of(where: str, row: dict[str, Any], rows: Prompts, setting: str) -> Prompt | str:
    """Return the prompt, or the reason why the row is no usable one."""
    _refuse_alpaca_input(where, row, rows.prompt_field)
    value = _field(where, row, rows.prompt_field, _PROMPT_FIELDS, setting)
    if isinstance(value, str):
        messages: tuple[Message, ...] = (Message(role="user", content=value),)
    else:
        try:
            messages = tuple(Message.model_validate(m) for m in value)
        except (ValidationError, TypeError):
            raise DataError(
                f"{where}: a prompt is a text or a list of {{'role', 'content'}} messages, found {str(value)[:80]!r}"
            ) from None
    try:
        return Prompt(messages=messages, source=Path(rows.path).name)
    except ValidationError as error:
        return str(error.errors()[0]["msg"]).removeprefix("Value error, ")


def read_prompts(rows: Prompts, count: Count) -> list[Prompt]:
    """Read the prompts of an artifact or a file, each once, in the file's order.

    Skips and counts duplicates, blank prompts, and conversations that begin or end with the assistant.

    Raises:
        DataError: the file is damaged, a row lacks the field, or no usable prompt is left.
    """
    made = rows.artifact()
    if made is not None:
        return made.rows(PROMPTS, Prompt)
    prompts: dict[str, Prompt] = {}
    for where, row in read_objects(Path(rows.path)):
        prompt = prompt_of(where, row, rows, "prompts.prompt_field")
        if isinstance(prompt, str):
            count(f"skipped: {prompt}", 1)
        elif prompt.id in prompts:
            count("skipped: the same prompt again", 1)
        else:
            prompts[prompt.id] = prompt
    if not prompts:
        raise DataError(f"{rows.path}: holds no usable prompt")
    return list(prompts.values())


def read_completions(
    rows: Rows, author: str | None, count: Count, keep_empty: bool = False
) -> tuple[list[Prompt], list[Completion]]:
    """Read prompts with their completions from an artifact or a file (also alpaca_eval's model_outputs.json).

    Several completions of one prompt by one author get the indices 0, 1, ... Skips and counts what
    `read_prompts` skips, and empty completions unless `keep_empty`: nothing can be learnt from one, but a policy
    that says nothing is judged by that.

    Raises:
        DataError: as `read_prompts`; no author given and none in the rows.
    """
    made = rows.artifact()
    if made is not None:
        return made.rows(PROMPTS, Prompt), made.rows(COMPLETIONS, Completion)
    prompts: dict[str, Prompt] = {}
    completions: dict[tuple[str, str], list[Completion]] = {}
    for where, row in read_objects(Path(rows.path)):
        prompt = prompt_of(where, row, rows, "completions.prompt_field")
        text = _field(where, row, rows.completion_field, _COMPLETION_FIELDS, "completions.completion_field")
        by = author or next((str(row[f]) for f in _AUTHOR_FIELDS if row.get(f)), None)
        if by is None:
            raise DataError(f"{where}: nothing says who wrote the completion; give author=NAME")
        if not isinstance(text, str):
            raise DataError(f"{where}: the completion is no text but {str(text)[:60]!r}")
        if isinstance(prompt, str):
            count(f"skipped: {prompt}", 1)
        elif not (keep_empty or text.strip()):
            count("skipped: the completion is empty", 1)
        else:
            prompts.setdefault(prompt.id, prompt)
            same = completions.setdefault((prompt.id, by), [])
            if any(c.text == text for c in same):
                count("skipped: the same prompt and completion again", 1)
            else:
                same.append(Completion(prompt_id=prompt.id, author=by, text=text, index=len(same)))
    if not prompts:
        raise DataError(f"{rows.path}: holds no usable completion")
    return list(prompts.values()), [c for group in completions.values() for c in group]
