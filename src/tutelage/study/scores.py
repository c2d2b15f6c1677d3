"""What the judges said, as numbers by arm, seed and prompt; texts are let go as soon as they are counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tutelage.critic.parse import Heard
from tutelage.measure.judged import Behaviour, behaviour
from tutelage.measure.win_rate import scores
from tutelage.records import Verdict
from tutelage.stages.judging import Critic, Judging, Showing, evaluator_of
from tutelage.stages.label import VERDICTS
from tutelage.store import Artifact
from tutelage.study.tasks import EVALUATE

Runs = Mapping[str, Mapping[int, Mapping[str, Artifact]]]
"""By arm, seed, and what the artifact is for (tasks.Run)."""
_SHARES = {"FIRST": 1.0, "SECOND": 0.0, "TIE": 0.5}


@dataclass
class Judgement:
    """All that one judge said in a study."""

    judge: str
    scores: dict[str, dict[int, dict[str, float]]] = field(default_factory=dict)
    """By arm, seed and prompt id: 0 to 1."""
    lengths: dict[str, dict[int, dict[str, float]]] = field(default_factory=dict)
    """The same: characters of the arm's completion minus the baseline's."""
    invalid: dict[str, int] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    behaviour: Behaviour | None = None
    """None if it said nothing yet."""

    @property
    def prompts(self) -> set[str]:
        """Ids of the prompts that it was asked about, whatever it said."""
        return {prompt for of_arm in self.lengths.values() for of_seed in of_arm.values() for prompt in of_seed}

    @property
    def num_unpaired(self) -> int:
        """Evaluated prompts that no run has a pair for: the opponent has no completion of them, or no arm has one."""
        runs = [of_seed for of_arm in self.lengths.values() for of_seed in of_arm.values()]
        everything = sum(map(len, runs)) + sum(self.missing.values())
        return everything // len(runs) - len(self.prompts) if runs else 0


def judgement(name: str, judge: Critic, judging: Judging, runs: Runs) -> Judgement:
    """Read what a judge said of every run that it has judged."""
    found = Judgement(name)
    every: list[Verdict] = []
    for arm, of_arm in runs.items():
        for seed, run in of_arm.items():
            artifact = run.get(EVALUATE + name)
            if artifact is None:
                continue
            verdicts = artifact.rows(VERDICTS, Verdict)
            values = scores(verdicts)
            found.scores.setdefault(arm, {})[seed] = values
            found.lengths.setdefault(arm, {})[seed] = {
                v.prompt_id: float(len(v.pair.left.text) - len(v.pair.right.text)) for v in verdicts
            }
            rate = artifact.record.win_rate
            assert rate is not None, "evaluate always states one"
            found.invalid[arm] = found.invalid.get(arm, 0) + rate.invalid
            found.missing[arm] = found.missing.get(arm, 0) + rate.missing
            every += verdicts
    if every:
        found.behaviour = behaviour(every, reader(judge, judging))
    return found


def reader(critic: Critic, showing: Showing) -> Callable[[str], float | None]:
    """Return what reads a reply of `critic`: 1 it is for the completion shown first, 0 the second, .5 a tie.

    None for one that says none of these in words: unreadable, points of a completion alone, log-probabilities.
    """
    parser = evaluator_of(critic, showing).parser

    def read(reply: str) -> float | None:
        found = parser(Heard(reply))
        return None if found.score is not None else _SHARES.get(found.said)

    return read
