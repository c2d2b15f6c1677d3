"""The whole road from one recipe, readable aloud."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from pydantic import Field, model_validator

from tutelage.chat import Budget, Endpoint
from tutelage.chat.prices import how_to_know
from tutelage.config import Folder, Group, StageConfig, build, load_yaml, merge_words
from tutelage.data.formats.item import count_nothing
from tutelage.data.gate import apart
from tutelage.data.leaks import Leakage
from tutelage.data.rows import read_completions, read_prompts
from tutelage.errors import ConfigError, DataError
from tutelage.inputs import Finished, Model, Part, Prompts, Rows
from tutelage.measure.win_rate import paired_difference, scores
from tutelage.progress import say
from tutelage.records import Usage, Verdict
from tutelage.stages import WHAT, dpo, evaluate, label, prefer, reward, sample, sft, splitting, teach
from tutelage.stages.asking import Asking
from tutelage.stages.dpo import Config as DpoConfig
from tutelage.stages.evaluate import Config as EvaluateConfig
from tutelage.stages.judging import Critic
from tutelage.stages.label import Config as LabelConfig
from tutelage.stages.prefer import Config as PreferConfig
from tutelage.stages.reward import Config as RewardConfig
from tutelage.stages.sample import Config as SampleConfig
from tutelage.stages.sft import Config as SftConfig
from tutelage.stages.splitting import Config as SplitConfig
from tutelage.stages.teach import Config as TeachConfig
from tutelage.store import RECORD, Artifact

AnyConfig = TypeVar("AnyConfig", bound=StageConfig)
AnyAsking = TypeVar("AnyAsking", bound=Asking)


class Evaluation(Group):
    """What the policies are compared with, and on which prompts."""

    baseline: Rows
    prompts: Prompts | None = None


class Labelling(LabelConfig):
    """A recipe's critic is one that is asked: there is no reward model yet where the road begins."""

    critic: Critic = Field(description="the model that judges pairs, or an evaluator of alpaca_eval")


class Recipe(Group):
    """One road: its inputs, and the settings of each stage."""

    name: str = Field("road", description="label of all artifacts", pattern=r"^[\w.+-]{1,60}$")
    artifacts: Folder = Field(Path("artifacts"), description="folder that holds all artifacts")
    model: Model
    prompts: Prompts
    completions: Rows | None = None
    against: Rows | None = Field(
        None,
        description="completions of somebody else, the teacher for example, that the student's are judged against; "
        "null: the student's own are judged among themselves",
    )
    evaluation: Evaluation
    split: SplitConfig | None = None
    leakage: Leakage = Leakage()
    budget: Budget = Budget()
    teach: TeachConfig = TeachConfig()
    sft: SftConfig = SftConfig()
    sample: SampleConfig = SampleConfig()
    label: Labelling
    prefer: PreferConfig = PreferConfig()
    dpo: DpoConfig = DpoConfig()
    reward: RewardConfig | None = None
    evaluate: EvaluateConfig

    @model_validator(mode="after")
    def _is_divided_once(self) -> Self:
        if self.split is None:
            return self
        if self.split.leakage != Leakage():
            raise ValueError("split.leakage: a recipe has one for all stages; give leakage instead")
        stages = "teach", "sft", "sample"
        if given := [f"{name}.share" for name in stages if getattr(self, name).share != (0.0, 1.0)]:
            raise ValueError(f"split says which prompts are for what, and so does {', '.join(given)}; leave one out")
        if missing := [f"split.{part}" for part in ("sft", "preference") if not getattr(self.split, part)]:
            raise ValueError(f"{' and '.join(missing)}: found 0; a road needs prompts for sft and for preferences")
        return self

    @classmethod
    def load(cls, path: Path, words: Sequence[str] = ()) -> Recipe:
        """Read a recipe and lay `words` over it; every setting is checked before anything runs.

        Raises:
            ConfigError: names every key that is wrong.
        """
        tree = merge_words(cls, load_yaml(path), words)
        for stage in (name for name in WHAT if isinstance(tree.get(name), dict)):
            for key in ("label", "artifacts"):
                if key in tree[stage]:
                    top = "name" if key == "label" else key
                    raise ConfigError(f"{path}: {stage}.{key}: a recipe has one for all stages; give {top} instead")
        return build(cls, tree, f"{path}")

    def of(self, config: AnyConfig, suffix: str = "") -> AnyConfig:
        """Return a stage's settings with this recipe's name and folder."""
        return config.model_copy(update={"label": self.name + suffix, "artifacts": self.artifacts})


