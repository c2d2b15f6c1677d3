"""Trackers: what each really wrote, read back; no prompt, no surprise, and no training stopped by one."""

from __future__ import annotations

import html
import json
import os
import pty
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tutelage.extras
from tutelage.errors import ConfigError, MissingExtraError
from tutelage.train.trackers import RUN_ID, Trackers, check_trackers, open_trackers

CONFIG = {"lr": 1e-6, "model.path": "miniature", "share": [0.0, 0.1], "label_noise": None}
COLUMNS, ROWS = ["prompt", "completion", "num_tokens"], [["Say hi", 'a|b\n<script>alert("x")</script> **bold**', 7]]


def shown(names: tuple[Any, ...], folder: Path, steps: range = range(1, 4)) -> None:
    """Open trackers, log a few steps and a table, close them."""
    folder.mkdir(exist_ok=True)
    trackers = open_trackers(names, folder, "sft-run", CONFIG, project="my-project")
    trackers.start(steps[0] - 1)
    for step in steps:
        trackers.after_step(step, {"step": step, "loss": 1 / step, "tokens": 10 * step, "note": "text", "none": None})
    trackers.log({"eval/loss": 2.5}, steps[-1])
    trackers.table("samples", COLUMNS, ROWS, steps[-1])
    trackers.close()


# ---- TensorBoard -------------------------------------------------------------------------------------


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return found


def points(found: Any, tag: str) -> list[tuple[int, float]]:
    return [(event.step, round(event.value, 6)) for event in found.Scalars(tag)]


def test_tensorboard_has_every_number_at_its_step(tmp_path: Path) -> None:
    shown(("tensorboard",), tmp_path)
    found = events(tmp_path)
    assert points(found, "loss") == [(1, 1.0), (2, 0.5), (3, 0.333333)]
    assert points(found, "tokens") == [(1, 10), (2, 20), (3, 30)]
    assert points(found, "eval/loss") == [(3, 2.5)]
    assert set(found.Tags()["scalars"]) == {"loss", "tokens", "eval/loss"}


def test_texts_in_tensorboard_are_no_markup(tmp_path: Path) -> None:
    shown(("tensorboard",), tmp_path)
    (event,) = events(tmp_path).Tensors("samples/text_summary")
    table = event.tensor_proto.string_val[0].decode()
    head, rule, row = table.split("\n")
    assert (head, rule) == ("|prompt|completion|num_tokens|", "|---|---|---|")
    assert not re.search(r"[*_`\[\]\\]|<(?!br>)", row)
    assert [html.unescape(cell) for cell in row.strip("|").replace("<br>", "\n").split("|")] == [
        *map(str, ROWS[0]),
    ]


def test_tensorboard_shows_what_a_killed_run_does_again_once(tmp_path: Path) -> None:
    """Steps 3 and 4 were done after the last save; then they are done again."""
    shown(("tensorboard",), tmp_path, range(1, 5))
    shown(("tensorboard",), tmp_path, range(3, 6))
    assert [step for step, _ in points(events(tmp_path), "loss")] == [1, 2, 3, 4, 5]


# ---- Weights & Biases --------------------------------------------------------------------------------


