"""`--estimate`: what a stage, or a whole road, will ask and cost. Nothing is asked, and nothing is written."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tutelage.chat.cache import REPLIES
from tutelage.chat.estimate import Estimate, estimate
from tutelage.config import Group, StageConfig
from tutelage.data.formats.item import count_nothing
from tutelage.data.rows import read_completions, read_prompts
from tutelage.errors import ConfigError
from tutelage.generate.settings import placeholders
from tutelage.pipeline import (
    Parts,
    Recipe,
    check_inputs,
    check_models,
    divide,
    evaluation_of,
    finished,
    labelling_of,
    model,
    opponents_of,
    parts_of,
    rows,
)
from tutelage.stages import dpo, label, prefer, sample, sft, teach
from tutelage.stages import evaluate as evaluate_stage
from tutelage.stages.base import Plan, Stage
from tutelage.stages.judging import judge_requests
from tutelage.stages.pairing import draw, pairs_between, pairs_within
from tutelage.store import Artifact


def of_stage(stage: Stage[Any, Any], config: StageConfig, inputs: Group) -> list[Estimate]:
    """Return the estimate of one stage; of one that is made already, nothing.

    Raises:
        ConfigError: the stage asks nobody.
    """
    if stage.plan is None:
        raise ConfigError(f"tutelage {stage.name}: asks no model over an API, so there is nothing to estimate")
    done = stage.work(config, inputs).finished()
    if done is not None:
        return [Estimate(stage=stage.name, model="", note=f"already made: {done.path}")]
    return _of_plan(stage.name, stage.plan(config, inputs), config)


def _of_plan(name: str, plan: Plan | None, config: StageConfig) -> list[Estimate]:
    if plan is None:
        return [Estimate(stage=name, model="", note="asks nobody: free")]
    return [estimate(name, plan.endpoint, plan.requests, config.artifacts / REPLIES)]


def of_road(recipe: Recipe) -> list[Estimate]:
    """Return the estimates of all stages of a recipe that ask a model.

    What is made already costs nothing. Completions that are yet to be sampled are taken to be as long as they can
    be, and all different.
    """
    check_models(recipe)
    with TemporaryDirectory() as folder:  # what a split says is needed, but nothing is to be left behind
        aside = recipe.model_copy(update={"artifacts": Path(folder)})
        return _of_parts(recipe, parts_of(recipe, divide(aside)))


def _of_parts(recipe: Recipe, parts: Parts) -> list[Estimate]:
    check_inputs(recipe, parts)
    of = recipe.of
    teaching = (of(recipe.teach), teach.Inputs(prompts=parts.taught, completions=recipe.completions))
    estimates = of_stage(teach.STAGE, *teaching)
    taught = teach.STAGE.work(*teaching).finished()
    student = taught and _made(sft.STAGE, of(recipe.sft), sft.Inputs(model=recipe.model, completions=rows(taught)))
    sampled = student and _made(
        sample.STAGE, of(recipe.sample), sample.Inputs(model=model(student), prompts=parts.sampled)
    )
    labelling = sampled and labelling_of(recipe, parts, sampled)
    labelled = labelling and _made(label.STAGE, of(recipe.label), labelling)
    estimates += of_stage(label.STAGE, of(recipe.label), labelling) if labelling else _label_unseen(recipe, parts)
    policy = student and labelled and _policy(recipe, student, labelled)
    for trained, suffix in ((student, "-sft"), (policy, "-dpo")):
        estimates += _evaluation(recipe, parts, trained or None, suffix)
    return estimates


def _evaluation(recipe: Recipe, parts: Parts, trained: Artifact | None, suffix: str) -> list[Estimate]:
    config = recipe.of(recipe.evaluate, suffix)
    if trained is not None:
        found = of_stage(evaluate_stage.STAGE, config, evaluation_of(recipe, parts, model(trained)))
    else:  # whoever is evaluated, as much is asked
        found = _of_plan("evaluate", evaluate_stage.plan(config, evaluation_of(recipe, parts, recipe.model)), config)
    return [each.model_copy(update={"stage": each.stage + suffix}) for each in found]


def _label_unseen(recipe: Recipe, parts: Parts) -> list[Estimate]:
    prompts = [p for p in read_prompts(parts.sampled, count_nothing) if recipe.sample.takes(p)]
    completions = placeholders(prompts, recipe.sample, recipe.sample.num_samples)
    against = opponents_of(recipe, parts)
    if against is None:
        every = pairs_within(completions, count_nothing, recipe.label.pairing)
    else:
        every = pairs_between(
            completions, read_completions(against, count_nothing)[1], count_nothing, recipe.label.pairing
        )
    pairs = draw(every, recipe.label, recipe.label.seed, count_nothing)
    requests = judge_requests(recipe.label.critic, recipe.label, pairs, {p.id: p for p in prompts})[1]
    return _of_plan("label", Plan(recipe.label.critic, requests), recipe.of(recipe.label))


def _policy(recipe: Recipe, student: Artifact, labelled: Artifact) -> Artifact | None:
    preferred = _made(prefer.STAGE, recipe.of(recipe.prefer), prefer.Inputs(verdicts=finished(labelled)))
    if preferred is None:
        return None
    inputs = dpo.Inputs(model=model(student), preferences=finished(preferred))
    return _made(dpo.STAGE, recipe.of(recipe.dpo), inputs)


def _made(stage: Stage[Any, Any], config: StageConfig, inputs: Group) -> Artifact | None:
    return stage.work(config, inputs).finished()
