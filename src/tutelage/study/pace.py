"""How long a study will take and how many tokens it trains on, as far as finished artifacts tell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

from tutelage.disk import is_file
from tutelage.inputs import Model
from tutelage.records import Trained, digest
from tutelage.stages import dpo, sample, sft, teach
from tutelage.stages.asking import Asking
from tutelage.store import TRAINED, Artifact, ArtifactRecord, all_artifacts, flatten
from tutelage.study.foreseen import Foreseen
from tutelage.study.ground import Ground, endpoint_of
from tutelage.study.tasks import Task

ROWS = 2000
"""Of a file, so many stand for all."""
Kind = tuple[str, ...]
"""What has one pace: a stage and the student's base, or a model that is asked."""


@dataclass
class Seen:
    """What finished artifacts of one kind took."""

    seconds: float = 0.0
    amount: float = 0.0
    """Examples in all epochs, completions drawn, replies; else artifacts."""
    tokens: float = 0.0
    """Trained on, in all epochs."""
    num: int = 0


@dataclass(frozen=True)
class Time:
    """About how long a study will take."""

    seconds: float
    """Of all tasks whose pace is known, one after the other."""
    longest: float
    """Of the longest chain of tasks that wait for each other."""
    unknown: tuple[str, ...]
    """Stages of which nothing is known."""
    num_seen: int
    """Artifacts that it rests on."""


class Pace:
    """What finished artifacts say of the tasks that are left."""

    def __init__(self, ground: Ground, foreseen: Foreseen) -> None:
        self.ground, self.foreseen = ground, foreseen
        self._seen: defaultdict[Kind, Seen] = defaultdict(Seen)
        made = list(all_artifacts(ground.graph.recipe.artifacts))
        by_fingerprint = {artifact.record.fingerprint: artifact.record for artifact in made}
        for artifact in made:
            self._look_at(artifact, by_fingerprint)
        self._amounts: dict[str, float] = {}

    def time(self) -> Time:
        """Return how long the tasks take that are not made."""
        total, ends, unknown, kinds = 0.0, dict[str, float](), dict[str, None](), set[Kind]()
        for task in self.ground.tasks:
            before = max((ends.get(needed.key, 0.0) for _, needed in task.needs.values()), default=0.0)
            seconds: float | None = 0.0
            if not self.ground.is_made(task):
                seen = self._seen.get(kind := _kind_of(task))
                seconds = seen.seconds / seen.amount * self.amount(task) if seen is not None and seen.amount else None
                if seconds is not None:
                    kinds.add(kind)
                elif len(kind) > 1:  # the others only copy rows
                    unknown[task.stage] = None
            total += seconds or 0.0
            ends[task.key] = before + (seconds or 0.0)
        num = sum(self._seen[kind].num for kind in kinds)
        return Time(total, max(ends.values(), default=0.0), tuple(unknown), num)

    def tokens(self, task: Task) -> float | None:
        """Return the tokens that a task of sft or dpo trains on, all epochs; None: nothing is known of it."""
        if self.ground.is_made(task):
            return _tokens_of(self.ground.known[task.key])
        seen = self._seen.get(_kind_of(task))
        return None if seen is None or not seen.amount else seen.tokens / seen.amount * self.amount(task)

    def amount(self, task: Task) -> float:
        """Return how much a task has to do, at most: see `Seen.amount`."""
        if task.key not in self._amounts:
            self._amounts[task.key] = self._amount(task)
        return self._amounts[task.key]

    def _amount(self, task: Task) -> float:
        config = task.config
        if isinstance(config, sft.Config | dpo.Config):
            return self.num_examples(task) * (1 - config.held_out) * config.epochs
        if isinstance(config, sample.Config):
            is_draw = "prompts" not in task.needs or task.needs["prompts"][0] != "train"
            prompts = self.ground.evaluated if is_draw else self.ground.part(config)
            return len(prompts) * config.num_samples
        if endpoint_of(task) is not None:
            return self.foreseen.whole(task).requests
        return 1.0

    def num_examples(self, task: Task) -> float:
        """Return how many examples a task of sft or dpo learns from in each epoch, at most."""
        source = task.needs["preferences" if task.stage == "dpo" else "completions"][1]
        if source.key in self.ground.known:
            counts = self.ground.known[source.key].record.counts
            return counts.get("preferences", counts.get("completions", 0))
        if isinstance(source.config, teach.Config):
            return self.ground.num_taught(source) * source.config.num_completions
        labelled = source.needs["verdicts"][1]
        num = self.foreseen.num_pairs(labelled)
        if task.stage == "dpo":
            return num
        drawn = cast(sample.Config, labelled.needs["completions"][1].config)
        return min(num, len(self.ground.part(drawn)))  # what was chosen, once for each prompt

    def _look_at(self, artifact: Artifact, by_fingerprint: Mapping[str, ArtifactRecord]) -> None:
        record = artifact.record
        kind, amount = _kind_and_amount(record, by_fingerprint)
        if kind is None or not amount:
            return
        seen = self._seen[kind]
        seen.seconds += record.seconds
        seen.amount += amount
        seen.num += 1
        if record.stage in ("sft", "dpo"):
            seen.tokens += _tokens_of(artifact)


