"""AlpacaEval on the same pairs, with its default annotator and its own knobs turned to what is asked of us.

What it does beyond asking (leaderboards, downloads) is turned off: the reference outputs are given, the metric is
the plain win rate, and its cache starts empty. It opens a client and a connection for every call by itself.
"""

from __future__ import annotations

import os
import sys
import warnings

from measured import Measured, arguments
from texts import pairs

ANNOTATOR = "weighted_alpaca_eval_gpt4_turbo"


def main() -> None:
    """Evaluate and report."""
    args = arguments(__doc__)
    # It reads these while it is imported.
    os.environ["OPENAI_BASE_URL"] = f"{args.url}/v1"
    os.environ["OPENAI_API_KEY"] = "none"
    os.environ["OPENAI_MAX_CONCURRENCY"] = str(args.connections)
    os.environ["HF_HUB_OFFLINE"] = "1"
    warnings.simplefilter("ignore")
    import alpaca_eval  # type: ignore[import-not-found]
    import openai

    measured = Measured()
    reference, outputs = [], []
    for texts in pairs(args.num):
        reference.append({"instruction": texts.instruction, "output": texts.left, "generator": "strong"})
        outputs.append({"instruction": texts.instruction, "output": texts.right, "generator": "weak"})
    _, annotations = alpaca_eval.evaluate(
        model_outputs=outputs,
        reference_outputs=reference,
        annotators_config=ANNOTATOR,
        precomputed_leaderboard=None,
        output_path=args.folder,
        caching_path=args.folder / "annotations_cache.json",
        fn_metric="get_winrate",
        sort_by="win_rate",
        is_return_instead_of_print=True,
    )
    num_read = sum(1 <= (row["preference"] or 0) <= 2 for row in annotations)
    from importlib.metadata import version

    measured.report(num_read, alpaca_eval=version("alpaca_eval"), openai=openai.__version__)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
