"""TensorBoard, Weights & Biases and trackio: shown there as well is what metrics.jsonl and eval.jsonl hold.

A tracker is imported when it is asked for. One that cannot be started is an error before training; one that
fails later is switched off, because no picture is worth a run.
"""

from __future__ import annotations

import contextlib
import io
import netrc
import os
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from tutelage.errors import ConfigError, TutelageError
from tutelage.extras import require
from tutelage.progress import say

Name = Literal["tensorboard", "wandb", "trackio"]
RUN_ID = ".run-id"
"""The file in a run's folder by which wandb and trackio know it again when it goes on."""
_SECONDS_TO_UPLOAD = 60.0


class Tracker(Protocol):
    """What each of the three can do."""

    def start(self, step: int) -> None: ...

    def log(self, row: Mapping[str, float | int], step: int) -> None: ...

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None: ...

    def close(self) -> None: ...


class Trackers:
    """Those that were asked for, less those that failed: nothing here raises."""

    def __init__(self, open_ones: dict[str, Tracker]) -> None:
        self._open = open_ones

    def log(self, row: Mapping[str, float | int | None], step: int) -> None:
        """Show the numbers of `row` at the optimizer step `step`; null is not shown."""
        numbers = {key: value for key, value in row.items() if key != "step" and isinstance(value, int | float)}
        self._each(lambda tracker: tracker.log(numbers, step))

    def start(self, step: int) -> None:
        """Say that a run goes on from `step`: what a killed one has shown of later steps will come again."""
        self._each(lambda tracker: tracker.start(step))

    def after_step(self, step: int, row: Mapping[str, Any]) -> None:
        """Show a row of metrics.jsonl."""
        self.log(row, step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        """Show `rows` of texts and numbers under `name`."""
        self._each(lambda tracker: tracker.table(name, columns, rows, step))

    def close(self) -> None:
        """Send what is still to be sent; waits a minute for it at most."""
        self._each(lambda tracker: tracker.close())
        self._open = {}

    def _each(self, use: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._open.items()):
            try:
                use(tracker)
            except Exception as error:  # a full disk, a lost network, a bug of theirs: training goes on
                del self._open[name]
                say(f"  {name} failed ({_brief(error)}) and is switched off; training and its own files go on")


def check_trackers(names: Sequence[Name]) -> None:
    """Find out early, before a model is loaded, whether these can be opened.

    Raises:
        MissingExtraError: names the extra to install.
        ConfigError: wandb has no API key, or a setting in its environment that it does not know.
    """
    for name in names:
        require(name, f"trackers=[{name}]")
    if "wandb" in names:
        _check_wandb()


def open_trackers(
    names: Sequence[Name], folder: Path, run_name: str, config: Mapping[str, Any], project: str = "tutelage"
) -> Trackers:
    """Open the trackers `names` for the run in `folder`; the same folder again goes on with the same run.

    TensorBoard's files are in `folder`/tensorboard, wandb's in `folder`/wandb, trackio's where it keeps them
    (`TRACKIO_DIR`).

    Args:
        run_name: what people see.
        config: settings and inputs of the run, shown beside it.

    Raises:
        MissingExtraError, ConfigError: see `check_trackers`; or one could not be started.
    """
    check_trackers(names)
    if not names:
        return Trackers({})
    opened: dict[str, Tracker] = {}
    run_id = _run_id(folder)
    for name in dict.fromkeys(names):
        try:
            match name:
                case "tensorboard":
                    opened[name] = _TensorBoard(folder / "tensorboard", config)
                case "wandb":
                    opened[name] = _WandB(project, run_name, run_id, folder, config)
                case "trackio":
                    opened[name] = _Trackio(project, f"{run_name}-{run_id[-8:]}", config)
        except TutelageError:
            raise
        except Exception as error:
            hint = "WANDB_MODE=offline needs no network; " if name == "wandb" else ""
            raise ConfigError(
                f"trackers: {name} cannot be started ({_brief(error)}); {hint}"
                "without it in `trackers`, metrics.jsonl has everything too"
            ) from None
    return Trackers(opened)


def _brief(error: Exception) -> str:
    said = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _run_id(folder: Path) -> str:
    """The folder's own; a part is random, so that a run made anew elsewhere is not taken for this one."""
    path = folder / RUN_ID
    if not path.is_file():
        path.write_text(f"{re.sub('[^a-zA-Z0-9]', '-', folder.name[-8:])}-{secrets.token_hex(4)}", "utf-8")
    return path.read_text("utf-8")


# ---- TensorBoard -------------------------------------------------------------------------------------

_MARKUP = re.compile(r"[^\w\s,;:?'\"=%/]")


class _TensorBoard:
    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)  # now, so that what is wrong with it is known before training
        self._new_writer, self._folder, self._config = SummaryWriter, folder, config
        self._purge_step: int | None = None
        self._opened: Any = None

    @property
    def _writer(self) -> Any:
        if self._opened is None:
            self._opened = self._new_writer(str(self._folder), purge_step=self._purge_step)
            self._opened.add_text("settings", _markdown(["setting", "value"], list(self._config.items())))
        return self._opened

    def start(self, step: int) -> None:
        self._purge_step = step + 1  # from there on, what other files in the folder hold is not shown

    def log(self, row: Mapping[str, float | int], step: int) -> None:
        for key, value in row.items():
            self._writer.add_scalar(key, value, step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        self._writer.add_text(name, _markdown(columns, rows), step)

    def close(self) -> None:
        self._writer.close()


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table; texts are hostile, so whatever could be markup of any kind is written as its number."""

    def cell(value: Any) -> str:
        shown = _MARKUP.sub(lambda found: f"&#{ord(found[0])};", str(value))
        return "<br>".join(shown.splitlines())

    lines = [columns, ["---"] * len(columns)]
    return "\n".join("|" + "|".join(line) + "|" for line in [*lines, *([cell(v) for v in row] for row in rows)])


# ---- Weights & Biases --------------------------------------------------------------------------------


class _WandB:
    def __init__(self, project: str, name: str, run_id: str, folder: Path, config: Mapping[str, Any]) -> None:
        import wandb

        self._make_table = wandb.Table
        self._run = wandb.init(
            project=project,
            name=name,
            id=run_id,
            resume="allow",
            dir=str(folder),
            config=dict(config),
            # Our narration is not theirs to record, and standard output holds results only.
            settings=wandb.Settings(console="off", silent=True, finish_timeout=_SECONDS_TO_UPLOAD),
        )
        offline = self._run.settings.mode in _OFFLINE
        say(f"  wandb: {'offline, to be sent by `wandb sync`: ' + self._run.dir if offline else self._run.url}")

    def start(self, step: int) -> None:
        """Nothing to do: the server says what it has."""

    def log(self, row: Mapping[str, float | int], step: int) -> None:
        if step >= self._run.starting_step:  # or a killed run has sent it before
            self._run.log(dict(row), step=step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        if step >= self._run.starting_step:
            data = [list(row) for row in rows]
            self._run.log({name: self._make_table(columns=list(columns), data=data)}, step=step)

    def close(self) -> None:
        self._run.finish()


_OFFLINE = ("offline", "dryrun", "disabled")


def _check_wandb() -> None:
    """See that wandb will not ask for a key: it would wait for somebody who is not there."""
    try:
        import wandb

        settings = wandb.setup().settings
    except Exception as error:  # pydantic's, for a WANDB_... variable that it does not know what to do with
        raise ConfigError(f"trackers: wandb cannot be used: {_brief(error)}") from None
    if settings.mode in _OFFLINE or settings.api_key or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return
    host = settings.base_url.partition("://")[2].partition("/")[0].partition(":")[0]
    with contextlib.suppress(OSError, netrc.NetrcParseError):
        if netrc.netrc(os.environ.get("NETRC")).authenticators(host):
            return
    raise ConfigError(
        f"trackers: wandb has no API key for {host}; set WANDB_API_KEY, run `wandb login` once, "
        "or set WANDB_MODE=offline to keep the run on this machine"
    )


# ---- trackio -----------------------------------------------------------------------------------------


class _Trackio:
    def __init__(self, project: str, name: str, config: Mapping[str, Any]) -> None:
        import trackio

        self._make_table, self._finish = trackio.Table, trackio.finish
        with contextlib.redirect_stdout(io.StringIO()):  # standard output holds results only
            self._run = trackio.init(
                project,
                name=name,
                resume="allow",
                config=dict(config),
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        say(f"  trackio: {name}; to look at it: trackio show --project {project}")

    def start(self, step: int) -> None:
        """Nothing to do: what comes again is the same, and is drawn over itself."""

    def log(self, row: Mapping[str, float | int], step: int) -> None:
        self._run.log(dict(row), step=step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], step: int) -> None:
        self._run.log({name: self._make_table(columns=list(columns), data=[list(row) for row in rows])}, step=step)

    def close(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            self._finish()  # type: ignore[no-untyped-call]