@pytest.fixture
def wandb_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No network, no account, nothing written but into `tmp_path`."""
    import wandb

    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HOME", str(tmp_path))
    wandb.teardown()
    yield
    wandb.teardown()


def wandb_records(path: Path) -> Iterator[Any]:
    """Read a .wandb file: LevelDB's log format (blocks of 32 KiB, 7 bytes before each part of a record)."""
    from wandb.proto import wandb_internal_pb2

    data, place, parts = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def whole_wandb_records(path: Path) -> list[Any]:
    """Read a .wandb file once it has its end, which wandb's own process writes a moment after `finish` is back."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        records = list(wandb_records(path))
        if any(record.HasField("exit") for record in records):
            return records
        time.sleep(0.01)
    pytest.fail(f"{path} never had an end")


def wandb_history(record: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}


def test_wandb_runs_offline_and_its_file_has_every_number_at_its_step(
    tmp_path: Path, wandb_offline: None, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run-1a2b3c4d"
    shown(("wandb",), folder)
    shown(("wandb",), folder, range(4, 6))  # goes on
    assert capfd.readouterr().out == ""
    files = sorted(folder.glob("wandb/offline-run-*/*.wandb"))
    assert len(files) == 2
    first, second = (whole_wandb_records(path) for path in files)
    history = [wandb_history(r) for r in first if r.HasField("history")]
    assert [(row["_step"], row["loss"]) for row in history] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert history[-1]["eval/loss"] == 2.5
    assert history[-1]["samples/nrows"] == 1
    (table,) = folder.glob("wandb/offline-run-*/files/media/table/samples_3_*.json")
    assert json.loads(table.read_text()) == {"columns": COLUMNS, "data": ROWS}
    runs = [next(r.run for r in records if r.HasField("run")) for records in (first, second)]
    assert {(run.project, run.display_name) for run in runs} == {("my-project", "sft-run")}
    assert {run.run_id for run in runs} == {(folder / RUN_ID).read_text()}
    assert runs[0].run_id.startswith("1a2b3c4d-")
    config = {item.key: json.loads(item.value_json) for item in runs[0].config.update}
    assert config.items() >= CONFIG.items()


def test_the_same_settings_made_anew_elsewhere_are_another_run(tmp_path: Path, wandb_offline: None) -> None:
    for name in ("a", "b"):
        shown(("wandb",), tmp_path / name)
    assert (tmp_path / "a" / RUN_ID).read_text() != (tmp_path / "b" / RUN_ID).read_text()


KEY = "a" * 40
CASES: dict[str, dict[str, str]] = {
    "nothing": {},
    "a key in the environment": {"WANDB_API_KEY": KEY},
    "a key that `wandb login` left": {"WANDB_BASE_URL": "https://example.org:8080"},
    "a key for another server": {"WANDB_BASE_URL": "https://other.org"},
    "offline": {"WANDB_MODE": "offline"},
    "a mode that wandb does not know": {"WANDB_MODE": "on-line"},
}
CHECK = """
import json, os, sys, wandb
from tutelage.errors import ConfigError
from tutelage.train.trackers import check_trackers
for case, env in json.loads(sys.argv[1]).items():
    os.environ.update(env)
    try:
        check_trackers(("wandb",))
        print(json.dumps([case, "fine"]))
    except ConfigError as error:
        print(json.dumps([case, str(error)]))
    wandb.teardown()
    for name in env:
        del os.environ[name]
"""


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is said of wandb in every case, with a terminal for input, where wandb itself would ask and wait."""
    folder = tmp_path_factory.mktemp("home")
    (folder / ".netrc").write_text(f"machine example.org login user password {KEY}\n")
    (folder / ".netrc").chmod(0o600)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "NETRC"))}
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", CHECK, json.dumps(CASES)],
        env={**env, "HOME": str(folder)},
        stdin=theirs,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
    )
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())


def test_without_an_api_key_wandb_is_an_error_that_says_what_to_do_and_never_a_question(
    checked: dict[str, str],
) -> None:
    assert checked["nothing"].startswith("trackers: wandb has no API key for ")
    assert "WANDB_API_KEY" in checked["nothing"]
    assert "WANDB_MODE=offline" in checked["nothing"]
    assert checked["a key for another server"].startswith("trackers: wandb has no API key for other.org;")


@pytest.mark.parametrize("case", ["a key in the environment", "a key that `wandb login` left", "offline"])
def test_a_key_or_no_need_of_one_is_enough(case: str, checked: dict[str, str]) -> None:
    assert checked[case] == "fine"


def test_a_mode_that_wandb_does_not_know_is_one_error(checked: dict[str, str]) -> None:
    assert checked["a mode that wandb does not know"].startswith("trackers: wandb cannot be used: ")


# ---- trackio -----------------------------------------------------------------------------------------


