"""Small artifacts for tests: rows in files, and a record that says they are finished."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tutelage.records import Completion, Outcome, Pair, Preference, Prompt, Record, Verdict
from tutelage.store import Artifact, Made, Work


def artifact(root: Path, stage: str, **files: Sequence[Record]) -> Artifact:
    """Finish an artifact of `stage` that holds `prompts=[...]` in prompts.jsonl, and so on."""
    work = Work(root / "artifacts", stage, "run", {"of": sorted(files)})
    with work.locked():
        for name, rows in files.items():
            work.write(f"{name}.jsonl", rows)
        return work.finish({}, {}, Made())


def said(prompt: Prompt, text: str, author: str = "me", **fields: object) -> Completion:
    """A completion of `prompt`."""
    return Completion.model_validate({"prompt_id": prompt.id, "author": author, "text": text} | fields)


def verdict(left: Completion, right: Completion, outcome: Outcome = "LEFT", critic: str = "critic") -> Verdict:
    """What a critic said of two completions."""
    pair = Pair(left=left, right=right)
    return Verdict(pair=pair, orders=("left_first",), outcome=outcome, critic=critic, replies=(outcome,))


def preference(chosen: Completion, rejected: Completion) -> Preference:
    """What one verdict came to."""
    made = verdict(chosen, rejected)
    return Preference(prompt_id=chosen.prompt_id, chosen=chosen, rejected=rejected, verdict_ids=(made.id,))
