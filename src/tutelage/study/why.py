"""What happened inside an arm with feedback, read from the artifacts of its runs; nobody is asked anything for it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from tutelage.data.rows import COMPLETIONS
from tutelage.disk import brief, read_text
from tutelage.errors import DataError
from tutelage.findings import ConfidenceBin, Span, TrainingCurve, Why
from tutelage.inputs import Model
from tutelage.measure.confidence import by_confidence, probabilities
from tutelage.measure.estimate import share, wald
from tutelage.measure.judged import agreed, behaviour
from tutelage.measure.showings import per_pair
from tutelage.measure.win_rate import mean_and_error
from tutelage.records import Completion, Margin, Preference, Verdict
from tutelage.stages.label import VERDICTS
from tutelage.stages.prefer import PREFERENCES
from tutelage.store import MARGINS, METRICS, Artifact
from tutelage.study.design import Way
from tutelage.study.scores import reader
from tutelage.study.spans import of_estimate
from tutelage.study.tasks import AGREE

CURVES = (
    "loss",
    "logps/chosen",
    "logps/rejected",
    "kl/reference_to_policy",
    "rewards/accuracies",
    "rewards/margins",
)
"""What is kept of training, as metrics.jsonl names it; of SFT there is the loss alone."""
MOST_STEPS = 100
MOST_LABELS = 10_000
"""Of an arm's verdicts, those that label noise is told from: a share among so many is known to within one point."""
_NO_REWARD = "SFT on what the critic chose has no reward"
_NO_START = "the arm before its feedback is no arm of this study"
_NOT_DRAWN = "no run has completions of the evaluated prompts"


def why(
    way: Way,
    runs: Mapping[int, Mapping[str, Artifact]],
    start: Mapping[int, Mapping[str, Artifact]] | None,
    judges: Sequence[str],
) -> Why:
    """Return what the runs of an arm with feedback say of how it came to its win rate.

    Args:
        start: the runs of the arm before its feedback, if it is an arm of the study; seeds that `runs` lacks are left
            out.
        judges: by name; some were asked about training pairs of the first seed.
    """
    before = {seed: start[seed] for seed in runs if seed in start} if start is not None else {}
    words_before, ended_before = drawn(before, _NO_START if start is None else _NOT_DRAWN)
    words_after, ended_after = drawn(runs)
    learnt = _learnt(runs)
    others = {judge: asked for judge in judges if (asked := _asked_again(runs, judge))}
    ids = {i for preference, _ in learnt.margins for i in preference.verdict_ids}
    pairs = {_both(verdict) for asked in others.values() for verdict in asked}
    some, asked_for = _verdicts(runs, ids, pairs)
    sure = probabilities((preference for preference, _ in learnt.margins), asked_for)
    bins, note = by_confidence([(sure.get(preference.id), margin) for preference, margin in learnt.margins])
    return Why(
        arm=way.name,
        curves=tuple(_curve(seed, run) for seed, run in runs.items() if run.keys() & {"dpo", "best"}),
        words_before=words_before,
        words_after=words_after,
        ended_before=ended_before,
        ended_after=ended_after,
        on_policy=learnt.on_policy,
        by_confidence=tuple(ConfidenceBin(**asdict(each)) for each in bins),
        confidence_note=_NO_REWARD if way.arm.feedback == "best_of_n" else note,
        label_noise=_noise(way, some, learnt.num),
        agreement={judge: of_estimate(agreed(asked_for, asked)) for judge, asked in others.items()},
    )


# ---- training -----------------------------------------------------------------------------------------


def _curve(seed: int, run: Mapping[str, Artifact]) -> TrainingCurve:
    """Return what DPO (of best_of_n: its SFT) logged, at some steps only where there are many.

    Raises:
        DataError: metrics.jsonl is damaged.
    """
    path = (run.get("dpo") or run["best"]).file(METRICS)
    lines = read_text(path).splitlines()
    rows = []
    for place in kept_places(len(lines)):
        try:
            rows.append(json.loads(lines[place]))
        except ValueError as error:
            raise DataError(
                f"{path}, line {place + 1}: not JSON ({brief(error)}); remove its folder and run the study again"
            ) from None
    return TrainingCurve(
        seed=seed,
        steps=tuple(row["step"] for row in rows),
        values={name: tuple(row.get(name) for row in rows) for name in CURVES if any(name in row for row in rows)},
    )


