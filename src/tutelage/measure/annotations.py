"""Verdicts in the form of alpaca_eval's annotations.json: read, written, and made from ours.

Two kinds of files are in use: AlpacaEval 1 stores whole preferences (1 or 2), AlpacaEval 2 a preference
anywhere between, which is 1 + the judge's probability that output_2 is the better one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tutelage.data.alpaca_eval import preference_field, text_field
from tutelage.data.sources import read_objects
from tutelage.disk import disk_errors, dump_json, is_folder, write_atomically
from tutelage.errors import DataError
from tutelage.records import Prompt, Verdict

ANNOTATIONS = "annotations.json"
"""What the file is called in an artifact of evaluate."""
UNKNOWN = "unknown"
"""Who is named where a file names nobody."""
_PREFERENCE = {"LEFT": 2.0, "RIGHT": 1.0, "TIE": 1.5, "INVALID": None}
_RAW_FIELDS = ("raw_completion", "_raw_completion")


@dataclass(frozen=True)
class Annotation:
    """One row: what a judge said of the baseline's completion (output_1) and the policy's (output_2)."""

    instruction: str
    output_1: str
    output_2: str
    generator_1: str
    generator_2: str
    annotator: str
    dataset: str | None
    preference: float | None
    """In [1, 2]: 1 is a win of the baseline, 2 of the policy, 1.5 a tie. None: the judge gave none."""
    raw: Any = field(default=None, hash=False, repr=False)
    """What the judge replied, as the file holds it."""

    @property
    def score(self) -> float | None:
        """The policy's win (1, 0, or .5), or the probability of it; None if there is no preference."""
        return None if self.preference is None else self.preference - 1


def read_annotations(path: Path) -> list[Annotation]:
    """Read the rows of a .json or .jsonl file, .gz too, in the file's order; fields it does not know are left.

    A folder is taken for an artifact of evaluate.

    Raises:
        DataError: the file is damaged, a text is missing, no row has a preference field, or a preference is
            none of these: a number in [1, 2], 0 (alpaca_eval's older tie), and null, NaN or -1 (missing).
    """
    annotations = []
    fields: set[str] = set()
    path = path / ANNOTATIONS if is_folder(str(path)) else path
    for where, row in read_objects(path):
        fields |= row.keys()
        annotations.append(
            Annotation(
                instruction=text_field(where, row, "instruction"),
                output_1=text_field(where, row, "output_1"),
                output_2=text_field(where, row, "output_2"),
                generator_1=_name(where, row, "generator_1") or UNKNOWN,
                generator_2=_name(where, row, "generator_2") or UNKNOWN,
                annotator=_name(where, row, "annotator") or UNKNOWN,
                dataset=_name(where, row, "dataset"),
                preference=preference_field(where, row),
                raw=next((row[name] for name in _RAW_FIELDS if row.get(name) is not None), None),
            )
        )
    if not annotations:
        raise DataError(f"{path}: holds no rows; expected alpaca_eval's annotations")
    if "preference" not in fields:
        raise DataError(
            f"{path}: no row has a field 'preference' (found: {', '.join(sorted(fields))[:200]}); "
            "expected the annotations.json that alpaca_eval or tutelage evaluate writes"
        )
    return annotations


def _name(where: str, row: Mapping[str, Any], name: str) -> str | None:
    value = row.get(name)
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, str):
        raise DataError(f"{where}: {name!r} is no name but {str(value)[:60]!r}")
    return value


def annotations_of(
    verdicts: Iterable[Verdict],
    prompts_by_id: Mapping[str, Prompt],
    baseline_name: str,
    policy_name: str,
    dataset_of: Callable[[str], str | None],
) -> list[Annotation]:
    """Return a row for each verdict whose left completion is the policy's and whose right one the baseline's.

    A verdict with a probability gives 1 + that probability. `dataset_of` says which dataset an instruction
    comes from.
    """
    annotations = []
    for verdict in verdicts:
        instruction = prompts_by_id[verdict.pair.prompt_id].text
        preference = _PREFERENCE[verdict.outcome]
        if preference is not None and verdict.probability is not None:
            preference = 1 + verdict.probability
        annotations.append(
            Annotation(
                instruction=instruction,
                output_1=verdict.pair.right.text,
                output_2=verdict.pair.left.text,
                generator_1=baseline_name,
                generator_2=policy_name,
                annotator=verdict.critic,
                dataset=dataset_of(instruction),
                preference=preference,
                raw=list(verdict.replies),
            )
        )
    return annotations


def write_annotations(path: Path, annotations: Sequence[Annotation]) -> None:
    """Write the rows as a JSON list with alpaca_eval's field names; the file is there whole or not at all."""
    rows = [
        {
            "instruction": a.instruction,
            "output_1": a.output_1,
            "generator_1": a.generator_1,
            "dataset": a.dataset,
            "output_2": a.output_2,
            "generator_2": a.generator_2,
            "annotator": a.annotator,
            "preference": a.preference,
            **({} if a.raw is None else {"raw_completion": a.raw}),
        }
        for a in annotations
    ]
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, dump_json(rows, indent=2) + "\n")
