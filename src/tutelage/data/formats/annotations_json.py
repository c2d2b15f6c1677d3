"""alpaca_eval's annotations.json, in which the research code kept its AI preferences too.

Left is `output_2` (the policy's), right `output_1` (the baseline's). A preference is 1 (output_1 is better), 2
(output_2 is), a number between (1 + the probability that output_2 is), 0 or 1.5 (a tie); null, NaN and -1 are
missing: a reply that could not be parsed, so nobody's win.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tutelage.data.alpaca_eval import preference_field, text_field
from tutelage.data.formats.item import Count, Format, Item, Options, Row, each, judged, name_of
from tutelage.data.formats.plain import read_prompt
from tutelage.data.formats.turns import number_of
from tutelage.errors import DataError
from tutelage.records import Completion, Outcome

_PREFERENCE: dict[Outcome, float | None] = {"LEFT": 2, "RIGHT": 1, "TIE": 1.5, "INVALID": None}


def _read(where: str, row: Row, options: Options) -> Iterator[Item]:
    baseline, policy = (text_field(where, row, f"output_{i}") for i in (1, 2))
    preference = preference_field(where, row)
    gap = _gap(where, row)
    prompt = read_prompt(where, row, options)
    left, right = (
        Completion(prompt_id=prompt.id, author=options.author or name_of(row.get(f"generator_{i}")), text=text)
        for i, text in ((2, policy), (1, baseline))
    )
    outcome: Outcome = "INVALID"
    if preference is not None:
        outcome = "TIE" if preference == 1.5 else "LEFT" if preference > 1.5 else "RIGHT"
    # a whole number is a decision, whose probability nobody has told
    probability = None if preference in (None, 1, 1.5, 2) else preference - 1
    said = "no preference" if preference is None else f"preference {preference}"
    yield judged(prompt, left, right, outcome, name_of(row.get("annotator")), said, probability, gap)


def _gap(where: str, row: Row) -> float | None:
    baseline, policy = (number_of(where, row, f"score_{i}") for i in (1, 2))
    if (baseline is None) != (policy is None):
        raise DataError(f"{where}: has one of score_1 and score_2; give both, or none")
    return None if baseline is None or policy is None else policy - baseline


def _write(items: Iterable[Item], count: Count) -> Iterator[Row]:
    for item in items:
        if item.verdict is None:
            count("not written: prompts and completions without a verdict", 1)
            continue
        if len(item.prompt.messages) > 1:
            count("written as one text: conversations of several turns", 1)
        policy, baseline = item.verdict.pair.left, item.verdict.pair.right
        preference = _PREFERENCE[item.verdict.outcome]
        if preference not in (None, 1.5) and item.verdict.probability is not None:
            preference = 1 + item.verdict.probability
        yield {
            "instruction": item.prompt.text,
            "output_1": baseline.text,
            "generator_1": baseline.author,
            "output_2": policy.text,
            "generator_2": policy.author,
            "annotator": item.verdict.critic,
            "preference": preference,
        }


FORMAT = Format(
    "annotations",
    "alpaca_eval's annotations and the research code's AI preferences: instruction, output_1, output_2, preference",
    ("verdicts",),
    lambda row: {"output_1", "output_2"} <= row.keys(),
    each(_read),
    _write,
    columns=("prompt",),
)
