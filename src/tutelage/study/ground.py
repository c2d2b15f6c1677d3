"""What a study stands on before anything is made: its split, its prompts, its opponent, and that all of it is right.

Nothing is asked, and nothing is written but into a folder that is removed again.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from tutelage.chat import Endpoint
from tutelage.chat.endpoint import read_key
from tutelage.config import StageConfig
from tutelage.data.formats.item import count_nothing
from tutelage.data.normal import group_of
from tutelage.data.rows import read_completions, read_prompts
from tutelage.data.share import OfPrompts, position
from tutelage.errors import AuthenticationError, ConfigError, DataError
from tutelage.extras import require
from tutelage.generate.settings import Drawing, placeholders
from tutelage.inputs import Model, Prompts, Rows
from tutelage.miniature.client import MiniatureClient
from tutelage.pipeline import check_price
from tutelage.records import Completion, Prompt
from tutelage.stages import evaluate, label
from tutelage.stages.asking import Asking
from tutelage.stages.judging import judge_requests
from tutelage.store import Artifact
from tutelage.study.tasks import Graph, Task

Share = tuple[float, float]


@dataclass
class Ground:
    """What is known of a study beforehand. Only good within `looked_at`: an unmade split lies in a folder on loan."""

    graph: Graph
    tasks: Sequence[Task]
    """All of them, each once, in an order in which they can be done."""
    known: Mapping[str, Artifact]
    """By the task's key: what is finished, and the split in any case."""
    split_is_made: bool
    prompts: list[Prompt]
    """To train on, all arms' fractions together."""
    evaluated: list[Prompt]
    """Those that the opponent has a completion of."""
    baseline: dict[str, Completion]
    """The opponent's, by prompt; stand-ins if it is yet to be asked."""
    opponent: Rows | None
    """Where `baseline` is from; None: it is yet to be asked."""
    notes: list[str] = field(default_factory=list)
    """What is left out, in sentences."""
    given: dict[str, int] = field(default_factory=dict)
    """Of a task of teach that imports a file, by its key: how many of its prompts have a completion there."""
    _parts: dict[Share, list[Prompt]] = field(default_factory=dict)

    def is_made(self, task: Task) -> bool:
        """True if the task is done already."""
        return task.key in self.known and (task.key != self.graph.split.key or self.split_is_made)

    @cached_property
    def split(self) -> Artifact:
        """The split."""
        return self.known[self.graph.split.key]

    @cached_property
    def _places(self) -> list[float]:
        return [position(group_of(p), self.graph.recipe.split_seed) for p in self.prompts]

    def part(self, config: StageConfig) -> list[Prompt]:
        """Return the training prompts in the share of a stage that has one.

        Raises:
            DataError: there is none.
        """
        share = begin, end = cast(OfPrompts, config).share
        if share not in self._parts:
            both = zip(self._places, self.prompts, strict=True)
            self._parts[share] = [prompt for place, prompt in both if begin <= place < end]
        if not self._parts[share]:
            raise DataError(
                f"{self.graph.prompts.path}: none of its {len(self.prompts):,} prompts falls into the share "
                f"[{begin:g}, {end:g}] that an arm asks for; give more prompts, or a larger fraction"
            )
        return self._parts[share]

    def num_taught(self, task: Task) -> int:
        """Return on how many prompts a task of teach has completions, at most."""
        return self.given.get(task.key, len(self.part(task.config)))

    def asked_about(self, task: Task) -> list[Prompt]:
        """Return the prompts of a task of teach."""
        return self.evaluated if task is self.graph.baseline else self.part(task.config)


def check(graph: Graph) -> None:
    """Refuse a study that cannot be carried out, before anything is trained or paid for. Nothing is asked or written.

    Raises:
        TutelageError: names the file or setting, and what is wrong with it.
    """
    with looked_at(graph) as ground:
        missing = missing_keys(ground)
        if missing:
            raise AuthenticationError(missing[0])
        if any(task.stage in ("sft", "dpo", "sample") and not ground.is_made(task) for task in ground.tasks):
            require("train", "tutelage study")


@contextlib.contextmanager
def looked_at(graph: Graph) -> Iterator[Ground]:
    """Lend what is known of a study, after looking whether all of it is right.

    Raises:
        TutelageError: as `check`; but keys and libraries that are missing are no fault of the recipe.
    """
    tasks = graph.all()
    _check_settings(graph, tasks)
    for model in {task.given["model"] for task in tasks if isinstance(task.given.get("model"), Model)}:
        model.identity()  # raises if there is no such folder
    with TemporaryDirectory() as folder:
        yield _ground(graph, tasks, Path(folder))


def endpoint_of(task: Task) -> Endpoint | None:
    """Return whom a task asks; None: nobody."""
    for name in ("teacher", "critic", "judge"):
        found = getattr(task.config, name, None)
        if isinstance(found, Endpoint):
            return found
    return None


def missing_keys(ground: Ground) -> list[str]:
    """Return a sentence for each key that is not there and will be needed."""
    found: dict[str | None, str] = {}
    for task in ground.tasks:
        endpoint = endpoint_of(task)
        if endpoint is not None and not ground.is_made(task):
            try:
                read_key(endpoint)
            except AuthenticationError as error:
                found.setdefault(endpoint.api_key_env, str(error))
    return list(found.values())


