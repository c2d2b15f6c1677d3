"""Run inside an environment that has alpaca_eval: its length-controlled win rates, one JSON line a file.

    python alpaca_eval_fit.py df_gamed.csv annotations.json [annotations.json ...]

The one change made to it is where df_gamed.csv comes from: the file given, not the Hub. Each file is fitted twice:
as alpaca_eval does it, and with liblinear going on until it has converged.
"""

from __future__ import annotations

import gzip
import json
import sys
import time
import warnings
from pathlib import Path

import pandas as pd
from alpaca_eval.metrics import glm_winrate


def main(gamed: str, *files: str) -> None:
    """Print what comes out for each file."""
    warnings.simplefilter("ignore")
    glm_winrate.hf_hub_download = lambda **_: gamed
    fit, models = glm_winrate.fit_LogisticRegressionCV, []

    def remembered(*args: object, **kwargs: object) -> object:
        models.append(fit(*args, **kwargs))
        return models[-1]

    glm_winrate.fit_LogisticRegressionCV = remembered
    options = {"save_weights_dir": None, "is_warn_extreme_changes": False}
    for name in files:
        data = Path(name).read_bytes()
        rows = pd.DataFrame(json.loads(gzip.decompress(data) if name.endswith(".gz") else data))
        start = time.process_time()
        found = glm_winrate.get_length_controlled_winrate(rows, **options)
        seconds = time.process_time() - start
        info = glm_winrate.GLM_INFO["length_controlled_v1"]
        patient = info | {"kwargs": info["kwargs"] | {"tol": 1e-12, "max_iter": 100_000}}
        converged = glm_winrate.get_length_controlled_winrate(rows, glm_info=patient, **options)
        shown = {
            "file": name,
            "length_controlled": float(found["length_controlled_winrate"]),
            "converged": float(converged["length_controlled_winrate"]),
            "spread": float(found["lc_standard_error"]),
            "C": [float(model.C_[0]) for model in models[-2:]],
            "seconds": seconds,
        }
        print(json.dumps(shown), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
