"""Finished artifacts -> findings: rates, comparisons, curves, and who judged how. Reads, and runs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tutelage import __version__
from tutelage.errors import DataError
from tutelage.findings import (
    ArmFound,
    ComparisonFound,
    Cost,
    Curve,
    CurvePoint,
    Findings,
    Matched,
    Missing,
    Rate,
    Span,
)
from tutelage.measure.length_linear import LengthControl, control_length
from tutelage.measure.runs import Mean, Scores, combine, decide, mean_of
from tutelage.store import Artifact
from tutelage.study import costs, judges, shown, sources, why
from tutelage.study.design import Way, start_of
from tutelage.study.matching import RULES, Point, matched
from tutelage.study.questions import Question, questions
from tutelage.study.recipe import StudyRecipe
from tutelage.study.running import Done
from tutelage.study.scores import Judgement, judgement
from tutelage.study.spans import of_mean
from tutelage.study.tasks import AGREE, EVALUATE, Graph
from tutelage.study.verdict import verdict, warnings
from tutelage.study.words import capital, matched_clause, sentence

_NO_RUN = "no run of it is finished"


@dataclass(frozen=True)
class Material:
    """What is there of a study: its arms, the artifacts of their runs, and what the judges said of them."""

    recipe: StudyRecipe
    ways: Sequence[Way]
    runs: dict[str, dict[int, dict[str, Artifact]]]
    """By arm and seed; of an unfinished run, those artifacts that are there."""
    missing: dict[str, list[Missing]]
    judgements: list[Judgement]
    controlled: list[LengthControl]
    """For each of `judgements`."""

    def finished(self, arm: str) -> dict[int, dict[str, Artifact]]:
        """Return the runs of an arm that lack nothing, by seed."""
        unfinished = {each.seed for each in self.missing[arm]}
        return {seed: run for seed, run in self.runs[arm].items() if seed not in unfinished}


def material(graph: Graph, ways: Sequence[Way], done: Done) -> Material:
    """Bring together what is there, and say of every run that is not whole what it lacks."""
    runs: dict[str, dict[int, dict[str, Artifact]]] = {}
    missing: dict[str, list[Missing]] = {way.name: [] for way in ways}
    for (arm, seed), run in graph.runs.items():
        runs.setdefault(arm, {})[seed] = {n: done.made[t.key] for n, t in run.items() if t.key in done.made}
        needed = {name: task for name, task in run.items() if not name.startswith(AGREE)}
        lacks = [(name, task) for name, task in needed.items() if task.key not in done.made]
        if lacks:
            name, task = lacks[0]
            why_not = done.failed.get(task.key, "not run yet").removeprefix(f"{task.stage}: ")
            missing[arm].append(Missing(seed=seed, stage=name, why=why_not))
    recipe = graph.recipe
    judging = recipe.evaluate.judging
    found = [judgement(name, judge, judging, runs) for name, judge in recipe.judges.items()]
    controlled = [control_length(each.scores, each.lengths) for each in found]
    return Material(recipe, ways, runs, missing, found, controlled)


def _not_asked_again(graph: Graph, done: Done) -> list[str]:
    """Say which judges' opinions of training pairs are not there; no run waits for them."""
    return [
        f"How far judge {name.partition(':')[2]} agrees with {arm}'s critic is not known: {done.failed[task.key]}"
        for (arm, _), run in graph.runs.items()
        for name, task in run.items()
        if name.startswith(AGREE) and task.key in done.failed
    ]


