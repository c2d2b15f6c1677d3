"""alpaca_eval's side: annotate the pairs of two model_outputs.json with one of its evaluators, write the rows.

Runs in the environment that `benchmarks/peers.py chat` makes: ask_alpaca_eval.py URL EVALUATOR OUTPUTS REFERENCE OUT
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import warnings
from pathlib import Path


def main() -> None:
    """Annotate."""
    url, evaluator, outputs, reference, out = sys.argv[1:]
    os.environ |= {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none", "OPENAI_MAX_CONCURRENCY": "32"}
    os.environ["HF_HUB_OFFLINE"] = "1"
    warnings.simplefilter("ignore")
    import logging

    logging.disable(logging.ERROR)
    from alpaca_eval.annotators import PairwiseAnnotator  # type: ignore[import-not-found]

    with tempfile.TemporaryDirectory() as folder:
        annotator = PairwiseAnnotator(annotators_config=evaluator, seed=0, caching_path=Path(folder) / "cache.json")
        rows = annotator.annotate_head2head(
            outputs_1=json.loads(Path(reference).read_text()), outputs_2=json.loads(Path(outputs).read_text())
        )
    kept = [{"instruction": r["instruction"], "preference": r["preference"]} for r in rows]
    Path(out).write_text(json.dumps(kept))


if __name__ == "__main__":
    main()
