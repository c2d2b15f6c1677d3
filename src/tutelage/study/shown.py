"""Evaluated pairs with their texts, for people to read: the same prompts for every arm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tutelage.data.rows import PROMPTS
from tutelage.disk import placed_rows, row_at
from tutelage.findings import Shown
from tutelage.records import Outcome, Prompt, Verdict, digest
from tutelage.stages.label import VERDICTS
from tutelage.store import Artifact
from tutelage.study.tasks import EVALUATE

OUTCOMES: Mapping[Outcome, str] = {"LEFT": "won", "RIGHT": "lost", "TIE": "tied", "INVALID": "unreadable"}
"""What became of the arm's completion, which is the left one in an evaluation."""


@dataclass(frozen=True)
class _Judged:
    """An evaluation, and at which byte of its verdicts each prompt is: the texts themselves stay on disk."""

    artifact: Artifact
    places: Mapping[str, int]

    @classmethod
    def of(cls, artifact: Artifact) -> _Judged:
        rows = placed_rows(artifact.file(VERDICTS), Verdict)
        return cls(artifact, {verdict.prompt_id: place for place, verdict in rows})

    def verdict(self, prompt_id: str) -> Verdict:
        with self.artifact.file(VERDICTS).open("rb") as file:
            return row_at(file, self.places[prompt_id], Verdict)


def shown(
    num: int, arms: Mapping[str, Mapping[int, Mapping[str, Artifact]]], judge: str, seed: int = 0
) -> list[Shown]:
    """Return `num` pairs as `judge` saw them, prompt by prompt: on each all arms, so that they can be compared.

    Prompts are drawn by a seeded hash, first among those that every run was judged on. An arm's training seeds take
    turns from prompt to prompt. Where the number of arms does not divide `num`, the last prompt has some of them.

    Args:
        arms: the runs of each arm by seed. One without an evaluation by `judge` is left out.
    """
    evaluate = EVALUATE + judge
    judged = {
        name: {key: _Judged.of(run[evaluate]) for key, run in sorted(runs.items()) if evaluate in run}
        for name, runs in arms.items()
        if num
    }
    chosen: list[tuple[str, int, str]] = []
    for turn, prompt_id in enumerate(_drawn(judged, seed)):
        if len(chosen) >= num:
            break
        for name, runs in judged.items():
            on_it = [key for key, each in runs.items() if prompt_id in each.places]
            chosen += [(name, on_it[turn % len(on_it)], prompt_id)] if on_it else []
    chosen = chosen[:num]
    texts = _prompts(judged, chosen)
    return [
        _shown(name, key, judge, texts[prompt_id], judged[name][key].verdict(prompt_id))
        for name, key, prompt_id in chosen
    ]


def _drawn(judged: Mapping[str, Mapping[int, _Judged]], seed: int) -> list[str]:
    """Return all prompts: those of the most runs first, and among these in a drawn order."""
    num_runs: dict[str, int] = {}
    for runs in judged.values():
        for each in runs.values():
            for prompt_id in each.places:
                num_runs[prompt_id] = num_runs.get(prompt_id, 0) + 1
    return sorted(num_runs, key=lambda prompt_id: (-num_runs[prompt_id], digest([seed, "shown", prompt_id])))


def _prompts(judged: Mapping[str, Mapping[int, _Judged]], chosen: list[tuple[str, int, str]]) -> dict[str, Prompt]:
    """Return the prompts that were chosen; a file is read only for what no other one had."""
    wanted, found = {prompt_id for _, _, prompt_id in chosen}, dict[str, Prompt]()
    for name, key, prompt_id in chosen:
        if prompt_id not in found:
            rows = judged[name][key].artifact.each(PROMPTS, Prompt)
            found |= {prompt.id: prompt for prompt in rows if prompt.id in wanted}
    return found


def _shown(arm: str, seed: int, judge: str, prompt: Prompt, verdict: Verdict) -> Shown:
    return Shown(
        arm=arm,
        seed=seed,
        judge=judge,
        prompt_id=prompt.id,
        prompt=prompt.text,
        completion=verdict.pair.left.text,
        baseline=verdict.pair.right.text,
        outcome=OUTCOMES[verdict.outcome],
        replies=tuple(zip(verdict.orders, verdict.replies, strict=True)),
    )
