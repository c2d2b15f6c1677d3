"""What a study found, as `study.json` holds it: numbers with their intervals, never text that was made for a page.

Rates and differences are percentage points; intervals are 95 % and hold for other prompts of the same kind and for
other training runs, unless there is one seed. `study` writes it, `report` draws it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tutelage.disk import brief, disk_errors, dump_json, write_atomically
from tutelage.errors import StudyError
from tutelage.records import Record

VERSION = 1
"""Of `study.json`; another version is refused, since its numbers may mean something else."""
ABOUT = (
    "What a study found. Rates, differences and deviations are percentage points of the win rate against the "
    "baseline; low and high are the ends of a 95 % interval, num what it rests on; null is unknown, and note says "
    "why. docs/study.md of tutelage says how every number comes about."
)
STUDY = "study.json"

Rule = Literal["prompts", "dollars", "tokens"]
"""What two arms are made equal in: prompts taught or judged, what the API calls cost, tokens trained on."""
Outcome = Literal["gain", "harm", "no gain", "cannot tell"]
Feedback = Literal["none", "dpo", "best_of_n", "shuffled"]


class Span(Record):
    """A value with its interval; None where the data cannot tell, and then `note` says why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    num: int = 0
    """Prompts, pairs or runs that it rests on."""
    note: str = ""


class Rate(Record):
    """An arm's win rate against the baseline in the eyes of one judge."""

    judge: str
    rate: Span
    by_seed: dict[int, float]
    length_controlled: Span
    num_invalid: int
    """Unreadable verdicts, all seeds together."""
    num_missing: int
    """Prompts without a verdict, all seeds together."""


class Cost(Record):
    """What one training run of an arm took, from its artifacts (mean over its seeds)."""

    taught: float
    """Prompts with a teacher's completion that SFT learnt."""
    labelled: float
    """Prompts that the student completed for the critic."""
    teacher_dollars: float | None
    critic_dollars: float | None
    judge_dollars: float | None
    """Dollars are what the rows took, whoever paid; None: the price is unknown."""
    tokens: float
    """Tokens that carried loss or were read in training, once for each time: SFT and DPO, all epochs."""
    seconds: float
    """Wall time of all its stages, shared ones included."""
    device_hours: float
    """Of training and sampling: wall time times processes."""

    @property
    def prompts(self) -> float:
        """Prompts that anything was learnt from."""
        return self.taught + self.labelled

    @property
    def dollars(self) -> float | None:
        """What the training data cost: teacher and critic. Judging is no part of it."""
        if self.teacher_dollars is None or self.critic_dollars is None:
            return None
        return self.teacher_dollars + self.critic_dollars

    def of(self, rule: Rule) -> float | None:
        """Return what `rule` compares."""
        return {"prompts": self.prompts, "dollars": self.dollars, "tokens": self.tokens}[rule]


class Missing(Record):
    """A run of an arm that is not there, and why."""

    seed: int
    stage: str
    why: str


class ArmFound(Record):
    """One arm: what it was, and what came of it."""

    name: str
    teacher: str
    """The name in the recipe."""
    teacher_model: str
    model: str
    """The name of the student's base in the recipe."""
    fraction: float
    """Of the prompts, those whose teacher completions SFT learnt."""
    feedback: Feedback
    critic: str | None
    critic_model: str | None
    changed: dict[str, Any]
    """Settings that only this arm has, by dotted name."""
    start: str | None
    """The arm that is this one before its feedback: SFT alone, if it is an arm of the study."""
    seeds: tuple[int, ...]
    """Of the runs that are finished."""
    missing: tuple[Missing, ...] = ()
    rates: tuple[Rate, ...] = ()
    """One for each judge; none while no run is finished."""
    words: Span = Span(value=None)
    """Mean length of its completions, in words."""
    ended: Span = Span(value=None)
    """Percent of its completions that ended by themselves."""
    cost: Cost | None = None
    runs: dict[int, dict[str, str]] = Field(default_factory=dict)
    """By seed: stage (evaluate with its judge: `evaluate:JUDGE`) -> folder of the artifact."""

    def rate_by(self, judge: str) -> Rate | None:
        """Return the win rate in the eyes of `judge`."""
        return next((rate for rate in self.rates if rate.judge == judge), None)


class Matched(Record):
    """A comparison with the arm that is SFT alone put where it costs as much, on its teacher's scaling curve."""

    rule: Rule
    first_at: float | None
    second_at: float | None
    """What the two really cost, in the unit of `rule`."""
    fraction: float | None
    """Of the prompts, those that SFT alone could have been taught for as much as the other arm cost."""
    difference: Span
    """First minus second; without a value where the curve does not reach, and then `note` says why."""
    says: str


class ComparisonFound(Record):
    """`first` minus `second`, paired by prompt, in the eyes of one judge."""

    first: str
    second: str
    judge: str
    question: str
    """What is asked, in words: "Feedback from C over SFT on T alone"."""
    difference: Span
    length_controlled: Span
    p_value: float
    adjusted_p_value: float
    """After Holm (1979), over the comparisons of one judge."""
    num_prompts: int
    num_seeds: int
    seed_deviation: float | None
    """Standard deviation of the difference between training runs, points; None with one seed."""
    prompt_deviation: float
    """Of the difference between prompts, seeds averaged."""
    outcome: Outcome
    needed_prompts: int | None = None
    """About so many would tell a difference of this size, with the seeds there are; None: it is told, or near 0, or
    no number of prompts alone would."""
    needed_seeds: int | None = None
    """The same for seeds, with the prompts there are; None also with one seed."""
    says: str
    matched: tuple[Matched, ...] = ()