def gather(graph: Graph, ways: Sequence[Way], done: Done) -> Findings:
    """Return everything that the finished artifacts of a study say."""
    have, recipe = material(graph, ways, done), graph.recipe
    whole = {way.name: have.finished(way.name) for way in ways}
    prices = {way.name: costs.cost(way, runs) for way in ways if (runs := whole[way.name])}
    arms = tuple(_arm(have, way, prices.get(way.name)) for way in ways)
    asked = questions(recipe, list(ways))
    compared = tuple(
        each for place in range(len(have.judgements)) for each in _comparisons(have, asked, place, prices)
    )
    matrix = tuple(judges.matrix(recipe, ways, have.judgements))
    dollars, seconds = sources.total(done.made.values())
    baseline = recipe.evaluation.teacher or (recipe.evaluation.baseline and recipe.evaluation.baseline.path) or ""
    findings = Findings(
        name=recipe.name,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        tutelage=__version__,
        recipe=_resolved(recipe, ways),
        baseline=_baseline(have) or baseline,
        judges=tuple(recipe.judges),
        seeds=recipe.seeds,
        match=recipe.match,
        margin=recipe.margin,
        num_prompts=len({p for each in have.judgements for p in each.prompts}),
        verdict=(),
        warnings=(),
        arms=arms,
        comparisons=compared,
        curves=tuple(_curves(have, prices)),
        matrix=matrix,
        judged=tuple(judges.judged(recipe, have.judgements)),
        why=tuple(
            why.why(way, runs, _start_runs(have, way), tuple(recipe.judges))
            for way in ways
            if way.arm.feedback != "none" and (runs := whole[way.name])
        ),
        shown=tuple(shown.shown(recipe.shown, whole, next(iter(recipe.judges)))),
        sources=tuple(sources.sources(done.made.values())),
        total_dollars=dollars,
        total_seconds=seconds,
    )
    return findings.model_copy(
        update={
            "verdict": verdict(findings, asked),
            "warnings": (
                *warnings(findings, recipe, ways, have.judgements[0].num_unpaired),
                *_not_asked_again(graph, done),
            ),
        }
    )


# ---- arms -------------------------------------------------------------------------------------------


def _arm(have: Material, way: Way, cost: Cost | None) -> ArmFound:
    start = start_of(way, have.ways)
    finished = have.finished(way.name)
    words, ended = why.drawn(finished) if finished else (Span(value=None, note=_NO_RUN),) * 2
    rates = [_rate(have, place, way.name) for place, each in enumerate(have.judgements) if way.name in each.scores]
    return ArmFound(
        name=way.name,
        teacher=way.arm.teacher,
        teacher_model=way.teacher.says_it_is,
        model=way.model_name,
        fraction=way.arm.fraction,
        feedback=way.arm.feedback,
        critic=way.critic_name,
        critic_model=way.critic.model if way.critic else None,
        changed=way.changed,
        start=start.name if start else None,
        seeds=tuple(finished),
        missing=tuple(have.missing[way.name]),
        rates=tuple(rates),
        words=words,
        ended=ended,
        cost=cost,
        runs={
            seed: {name: str(artifact.path) for name, artifact in run.items()}
            for seed, run in have.runs[way.name].items()
        },
    )


def _rate(have: Material, place: int, arm: str) -> Rate:
    said, controlled = have.judgements[place], have.controlled[place]
    values = combine([(1.0, said.scores[arm])])
    return Rate(
        judge=said.judge,
        rate=of_mean(mean_of(values, 0.0, 1.0)),
        by_seed=values.by_seed,
        length_controlled=_controlled(controlled, [(1.0, arm)], 0.0, 1.0),
        num_invalid=said.invalid[arm],
        num_missing=said.missing[arm],
    )


def _controlled(controlled: LengthControl, parts: Sequence[tuple[float, str]], lowest: float, highest: float) -> Span:
    """Return the same sum of arms at equal length; no value where the slope of length cannot be told."""
    if not controlled.scores:
        return Span(value=None, note=controlled.slope.note)
    values = combine([(weight, controlled.scores[arm]) for weight, arm in parts])
    return of_mean(mean_of(values, lowest, highest))


# ---- comparisons ------------------------------------------------------------------------------------


def _comparisons(
    have: Material, asked: Sequence[Question], place: int, prices: Mapping[str, Cost]
) -> list[ComparisonFound]:
    """Return the comparisons that can be made in the eyes of one judge."""
    said = have.judgements[place]
    found: list[tuple[Question, Mean]] = []
    for question in asked:
        if question.first in said.scores and question.second in said.scores:
            try:
                both = combine([(1.0, said.scores[question.first]), (-1.0, said.scores[question.second])])
            except DataError:  # no seed or prompt in common: the arms' own rows say what is missing
                continue
            found.append((question, mean_of(both)))
    compared = []
    for (question, mean), decision in zip(found, decide([m for _, m in found], have.recipe.margin), strict=True):
        one = ComparisonFound(
            first=question.first,
            second=question.second,
            judge=said.judge,
            question=question.asked.question,
            difference=of_mean(mean),
            length_controlled=_controlled(
                have.controlled[place], [(1.0, question.first), (-1.0, question.second)], -1.0, 1.0
            ),
            p_value=mean.p_value,
            adjusted_p_value=decision.adjusted_p_value,
            num_prompts=mean.num_prompts,
            num_seeds=mean.num_seeds,
            seed_deviation=mean.seed_deviation,
            prompt_deviation=mean.prompt_deviation,
            outcome=decision.outcome,
            needed_prompts=decision.needed_prompts,
            needed_seeds=decision.needed_seeds,
            says="",
            matched=_matched(have, question, said.scores, prices),
        )
        compared.append(one.model_copy(update={"says": sentence(one, question.asked, have.recipe.margin)}))
    return compared


