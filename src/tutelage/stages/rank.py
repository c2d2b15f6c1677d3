"""`python -m tutelage.stages.rank`: one of several processes of a training stage (see ranks.py)."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from tutelage import stages
from tutelage.stages.ranks import run_job


def _run(name: str, config: dict[str, Any], inputs: dict[str, Any]) -> None:
    stage = stages.get(name)
    stage.run(stage.config.model_validate(config), stage.inputs.model_validate(inputs))


def _stop(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    if os.environ["RANK"] != "0":
        os.environ["TUTELAGE_QUIET"] = "1"
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(run_job(_run))
