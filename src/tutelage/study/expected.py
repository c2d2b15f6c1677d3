"""What one training run of each arm will take, before it is made; what it took is in `findings.Cost`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from tutelage.stages.asking import Asking
from tutelage.study.costs import known_mean, known_sum
from tutelage.study.foreseen import Foreseen
from tutelage.study.ground import Ground, endpoint_of
from tutelage.study.pace import Pace
from tutelage.study.tasks import REST, Run, Task


@dataclass(frozen=True)
class Expected:
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

    @property
    def prompts(self) -> float:
        """Prompts that anything is learnt from."""
        return self.taught + self.labelled

    @property
    def dollars(self) -> float | None:
        """Of teacher and critic."""
        return known_sum([self.teacher, self.critic])


def expected(ground: Ground, foreseen: Foreseen, pace: Pace) -> dict[str, Expected]:
    """Return what a run of each arm takes, by the arm's name."""
    runs: dict[str, list[Run]] = {}
    for (name, _), run in ground.graph.runs.items():
        runs.setdefault(name, []).append(run)
    asking = [run[name] for run in ground.graph.runs.values() for name in ("teach", REST, "label") if name in run]
    dollars = {key: _dollars(ground, foreseen, task) for key, task in {task.key: task for task in asking}.items()}

    def of_arm(runs: Sequence[Run]) -> Expected:
        trained = [[run[name] for name in ("sft", "best", "dpo") if name in run] for run in runs]
        return Expected(
            taught=fmean(ground.num_taught(run["teach"]) for run in runs),
            labelled=fmean(_labelled(ground, foreseen, run) for run in runs),
            teacher=known_mean(
                [known_sum([dollars[run[n].key] for n in ("teach", REST) if n in run]) for run in runs]
            ),
            critic=known_mean([dollars[run["label"].key] if "label" in run else 0.0 for run in runs]),
            tokens=known_mean([known_sum([pace.tokens(task) for task in tasks]) for tasks in trained]),
        )

    return {name: of_arm(of) for name, of in runs.items()}


def _labelled(ground: Ground, foreseen: Foreseen, run: Run) -> int:
    if "label" not in run:
        return 0
    drawn = ground.part(run["sample"].config)
    return min(len(drawn), foreseen.num_pairs(run["label"]))


def _dollars(ground: Ground, foreseen: Foreseen, task: Task) -> float | None:
    """Return what the rows of a task cost, whoever has paid for them; None: nobody says."""
    if ground.is_made(task):
        usage = ground.known[task.key].record.usage
        return usage.dollars if usage.requests else None
    if endpoint_of(task) is None:
        return None
    found = foreseen.whole(task)
    return found.batch if isinstance(task.config, Asking) and task.config.mode == "batch" else found.live