@pytest.fixture
def trackio_dir(tmp_path: Path) -> Path:
    return tmp_path / "trackio"


TRACKIO = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_trackers import shown
shown(("trackio",), Path("run"), range(1, 4))
shown(("trackio",), Path("run"), range(4, 6))
"""


def test_trackio_has_every_number_at_its_step_in_one_run(tmp_path: Path, trackio_dir: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRACKIO.format(tests=str(Path(__file__).parent))],
        env={**os.environ, "TRACKIO_DIR": str(trackio_dir), "PYTHONWARNINGS": "error::UserWarning"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    with sqlite3.connect(trackio_dir / "my-project.db") as database:
        rows = database.execute("select run_name, step, metrics from metrics order by step, id").fetchall()
    assert len({name for name, _, _ in rows}) == 1
    assert rows[0][0].startswith("sft-run-")
    read = [(step, json.loads(metrics)) for _, step, metrics in rows]
    losses = [(step, row["loss"]) for step, row in read if "loss" in row]
    assert losses == [(1, 1.0), (2, 0.5), (3, 1 / 3), (4, 0.25), (5, 0.2)]
    assert [(step, row["eval/loss"]) for step, row in read if "eval/loss" in row] == [(3, 2.5), (5, 2.5)]
    tables = [(step, row["samples"]["_value"]) for step, row in read if "samples" in row]
    assert tables == [(step, [dict(zip(COLUMNS, ROWS[0], strict=True))]) for step in (3, 5)]


# ---- all -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_a_package_that_is_missing_is_one_error_with_the_extra_to_install(
    name: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tutelage.extras, "find_spec", lambda package: None)
    with pytest.raises(
        MissingExtraError, match=rf"trackers=\[{name}\] needs {name}.*pip install 'tutelage\[{name}\]'"
    ):
        check_trackers((name,))
    with pytest.raises(MissingExtraError):
        open_trackers((name,), tmp_path, "run", {})


def test_one_that_cannot_be_started_is_one_error_before_training(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match=r"tensorboard cannot be started .*FileExistsError"):
        open_trackers(("tensorboard",), tmp_path, "run", {})


def test_without_trackers_nothing_is_written(tmp_path: Path) -> None:
    shown((), tmp_path)
    assert list(tmp_path.iterdir()) == []


class Broken:
    """A tracker whose disk is full from its second row on."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self, step: int) -> None:
        self.calls.append("start")

    def log(self, row: Any, step: int) -> None:
        self.calls.append(f"log {step}")
        if step > 1:
            raise OSError(28, "No space left on device")

    def table(self, name: str, columns: Any, rows: Any, step: int) -> None:
        self.calls.append("table")

    def close(self) -> None:
        self.calls.append("close")


class Working(Broken):
    def log(self, row: Any, step: int) -> None:
        self.calls.append(f"log {step}")


def test_a_tracker_that_fails_is_switched_off_and_said_once_and_the_others_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TUTELAGE_QUIET")
    broken, working = Broken(), Working()
    trackers = Trackers({"broken": broken, "working": working})
    trackers.start(0)
    for step in (1, 2, 3):
        trackers.after_step(step, {"step": step, "loss": 1.0})
    trackers.table("samples", COLUMNS, ROWS, 3)
    trackers.close()
    assert broken.calls == ["start", "log 1", "log 2"]
    assert working.calls == ["start", "log 1", "log 2", "log 3", "table", "close"]
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "broken failed (OSError: [Errno 28] No space left on device) and is switched off" in said


def test_a_real_tracker_whose_folder_goes_away_stops_nothing(tmp_path: Path) -> None:
    trackers = open_trackers(("tensorboard",), tmp_path, "run", CONFIG)
    shutil.rmtree(tmp_path / "tensorboard")
    (tmp_path / "tensorboard").write_text("in the way")
    for step in (1, 2):
        trackers.log({"loss": 1.0}, step)
    trackers.close()
    assert (tmp_path / "tensorboard").read_text() == "in the way"