@dataclass(frozen=True)
class Parts:
    """Which prompts a road teaches, which it draws feedback on, and which it evaluates (None: the baseline's)."""

    taught: Prompts
    sampled: Prompts
    evaluated: Prompts | None


@dataclass(frozen=True)
class Road:
    """What a recipe made."""

    before: Artifact
    """Evaluation of the student after SFT."""
    after: Artifact
    """Evaluation of the policy after DPO."""
    one_model: bool
    """True if the critic and the judge are the same model."""


def rows(artifact: Artifact) -> Rows:
    """Return an artifact as an input."""
    return Rows(path=str(artifact.path))


def finished(artifact: Artifact) -> Finished:
    """Return an artifact as an input that can be nothing else."""
    return Finished(path=str(artifact.path))


def model(artifact: Artifact) -> Model:
    """Return an artifact's checkpoint as an input."""
    return Model(path=str(artifact.path))


def run(recipe: Recipe) -> Road:
    """Take every step that is not taken yet.

    Raises:
        TutelageError: of the stage that failed; what was finished stays, and the same call goes on.
    """
    started = time.time()
    check_prices(recipe)
    of = recipe.of
    made: list[Artifact] = []

    def add(artifact: Artifact) -> Artifact:
        made.append(artifact)
        return artifact

    def asks(config: AnyAsking) -> AnyAsking:
        return within(recipe.budget, recipe.name, config, made)

    check_models(recipe)
    split = divide(recipe)
    if split is not None:
        add(split)
    parts = parts_of(recipe, split)
    check_inputs(recipe, parts)
    taught = add(
        teach.run(asks(of(recipe.teach)), teach.Inputs(prompts=parts.taught, completions=recipe.completions))
    )
    student = add(sft.run(of(recipe.sft), sft.Inputs(model=recipe.model, completions=rows(taught))))
    sampled = add(sample.run(of(recipe.sample), sample.Inputs(model=model(student), prompts=parts.sampled)))
    labelled = add(label.run(asks(of(recipe.label)), labelling_of(recipe, parts, sampled)))
    preferred = add(prefer.run(of(recipe.prefer), prefer.Inputs(verdicts=finished(labelled))))
    policy = add(dpo.run(of(recipe.dpo), dpo.Inputs(model=model(student), preferences=finished(preferred))))
    if recipe.reward is not None:
        inputs = reward.Inputs(model=model(student), preferences=finished(preferred))
        add(reward.run(of(recipe.reward), inputs))
    before, after = (
        add(evaluate.run(asks(of(recipe.evaluate, suffix)), evaluation_of(recipe, parts, model(trained))))
        for trained, suffix in ((student, "-sft"), (policy, "-dpo"))
    )
    if all((a.path / RECORD).stat().st_mtime < started for a in made):
        say(f"nothing to do: all {len(made)} artifacts of {recipe.name} were already made")
    critic, judge = recipe.label.critic, recipe.evaluate.judge
    return Road(before, after, one_model=critic.is_same_model(judge))


def divide(recipe: Recipe) -> Artifact | None:
    """Return the split of a recipe's prompts; where evaluation is no part of it, apart from what is evaluated.

    None if the recipe has no split, and no prompts are to be removed. Where they only are to be removed, all others
    are in the part for preferences.
    """
    if recipe.split is None and recipe.leakage.action != "remove":
        return None
    config = recipe.split or SplitConfig(sft=0.0, preference=1.0)
    evaluation = recipe.evaluation
    outside = evaluation.prompts or (None if config.evaluation else evaluation.baseline)
    config = config.model_copy(update={"leakage": recipe.leakage})
    return splitting.run(recipe.of(config), splitting.Inputs(prompts=recipe.prompts, evaluated=outside))


