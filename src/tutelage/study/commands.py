"""`tutelage study`: plan, run and report a study."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator, Sequence
from pathlib import Path

from tutelage.disk import disk_errors, is_file, write_atomically
from tutelage.errors import StudyError
from tutelage.extras import require
from tutelage.findings import STUDY, Findings
from tutelage.inputs import Prompts
from tutelage.miniature.commands import save_prompts
from tutelage.miniature.world import make_prompts
from tutelage.report.bandit_page import explorer
from tutelage.report.study_words import listed
from tutelage.study.design import Way, ways
from tutelage.study.recipe import StudyRecipe, World
from tutelage.study.tasks import Graph

USAGE = "tutelage study recipe.yaml|miniature [--dry-run|--report] [key=value ...]"
HELP = (
    f"{USAGE}\n"
    "  miniature: the example that is shipped, offline. What is finished is found again and never run twice.\n"
    "  --dry-run: the plan, what it costs and what it can show; nothing is run, asked or paid.\n"
    "  --report: the report of what is finished; nothing is run.\n"
    "  Settings marked ~ do not change the result.\n"
    "tutelage study paper [out=paper] [study=FOLDER]: the paper's figures, and a study of yours beside them"
)
REPORT = "report.html"
_REASONS = 5
"""For which runs are missing, at most so many are told; the report has all."""


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


def dry_run(recipe: StudyRecipe) -> str:
    """Return the plan of a study: what is to run, what it costs, what it can show. Nothing is asked or trained.

    Raises:
        TutelageError: the study could not be run as it is.
    """
    from tutelage.study.plan import plan

    check_folder(recipe)
    return plan(graph_of(recipe)[1])


def run(recipe: StudyRecipe, only_report: bool = False) -> str:
    """Run what is not there yet (unless `only_report`), write the report, and return what was found.

    Raises:
        StudyError: runs are unfinished; the report that was written says which, and holds the others.
        TutelageError: nothing can be run, or nothing is finished.
    """
    from tutelage.study.gather import gather
    from tutelage.study.ground import check
    from tutelage.study.processes import refuse_a_second_start
    from tutelage.study.running import carry_out, look_up
    from tutelage.study.terminal import text

    refuse_a_second_start()
    require("plot", "tutelage study")
    check_folder(recipe)
    found, graph = graph_of(recipe)
    if only_report:
        done = look_up(graph)
    else:
        check(graph)
        with _alone(recipe.folder):
            done = carry_out(graph)
    findings = gather(graph, found, done)
    num_missing, missing = sum(len(arm.missing) for arm in findings.arms), _missing(findings)
    if not any(arm.rates for arm in findings.arms):
        raise StudyError("\n  ".join([f"study {recipe.name}: not one run is finished", *missing]))
    said = text(findings, write(findings, recipe.folder))
    if num_missing:
        num = len(found) * len(recipe.seeds)
        raise StudyError(
            "\n  ".join(
                [
                    f"study {recipe.name}: {num_missing} of {num} runs are unfinished; the same command goes on "
                    f"with them. {recipe.folder / REPORT} has the others. What is missing:",
                    *missing,
                ]
            )
        )
    return said


def _missing(findings: Findings) -> list[str]:
    """Return a sentence for each reason for which runs are missing: what arms share fails all of them."""
    runs: dict[str, dict[str, list[str]]] = {}
    for arm in findings.arms:
        for each in arm.missing:
            runs.setdefault(f"{each.stage}: {each.why}", {}).setdefault(arm.name, []).append(str(each.seed))
    said = [
        f"{'; '.join(f'{arm}, {_seeds(seeds)}' for arm, seeds in of_arms.items())}: {why}"
        for why, of_arms in runs.items()
    ]
    return [*said[:_REASONS], *([f"and {len(said) - _REASONS} more reasons"] if len(said) > _REASONS else [])]


def _seeds(seeds: list[str]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {listed(seeds)}"


def write(findings: Findings, folder: Path) -> Sequence[Path]:
    """Write study.json, the figures and the report into `folder`; return the paths, the report's first.

    Raises:
        StoreError: they cannot be written.
    """
    from tutelage.report.figures import FOLDER, write_figures
    from tutelage.report.study_page import study_page

    saved = findings.save(folder)
    page = study_page(findings, write_figures(findings, folder / FOLDER), explorer())
    with disk_errors(folder):
        write_atomically(folder / REPORT, page)
    return folder / REPORT, saved, folder / FOLDER


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the study for this process: two would fail each other's arms, and spend a budget twice.

    Raises:
        StudyError: another process holds it.
    """
    name = folder / ".lock"
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = name.open("w")
    with lock:
        with disk_errors(name):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StudyError(
                    f"{folder}: another process is running this study now; wait for it, or look at what is there "
                    "with --report"
                ) from None
        yield


def check_folder(recipe: StudyRecipe) -> None:
    """Refuse a folder that holds the results of another study, or of another version.

    Raises:
        StudyError: says whose they are.
    """
    if not is_file(recipe.folder / STUDY):
        return
    there = Findings.load(recipe.folder)
    if there.name != recipe.name:
        raise StudyError(
            f"{recipe.folder}: holds the study {there.name!r}, this one is {recipe.name!r}; give another out="
        )
