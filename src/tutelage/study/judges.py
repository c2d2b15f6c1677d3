"""What the judges of a study are like: what they see in a critic's feedback, and how they behaved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tutelage.errors import DataError
from tutelage.findings import JudgeFound, MatrixCell, Span
from tutelage.measure.agreement import family_of
from tutelage.measure.runs import combine, mean_of
from tutelage.stages.judging import Critic
from tutelage.study.design import Way, start_of
from tutelage.study.recipe import StudyRecipe
from tutelage.study.scores import Judgement
from tutelage.study.spans import of_estimate, of_mean

Relation = Literal["", "the same model", "one family"]


def matrix(recipe: StudyRecipe, ways: Sequence[Way], said: Sequence[Judgement]) -> list[MatrixCell]:
    """Return what feedback gains over its start, by critic and judge; of a critic, its first arm."""
    cells = []
    arms = {way.critic_name: way for way in reversed(ways) if way.arm.feedback == "dpo"}
    for critic, way in reversed(arms.items()):
        start = start_of(way, ways)
        if start is None or critic is None or way.critic is None:
            continue
        both = [each for each in said if way.name in each.scores and start.name in each.scores]
        for each in both:
            judge = recipe.judges[each.judge]
            cells.append(
                MatrixCell(
                    critic=critic,
                    judge=each.judge,
                    critic_family=family_of(way.critic.model),
                    judge_family=family_of(judge.model),
                    related=related(way.critic.model, judge, way.critic.is_same_model(judge)),
                    gain=_gain([(1.0, each)], way.name, start.name),
                    excess=_excess(each, [other for other in both if other is not each], way.name, start.name),
                )
            )
    return cells


def related(model: str, judge: Critic, is_same: bool) -> Relation:
    """Return what a judge is to the model that taught or criticised what it judges."""
    if is_same:
        return "the same model"
    family = family_of(judge.model)
    return "one family" if family is not None and family == family_of(model) else ""


def _gain(judges: Sequence[tuple[float, Judgement]], arm: str, start: str) -> Span:
    parts = [part for weight, each in judges for part in ((weight, each.scores[arm]), (-weight, each.scores[start]))]
    most = sum(abs(weight) for weight, _ in judges)
    try:
        return of_mean(mean_of(combine(parts), -most, most))
    except DataError as error:
        return Span(value=None, note=str(error))


def _excess(one: Judgement, others: Sequence[Judgement], arm: str, start: str) -> Span:
    if not others:
        return Span(value=None, note="there is no other judge")
    return _gain([(1.0, one), *((-1 / len(others), other) for other in others)], arm, start)


def judged(recipe: StudyRecipe, said: Sequence[Judgement]) -> list[JudgeFound]:
    """Return how each judge behaved on what it was asked in this study."""
    return [
        JudgeFound(
            judge=each.judge,
            model=recipe.judges[each.judge].model,
            first_wins=of_estimate(each.behaviour.first_wins),
            flips=of_estimate(each.behaviour.flips),
            longer_wins=of_estimate(each.behaviour.longer_wins),
            unreadable=of_estimate(each.behaviour.unreadable),
        )
        for each in said
        if each.behaviour is not None
    ]


def of_teachers(recipe: StudyRecipe, ways: Sequence[Way]) -> list[str]:
    """Say which judges decide about what their own model, or one of its family, has taught."""
    said = []
    for name in dict.fromkeys(way.arm.teacher for way in ways):
        teacher = recipe.teachers[name]
        model, endpoint = teacher.says_it_is, teacher.endpoint
        for judge_name, judge in recipe.judges.items():
            kin = related(model, judge, model == judge.model if endpoint is None else endpoint.is_same_model(judge))
            if kin == "the same model":
                said.append(f"judge {judge_name} is teacher {name}: it may like its own words in the arms it taught")
            elif kin == "one family":
                said.append(
                    f"judge {judge_name} and teacher {name} are of one family ({family_of(model)}): the judge may "
                    "like the teacher's words in the arms it taught"
                )
    return said
