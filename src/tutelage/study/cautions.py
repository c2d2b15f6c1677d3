"""What somebody who plans a study should know before it is paid for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tutelage.chat.estimate import Estimate
from tutelage.measure.agreement import family_of
from tutelage.records import Usage
from tutelage.study.costs import known_sum
from tutelage.study.design import Way
from tutelage.study.foreseen import Foreseen
from tutelage.study.ground import Ground, missing_keys
from tutelage.study.judges import of_teachers, related
from tutelage.study.recipe import StudyRecipe
from tutelage.study.running import spent_on

FEW = 100
"""Prompts; fewer tell only large differences."""

_STOPS = "the stage that reaches it stops, and the same command with a larger one goes on"


def cautions(
    ground: Ground, found: Sequence[Way], foreseen: Foreseen, estimates: Sequence[Estimate], least: float
) -> list[str]:
    """Return sentences, the dearest first.

    Args:
        least: the smallest difference that the study can show, points.
    """
    recipe = ground.graph.recipe
    return [
        *_money(ground, foreseen, estimates),
        *missing_keys(ground),
        *_kin(recipe, found),
        *_size(recipe, len(ground.evaluated), least),
        *ground.notes,
    ]


def _money(ground: Ground, foreseen: Foreseen, estimates: Sequence[Estimate]) -> Iterator[str]:
    budget = ground.graph.recipe.budget
    if (budget.usd, budget.tokens) == (None, None):
        return
    bills = [a.record.bill for task in ground.tasks if ground.is_made(task) for a in [ground.known[task.key]]]
    begun = spent_on((task for task in ground.tasks if not ground.is_made(task)), ground.known)
    of_bills = [usage for bill in bills if bill is not None for usage in (bill.paid, bill.lost)]
    spent = Usage.total([*of_bills, *begun.values()])
    if budget.usd is not None:
        most = known_sum([e.batch if foreseen.mode_of(e.stage) == "batch" else e.live for e in estimates])
        left = budget.usd - (spent.dollars or 0.0)
        if most is None or most > left:
            said = "an unknown sum" if most is None else f"up to ${most:,.2f}"
            yield (
                f"budget.usd={budget.usd:g}: ${max(left, 0):,.2f} of it are left, and {said} may be needed; {_STOPS}"
            )
    if budget.tokens is not None:
        tokens = known_sum([None if e.output_tokens is None else e.input_tokens + e.output_tokens for e in estimates])
        if tokens is None or tokens > budget.tokens - spent.tokens:
            said = "no limit is known" if tokens is None else f"up to {tokens:,} may be needed"
            yield (
                f"budget.tokens={budget.tokens:,}: {max(budget.tokens - spent.tokens, 0):,} of it are left, and "
                f"{said}; {_STOPS}"
            )


def _kin(recipe: StudyRecipe, found: Sequence[Way]) -> Iterator[str]:
    """Yield a sentence for each judge that may have the taste of a critic or teacher."""
    critics = {way.critic_name: way.critic for way in found if way.critic is not None}
    for name, critic in critics.items():
        for judge_name, judge in recipe.judges.items():
            kin = related(critic.model, judge, critic.is_same_model(judge))
            if kin == "the same model":
                yield f"critic {name} and judge {judge_name} are one model: it judges what it taught to please it"
            elif kin == "one family":
                yield (
                    f"critic {name} and judge {judge_name} are of one family ({family_of(critic.model)}): the judge "
                    "may like what the critic taught for its taste; a judge of another family beside it shows that"
                )
    yield from of_teachers(recipe, found)


def _size(recipe: StudyRecipe, num_prompts: int, least: float) -> Iterator[str]:
    if len(recipe.seeds) == 1:
        yield "one seed: what is found holds for these training runs, and another seed may turn it round"
    if num_prompts < FEW:
        yield f"{num_prompts} prompts to evaluate on: fewer than {FEW} tell only large differences"
    if least > 100:  # points, which no two win rates are apart
        yield "no difference can be told here, however large, and all comparisons will end as cannot tell"
    elif least > recipe.margin:
        yield (
            f"margin={recipe.margin:g}: so small a difference may be missed here; at best one of {least:.1f} points "
            "is told, and arms that differ by less may end as cannot tell"
        )
