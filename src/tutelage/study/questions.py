"""What is asked of a study's arms: which two are compared, and what their difference says. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tutelage.config import nearest
from tutelage.errors import ConfigError
from tutelage.study.design import Way
from tutelage.study.recipe import StudyRecipe


@dataclass(frozen=True)
class Question:
    """Two arms, first minus second, and what their difference says."""

    first: str
    second: str
    asks: str
    """In words, for a sentence: "{asks} adds 4.1 points"; has the form "A over B"."""


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
        return [Question(a, b, _asks(recipe, by_name[a], by_name[b])) for a, b in recipe.comparisons]
    pairs: dict[tuple[str, str], None] = {}
    for way in found:
        if way.arm.feedback != "none":
            pairs |= dict.fromkeys((one.name, two.name) for one, two in _about(recipe, way, found))
    return [Question(a, b, _asks(recipe, by_name[a], by_name[b])) for a, b in pairs]


def _about(recipe: StudyRecipe, way: Way, found: list[Way]) -> list[tuple[Way, Way]]:
    """Return what an arm with feedback is compared with."""
    same = [w for w in found if w.model == way.model]
    whole = [w for w in same if w.arm.feedback == "none" and w.arm.fraction == 1]
    pairs: list[tuple[Way, Way]] = []
    if way.arm.feedback == "dpo":
        pairs += [(way, w) for w in whole if w.arm.teacher == way.arm.teacher]
        own = own_teacher(recipe, way)
        if own != way.arm.teacher:
            pairs += [(w, way) for w in whole if w.arm.teacher == own]
    pairs += [(way, w) for w in same if w.is_start_of(way)]
    if way.arm.feedback == "dpo":
        controls = [
            w for w in same if w.arm.feedback in ("best_of_n", "shuffled") and w.critic_name == way.critic_name
        ]
        alike = [w for w in controls if (w.arm.teacher, w.arm.fraction) == (way.arm.teacher, way.arm.fraction)]
        pairs += [(way, w) for w in alike]
    return pairs


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
        "shuffled": " + DPO on labels drawn by lot",
    }[way.arm.feedback]
    return sft + after + student + (f" ({way.varied})" if way.varied else "")


def _asks(recipe: StudyRecipe, first: Way, second: Way) -> str:
    several = len(recipe.models) > 1
    one, two = in_words(first, several), in_words(second, several)
    if first.arm.feedback == "dpo" and first.arm.teacher == second.arm.teacher and second.arm.feedback == "none":
        one = f"Feedback from {first.critic_name}"
        two = f"its start, {two}" if second.is_start_of(first) else f"{two} alone"
        return f"{one} over {two}"
    if first.arm.feedback == "none" and own_teacher(recipe, second) == first.arm.teacher:
        return f"SFT on {second.critic_name}'s own completions ({first.arm.teacher}) over {two}"
    return f"{one} over {two}"
