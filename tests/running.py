"""`tutelage` as a user runs it: as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def command(*words: object) -> list[str]:
    """The command line of `tutelage` with these words."""
    return [sys.executable, "-m", "tutelage", *map(str, words)]


def tutelage(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run the command in `folder`; it must succeed."""
    done = subprocess.run(command(*words), cwd=folder, capture_output=True, text=True, env=narrating(), timeout=300)
    assert done.returncode == 0, done.stderr
    return done


def narrating() -> dict[str, str]:
    """The environment of a user: with narration."""
    return {k: v for k, v in os.environ.items() if k != "TUTELAGE_QUIET"}