class CurvePoint(Record):
    """SFT alone on a part of a teacher's completions."""

    arm: str
    fraction: float
    at: dict[Rule, float | None]
    rates: dict[str, Span]
    """By judge."""


class Curve(Record):
    """The SFT scaling curve of one teacher and one student, as in the paper's Figure 3."""

    teacher: str
    model: str
    points: tuple[CurvePoint, ...]


class MatrixCell(Record):
    """What a critic's feedback gains in the eyes of one judge."""

    critic: str
    judge: str
    critic_family: str | None
    judge_family: str | None
    related: str
    """Empty, "the same model" or "one family"."""
    gain: Span
    """The arm with this critic's feedback minus its start."""
    excess: Span
    """The gain minus the mean gain in the eyes of the other judges: above 0 is a taste of its own."""


class JudgeFound(Record):
    """How a judge behaved on the pairs of this study; it was asked nothing for it."""

    judge: str
    model: str
    first_wins: Span
    flips: Span
    longer_wins: Span
    unreadable: Span


class TrainingCurve(Record):
    """What one run logged after its SFT (DPO; of best_of_n, the second SFT): each list has a value a kept step."""

    seed: int
    steps: tuple[int, ...]
    values: dict[str, tuple[float | None, ...]]
    """By the name in metrics.jsonl: logps/chosen, logps/rejected, kl/reference_to_policy, rewards/accuracies, ..."""


class ConfidenceBin(Record):
    """How often the trained policy's implicit reward agrees with the critic, by how sure the critic was."""

    low: float
    high: float
    num: int
    accuracy: float


class Why(Record):
    """What happened inside one arm with feedback."""

    arm: str
    curves: tuple[TrainingCurve, ...]
    words_before: Span
    words_after: Span
    ended_before: Span
    ended_after: Span
    on_policy: Span
    """Percent of the preferences of which the student itself drew both completions."""
    by_confidence: tuple[ConfidenceBin, ...]
    confidence_note: str = ""
    label_noise: Span
    """Percent of the decided labels that are wrong, estimated from showings in two orders."""
    agreement: dict[str, Span]
    """By judge: percent of the labelled pairs on which it agrees with the critic, where both decide."""


class Shown(Record):
    """One evaluated pair, for people to read."""

    arm: str
    seed: int
    judge: str
    prompt_id: str
    prompt: str
    completion: str
    baseline: str
    outcome: str
    """won, lost, tied or unreadable, of the arm's completion."""
    replies: tuple[tuple[str, str], ...]
    """(order it was shown in, what the judge said)."""


class Source(Record):
    """An artifact that the study rests on."""

    stage: str
    path: str
    label: str
    fingerprint: str
    content: str
    made_of: tuple[str, ...]
    """Fingerprints of the artifacts it was made of."""
    finished_at: str
    seconds: float
    dollars: float | None
    counts: dict[str, int]
    code: dict[str, str]


class Findings(Record):
    """Everything a study found."""

    version: int = VERSION
    about: str = ABOUT
    name: str
    made_at: str
    tutelage: str
    recipe: dict[str, Any]
    """All settings, resolved."""
    baseline: str
    judges: tuple[str, ...]
    """The first one's comparisons are the verdict."""
    seeds: tuple[int, ...]
    match: Rule
    margin: float
    """The smallest gain of interest, points: an interval wholly below it is no gain."""
    num_prompts: int
    """Evaluated; a comparison rests on those that every run of its two arms has a readable verdict for."""
    verdict: tuple[str, ...]
    """Sentences made of the numbers below, the most important first."""
    warnings: tuple[str, ...]
    arms: tuple[ArmFound, ...]
    comparisons: tuple[ComparisonFound, ...]
    curves: tuple[Curve, ...] = ()
    matrix: tuple[MatrixCell, ...] = ()
    judged: tuple[JudgeFound, ...] = ()
    why: tuple[Why, ...] = ()
    shown: tuple[Shown, ...] = ()
    sources: tuple[Source, ...] = ()
    total_dollars: float | None = None
    """What was paid for all of it, shared stages once."""
    total_seconds: float = 0.0

    def save(self, folder: Path) -> Path:
        """Write study.json and return its path."""
        path = folder / STUDY
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, dump_json(self.model_dump(mode="json"), indent=1) + "\n")
        return path

    @classmethod
    def load(cls, folder: Path) -> Findings:
        """Read study.json.

        Raises:
            StudyError: it is not there, of another version, or damaged.
        """
        path = folder / STUDY
        try:
            said = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise StudyError(f"{path}: no such file; `tutelage study recipe.yaml out={folder}` makes it") from None
        except OSError as error:
            raise StudyError(f"{path}: cannot be read ({error.strerror})") from None
        except (ValueError, RecursionError) as error:
            raise StudyError(f"{path}: not JSON ({brief(error)}); remove it and run the study again") from None
        found = said.get("version") if isinstance(said, dict) else None
        if found != VERSION:
            raise StudyError(
                f"{path}: of version {found!r} of study.json, this tutelage reads {VERSION}; run the study again "
                "with another out= (finished artifacts are found again), or use the tutelage that made it"
            )
        try:
            return cls.model_validate(said)
        except ValueError as error:
            raise StudyError(f"{path}: not what tutelage writes: {brief(error)}; run the study again") from None
