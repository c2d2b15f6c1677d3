"""Write src/tutelage/measure/alpaca_eval_instructions.txt from AlpacaEval's own list of instructions.

    python benchmarks/measure/instructions.py eval_instructions.json.gz

The file names each instruction by a hash and says which dataset it is from: enough to recognise the 805, without
their texts, which are not ours to give away.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tutelage.data.sources import read_objects
from tutelage.measure.alpaca_eval import NUM_INSTRUCTIONS, instruction_key

TARGET = Path(__file__).parents[2] / "src" / "tutelage" / "measure" / "alpaca_eval_instructions.txt"
HEAD = (
    "# AlpacaEval's 805 instructions in their own order (tatsu-lab/alpaca_eval, CC BY-NC 4.0), without their texts:\n"
    "# the first 12 hex digits of the SHA-256 of the UTF-8 text, and the dataset. Made by benchmarks/measure.\n"
)


def lines(source: Path) -> str:
    """Return the file's text; the instructions must be 805 different ones."""
    rows = [row for _, row in read_objects(source)]
    keys = [instruction_key(row["instruction"]) for row in rows]
    if len(keys) != NUM_INSTRUCTIONS or len(set(keys)) != NUM_INSTRUCTIONS:
        raise SystemExit(f"{source}: {len(set(keys))} different instructions in {len(keys)} rows; expected 805")
    return HEAD + "".join(f"{key} {row['dataset']}\n" for key, row in zip(keys, rows, strict=True))


def main() -> None:
    """Write the file, or say what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a JSON list of {instruction, dataset}, in AlpacaEval's order")
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args()
    options.out.write_text(lines(options.source), "utf-8")
    print(options.out)


if __name__ == "__main__":
    main()
