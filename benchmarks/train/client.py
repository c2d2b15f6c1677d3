"""One contender in a process of its own: python client.py CASE..., each a JSON of `workloads.Case`.

Prints one line of JSON a case: what it used and what it computed. `python client.py gemm THREADS DEVICE DTYPE`
prints the speed of a matrix product.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from importlib import import_module, metadata
from typing import Any

from workloads import MARK, Case, checksum

MODULES = {"tutelage": "ours", "research": "research"}


def measure(case: Case) -> dict[str, Any]:
    """Run one case."""
    import torch

    from metering import Meter, build, lifetime_peak, memory_now, memory_peak, weights_checksum

    gc.collect()  # a trainer of a case before, with its model
    torch.cuda.empty_cache()
    torch.set_num_threads(case.threads)
    contender = import_module(MODULES.get(case.contender, "theirs"))
    model = build(case.workload, case.device)
    weights = weights_checksum(model)
    if case.warm_up:
        contender.train(case, case.workload.warm_up(), model, Meter(case.device))
    before = memory_now(case.device)
    meter = Meter(case.device)
    try:
        found = contender.train(case, case.workload, model, meter)
    except torch.cuda.OutOfMemoryError:
        return {"is_out_of_memory": True}
    return {
        **found,
        "cpu": dict(meter.cpu),
        "wall": dict(meter.wall),
        "memory_before": before,
        "memory_peak": memory_peak(case.device),
        "lifetime_peak": lifetime_peak(),
        "checksum": f"{checksum(case.workload.items())} {weights:.6f}",
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in ("torch", "transformers", "trl", "tutelage"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def main() -> None:
    """Measure what the command line says."""
    os.environ.update({"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})
    if sys.argv[1] == "gemm":
        from metering import gemm_peak

        print(MARK + json.dumps({"flops": gemm_peak(int(sys.argv[2]), *sys.argv[3:5])}))
        return
    for text in sys.argv[1:]:
        found = measure(Case.from_json(text))
        print(MARK + json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