def kept_places(num: int) -> list[int]:
    """Return at most `MOST_STEPS` of the places 0 .. num - 1, evenly spread, always with the first and the last."""
    if num <= MOST_STEPS:
        return list(range(num))
    return [place * (num - 1) // (MOST_STEPS - 1) for place in range(MOST_STEPS)]


# ---- completions --------------------------------------------------------------------------------------


def drawn(runs: Mapping[int, Mapping[str, Artifact]], why_none: str = _NOT_DRAWN) -> tuple[Span, Span]:
    """Return how many words the completions have that were drawn for evaluation, and how many percent ended.

    A prompt is one value, the mean over the runs; intervals are over prompts, for these very runs.

    Args:
        why_none: what to say where there are none.
    """
    words: list[tuple[str, float]] = []
    ended: list[tuple[str, float]] = []
    for run in runs.values():
        for completion in run["draw"].each(COMPLETIONS, Completion) if "draw" in run else ():
            words.append((completion.prompt_id, float(len(completion.text.split()))))
            ended.append((completion.prompt_id, float(completion.ended)))
    if not words:
        return Span(value=None, note=why_none), Span(value=None, note=why_none)
    return _mean(per_pair(words)), of_estimate(share(per_pair(ended), why_none))


def _mean(values: Sequence[float]) -> Span:
    """Return the mean of one value a prompt with the interval of 1.96 standard errors."""
    mean, error = mean_and_error(values)
    if len(values) < 2:
        return Span(value=mean, num=1, note="one prompt has no interval")
    return of_estimate(wald(mean, error, len(values), "words"))


# ---- preferences and verdicts -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Learnt:
    """What is kept of the preferences of all runs, which may be very many."""

    num: int
    num_own: int
    """Those of which the student that is trained on them drew both completions."""
    margins: list[tuple[Preference, float]]
    """Those of which margins.jsonl says how much more the trained policy rewards the chosen completion."""

    @property
    def on_policy(self) -> Span:
        """Percent of the preferences; without an interval, since there are no others."""
        if not self.num:
            return Span(value=None, note="no run has preferences")
        return Span(value=100 * self.num_own / self.num, num=self.num)


def _learnt(runs: Mapping[int, Mapping[str, Artifact]]) -> _Learnt:
    num, num_own = 0, 0
    looked_at: list[tuple[Preference, float]] = []
    for run in runs.values():
        margins = _margins(run.get("dpo"))
        student = Model(path=str(run["sft"].path)).author()
        for preference in run["prefer"].each(PREFERENCES, Preference) if "prefer" in run else ():
            num += 1
            num_own += preference.chosen.author == student and preference.rejected.author == student
            if preference.id in margins:
                looked_at.append((preference, margins[preference.id]))
    return _Learnt(num, num_own, looked_at)


def _margins(trained: Artifact | None) -> dict[str, float]:
    # an artifact that another tutelage made has none, and is found again all the same
    if trained is None or not (trained.path / MARGINS).is_file():
        return {}
    return {row.id: row.margin for row in trained.each(MARGINS, Margin)}


def _asked_again(runs: Mapping[int, Mapping[str, Artifact]], judge: str) -> list[Verdict]:
    """Return what a judge said of training pairs."""
    asked = (run[AGREE + judge] for run in runs.values() if AGREE + judge in run)
    return [verdict for artifact in asked for verdict in artifact.each(VERDICTS, Verdict)]


def _both(verdict: Verdict) -> frozenset[str]:
    return frozenset((verdict.pair.left.id, verdict.pair.right.id))


def _verdicts(
    runs: Mapping[int, Mapping[str, Artifact]], ids: set[str], pairs: set[frozenset[str]]
) -> tuple[list[Verdict], list[Verdict]]:
    """Return some of the critic's verdicts, about `MOST_LABELS` drawn by their ids; and those on `ids` or `pairs`."""
    labelled = [run["label"] for run in runs.values() if "label" in run]
    num = sum(artifact.record.counts["verdicts"] for artifact in labelled)
    drawn_by_id: list[Verdict] = []
    asked_for: list[Verdict] = []
    for artifact in labelled:
        for verdict in artifact.each(VERDICTS, Verdict):
            if int(verdict.id, 16) * num <= MOST_LABELS * 16 ** len(verdict.id):
                drawn_by_id.append(verdict)
            if verdict.id in ids or _both(verdict) in pairs:
                asked_for.append(verdict)
    return drawn_by_id, asked_for


def _noise(way: Way, verdicts: Sequence[Verdict], num: int) -> Span:
    """Return how many percent of the labels are wrong, told from some of the `verdicts`; `num` labels there are."""
    if way.arm.feedback == "shuffled":
        return Span(value=50, num=num, note="the labels are random, whatever the critic said")
    assert way.critic is not None, "an arm with feedback has a critic"
    return of_estimate(behaviour(verdicts, reader(way.critic, way.label)).label_noise.decided)
