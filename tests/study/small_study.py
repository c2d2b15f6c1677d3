"""A small study on the miniature world: its recipe, how to carry it out, and its runs by arm and seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tutelage.store import Artifact
from tutelage.study.commands import graph_of
from tutelage.study.design import Way
from tutelage.study.recipe import StudyRecipe
from tutelage.study.running import Done, carry_out
from tutelage.study.tasks import Graph

Runs = Mapping[int, Mapping[str, Artifact]]
"""By seed, then by what each artifact is for: teach, sft, sample, label, prefer, dpo or best, draw, evaluate:JUDGE,
agree:JUDGE."""

RECIPE = """
name: small
artifacts: {folder}/artifacts
out: {folder}/study
models: {{base: miniature}}
miniature: {{num_prompts: 60, num_evaluation: 16}}
leakage: {{overlap: null}}
evaluation: {{teacher: weak}}
teachers: {{weak: miniature_weak}}
critics: {{critic: miniature_critic}}
judges: {{judge: miniature_critic_unbiased}}
seeds: [0, 1]
sft_fraction: 0.2
agreement_pairs: 20
shown: 6
arms:
  sft-weak-20: {{teacher: weak, fraction: 0.2}}
  dpo-weak: {{teacher: weak, fraction: 0.2, feedback: dpo}}
  best-of-n-weak: {{teacher: weak, fraction: 0.2, feedback: best_of_n}}
sft: {{lr: 1e-3, epochs: 2, batch_size: 8, optimizer: adamw, max_length: 256, micro_batch_tokens: 1024}}
sample: {{top_p: 1.0, max_tokens: 24}}
label: {{order: both, max_invalid: 0.3}}
dpo: {{lr: 3e-4, epochs: 1, batch_size: 8, optimizer: adamw, micro_batch_tokens: 1024, loss: {{beta: 0.1}}}}
evaluate: {{judging: {{order: both, max_invalid: 0.3}}, drawing: {{max_tokens: 24}}}}
"""


@dataclass(frozen=True)
class SmallStudy:
    """A study that was carried out."""

    recipe: StudyRecipe
    ways: dict[str, Way]
    graph: Graph
    done: Done
    runs: dict[str, Runs]
    """By arm."""

    @property
    def artifacts(self) -> list[Artifact]:
        """All of them, each once."""
        return list(self.done.made.values())


def small_study(folder: Path, recipe: str = RECIPE) -> SmallStudy:
    """Carry out `recipe` in `folder`; takes some seconds."""
    path = folder / "recipe.yaml"
    path.write_text(recipe.format(folder=folder))
    loaded = StudyRecipe.load(path)
    found, graph = graph_of(loaded)
    done = carry_out(graph)
    assert not done.failed, done.failed
    runs: dict[str, dict[int, dict[str, Artifact]]] = {}
    for (arm, seed), run in graph.runs.items():
        runs.setdefault(arm, {})[seed] = {name: done.made[task.key] for name, task in run.items()}
    return SmallStudy(loaded, {way.name: way for way in found}, graph, done, dict(runs))