def _check_settings(graph: Graph, tasks: Sequence[Task]) -> None:
    """Check what needs no file: prices, models that exist, templates that a critic can be asked with."""
    for task in tasks:
        config, endpoint = task.config, endpoint_of(task)
        is_own = task.stage == "label" and "against" not in task.needs
        if is_own and task.needs["completions"][1].config.num_samples < 2:  # type: ignore[attr-defined]
            raise ConfigError(
                "sample.num_samples: found 1; feedback compares completions of one prompt: give 2 at least, or "
                "pairs: teacher for the arm"
            )
        if endpoint is None or not isinstance(config, Asking):
            continue
        check_price(graph.recipe.budget, config, endpoint)
        if endpoint.provider == "miniature":
            MiniatureClient(endpoint.model)  # raises if it has no such model
            if config.mode == "batch":
                raise ConfigError(f"{task.stage}.mode: {endpoint.model} is of the miniature world; it has no batches")
        if isinstance(config, label.Config) and config.critic is not None:
            judge_requests(config.critic, config, (), {})  # raises if it cannot be asked with this template
        if isinstance(config, evaluate.Config):
            judge_requests(config.judge, config.judging, (), {})


def _takes_training_prompts(task: Task) -> bool:
    return "prompts" in task.needs and task.needs["prompts"][0] == "train"


def _ground(graph: Graph, tasks: Sequence[Task], folder: Path) -> Ground:
    made = graph.split.found({})
    split = made or _divided(graph.split, folder)
    known = {graph.split.key: split}
    for task in tasks:
        task.found(known)
    part = Prompts(path=str(split.path), part="preference")
    ground = Ground(graph, tasks, known, made is not None, read_prompts(part, count_nothing), [], {}, None)
    if left_out := {what: num for what, num in split.record.counts.items() if num and what.startswith("left out")}:
        said = ", ".join(f"{num:,} {what.removeprefix('left out: ')}" for what, num in left_out.items())
        ground.notes.append(f"left out of the training prompts: {said}")
    _meet_opponent(ground)
    _check_teachers(ground)
    return ground


def _divided(split: Task, folder: Path) -> Artifact:
    """Make the split aside; it raises if training prompts are evaluated."""
    config = split.config.model_copy(update={"artifacts": folder})
    with contextlib.redirect_stderr(io.StringIO()):  # a look is not narrated
        return split.does.make(config, split.inputs({}))


def _meet_opponent(ground: Ground) -> None:
    """Read the prompts that are evaluated and the opponent's completions of them.

    Raises:
        DataError: it has none of them.
    """
    graph, task = ground.graph, ground.graph.baseline
    if task is None:
        rows = graph.recipe.evaluation.baseline
    elif task.key in ground.known:
        rows = Rows(path=str(ground.known[task.key].path))
    else:
        rows = task.given.get("completions")  # type: ignore[assignment]
    asked = evaluated_prompts(ground)
    prompts = read_prompts(asked, count_nothing)
    if rows is None:
        limit = Drawing(max_tokens=graph.recipe.teach.max_tokens)
        ground.evaluated = prompts
        stand_ins = placeholders(prompts, limit, 1)
        ground.baseline = {c.prompt_id: c.model_copy(update={"text": c.text[::-1]}) for c in stand_ins}
        return
    have = {p.id for p in read_completions(rows, count_nothing, keep_empty=True, known_author=True)[0]}
    if have.isdisjoint(p.id for p in prompts):
        raise DataError(
            f"{rows.path}: has a completion for none of the {len(prompts):,} prompts that are evaluated "
            f"({asked.path}{asked.asked_for()}); give the opponent's completions of these prompts"
        )
    ground.evaluated, ground.baseline = evaluate.read_baseline(
        evaluate.Inputs(baseline=rows, prompts=asked), count_nothing
    )
    ground.opponent = rows
    if len(ground.evaluated) < len(prompts):
        ground.notes.append(
            f"{len(prompts) - len(ground.evaluated):,} of {len(prompts):,} prompts to evaluate on have no completion "
            f"of the opponent in {rows.path}, and are not judged"
        )


def evaluated_prompts(ground: Ground) -> Prompts:
    """Return the prompts that are evaluated, as an input."""
    draw = next(iter(ground.graph.runs.values()))["draw"]
    given = draw.given.get("prompts")
    return given if isinstance(given, Prompts) else Prompts(path=str(ground.split.path), part="evaluation")


def _check_teachers(ground: Ground) -> None:
    """Check that every share holds prompts, and that a teacher that is a file has completions of some of them.

    Raises:
        DataError: a share is empty; a file cannot be read, or has nothing for the prompts that are taught.
    """
    read: dict[str, set[str]] = {}
    for task in filter(_takes_training_prompts, ground.tasks):
        wanted = ground.part(task.config)
        rows = task.given.get("completions")
        if not isinstance(rows, Rows):
            continue
        if rows.path not in read:
            completions = read_completions(rows, count_nothing, known_author=True)[1]
            read[rows.path] = {c.prompt_id for c in completions}
        num = sum(p.id in read[rows.path] for p in wanted)
        if not num:
            raise DataError(
                f"{rows.path}: has a completion for none of the {len(wanted):,} prompts that an arm is taught "
                f"({ground.graph.prompts.path}); give the teacher's completions of these prompts"
            )
        ground.given[task.key] = num
        if num < len(wanted):
            ground.notes.append(f"{rows.path}: has a completion for {num:,} of {len(wanted):,} prompts to be taught")
