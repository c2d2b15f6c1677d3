"""The benchmark of the audit's intervals runs and prints its table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "audit" / "coverage.py"


def test_the_table_has_a_row_for_every_kind_of_critic() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "1"], capture_output=True, text=True, check=True)
    rows = done.stdout.strip().splitlines()
    assert len(rows) == 2 + 3 * 4
    assert all(row.count("|") == 9 for row in rows)
