"""Which arms a study has, which of them are one arm, and what is asked of them. Pure: nothing is read or run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeVar, cast

from tutelage.config import Group, StageConfig, Tree, build, nearest
from tutelage.errors import ConfigError
from tutelage.inputs import Model
from tutelage.stages.dpo import Config as DpoConfig
from tutelage.stages.judging import Critic
from tutelage.stages.label import Config as LabelConfig
from tutelage.stages.prefer import Config as PreferConfig
from tutelage.stages.sample import Config as SampleConfig
from tutelage.stages.sft import Config as SftConfig
from tutelage.study.recipe import ALLOWED, OWN, Arm, StudyRecipe, Teacher, laid_over, set_by_study

_STAGES = ("sft", "sample", "label", "prefer", "dpo")
E = TypeVar("E", bound=Group)


@dataclass(frozen=True)
class Way:
    """An arm with everything in it resolved: one way to train the student, whatever the seed."""

    name: str
    arm: Arm
    model: Model
    model_name: str
    teacher: Teacher
    critic: Critic | None
    critic_name: str | None
    sft: SftConfig
    sample: SampleConfig
    label: LabelConfig
    prefer: PreferConfig
    dpo: DpoConfig
    second_sft: SftConfig
    """Of best_of_n: what takes the place of dpo."""
    varied: str
    """The values that `axes` gave it, in words."""

    @property
    def changed(self) -> dict[str, Any]:
        """Settings that only this arm has, by dotted name."""
        found: dict[str, Any] = {}

        def walk(tree: Mapping[str, Any], prefix: str) -> None:
            for key, value in tree.items():
                if isinstance(value, dict):
                    walk(value, f"{prefix}{key}.")
                else:
                    found[prefix + key] = value

        walk({"pairs": self.arm.pairs} if self.arm.pairs != "own" else {}, "")
        for stage in _STAGES:
            walk(getattr(self.arm, stage), f"{stage}.")
        return found

    def is_start_of(self, other: Way) -> bool:
        """True if this is SFT alone, and the other goes on from it."""
        return (
            self.arm.feedback == "none"
            and other.arm.feedback != "none"
            and (self.model, self.arm.teacher, self.arm.fraction, self.sft)
            == (other.model, other.arm.teacher, other.arm.fraction, other.sft)
        )


def ways(recipe: StudyRecipe) -> list[Way]:
    """Return all arms of a recipe, lists under `axes` spread out.

    Raises:
        ConfigError: an arm lacks what it needs, has a setting that it does not read, or is another one again.
    """
    arms = recipe.arms or default_arms(recipe)
    found = [_resolved(recipe, *each) for name, arm in arms.items() for each in _spread(recipe, name, arm)]
    seen: dict[str, str] = {}
    for way in found:
        endpoint = way.teacher.endpoint
        teacher = way.teacher if endpoint is None else endpoint.identity()
        read = [group.identity() for group in _read(way)]  # how fast, and with how many devices, is no difference
        key = repr((way.model, teacher, way.arm.fraction, way.arm.feedback, way.arm.pairs, read))
        if key in seen:
            raise ConfigError(
                f"study {recipe.name}: arms {seen[key]} and {way.name} are the same; "
                "let them differ in something, or leave one out"
            )
        seen[key] = way.name
    return found


def start_of(way: Way, found: Sequence[Way]) -> Way | None:
    """Return the arm that `way` goes on from, if it is an arm of the study."""
    return next((other for other in found if other.is_start_of(way)), None)


def _read(way: Way) -> tuple[Group, ...]:
    """What an arm's result depends on beside its teacher and model."""
    if way.critic is None:
        return (way.sft,)
    last = way.second_sft if way.arm.feedback == "best_of_n" else way.dpo
    return way.sft, way.critic, way.sample, way.label, way.prefer, last


def default_arms(recipe: StudyRecipe) -> dict[str, Arm]:
    """Return the paper's comparison for each teacher, and three controls for the first one.

    SFT on the share, SFT on all, and SFT on the share with feedback on the rest (Sharma et al. 2024, Figures 2 and
    5). Controls: SFT on what the critic chose, DPO on labels drawn at random, and feedback from the teacher itself.
    """
    percent, arms = f"{100 * recipe.sft_fraction:g}", {}
    first, critic = next(iter(recipe.teachers)), next(iter(recipe.critics), None)
    for model in recipe.models:
        of = "" if len(recipe.models) == 1 else f"-{model}"
        small: dict[str, Any] = {"model": model, "fraction": recipe.sft_fraction, "sft": recipe.sft_small}
        for teacher in recipe.teachers:
            arms[f"sft-{teacher}-{percent}{of}"] = Arm(teacher=teacher, **small)
            arms[f"sft-{teacher}-100{of}"] = Arm(teacher=teacher, model=model)
            if critic is not None:
                arms[f"dpo-{teacher}{of}"] = Arm(teacher=teacher, critic=critic, feedback="dpo", **small)
        if critic is not None:
            for name, feedback in (("best-of-n", "best_of_n"), ("shuffled", "shuffled")):
                arms[f"{name}-{first}{of}"] = Arm(teacher=first, critic=critic, feedback=feedback, **small)
            if recipe.teachers[first].endpoint is not None:
                arms[f"own-{first}{of}"] = Arm(teacher=first, critic=OWN, feedback="dpo", **small)
    return arms


