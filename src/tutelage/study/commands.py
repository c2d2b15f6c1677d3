"""`tutelage study`: plan, run and report a study."""

from __future__ import annotations

from pathlib import Path

from tutelage.disk import disk_errors
from tutelage.inputs import Prompts
from tutelage.miniature.commands import save_prompts
from tutelage.miniature.world import make_prompts
from tutelage.study.design import Way, ways
from tutelage.study.recipe import StudyRecipe, World
from tutelage.study.tasks import Graph


def graph_of(recipe: StudyRecipe) -> tuple[list[Way], Graph]:
    """Return the arms of a recipe and what has to be done for them.

    Raises:
        ConfigError: an arm lacks what it needs, or is another one again.
    """
    found = ways(recipe)
    if recipe.miniature is None:
        assert recipe.prompts is not None, "a recipe has prompts, or those of the miniature"
        return found, Graph(recipe, found, recipe.prompts, recipe.evaluation.prompts)
    return found, Graph(recipe, found, *world(recipe.miniature, recipe.folder))


def world(config: World, folder: Path) -> tuple[Prompts, Prompts]:
    """Write the prompts of the miniature world into `folder`; to train on, and to evaluate on."""
    training = folder / f"prompts-{config.num_prompts}-seed-{config.seed}.jsonl"
    held_out = folder / f"evaluation-{config.num_evaluation}-of-{config.num_prompts}-seed-{config.seed}.jsonl"
    with disk_errors(folder):
        train = make_prompts(config.num_prompts, config.seed)
        save_prompts(training, train)
        save_prompts(held_out, make_prompts(config.num_evaluation, config.seed + 1, train))
    return Prompts(path=str(training)), Prompts(path=str(held_out))
