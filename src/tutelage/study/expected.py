"""What one training run of each arm will take for its training data, before it is made: see `findings.Cost`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from tutelage.stages.asking import Asking
from tutelage.study.asked import Asked, total
from tutelage.study.ground import Ground, endpoint_of
from tutelage.study.pace import Pace
from tutelage.study.tasks import Run, Task


@dataclass(frozen=True)
class ArmCost:
    """At most, mean over an arm's seeds; None: not known beforehand."""

    taught: float
    """Prompts with a teacher's completion that SFT learns."""
    labelled: float
    """Prompts on which the critic is asked."""
    teacher: float | None
    """Dollars, whoever has paid."""
    critic: float | None
    tokens: float | None
    """Trained on, all epochs."""
    is_given: bool
    """True if the teacher's completions are a file."""

    @property
    def prompts(self) -> float:
        """Prompts that anything is learnt from."""
        return self.taught + self.labelled

    @property
    def dollars(self) -> float | None:
        """Of teacher and critic."""
        return total([self.teacher, self.critic])


class Costs:
    """What the runs of a study take."""

    def __init__(self, ground: Ground, asked: Asked, pace: Pace) -> None:
        self.ground, self.asked, self.pace = ground, asked, pace
        self._dollars: dict[str, float | None] = {}

    def by_arm(self) -> dict[str, ArmCost]:
        """Return the cost of each arm, by its name."""
        runs: dict[str, list[Run]] = {}
        for (name, _), run in self.ground.graph.runs.items():
            runs.setdefault(name, []).append(run)
        return {name: self._of_arm(of_arm) for name, of_arm in runs.items()}

    def _of_arm(self, runs: Sequence[Run]) -> ArmCost:
        trained = [[run[name] for name in ("sft", "best", "dpo") if name in run] for run in runs]
        return ArmCost(
            taught=fmean(len(self.ground.part(run["teach"].config)) for run in runs),  # type: ignore[arg-type]
            labelled=fmean(self._labelled(run) for run in runs),
            teacher=_mean([self._dollars_of(run["teach"]) for run in runs]),
            critic=_mean([self._dollars_of(run["label"]) if "label" in run else 0.0 for run in runs]),
            tokens=_mean([total([self.pace.tokens(task) for task in tasks]) for tasks in trained]),
            is_given=endpoint_of(runs[0]["teach"]) is None,
        )

    def _labelled(self, run: Run) -> int:
        if "label" not in run:
            return 0
        of_sample = self.ground.part(run["sample"].config)  # type: ignore[arg-type]
        return min(len(of_sample), self.asked.num_pairs(run["label"]))

    def _dollars_of(self, task: Task) -> float | None:
        if task.key not in self._dollars:
            self._dollars[task.key] = self._dollars_to_know(task)
        return self._dollars[task.key]

    def _dollars_to_know(self, task: Task) -> float | None:
        if self.ground.is_made(task):
            return self.ground.known[task.key].record.usage.dollars
        if endpoint_of(task) is None:
            return 0.0
        found = self.asked.whole(task)
        return found.batch if isinstance(task.config, Asking) and task.config.mode == "batch" else found.live


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None
