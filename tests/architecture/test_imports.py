"""Dependencies point one way. The rules below are the design's; the imports are read from the source.

cli -> study -> pipeline -> stages -> {chat critic data generate train measure miniature} -> records, store, ...
report -> findings, records, store    bandit -> report
never: chat, critic -> torch    train, generate -> chat    report -> stages    anything -> cli
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import tutelage

PACKAGE = Path(tutelage.__file__).parent
HEAVY = ("torch", "transformers", "safetensors", "tokenizers", "accelerate", "peft")
FOUNDATION = {
    "plain_yaml",
    "records",
    "disk",
    "garbage",
    "store",
    "config",
    "errors",
    "extras",
    "inputs",
    "places",
    "progress",
}

# What each part of the package may import of the package. A part that is not here fails the test below:
# a new room needs a line of its own. `help` reads the stages' settings and is imported by `cli` alone.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "garbage": set(),
    "progress": set(),
    "extras": {"errors"},
    "records": {"errors"},
    "plain_yaml": set(),
    "config": {"errors", "plain_yaml"},
    "disk": {"errors", "records"},
    "store": {"errors", "records", "disk", "progress"},
    "places": {"errors", "disk", "extras", "progress"},
    "inputs": {"errors", "records", "config", "disk", "store", "places"},
    "data": FOUNDATION,
    "critic": FOUNDATION | {"data"},
    "chat": FOUNDATION,
    "measure": FOUNDATION | {"data"},
    "train": FOUNDATION,
    "generate": FOUNDATION | {"train"},
    "findings": {"errors", "records", "disk"},
    "report": {"errors", "extras", "records", "disk", "store", "findings"},
    "bandit": FOUNDATION | {"report"},
    "miniature": FOUNDATION | {"data", "critic", "chat"},
    "stages": FOUNDATION | {"data", "critic", "chat", "measure", "train", "generate", "miniature", "report"},
    "pipeline": FOUNDATION | {"data", "chat", "measure", "stages"},
    "estimate": FOUNDATION | {"data", "chat", "generate", "stages", "pipeline"},
    "help": FOUNDATION | {"stages"},
    "study": FOUNDATION
    | {"findings", "data", "chat", "critic", "measure", "generate", "miniature", "report", "stages", "pipeline"},
    "__main__": {"cli"},
    "cli": FOUNDATION
    | {"chat", "data", "stages", "pipeline", "estimate", "help", "measure", "miniature", "report"}
    | {"bandit", "study"},
}
# Where a heavy library may be imported at the head of a file; elsewhere it comes inside the function that needs it.
TORCH_AT_THE_HEAD = ("train/", "generate/", "miniature/build.py", "miniature/probe.py")
# A module of settings or words is read by --help, so it stays light although its neighbours are not.
ALWAYS_LIGHT = ("train/settings.py", "train/encode.py", "train/tokens.py", "generate/settings.py")


@dataclass(frozen=True)
class Import:
    """One imported module, and whether it is imported as soon as the file is."""

    file: str
    line: int
    module: str
    at_head: bool

    @property
    def root(self) -> str:
        """The library, or the part of tutelage: `torch`, `tutelage.chat`."""
        parts = self.module.split(".")
        return ".".join(parts[:2]) if parts[0] == "tutelage" else parts[0]

    @property
    def part(self) -> str | None:
        """The part of tutelage that is imported, if it is one."""
        return self.root.partition(".")[2] or None

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.module}{'' if self.at_head else ' (in a function)'}"


def imports_of(tree: ast.AST, file: str, at_head: bool = True) -> Iterator[Import]:
    """Yield every import below `tree`. TYPE_CHECKING blocks count too: a type is a dependency."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(file, node.lineno, alias.name, at_head) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import; write it out"
            whole = node.module == "tutelage"  # from tutelage import stages
            for name in [f"tutelage.{a.name}" for a in node.names] if whole else [str(node.module)]:
                if not name.startswith("tutelage.__"):
                    yield Import(file, node.lineno, name, at_head)
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from imports_of(node, file, at_head and not inside)


FILES = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}
ALL = [i for name, path in FILES.items() for i in imports_of(ast.parse(path.read_text("utf-8")), name)]


def part_of(file: str) -> str:
    return file.partition("/")[0].removesuffix(".py")


def broken(imports: list[Import]) -> list[str]:
    return [str(i) for i in imports]


def test_every_part_of_the_package_has_its_rule() -> None:
    assert {part_of(file) for file in FILES} - {"__init__"} <= MAY_IMPORT.keys()
    assert len(ALL) > 300


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_a_part_imports_only_what_lies_below_it(part: str) -> None:
    allowed = MAY_IMPORT[part] | {part}
    assert broken([i for i in ALL if part_of(i.file) == part and i.part and i.part not in allowed]) == []