def parts_of(recipe: Recipe, split: Artifact | None) -> Parts:
    """Return which prompts each step takes.

    With a split the teacher is asked about those for SFT alone: replies that nothing learns from cost as much.
    """
    prompts = recipe.evaluation.prompts
    if split is None:
        return Parts(recipe.prompts, recipe.prompts, prompts)

    def part(name: Part) -> Prompts:
        return Prompts(path=str(split.path), part=name)

    if recipe.split is None:
        return Parts(part("preference"), part("preference"), prompts)
    return Parts(
        part("sft"), part("preference"), prompts or (part("evaluation") if recipe.split.evaluation else None)
    )


def opponents_of(recipe: Recipe, parts: Parts) -> Rows | None:
    """Return what the student's completions are judged against: of a split, the part that it completes."""
    against, sampled = recipe.against, parts.sampled
    if against is None or against.part is not None or sampled.part is None:
        return against
    return against.model_copy(update={"part": sampled.part, "part_of": sampled.part_of or sampled.path})


def labelling_of(recipe: Recipe, parts: Parts, sampled: Artifact) -> label.Inputs:
    """Return what the critic is given."""
    return label.Inputs(completions=rows(sampled), against=opponents_of(recipe, parts))


def evaluation_of(recipe: Recipe, parts: Parts, policy: Model) -> evaluate.Inputs:
    """Return what an evaluation of `policy` takes."""
    return evaluate.Inputs(model=policy, baseline=recipe.evaluation.baseline, prompts=parts.evaluated)


def within(
    whole: Budget, whose: str, config: AnyAsking, made: Iterable[Artifact], begun: Iterable[Usage] = ()
) -> AnyAsking:
    """Return a stage's settings with no more budget than `whose` work has left after `made`.

    Args:
        begun: what was spent for artifacts that are not finished, the stage's own apart: it counts that itself.

    Raises:
        ConfigError: what an earlier stage cost is unknown, so that nobody can say what is left.
    """
    bills = [artifact.record.bill for artifact in made if artifact.record.bill is not None]
    spent = Usage.total([*(usage for bill in bills for usage in (bill.paid, bill.lost)), *begun])
    own = config.budget
    if whole.usd is not None and spent.dollars is None:
        raise ConfigError(
            f"budget.usd: what earlier stages of {whose} cost is unknown, since their model had no price when "
            "they were made; use budget.tokens"
        )
    usd = None if whole.usd is None else max(0.0, whole.usd - (spent.dollars or 0.0))
    tokens = None if whole.tokens is None else max(0, whole.tokens - spent.tokens)
    usd = min((limit for limit in (usd, own.usd) if limit is not None), default=None)
    tokens = min((limit for limit in (tokens, own.tokens) if limit is not None), default=None)
    return config.model_copy(update={"budget": Budget(usd=usd, tokens=tokens)})


def check_prices(recipe: Recipe) -> None:
    """Refuse a budget in dollars for a model without a price, before anything is trained or paid for.

    Raises:
        ConfigError: names the model.
    """
    teacher = recipe.teach.teacher if recipe.completions is None else None
    asked = (recipe.teach, teacher), (recipe.label, recipe.label.critic), (recipe.evaluate, recipe.evaluate.judge)
    for config, endpoint in asked:
        check_price(recipe.budget, config, endpoint)


def check_price(whole: Budget, config: Asking, endpoint: Endpoint | None) -> None:
    """Refuse a budget in dollars, of the whole or of a stage, for a model without a price.

    Raises:
        ConfigError: names the model.
    """
    if endpoint is None or endpoint.provider == "miniature":
        return
    if (whole.usd, config.budget.usd) != (None, None) and endpoint.known_price() is None:
        raise ConfigError(f"budget.usd: {how_to_know(endpoint.model)}, or use budget.tokens")


