"""Small enough to read: files under 400 lines, functions under 60."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tutelage

PACKAGE = Path(tutelage.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_FILE, MAX_FUNCTION = 400, 60


def names(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", FILES, ids=names)
def test_a_file_fits_into_a_readers_head(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) < MAX_FILE


@pytest.mark.parametrize("path", FILES, ids=names)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    long = [
        f"{node.name} ({node.end_lineno - node.lineno + 1} lines)"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 >= MAX_FUNCTION
    ]
    assert long == []


@pytest.mark.parametrize("path", FILES, ids=names)
def test_every_module_with_code_says_what_it_is_for(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not text.strip() or ast.get_docstring(ast.parse(text))


def test_the_whole_package_was_looked_at() -> None:
    assert {"cli.py", "records.py", "stages/dpo.py", "train/loop.py"} <= {names(path) for path in FILES}
