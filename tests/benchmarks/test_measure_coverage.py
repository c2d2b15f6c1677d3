"""The benchmark of the bootstrap's intervals runs, prints its table, and knows the truth it counts against."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "measure" / "coverage.py"


@pytest.fixture(scope="module")
def study() -> ModuleType:
    """The script; its name is another script's too, so it is loaded by path."""
    spec = importlib.util.spec_from_file_location("measure_coverage", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_has_a_row_for_every_kind_and_size() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "2"], capture_output=True, text=True, check=True)
    rows = done.stdout.strip().splitlines()
    assert len(rows) == 2 + 4 * 4
    assert all(row.count("|") == 6 for row in rows)


def test_every_kind_has_the_mean_that_it_is_said_to_have(study: ModuleType) -> None:
    """200,000 differences: four standard errors are below .007."""
    for draw, truth in study.KINDS.values():
        assert draw(np.random.default_rng(0), 200_000).mean() == pytest.approx(truth, abs=0.007)


def test_bca_leans_to_the_long_tail_and_is_the_percentile_interval_without_one(study: ModuleType) -> None:
    flat = np.tile([-1.0, 1.0], 100)
    assert study.bca(flat, 0) == pytest.approx(study.bootstrap_interval(flat, num_draws=1000, seed=0), abs=0.02)
    tailed = np.array([0.0] * 45 + [1.0] * 5)
    low, high = study.bca(tailed, 0)
    percentile_low, percentile_high = study.bootstrap_interval(tailed, num_draws=1000, seed=0)
    assert low >= percentile_low
    assert high > percentile_high


def test_values_that_never_vary_have_no_width(study: ModuleType) -> None:
    assert study.bca(np.ones(20), 0) == (1.0, 1.0)
    assert study.normal(np.ones(20)) == (1.0, 1.0)
