"""A small road on the miniature world, made once per test process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from running import tutelage
from small_road import world


@pytest.fixture(scope="session")
def road(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `tutelage run recipe.yaml` has been run once; tests do not change what is in it."""
    folder = world(tmp_path_factory.mktemp("road"))
    tutelage(folder, "run", "recipe.yaml")
    return folder


@pytest.fixture
def one(road: Path) -> Callable[[str], Path]:
    """Return the artifact of a stage of the road: `one("2-sft")`."""

    def find(stage: str) -> Path:
        return sorted((road / "artifacts" / stage).iterdir())[0]

    return find
