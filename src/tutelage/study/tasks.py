"""Arms and seeds as a graph of stages, in which what several arms have in common is one task. Nothing is run here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from tutelage import stages
from tutelage.config import Group, StageConfig
from tutelage.inputs import Finished, Model, Prompts, Rows
from tutelage.records import digest
from tutelage.stages import evaluate, sample, splitting
from tutelage.stages.base import Stage
from tutelage.stages.judging import Critic
from tutelage.store import Artifact
from tutelage.study.design import Way
from tutelage.study.recipe import StudyRecipe, Teacher

Kind = Literal["rows", "finished", "model", "train", "evaluation"]
"""How a task takes what another one makes: its rows, the artifact itself, its checkpoint, or a part of a split."""


@dataclass(frozen=True)
class Task:
    """A stage with its settings, some inputs that are there, and some that other tasks make."""

    stage: str
    config: StageConfig
    given: Mapping[str, Group] = field(default_factory=dict)
    needs: Mapping[str, tuple[Kind, Task]] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """The same for tasks that make the same."""
        needs = {name: [kind, task.key] for name, (kind, task) in self.needs.items()}
        given = {name: value.model_dump(mode="json") for name, value in self.given.items()}
        return digest([self.stage, _plain(self.config.identity()), given, needs])

    @property
    def does(self) -> Stage[Any, Any]:
        """The stage."""
        return stages.get(self.stage)

    def inputs(self, made: Mapping[str, Artifact]) -> Group:
        """Return the inputs, with `made` (by key) in the place of what other tasks make."""
        taken = {name: _taken(kind, made[task.key]) for name, (kind, task) in self.needs.items()}
        inputs: Group = self.does.inputs(**self.given, **taken)
        return inputs

    def all(self) -> Iterator[Task]:
        """Yield all tasks that this one needs, and this one, in an order in which they can be done."""
        for _, task in self.needs.values():
            yield from task.all()
        yield self

    def found(self, made: dict[str, Artifact]) -> Artifact | None:
        """Return what this task makes if it is there already, and put it into `made`, where all that it needs is."""
        if self.key not in made and all(task.key in made for _, task in self.needs.values()):
            artifact = self.does.work(self.config, self.inputs(made)).finished()
            if artifact is not None:
                made[self.key] = artifact
        return made.get(self.key)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _taken(kind: Kind, artifact: Artifact) -> Group:
    path = str(artifact.path)
    match kind:
        case "rows":
            return Rows(path=path)
        case "finished":
            return Finished(path=path)
        case "model":
            return Model(path=path)
        case "train":  # all that is not evaluated; the arms' fractions divide it
            return Prompts(path=path, part="preference")
        case "evaluation":
            return Prompts(path=path, part="evaluation")


REST, EVALUATE, AGREE = "teach:rest", "evaluate:", "agree:"
"""Of `Run`; the last two with the name of a judge. No run waits for a judge's opinion of training pairs."""
Run = dict[str, Task]
"""One arm with one seed, by what each task is for: teach, sft, sample, teach:rest (of pairs: teacher), label,
prefer, dpo (of best_of_n: best), draw, evaluate:JUDGE, agree:JUDGE."""