def _tokens_of(artifact: Artifact) -> float:
    """Return the tokens that were trained on, all epochs; about, if it was on very many rows."""
    if not is_file(artifact.path / TRAINED):
        return 0.0
    rows = [row.num_tokens for row in islice(artifact.each(TRAINED, Trained), ROWS)]
    return sum(rows) / max(len(rows), 1) * _examples(artifact.record)


def _examples(record: ArtifactRecord) -> float:
    """Return how many examples were trained on, each once for each epoch."""
    what = "preferences" if record.stage == "dpo" else "completions"
    return record.counts.get(what, 0) * float(record.config.get("epochs", 0))


def _kind_of(task: Task) -> Kind:
    endpoint = endpoint_of(task)
    if endpoint is not None:
        mode = task.config.mode if isinstance(task.config, Asking) else ""
        return "asked", endpoint.provider, endpoint.model, mode
    if task.stage in ("sft", "dpo", "sample"):
        return task.stage, _base_of(task)
    return (task.stage,)


def _base_of(task: Task) -> str:
    """Return what a student was before anything was trained: by its content, not by where it lies."""
    given = task.given.get("model")
    if given is None:
        return _base_of(task.needs["model"][1])
    assert isinstance(given, Model)
    return _of_model(flatten({"model": given.identity()}))


def _of_model(identity: Mapping[str, Any]) -> str:
    return digest({key: value for key, value in identity.items() if key.startswith("model.")})


def _kind_and_amount(
    record: ArtifactRecord, by_fingerprint: Mapping[str, ArtifactRecord]
) -> tuple[Kind | None, float]:
    """Return what an artifact is of, and how much it did; None: it tells nothing."""
    of = record.identity
    who = {"teach": "teacher", "label": "critic", "evaluate": "judge"}.get(record.stage)
    if who is not None and of.get(f"{who}.model") is not None:
        if "model" in record.inputs:  # it drew completions too
            return None, 0
        num = record.usage.requests if record.bill is None else record.bill.paid.requests
        return ("asked", of[f"{who}.provider"], of[f"{who}.model"], record.config.get("mode", "live")), num
    if record.stage not in ("sft", "dpo", "sample"):
        return (record.stage,), 1
    first: ArtifactRecord | None = record
    while first is not None and (parent := first.identity.get("model.artifact")) is not None:
        first = by_fingerprint.get(parent)
    if first is None:
        return None, 0
    kind = record.stage, _of_model(first.identity)
    return kind, record.counts.get("completions", 0) if record.stage == "sample" else _examples(record)