def check_models(recipe: Recipe) -> None:
    """Refuse a model, a baseline or an `against` that is not there: to be known now, not after hours of training.

    Raises:
        ModelError, DataError, StoreError: names it.
    """
    recipe.model.identity()
    recipe.evaluation.baseline.identity()
    if recipe.against is not None:
        recipe.against.identity()


def check_inputs(recipe: Recipe, parts: Parts) -> None:
    """Refuse prompts that cannot be read, a baseline that answers none of them, and training on what is evaluated.

    Raises:
        DataError: names the file; or says how many prompts are in both, and shows some.
    """
    tested = read_completions(recipe.evaluation.baseline, count_nothing, keep_empty=True)[0]
    if parts.evaluated is not None:
        known = {p.id for p in tested}
        tested = read_prompts(parts.evaluated, count_nothing)
        if known.isdisjoint(p.id for p in tested):
            raise DataError(
                f"{recipe.evaluation.baseline.path}: has a completion for none of the prompts that are evaluated "
                f"({parts.evaluated.path}{parts.evaluated.asked_for()})"
            )
    _check_against(recipe, parts)
    if parts.taught == recipe.prompts:  # else a split has looked already
        inputs = recipe.prompts, parts.evaluated or recipe.evaluation.baseline
        apart(read_prompts(recipe.prompts, count_nothing), tested, recipe.leakage, inputs, count_nothing)
    first, second = recipe.sft, recipe.sample
    if recipe.split is None and (
        first.share_seed != second.share_seed
        or max(first.share[0], second.share[0]) < min(first.share[1], second.share[1])
    ):
        say("note: sft and sample have prompts in common (sft.share, sample.share, share_seed)")


def _check_against(recipe: Recipe, parts: Parts) -> None:
    against = opponents_of(recipe, parts)
    if against is None:
        return
    known = {p.id for p in read_completions(against, count_nothing)[0]}
    if known.isdisjoint(p.id for p in read_prompts(parts.sampled, count_nothing) if recipe.sample.takes(p)):
        raise DataError(
            f"{against.path}: against has a completion for none of the prompts that the student completes "
            f"({parts.sampled.path}{parts.sampled.asked_for()})"
        )


def summary(road: Road) -> list[str]:
    """Say what the feedback did, in lines for people."""
    lines = []
    for name, artifact in (("SFT", road.before), ("SFT + DPO", road.after)):
        rate = artifact.record.win_rate
        assert rate is not None
        lines.append(
            f"{name:10} {rate.rate:5.1f} % ± {rate.standard_error or 0:.1f} against {rate.baseline} "
            f"(judge {rate.judge}; {rate.wins} wins, {rate.losses} losses, {rate.ties} ties, "
            f"{rate.invalid} unreadable)"
        )
    first, second = (scores(a.rows(label.VERDICTS, Verdict)) for a in (road.after, road.before))
    difference, error, num = paired_difference(first, second)
    lines.append(f"{'difference':10} {difference:+5.1f} points, standard error {error:.1f}, {num} prompts in both")
    lines.append(verdict_sentence("Feedback", difference, error))
    if road.one_model:
        lines.append("Critic and judge are the same model: it judged what it had taught to please it.")
    return lines


def verdict_sentence(what: str, difference: float, error: float) -> str:
    """Say in words whether a paired difference is distinguishable from none (two standard errors)."""
    if math.isnan(error):
        return f"{what}: one prompt in both evaluations cannot tell."
    if not abs(difference) > 2 * error:
        return (
            f"{what} made no difference that these prompts can show "
            f"(the 95 % interval is {difference - 2 * error:+.1f} to {difference + 2 * error:+.1f} points)."
        )
    verb = "raised" if difference > 0 else "lowered"
    return (
        f"{what} {verb} the win rate by {abs(difference):.1f} points "
        f"(95 % interval {difference - 2 * error:+.1f} to {difference + 2 * error:+.1f}, over prompts, for this "
        "one training run)."
    )
