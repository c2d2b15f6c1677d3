"""Of several processes that end badly, one says why; whoever started them finds out which."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tutelage.errors import ConfigError, TrainingError, TutelageError
from tutelage.stages import get, ranks


def failed(**exit_codes: int) -> Any:
    failures = {int(name[1:]): SimpleNamespace(exitcode=code) for name, code in exit_codes.items()}
    return SimpleNamespace(failures=failures, get_first_failure=lambda: min(failures.items()))


def leave(job: Path, *names: str) -> None:
    """Files with these names, the first one written first."""
    for number, name in enumerate(names):
        (job / name).write_text(f"text of {name}")
        os.utime(job / name, ns=(number, number))


@pytest.mark.parametrize(
    ("left", "exit_codes", "kind", "said"),
    [
        # the others of one that found a mistake are told to stop, or cannot reach it
        (["stopped", "trace-.2", "error-.1"], {"r0": 130, "r1": 2, "r2": 1}, TutelageError, "text of error-.1"),
        (
            ["trace-.0", "stopped"],
            {"r0": 1, "r1": -9, "r2": 130},
            TrainingError,
            "process 1 ended without a word .*-9",
        ),
        (["trace-.1", "stopped", "trace-.2"], {"r0": 130, "r1": 1}, TrainingError, "process 1 failed, by a mistake"),
        (["stopped", "trace-.1"], {"r0": 130, "r1": 1}, KeyboardInterrupt, None),
        ([], {"r0": 3, "r1": -signal.SIGTERM}, TrainingError, "process 0 ended without a word .*exit code 3"),
    ],
)
def test_what_is_said_is_what_went_wrong_and_not_what_came_of_it(
    tmp_path: Path, left: list[str], exit_codes: dict[str, int], kind: type[BaseException], said: str | None
) -> None:
    leave(tmp_path, *left)
    with pytest.raises(kind, match=said) as raised:
        raise ranks._what_went_wrong(tmp_path, failed(**exit_codes))
    assert raised.type is kind


def test_more_processes_than_a_machine_can_hold_are_refused(tmp_path: Path) -> None:
    stage = get("sft")
    (tmp_path / "rows.jsonl").write_text('{"prompt": "p", "completion": "c", "author": "a"}\n')
    words = [f"completions={tmp_path / 'rows.jsonl'}", "model=miniature", f"artifacts={tmp_path / 'artifacts'}"]
    with pytest.raises(ConfigError, match=r"devices=100000: this machine has .*; give at most \d+"):
        stage.run(*stage.configure([*words, "devices=100000"]))
