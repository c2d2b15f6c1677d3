"""Do `tutelage evaluate` and alpaca_eval give the same annotations on the same pairs? One scripted judge, both ask.

    python benchmarks/critic/same_as_alpaca_eval.py OUTPUTS REFERENCE [--python PEER] [evaluator ...]

OUTPUTS and REFERENCE are model_outputs.json files (.gz too); PEER is the Python of an environment with alpaca_eval
(`benchmarks/peers.py chat` makes one). Exit status 1 if any annotation differs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PEER = HERE.parent / "chat" / ".peers" / "alpaca_eval" / "bin" / "python"
EVALUATORS = (
    "gpt4",
    "alpaca_eval_gpt4",
    "alpaca_eval_gpt4_turbo_fn",
    "alpaca_eval_clf_gpt4_turbo",
    "weighted_alpaca_eval_gpt4_turbo",
    "aviary_gpt4",
)
"""One of each kind: words, a ranking, a tool call, binary and weighted log-probabilities, an order that is fixed."""


def unpacked(path: Path, folder: Path, name: str) -> Path:
    """Return `path`, as plain JSON with one row for each instruction."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    out = folder / name
    out.write_bytes(data)
    return out


def ours(url: str, evaluator: Path, outputs: Path, reference: Path, folder: Path) -> list[dict[str, object]]:
    """Return the annotations of `tutelage evaluate`."""
    words = [
        *("evaluate", f"completions={outputs}", f"baseline={reference}", f"judge={evaluator}"),
        *(f"judge.base_url={url}", "judge.api_key_env=null", "judging.max_invalid=1", f"artifacts={folder}"),
    ]
    done = subprocess.run([sys.executable, "-m", "tutelage", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    rows: list[dict[str, object]] = json.loads((Path(done.stdout.strip()) / "annotations.json").read_text())
    return rows


def compared(mine: list[dict[str, object]], theirs: list[dict[str, object]]) -> tuple[int, int, float]:
    """Return how many rows both have, how many differ, and the largest difference of two preferences."""
    by_instruction = {row["instruction"]: row["preference"] for row in theirs}
    num_different, largest = abs(len(mine) - len(theirs)), 0.0
    for row in mine:
        one, two = row["preference"], by_instruction[row["instruction"]]
        if one is None or two is None or (isinstance(two, float) and math.isnan(two)):
            num_different += one is not None or not (two is None or math.isnan(float(str(two))))
            continue
        gap = abs(float(str(one)) - float(str(two)))
        num_different, largest = num_different + (gap > 1e-9), max(largest, gap)
    return len(mine), num_different, largest


def main() -> None:
    """Print one line for each evaluator."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("outputs", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("evaluators", nargs="*", default=EVALUATORS)
    parser.add_argument("--python", type=Path, default=PEER)
    args = parser.parse_args()
    found = "import importlib.util as u; print(u.find_spec('alpaca_eval').submodule_search_locations[0])"
    package = Path(
        subprocess.run([args.python, "-c", found], capture_output=True, text=True, check=True).stdout.strip()
    )
    server = subprocess.Popen([sys.executable, HERE / "scripted_judge.py"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    print(f"{'evaluator':34} {'rows':>5} {'missing':>8} {'ties':>5} {'different':>10} {'largest gap':>12}")
    failed = False
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            outputs = unpacked(args.outputs, folder, "outputs.json")
            reference = unpacked(args.reference, folder, "reference.json")
            for evaluator in args.evaluators:
                mine = ours(url, package / "evaluators_configs" / evaluator, outputs, reference, folder / "artifacts")
                out = folder / f"{evaluator}.json"
                command = [args.python, HERE / "ask_alpaca_eval.py", url, evaluator, outputs, reference, out]
                subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": ""})
                rows, different, largest = compared(mine, json.loads(out.read_text()))
                missing = sum(row["preference"] is None for row in mine)
                ties = sum(row["preference"] == 1.5 for row in mine)
                print(f"{evaluator:34} {rows:5} {missing:8} {ties:5} {different:10} {largest:12.1e}", flush=True)
                failed = failed or different > 0
    finally:
        server.terminate()
        server.wait()
    sys.exit(failed)


if __name__ == "__main__":
    main()
