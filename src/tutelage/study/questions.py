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
        return _told_apart([Question(a, b, _asks(recipe, by_name[a], by_name[b])) for a, b in recipe.comparisons])
    asked = [each for way in found if way.arm.feedback != "none" for each in _about(recipe, way, found)]
    if not asked:  # SFT alone, on several teachers or fractions: each against the first
        asked = [Question(way.name, found[0].name, _asks(recipe, way, found[0])) for way in found[1:]]
    once = {(question.first, question.second): question for question in reversed(asked)}
    return _told_apart(list(once.values())[::-1])


def _told_apart(asked: list[Question]) -> list[Question]:
    """Name the arms where two questions would read the same: in them arms differ that are the same in words."""
    alike: dict[Asked, list[Question]] = {}
    for each in asked:
        alike.setdefault(each.asked, []).append(each)

    def named(one: Question) -> Question:
        first, second = ({getattr(q, place) for q in alike[one.asked]} for place in ("first", "second"))
        what = one.asked.what + (f" ({one.first})" if len(first) > 1 else "")
        over = one.asked.over + (f" ({one.second})" if len(second) > 1 else "")
        return Question(one.first, one.second, Asked(what, over))

    return [named(each) for each in asked]


def _about(recipe: StudyRecipe, way: Way, found: list[Way]) -> list[Question]:
    """Return what an arm with feedback is compared with, and what it is to be held against."""
    same = [w for w in found if w.model == way.model]
    whole = [w for w in same if w.arm.feedback == "none" and w.arm.fraction == 1]
    starts = [w for w in same if w.is_start_of(way)]
    if way.arm.feedback != "dpo":
        return [Question(way.name, w.name, _asks(recipe, way, w)) for w in starts]
    alone = _trained_as(way, [w for w in whole if w.arm.teacher == way.arm.teacher])
    own = own_teacher(recipe, way)
    strong = [w for w in whole if w.arm.teacher == own and own != way.arm.teacher]
    strong = _trained_as(alone[0] if alone else way, strong)
    controls = [w for w in same if _is_control_of(w, way)]
    several = len(recipe.models) > 1
    of_critic = f"SFT on {way.critic_name}'s own completions ({own})"
    return [
        *(Question(way.name, w.name, _asks(recipe, way, w)) for w in alone),
        *(Question(s.name, w.name, Asked(of_critic, f"{in_words(w, several)} alone")) for s in strong for w in alone),
        *(Question(s.name, way.name, Asked(of_critic, in_words(way, several))) for s in strong),
        *(Question(way.name, w.name, _asks(recipe, way, w)) for w in starts),
        *(Question(way.name, w.name, _asks(recipe, way, w)) for w in controls),
    ]


def _trained_as(way: Way, found: list[Way]) -> list[Way]:
    """Return those whose SFT has the settings of `way`'s; all of them if none has."""
    return [w for w in found if w.sft == way.sft] or found


def _is_control_of(control: Way, way: Way) -> bool:
    """True if the two differ in what is made of the critic's labels, and in nothing else."""
    if control.arm.feedback not in ("best_of_n", "shuffled"):
        return False

    def rest(w: Way) -> tuple[object, ...]:
        return w.critic_name, w.arm.teacher, w.arm.fraction, w.arm.pairs, w.sft, w.sample, w.label, w.prefer

    return rest(control) == rest(way) and (control.arm.feedback == "best_of_n" or control.dpo == way.dpo)


def own_teacher(recipe: StudyRecipe, way: Way) -> str | None:
    """Return the teacher whose completions are the critic's own."""
    if way.critic is None or way.critic_name is None:
        return None
    if way.critic_name in recipe.own_completions:
        return recipe.own_completions[way.critic_name]
    for name, teacher in recipe.teachers.items():
        endpoint = teacher.endpoint
        if endpoint is not None and endpoint.is_same_model(way.critic):
            return name
        if teacher.completions is not None and teacher.completions.author == way.critic.model:
            return name
    return None


def in_words(way: Way, several: bool) -> str:
    """Return what an arm is, for a sentence; `several`: there are several students, so that it is named."""
    share = "" if way.arm.fraction == 1 else f"{100 * way.arm.fraction:g} % of "
    student = f", student {way.model_name}" if several else ""
    sft = f"SFT on {share}{way.arm.teacher}"
    after = "" if way.arm.feedback == "none" else f" + {_feedback(way)}"
    return sft + after + student + (f" ({way.varied})" if way.varied else "")


def _asks(recipe: StudyRecipe, first: Way, second: Way) -> Asked:
    several = len(recipe.models) > 1
    one, two = in_words(first, several), in_words(second, several)
    if second.arm.feedback == "none" and first.arm.teacher == second.arm.teacher:
        if second.is_start_of(first):
            two = f"its start, {two}"
            one = _feedback(first)
        elif first.arm.feedback == "dpo":
            one, two = _feedback(first), f"{two} alone"
    return Asked(one, two)


def _feedback(way: Way) -> str:
    """Return what follows on an arm's SFT; with the teacher in its pairs, SFT or DPO may learn the teacher's text."""
    said, of_pairs = {
        "dpo": (f"feedback from {way.critic_name}", "on"),
        "best_of_n": (f"SFT on what {way.critic_name} chose", "from"),
        "shuffled": ("DPO on random labels", "of"),
    }[way.arm.feedback]
    return f"{said} {of_pairs} pairs with {way.arm.teacher}'s completions" if way.arm.pairs == "teacher" else said
