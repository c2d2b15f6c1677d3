"""The benchmark of a study's intervals runs, and knows the truth it counts against."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "measure" / "study_coverage.py"


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    """The script, loaded by path as its folder is no package."""
    spec = importlib.util.spec_from_file_location("study_coverage", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_row_has_coverage_and_width_of_every_method(coverage: ModuleType) -> None:
    cells = coverage.row(3, 100, 2, 3)
    assert len(cells) == len(coverage.METHODS)
    assert all(0 <= held <= 100 and width > 5 for held, width in cells)
    assert [width > 0 for _, width in coverage.row(1, 100, 2, 2)] == [True, False, False, False]


def test_studies_have_the_difference_that_they_are_said_to_have(coverage: ModuleType) -> None:
    """40 runs of 4,000 prompts: a standard error is about half a point."""
    values, truth = coverage.study(np.random.default_rng(0), 40, 4000, 2)
    assert truth == pytest.approx(0.05)
    assert values.mean() == pytest.approx(truth, abs=0.025)
    assert set(np.unique(values)) == {-1.0, -0.5, 0.0, 0.5, 1.0}


def test_where_runs_differ_the_plain_bootstrap_is_narrower_than_the_chosen_interval(coverage: ModuleType) -> None:
    found = dict(zip(coverage.METHODS, coverage.row(3, 500, 5, 20), strict=True))
    assert found["plain"][1] < 0.7 * found["chosen"][1]
    assert found["chosen"][1] < found["fiducial"][1]