def _matched(
    have: Material, question: Question, scores: Mapping[str, Scores], prices: Mapping[str, Cost]
) -> tuple[Matched, ...]:
    """Return the comparison by each rule, if one of the two arms is SFT alone and the other has feedback."""
    by_name = {way.name: way for way in have.ways}
    both = [by_name[question.first], by_name[question.second]]
    moved = [way for way in both if way.arm.feedback == "none"]
    if len(moved) != 1 or any(map(moved[0].is_start_of, both)) or not all(way.name in prices for way in both):
        return ()
    curve = curve_of(have, moved[0], scores, prices)
    found = (matched(rule, question.first, question.second, curve, prices, scores) for rule in RULES)
    return tuple(
        each.model_copy(update={"says": capital(matched_clause(each.rule, each.difference, question.asked))})
        for each in found
    )


def curve_of(have: Material, way: Way, scores: Mapping[str, Scores], prices: Mapping[str, Cost]) -> list[Point]:
    """Return the arms of SFT alone that differ from `way` in how many prompts were taught.

    Of several on one fraction it is the one with `way`'s settings of SFT, or else the first.
    """
    points: dict[float, Way] = {}
    for other in sorted(have.ways, key=lambda w: (w.arm.fraction, w.sft != way.sft)):
        if (
            other.arm.feedback == "none"
            and (other.arm.teacher, other.model_name) == (way.arm.teacher, way.model_name)
            and other.name in prices
            and other.name in scores
        ):
            points.setdefault(other.arm.fraction, other)
    return [Point(w.name, fraction, prices[w.name], scores[w.name]) for fraction, w in points.items()]


def _curves(have: Material, prices: Mapping[str, Cost]) -> list[Curve]:
    """Return the scaling curve of every teacher and student of which two fractions or more are there."""
    scores = have.judgements[0].scores
    found = []
    for teacher, model in dict.fromkeys((w.arm.teacher, w.model_name) for w in have.ways):
        way = next(w for w in have.ways if (w.arm.teacher, w.model_name) == (teacher, model))
        points = curve_of(have, way, scores, prices)
        if len({point.fraction for point in points}) < 2:
            continue
        found.append(
            Curve(
                teacher=teacher,
                model=model,
                points=tuple(
                    CurvePoint(
                        arm=point.arm,
                        fraction=point.fraction,
                        at={rule: point.cost.of(rule) for rule in RULES},
                        rates={
                            each.judge: of_mean(mean_of(combine([(1.0, each.scores[point.arm])]), 0.0, 1.0))
                            for each in have.judgements
                            if point.arm in each.scores
                        },
                    )
                    for point in points
                ),
            )
        )
    return found


# ---- the rest ---------------------------------------------------------------------------------------


def _start_runs(have: Material, way: Way) -> dict[int, dict[str, Artifact]] | None:
    start = start_of(way, have.ways)
    return have.finished(start.name) if start else None


def _baseline(have: Material) -> str:
    """Return how the opponent signs."""
    for of_arm in have.runs.values():
        for run in of_arm.values():
            for name, artifact in run.items():
                if name.startswith(EVALUATE) and artifact.record.win_rate is not None:
                    return artifact.record.win_rate.baseline
    return ""


def _resolved(recipe: StudyRecipe, ways: Sequence[Way]) -> dict[str, Any]:
    tree: dict[str, Any] = recipe.model_dump(mode="json", exclude_unset=True)
    tree["arms"] = {way.name: way.arm.model_dump(mode="json", exclude_unset=True) for way in ways}
    return tree
