"""What is asked of a study's arms: which two are compared, and what their difference says. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tutelage.config import nearest
from tutelage.errors import ConfigError
from tutelage.study.design import Way
from tutelage.study.recipe import StudyRecipe
from tutelage.study.words import Asked


@dataclass(frozen=True)
class Question:
    """Two arms, the first compared with the second, in names and in words."""

    first: str
    second: str
    asked: Asked


def questions(recipe: StudyRecipe, found: list[Way]) -> list[Question]:
    """Return the comparisons: the recipe's, or what feedback adds and what it is to be held against.

    Raises:
        ConfigError: a comparison names no arm, or one arm twice.
    """
    by_name = {way.name: way for way in found}
    if recipe.comparisons:
        for pair in recipe.comparisons:
            for name in pair:
                if name not in by_name:
                    near = nearest(name, list(by_name))
                    raise ConfigError(f"comparisons: no arm is called {name!r}{near} (arms: {', '.join(by_name)})")
            if pair[0] == pair[1]:
                raise ConfigError(f"comparisons: {pair[0]} with itself; give two arms")
        pairs = [tuple(sorted(pair)) for pair in recipe.comparisons]
        if twice := [pair for place, pair in enumerate(pairs) if pair in pairs[:place]]:
            both = " and ".join(twice[0])
            raise ConfigError(f"comparisons: {both} are compared twice, which the correction for several would count")
        return [Question(a, b, _asks(recipe, by_name[a], by_name[b])) for a, b in recipe.comparisons]
    asked = [each for way in found if way.arm.feedback != "none" for each in _about(recipe, way, found)]
    if not asked:  # SFT alone, on several teachers or fractions: each against the first
        asked = [Question(way.name, found[0].name, _asks(recipe, way, found[0])) for way in found[1:]]
    return list({(question.first, question.second): question for question in reversed(asked)}.values())[::-1]


def _about(recipe: StudyRecipe, way: Way, found: list[Way]) -> list[Question]:
    """Return what an arm with feedback is compared with, and what it is to be held against."""
    same = [w for w in found if w.model == way.model]
    whole = [w for w in same if w.arm.feedback == "none" and w.arm.fraction == 1]
    starts = [w for w in same if w.is_start_of(way)]
    if way.arm.feedback != "dpo":
        return [Question(way.name, w.name, _asks(recipe, way, w)) for w in starts]
    alone = [w for w in whole if w.arm.teacher == way.arm.teacher]
    own = own_teacher(recipe, way)
    strong = [w for w in whole if w.arm.teacher == own and own != way.arm.teacher]
    controls = [
        w
        for w in same
        if w.arm.feedback in ("best_of_n", "shuffled")
        and (w.critic_name, w.arm.teacher, w.arm.fraction) == (way.critic_name, way.arm.teacher, way.arm.fraction)
    ]
    several = len(recipe.models) > 1
    of_critic = f"SFT on {way.critic_name}'s own completions ({own})"
    return [
        *(Question(way.name, w.name, _asks(recipe, way, w)) for w in alone),
        *(Question(s.name, w.name, Asked(of_critic, f"{in_words(w, several)} alone")) for s in strong for w in alone),
        *(Question(s.name, way.name, Asked(of_critic, in_words(way, several))) for s in strong),
        *(Question(way.name, w.name, _asks(recipe, way, w)) for w in starts),
        *(Question(way.name, w.name, _asks(recipe, way, w)) for w in controls),
    ]


def own_teacher(recipe: StudyRecipe, way: Way) -> str | None:
    """Return the teacher whose completions are the critic's own."""
    if way.critic is None or way.critic_name is None:
        return None
    if way.critic_name in recipe.own_completions:
        return recipe.own_completions[way.critic_name]
    for name, teacher in recipe.teachers.items():
        endpoint = teacher.endpoint
        if endpoint is not None and (endpoint.provider, endpoint.model) == (way.critic.provider, way.critic.model):
            return name
        if teacher.completions is not None and teacher.completions.author == way.critic.model:
            return name
    return None


def in_words(way: Way, several: bool) -> str:
    """Return what an arm is, for a sentence; `several`: there are several students, so that it is named."""
    share = "" if way.arm.fraction == 1 else f"{100 * way.arm.fraction:g} % of "
    student = f", student {way.model_name}" if several else ""
    sft = f"SFT on {share}{way.arm.teacher}"
    after = {
        "none": "",
        "dpo": f" + feedback from {way.critic_name}",
        "best_of_n": f" + SFT on what {way.critic_name} chose",
        "shuffled": " + DPO on random labels",
    }[way.arm.feedback]
    return sft + after + student + (f" ({way.varied})" if way.varied else "")


def _asks(recipe: StudyRecipe, first: Way, second: Way) -> Asked:
    several = len(recipe.models) > 1
    one, two = in_words(first, several), in_words(second, several)
    if second.arm.feedback == "none" and first.arm.teacher == second.arm.teacher:
        if second.is_start_of(first):
            two = f"its start, {two}"
            one = _FEEDBACK[first.arm.feedback].format(critic=first.critic_name)
        elif first.arm.feedback == "dpo":
            one, two = f"feedback from {first.critic_name}", f"{two} alone"
    return Asked(one, two)


_FEEDBACK = {
    "none": "SFT",
    "dpo": "feedback from {critic}",
    "best_of_n": "SFT on what {critic} chose",
    "shuffled": "DPO on random labels",
}
