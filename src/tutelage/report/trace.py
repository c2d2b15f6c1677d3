"""One prompt followed through every artifact of the road."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from tutelage.disk import brief, visible
from tutelage.errors import DataError, StoreError
from tutelage.records import Completion, Margin, Preference, Prompt, Record, Trained, Verdict
from tutelage.store import MARGINS, TRAINED, Artifact, all_artifacts

AnyRecord = TypeVar("AnyRecord", bound=Record)


def trace(root: Path, prompt_id: str) -> Iterator[str]:
    """Yield lines that show each row about a prompt, in the order of the road.

    `prompt_id` may be the beginning of an id. Control characters are shown as escapes: texts come from
    models and could move the cursor.

    Raises:
        StoreError: there are no artifacts, none mentions the prompt, or several prompts begin so.
        DataError: a row about the prompt is broken.
    """
    artifacts = list(all_artifacts(root))
    full = _full_id(root, artifacts, prompt_id)
    for artifact in artifacts:
        lines = list(_lines_about(artifact.path, full))
        if lines:
            yield visible(str(artifact.path))
            yield from (f"  {line}" for line in lines)


def _full_id(root: Path, artifacts: list[Artifact], beginning: str) -> str:
    found: dict[str, None] = {}
    for artifact in artifacts:
        for row in _rows(artifact.path / "prompts.jsonl", Prompt, f'"{beginning}'):
            if row.id.startswith(beginning):
                found[row.id] = None
    if len(found) == 1:
        return next(iter(found))
    if found:
        shown = ", ".join([*list(found)[:3], *(["..."] if len(found) > 3 else [])])
        raise StoreError(f"{root}: {len(found)} prompts begin with {beginning!r} ({shown}); give more of the id")
    raise StoreError(
        f"{root}: none of {len(artifacts)} artifacts mentions the prompt {beginning!r}; "
        "ids stand in the first field of any prompts.jsonl"
    )


def _lines_about(folder: Path, prompt_id: str) -> Iterator[str]:
    for name, kind, prompt_of, say in _KINDS:
        for row in _rows(folder / name, kind, f'"{prompt_id}"'):
            if prompt_of(row) == prompt_id:
                yield say(row)


def _rows(path: Path, kind: type[AnyRecord], needle: str) -> Iterator[AnyRecord]:
    """Yield the rows whose line holds `needle`; the other lines are not parsed, so long files stay quick."""
    wanted = needle.encode("utf-8", "surrogatepass")
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if wanted in line:
                    try:
                        yield kind.model_validate(json.loads(line))
                    except (ValueError, RecursionError) as error:
                        raise DataError(
                            f"{path}, line {number}: not a valid {kind.__name__}: {brief(error)}"
                        ) from None
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _prompt(prompt: Prompt) -> str:
    return f"prompt {prompt.id}: {_quote(prompt.messages[-1].content)}"


def _completion(completion: Completion) -> str:
    author = visible(completion.author)
    return f"completion {completion.id} by {author} [{completion.stop_reason}]: {_quote(completion.text)}"


def _verdict(verdict: Verdict) -> str:
    asked = zip(verdict.orders, verdict.replies, strict=True)
    replies = ", ".join(f"{order.replace('_', ' ')}: {_quote(reply)}" for order, reply in asked)
    left, right = verdict.pair.left, verdict.pair.right
    return (
        f"verdict {verdict.id} by {visible(verdict.critic)}: {verdict.outcome} of {left.id} and {right.id}; "
        f"shown {replies}"
    )


def _preference(preference: Preference) -> str:
    chosen, rejected = preference.chosen, preference.rejected
    return f"preference {preference.id}: {_quote(chosen.text)} over {_quote(rejected.text)}"


def _trained(row: Trained) -> str:
    return f"trained on {row.id} ({row.num_tokens} tokens)"


def _margin(row: Margin) -> str:
    return f"reward of chosen minus rejected of {row.id}, once trained: {row.margin:+.3f}"


def _quote(text: str, limit: int = 200) -> str:
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return f'"{visible(shown)}"'


_KINDS: tuple[tuple[str, type[Record], Callable[[Any], str], Callable[[Any], str]], ...] = (
    ("prompts.jsonl", Prompt, lambda prompt: prompt.id, _prompt),
    ("completions.jsonl", Completion, lambda completion: completion.prompt_id, _completion),
    ("preferences.jsonl", Preference, lambda preference: preference.prompt_id, _preference),
    ("verdicts.jsonl", Verdict, lambda verdict: verdict.pair.prompt_id, _verdict),
    (TRAINED, Trained, lambda row: row.prompt_id, _trained),
    (MARGINS, Margin, lambda row: row.prompt_id, _margin),
)
"""File, what its rows are, whose prompt a row is about, how it is shown."""