def test_the_rules_themselves_go_one_way() -> None:
    done: set[str] = set()
    while ready := {part for part, below in MAY_IMPORT.items() if part not in done and below <= done}:
        done |= ready
    assert done == MAY_IMPORT.keys()


def test_nobody_but_python_dash_m_imports_the_command_line() -> None:
    assert broken([i for i in ALL if i.part == "cli" and i.file != "__main__.py"]) == []


def test_the_miniature_knows_of_chat_only_the_protocol() -> None:
    """It stands where an API model stands, so it sees what a client is and nothing of HTTP."""
    wrong = [
        i for i in ALL if part_of(i.file) == "miniature" and i.part == "chat" and i.module != "tutelage.chat.protocol"
    ]
    assert broken(wrong) == []


@pytest.mark.parametrize("part", ["chat", "critic", "data", "measure", "report", *sorted(FOUNDATION)])
def test_what_needs_no_model_imports_no_torch_not_even_inside_a_function(part: str) -> None:
    assert broken([i for i in ALL if part_of(i.file) == part and i.root in HEAVY]) == []


@pytest.mark.parametrize("part", ["train", "generate", "critic", "data", "measure", "report"])
def test_what_holds_a_model_or_reads_files_knows_no_http(part: str) -> None:
    http = ("aiohttp", "httpx", "requests", "urllib", "http", "socket", "openai", "anthropic")
    assert broken([i for i in ALL if part_of(i.file) == part and i.root in http]) == []


def test_heavy_libraries_come_at_the_head_of_few_files_only() -> None:
    wrong = [
        i
        for i in ALL
        if i.at_head and i.root in HEAVY and (not i.file.startswith(TORCH_AT_THE_HEAD) or i.file in ALWAYS_LIGHT)
    ]
    assert broken(wrong) == []


def test_plots_and_http_come_when_they_are_needed() -> None:
    assert broken([i for i in ALL if i.root == "matplotlib" and (i.at_head or part_of(i.file) != "report")]) == []
    assert broken([i for i in ALL if i.root == "aiohttp" and not i.file.startswith("chat/")]) == []
    assert {i.file for i in ALL if i.root == "aiohttp" and i.at_head} <= {"chat/transport.py"}


def test_nothing_is_unpickled_or_evaluated() -> None:
    """Text is hostile. What torch.save wrote is a pickle, too: only weights are taken out of it."""
    assert broken([i for i in ALL if i.root in ("pickle", "dill", "cloudpickle", "marshal", "shelve")]) == []
    calls = [
        f"{file}:{node.lineno}"
        for file, path in FILES.items()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec")
    ]
    assert calls == []
    loads = {
        f"{file}:{node.lineno}": {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
        for file, path in FILES.items()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"
    }
    assert {where.partition(":")[0] for where in loads} == {"train/legacy.py"}
    assert [where for where, given in loads.items() if given.get("weights_only") is not True] == []


# ---- the same at run time ---------------------------------------------------------------------------


def loaded_after(code: str) -> set[str]:
    """Run `code` in a fresh Python and return the top-level modules that it left loaded."""
    tail = "\nimport sys, json\nprint(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_starts_without_anything_that_takes_time() -> None:
    loaded = loaded_after("from tutelage.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass")
    assert loaded.isdisjoint({*HEAVY, "pydantic", "omegaconf", "yaml", "aiohttp", "matplotlib", "numpy"})
    assert "tutelage" in loaded


def test_stages_and_everything_that_reads_settings_import_without_torch() -> None:
    stages = "from tutelage import stages\nfor name in stages.WHAT:\n    stages.get(name)\n"
    modules = ["tutelage.pipeline", "tutelage.study.commands", "tutelage.help", "tutelage.miniature"]
    loaded = loaded_after(stages + "\n".join(f"import {module}" for module in modules))
    assert loaded.isdisjoint({*HEAVY, "matplotlib", "numpy"})


def test_reports_read_without_torch_http_or_stages() -> None:
    code = "import sys, tutelage.report.trace, tutelage.report.figures\nassert 'tutelage.stages' not in sys.modules"
    assert loaded_after(code).isdisjoint({*HEAVY, "aiohttp", "matplotlib", "omegaconf"})


@pytest.mark.parametrize("module", ["critic.questions", "data.rows", "measure.win_rate", "store", "inputs"])
def test_the_pure_middle_imports_no_http_and_no_torch(module: str) -> None:
    assert loaded_after(f"import tutelage.{module}").isdisjoint({*HEAVY, "aiohttp", "matplotlib"})