class Graph:
    """All runs of a study, and what they share."""

    def __init__(self, recipe: StudyRecipe, found: list[Way], prompts: Prompts, evaluated: Prompts | None) -> None:
        """Lay out the tasks.

        Args:
            prompts: to train on.
            evaluated: what is evaluated; None: the baseline's prompts, or those held out.
        """
        self.recipe, self.prompts, self.evaluated = recipe, prompts, evaluated
        self.split = self._split()
        self.baseline = self._baseline()
        self.runs: dict[tuple[str, int], Run] = {
            (way.name, seed): self._run(way, seed) for way in found for seed in recipe.seeds
        }

    def all(self) -> list[Task]:
        """Return every task once, in an order in which they can be done: seed by seed, arm by arm."""
        tasks = {task.key: task for task in self.split.all()}
        if self.baseline is not None:
            tasks |= {task.key: task for task in self.baseline.all()}
        for _, run in sorted(self.runs.items(), key=lambda item: self.recipe.seeds.index(item[0][1])):
            for each in run.values():
                tasks |= {task.key: task for task in each.all()}
        return list(tasks.values())

    @cached_property
    def labels(self) -> dict[str, str]:
        """What the artifact of each task is called, by its key: after the first arm and seed that it is made for."""
        found: dict[str, str] = {}
        for (arm, seed), run in self.runs.items():
            for name, task in run.items():
                what = "" if name == task.stage else f"-{name.replace(':', '-')}"
                found.setdefault(task.key, f"{self.recipe.name}-{arm}-{seed}{what}"[:80])
        return found

    def _of(self, config: Any, **changes: Any) -> Any:
        return config.model_copy(update={"label": self.recipe.name, "artifacts": self.recipe.artifacts, **changes})

    def _split(self) -> Task:
        recipe, evaluation = self.recipe, self.recipe.evaluation
        held = evaluation.held_out
        rest = 1.0 - held if isinstance(held, float) else 1.0
        config = splitting.Config(sft=0.0, preference=round(rest, 9), evaluation=held, leakage=recipe.leakage)
        outside = self.evaluated or (None if held else evaluation.baseline)
        given: dict[str, Group] = {"prompts": self.prompts}
        return Task("split", self._of(config), given | ({"evaluated": outside} if outside else {}))

    def _evaluated(self) -> tuple[dict[str, Group], dict[str, tuple[Kind, Task]]]:
        """Return where the prompts that are evaluated come from: they are there, or a part of the split."""
        if self.evaluated is not None:
            return {"prompts": self.evaluated}, {}
        if self.recipe.evaluation.held_out:
            return {}, {"prompts": ("evaluation", self.split)}
        baseline = self.recipe.evaluation.baseline
        assert baseline is not None, "a recipe has prompts to evaluate on"
        taken = {name: getattr(baseline, name) for name in Prompts.model_fields}
        return {"prompts": Prompts(**taken)}, {}

    def _baseline(self) -> Task | None:
        evaluation = self.recipe.evaluation
        if evaluation.teacher is None:
            return None
        teacher = self.recipe.teachers[evaluation.teacher]
        given, needs = self._evaluated()
        return self._teach(teacher, given, needs, seed=evaluation.seed)

    def _teach(
        self, teacher: Teacher, given: dict[str, Group], needs: dict[str, tuple[Kind, Task]], **changes: Any
    ) -> Task:
        if teacher.completions is not None:
            given = given | {"completions": teacher.completions}
        return Task("teach", self._of(self.recipe.teach, teacher=teacher.endpoint, **changes), given, needs)

    def _run(self, way: Way, seed: int) -> Run:
        share, seeded = (0.0, way.arm.fraction), {"seed": seed}
        order = self.recipe.split_seed
        run: Run = {}
        run["teach"] = self._teach(way.teacher, {}, {"prompts": ("train", self.split)}, share=share, share_seed=order)
        run["sft"] = Task(
            "sft", self._of(way.sft, **seeded), {"model": way.model}, {"completions": ("rows", run["teach"])}
        )
        trained = run["sft"]
        if way.arm.feedback != "none":
            rest = way.sample.share if "share" in way.sample.model_fields_set else (way.arm.fraction, 1.0)
            trained = self._feedback(way, seed, run, rest)
        drawing = self.recipe.evaluate.drawing
        config = sample.Config(**{name: getattr(drawing, name) for name in type(drawing).model_fields}, num_samples=1)
        given, needs = self._evaluated()
        run["draw"] = Task("sample", self._of(config, **seeded), given, {**needs, "model": ("model", trained)})
        for name, judge in self.recipe.judges.items():
            run[EVALUATE + name] = self._evaluate(judge, seed, run["draw"])
        return run

    def _feedback(self, way: Way, seed: int, run: Run, rest: tuple[float, float]) -> Task:
        """Add what an arm with feedback does after SFT; return the task that trains its policy."""
        seeded = {"seed": seed}
        student: tuple[Kind, Task] = ("model", run["sft"])
        drawn = self._of(way.sample, **seeded, share=rest, share_seed=self.recipe.split_seed)
        run["sample"] = Task("sample", drawn, {}, {"model": student, "prompts": ("train", self.split)})
        compared: dict[str, tuple[Kind, Task]] = {"completions": ("rows", run["sample"])}
        if way.arm.pairs == "teacher":
            of_rest: dict[str, tuple[Kind, Task]] = {"prompts": ("train", self.split)}
            run[REST] = self._teach(way.teacher, {}, of_rest, share=rest, share_seed=self.recipe.split_seed)
            compared["against"] = ("rows", run[REST])
        run["label"] = Task("label", self._of(way.label, critic=way.critic, **seeded), {}, compared)
        choosing = self._of(way.prefer, **seeded, shuffled=way.arm.feedback == "shuffled")
        run["prefer"] = Task("prefer", choosing, {}, {"verdicts": ("finished", run["label"])})
        if way.arm.feedback == "best_of_n":
            run["best"] = Task(
                "sft",
                self._of(way.second_sft, **seeded),
                {},
                {"model": student, "completions": ("rows", run["prefer"])},
            )
            return run["best"]
        run["dpo"] = Task(
            "dpo",
            self._of(way.dpo, **seeded),
            {},
            {"model": student, "preferences": ("finished", run["prefer"])},
        )
        if way.arm.feedback == "dpo" and seed == self.recipe.seeds[0] and self.recipe.agreement_pairs:
            for name, judge in self.recipe.judges.items():
                again = self._of(
                    way.label, critic=judge, max_pairs=self.recipe.agreement_pairs, **self._judging(), **seeded
                )
                run[AGREE + name] = Task("label", again, {}, compared)
        return run["dpo"]

    def _judging(self) -> dict[str, Any]:
        """A judge is asked about training pairs as it is about evaluated ones."""
        judging = self.recipe.evaluate.judging
        return {name: getattr(judging, name) for name in type(judging).model_fields if name != "seed"}

    def _evaluate(self, judge: Critic, seed: int, drawn: Task) -> Task:
        whole = self.recipe.evaluate
        settings = {name: getattr(whole, name) for name in type(whole).model_fields if name != "drawing"}
        config = evaluate.Config(
            **settings | {"judge": judge, "judging": whole.judging.model_copy(update={"seed": seed})}
        )
        given: dict[str, Group] = {}
        needs: dict[str, tuple[Kind, Task]] = {"completions": ("rows", drawn)}
        if self.baseline is not None:
            needs["baseline"] = ("rows", self.baseline)
        else:
            assert self.recipe.evaluation.baseline is not None
            given["baseline"] = self.recipe.evaluation.baseline
        prompts, needed = self._evaluated()
        return Task("evaluate", self._of(config), given | prompts, needs | needed)
