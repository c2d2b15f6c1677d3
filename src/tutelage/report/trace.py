"""One prompt followed through every artifact of the road."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tutelage.errors import StoreError
from tutelage.store import all_artifacts


def trace(root: Path, prompt_id: str) -> Iterator[str]:
    """Yield lines that show each row about `prompt_id`, in the order of the road.

    Control characters in texts are shown as escapes: they come from models and could move the cursor.

    Raises:
        StoreError: there are no artifacts, or none mentions the prompt.
    """
    found = False
    artifacts = list(all_artifacts(root))
    for artifact in artifacts:
        lines = list(_lines_about(artifact.path, prompt_id))
        if lines:
            found = True
            yield f"{artifact.path}"
            yield from (f"  {line}" for line in lines)
    if not found:
        raise StoreError(
            f"{root}: none of {len(artifacts)} artifacts mentions the prompt {prompt_id!r}; "
            "ids stand in the first field of any prompts.jsonl"
        )


def _lines_about(folder: Path, prompt_id: str) -> Iterator[str]:
    for path in sorted(folder.glob("*.jsonl"), key=lambda p: (p.name != "prompts.jsonl", p.name)):
        if path.name == "metrics.jsonl":
            continue
        with path.open(encoding="utf-8") as file:
            for line in file:
                if f'"{prompt_id}' in line:
                    row = json.loads(line)
                    said = _say(path.stem, row, prompt_id)
                    if said:
                        yield said


def _say(kind: str, row: dict[str, Any], prompt_id: str) -> str | None:
    if kind == "prompts" and row["id"].startswith(prompt_id):
        last = row["messages"][-1]["content"]
        return f"prompt {row['id']}: {_quote(last)}"
    if kind == "completions" and row["prompt_id"].startswith(prompt_id):
        return f"completion {row['id']} by {row['author']} [{row['stop_reason']}]: {_quote(row['text'])}"
    if kind == "verdicts" and row["pair"]["left"]["prompt_id"].startswith(prompt_id):
        pair = row["pair"]
        replies = " | ".join(_quote(reply) for reply in row["replies"])
        return (
            f"verdict {row['id']} by {row['critic']}: {row['outcome']} of "
            f"{pair['left']['id']} and {pair['right']['id']}; it said {replies}"
        )
    if kind == "preferences" and row["prompt_id"].startswith(prompt_id):
        return f"preference {row['id']}: {_quote(row['chosen']['text'])} over {_quote(row['rejected']['text'])}"
    return None


def _quote(text: str, limit: int = 200) -> str:
    shown = text if len(text) <= limit else text[: limit - 1] + "…"
    return json.dumps(shown, ensure_ascii=False).replace("\x7f", "\\u007f")
