"""What a study says in the end, and what is to be held against it: sentences made of its findings."""

from __future__ import annotations

from collections.abc import Sequence

from tutelage.findings import ComparisonFound, Findings
from tutelage.report.study_words import listed
from tutelage.study.design import Way
from tutelage.study.judges import of_teachers
from tutelage.study.questions import Question
from tutelage.study.recipe import StudyRecipe
from tutelage.study.words import (
    Asked,
    all_length_controlled,
    capital,
    counted,
    headline,
    interval,
    matched_clause,
    signed,
)


def verdict(found: Findings, asked: Sequence[Question]) -> tuple[str, ...]:
    """Return the verdict in the eyes of the first judge, the most important sentence first.

    For each arm that learnt a critic's preferences, one sentence joins what its feedback adds over SFT alone, what
    SFT on the critic's own completions adds, and how the two compare at equal cost; the next says what is left of
    these at equal length. Without such completions it is how feedback and SFT alone compare at equal cost. Then every
    other comparison.
    """
    judge = found.judges[0]
    words = {(question.first, question.second): question.asked for question in asked}
    compared = {(c.first, c.second): c for c in found.comparisons if c.judge == judge}
    said: list[str] = []
    told = set()
    for key, one in compared.items():
        first = next(arm for arm in found.arms if arm.name == one.first)
        second = next(arm for arm in found.arms if arm.name == one.second)
        if first.feedback != "dpo" or second.feedback != "none" or first.start == second.name:
            continue
        own = [k for k in compared if k[1] == one.second and (k[0], one.first) in compared and k[0] != one.first]
        keys = [key, *own]
        if len(keys) == 1:
            at = next((m for m in one.matched if m.rule == found.match), None)
            if at is not None and at.difference.value != one.difference.value:  # else its own sentence says as much
                said.append(f"{one.says} {capital(matched_clause(at.rule, at.difference, _BOTH))}.")
                told.add(key)
            continue
        clauses = []
        for name, _ in own:
            between = compared[name, one.first]
            at = next((m for m in between.matched if m.rule == found.match), None)
            if at is None:
                continue
            asks = _LATTER if len(own) == 1 else words[name, one.first]
            clauses.append(matched_clause(at.rule, at.difference, asks))
            if at.difference.value == between.difference.value:  # they cost the same: its own sentence says it again
                keys.append((name, one.first))
        both = [(compared[k], words[k]) for k in keys[: 1 + len(own)]]
        said += filter(
            None, (headline(both, found.margin, clauses), all_length_controlled([compared[k] for k in keys]))
        )
        told.update(keys)
    said += [one.says for key, one in compared.items() if key not in told]
    nothing = "No two arms can be compared yet." if asked else "There are no two arms that the study compares."
    return tuple(said) or (nothing,)


_BOTH = Asked("the former", "the latter")
_LATTER = Asked("the latter", "the former")


def warnings(found: Findings, recipe: StudyRecipe, ways: Sequence[Way], num_unpaired: int) -> tuple[str, ...]:
    """Return what a sceptical reader would hold against the verdict.

    Args:
        num_unpaired: evaluated prompts that no run has a pair for.
    """
    said = []
    unfinished = [
        f"{arm.name} (seed {', '.join(str(m.seed) for m in arm.missing)})" for arm in found.arms if arm.missing
    ]
    if unfinished:
        said.append(f"Unfinished: {'; '.join(unfinished)}. The same command goes on with them.")
    if len(found.seeds) == 1:
        said.append("One seed: intervals are over prompts alone, and another training run may fall outside of them.")
    said += _the_same(found)
    said += _about_judges(found)
    said += [f"{capital(sentence)}." for sentence in of_teachers(recipe, ways)]
    said += _disagreements(found)
    if num_unpaired:
        said.append(
            f"{counted(num_unpaired, 'prompt')} to evaluate on could not be judged at all: the opponent has no "
            "completion there, or no arm has."
        )
    num_runs = sum(len(rate.by_seed) for arm in found.arms for rate in arm.rates)
    unread = sum(rate.num_invalid + rate.num_missing for arm in found.arms for rate in arm.rates)
    unread -= num_unpaired * num_runs
    total = found.num_prompts * num_runs
    if total and unread > 0.02 * total:
        said.append(f"{unread:,} of {total:,} verdicts are unreadable or missing; they are left out of the rates.")
    endpoints = [*recipe.judges.values(), *(w.critic for w in ways if w.critic is not None)]
    if all(endpoint.provider == "miniature" for endpoint in endpoints):
        said.append(
            "Critics and judges are programs of the miniature world: this shows a mechanism, and is no evidence of "
            "real models."
        )
    said.append(
        "Seeds vary training, samples and the order in which pairs are shown; the teachers' completions and the "
        "prompts are the same in all runs."
    )
    return tuple(said)


def _the_same(found: Findings) -> list[str]:
    """Name arms that turned out as one: of a model under two names, or of critics that decided all alike."""
    drawn: dict[tuple[str | None, ...], list[str]] = {}
    for arm in found.arms:
        made = tuple(arm.runs[seed].get("draw") for seed in arm.seeds)
        if made and None not in made:
            drawn.setdefault(made, []).append(arm.name)
    return [
        f"{listed(names)} have the very same completions, from the same artifacts: what is said of one says nothing "
        "new of another, and the correction for several comparisons counts both."
        for names in drawn.values()
        if len(names) > 1
    ]


def _about_judges(found: Findings) -> list[str]:
    said = []
    for cell in found.matrix:
        if cell.related:
            said.append(
                f"Judge {cell.judge} and critic {cell.critic} are {cell.related}: the judge may like what was "
                "trained to please it."
            )
        low = cell.excess.low
        if low is not None and low > 0:
            said.append(
                f"Judge {cell.judge} sees more gain in feedback from {cell.critic} than the other judges do, by "
                f"{signed(cell.excess.value)} points ({interval(cell.excess)})."
            )
    return list(dict.fromkeys(said))


def _disagreements(found: Findings) -> list[str]:
    """Say where judges contradict each other: one sees a gain where another sees none, or harm."""
    by_pair: dict[tuple[str, str], list[ComparisonFound]] = {}
    for each in found.comparisons:
        by_pair.setdefault((each.first, each.second), []).append(each)
    said = []
    for (first, second), several in by_pair.items():
        outcomes = {each.outcome for each in several}
        if "gain" in outcomes and outcomes & {"harm", "no gain"}:
            views = ", ".join(f"{each.judge}: {each.outcome}" for each in several)
            said.append(f"The judges do not agree on {first} against {second} ({views}).")
    return said
