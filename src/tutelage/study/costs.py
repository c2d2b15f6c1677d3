"""What one training run of an arm took: prompts, dollars, tokens and time, from the records of its artifacts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from tutelage.data.rows import PROMPTS
from tutelage.findings import Cost
from tutelage.records import Prompt, Trained, Usage
from tutelage.store import TRAINED, Artifact
from tutelage.study.design import Way
from tutelage.study.tasks import AGREE, EVALUATE, REST

N = TypeVar("N", int, float)
_TRAINING, _DRAWING = ("sft", "dpo", "best"), ("sample", "draw")


def cost(way: Way, runs: Mapping[int, Mapping[str, Artifact]]) -> Cost:
    """Return what a run of `way` took, the mean over `runs`, of which there is at least one.

    What is counted:

    - taught: prompts in what SFT on the teacher learnt; labelled: prompts that the student completed for
      the critic, two equal completions included: they were used up all the same.
    - dollars: what the rows took, whoever paid, so that a run whose replies were already there costs as much as the
      first one; not what was lost on the way. None where a price is unknown, or for a teacher whose completions come
      from a file that does not say. The judge's are for all judges; asking them about training pairs is no part.
    - tokens: each row that was trained on once for each epoch: its prompt and its completion, of a preference its
      prompt once and both completions. The reference's pass over preferences is not training.
    - seconds: wall time of the run's stages, shared ones included, but for the judges' opinion of training pairs. Of
      a stage that was interrupted it is the last call.
    - device_hours: of training and drawing (samples to label, completions to evaluate), times its processes.
    """
    costs = [_of_run(way, run) for run in runs.values()]
    return Cost(**{name: known_mean(getattr(each, name) for each in costs) for name in Cost.model_fields})


def _of_run(way: Way, run: Mapping[str, Artifact]) -> Cost:
    trained = {name: _rows(run[name]) for name in _TRAINING if name in run}
    labelled = sum(1 for _ in run["sample"].each(PROMPTS, Prompt)) if "sample" in run else 0
    judging = [artifact.record.usage for name, artifact in run.items() if name.startswith(EVALUATE)]
    return Cost(
        taught=trained["sft"][0],
        labelled=labelled,
        teacher_dollars=_teacher_dollars(way, [run[name].record.usage for name in ("teach", REST) if name in run]),
        critic_dollars=run["label"].record.usage.dollars if "label" in run else 0.0,
        judge_dollars=Usage.total(judging).dollars,
        tokens=sum(tokens for _, tokens in trained.values()),
        seconds=sum(a.record.seconds for name, a in run.items() if not name.startswith(AGREE)),
        device_hours=sum(_device_seconds(run[name]) for name in (*_TRAINING, *_DRAWING) if name in run) / 3600,
    )


def _teacher_dollars(way: Way, usages: Sequence[Usage]) -> float | None:
    usage = Usage.total(usages)
    # a file of completions without their usage: somebody paid for them, and nobody says how much
    return None if way.teacher.completions is not None and not usage.requests else usage.dollars


def _rows(trained: Artifact) -> tuple[int, int]:
    """Return on how many prompts an artifact was trained, and on how many tokens in all epochs."""
    prompts, num = set(), 0
    for row in trained.each(TRAINED, Trained):
        prompts.add(row.prompt_id)
        num += row.num_tokens
    epochs: int = trained.record.config["epochs"]
    return len(prompts), epochs * num


def _device_seconds(artifact: Artifact) -> float:
    devices: int = artifact.record.config.get("devices", 1)
    return artifact.record.seconds * devices


def known_sum(values: Iterable[N | None]) -> N | None:
    """Return the sum; None if one of them is unknown."""
    found = list(values)
    known = [value for value in found if value is not None]
    return sum(known) if len(known) == len(found) else None


def known_mean(values: Iterable[float | None]) -> float | None:
    """Return the mean; None if one of them is unknown."""
    found = list(values)
    total = known_sum(found)
    return None if total is None else total / len(found)