def _spread(recipe: StudyRecipe, name: str, arm: Arm) -> list[tuple[str, Arm, str]]:
    """Return an arm's name, the arm, and what was varied, in words; one for each combination of its axes."""
    if not arm.axes:
        return [(name, arm, "")]
    base = arm.model_dump(exclude_unset=True, exclude={"axes"})
    for key, several in arm.axes.items():
        if not several:
            raise ConfigError(
                f"study {recipe.name}, arms.{name}.axes.{key}: has no value; give some, or leave it out"
            )
    found = []
    for values in product(*arm.axes.values()):
        tree = _copied(base)
        for key, value in zip(arm.axes, values, strict=True):
            _put(tree, key, value, f"study {recipe.name}, arms.{name}.axes")
        said = [f"{key.rpartition('.')[2]} {value}" for key, value in zip(arm.axes, values, strict=True)]
        full = "-".join([name, *(each.replace(" ", "-") for each in said)])
        found.append((full, build(Arm, tree, f"study {recipe.name}, arms.{name}"), ", ".join(said)))
    return found


def _copied(tree: Tree) -> Tree:
    return {key: _copied(value) if isinstance(value, dict) else value for key, value in tree.items()}


def _put(tree: Tree, key: str, value: Any, where: str) -> None:
    *groups, last = key.split(".")
    known = [name for name in Arm.model_fields if name != "axes"]
    if (groups or [last])[0] not in known:
        raise ConfigError(f"{where}: unknown key {key!r}{nearest(key, known)}")
    for group in groups:
        tree = tree.setdefault(group, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{where}: {key}: {group} is no group of settings but {tree!r}; give {group}")
    tree[last] = value


def _resolved(recipe: StudyRecipe, name: str, arm: Arm, varied: str) -> Way:
    where = f"study {recipe.name}, arms.{name}"
    if not set(name) <= ALLOWED or not 0 < len(name) <= 60:
        raise ConfigError(f"{where}: no name for an arm: at most 60 letters, digits, . + - and _ make one")
    teacher = _named(where, "teacher", arm.teacher, recipe.teachers)
    model_name = arm.model or _only(where, "model", recipe.models)
    _check_is_read(where, arm)
    critic, critic_name = _critic(recipe, where, arm, teacher)
    sft, sample, label, prefer, dpo = (_stage(where, stage, getattr(recipe, stage), arm) for stage in _STAGES)
    given = arm.dpo if arm.feedback == "best_of_n" else {}
    second = build(SftConfig, laid_over(sft, given), f"{where}.dpo")
    return Way(
        name=name,
        arm=arm,
        model=_named(where, "model", model_name, recipe.models),
        model_name=model_name,
        teacher=teacher,
        critic=critic,
        critic_name=critic_name,
        sft=cast(SftConfig, sft),
        sample=cast(SampleConfig, sample),
        label=cast(LabelConfig, label),
        prefer=cast(PreferConfig, prefer),
        dpo=cast(DpoConfig, dpo),
        second_sft=second,
        varied=varied,
    )


def _stage(where: str, stage: str, config: StageConfig, arm: Arm) -> StageConfig:
    given = getattr(arm, stage)
    kind = "sft" if stage == "dpo" and arm.feedback == "best_of_n" else stage
    problems = set_by_study(
        kind, {k: v for k, v in given.items() if (kind, k) != ("sample", "share")}, f"{where}.{stage}."
    )
    if problems:
        raise ConfigError("\n  ".join(problems))
    if not given or (stage == "dpo" and arm.feedback == "best_of_n"):
        return config
    return build(type(config), laid_over(config, given), f"{where}.{stage}")


def _check_is_read(where: str, arm: Arm) -> None:
    if arm.feedback == "none":
        given = [key for key in ("critic", "sample", "label", "prefer", "dpo") if getattr(arm, key)]
        given += ["pairs"] if arm.pairs != "own" else []
        if given:
            raise ConfigError(f"{where}: {', '.join(given)}: read by arms with feedback; this one has feedback: none")
    elif arm.fraction == 1 and "share" not in arm.sample:
        raise ConfigError(
            f"{where}: fraction 1 leaves no prompt for feedback; give a smaller one, such as 0.1, or "
            "sample: {share: [0, 1]} for feedback on the prompts that were taught"
        )


def _critic(recipe: StudyRecipe, where: str, arm: Arm, teacher: Teacher) -> tuple[Critic | None, str | None]:
    if arm.feedback == "none":
        return None, None
    if arm.critic == OWN:
        if teacher.endpoint is None:
            raise ConfigError(
                f"{where}.critic: teacher {arm.teacher} is a file of completions, which cannot judge; give teachers."
                f"{arm.teacher}.endpoint, or a critic"
            )
        critic = Critic(**teacher.endpoint.model_dump(exclude_unset=True))
        return _not_the_judge(recipe, where, critic), arm.teacher
    name = arm.critic or _only(where, "critic", recipe.critics)
    return _not_the_judge(recipe, where, _named(where, "critic", name, recipe.critics)), name


def _not_the_judge(recipe: StudyRecipe, where: str, critic: Critic) -> Critic:
    for name, judge in recipe.judges.items():
        if judge.is_same_model(critic) and not recipe.allow_self_judging:
            raise ConfigError(
                f"{where}: judges.{name} is the model that gives the feedback ({judge.model}): it would judge what "
                "it taught to please it; give another judge, or allow_self_judging=true (the report then says so)"
            )
    return critic


def _named(where: str, key: str, name: str, known: Mapping[str, E]) -> E:
    if name not in known:
        there = ", ".join(known) or "there is none"
        raise ConfigError(f"{where}.{key}: found {name!r}; expected a name under {key}s ({there})")
    return known[name]


def _only(where: str, key: str, known: Mapping[str, object]) -> str:
    if len(known) == 1:
        return next(iter(known))
    there = ", ".join(known) or f"there is none: give {key}s"
    raise ConfigError(f"{where}.{key}: required, but not given; expected a name under {key}s ({there})")
