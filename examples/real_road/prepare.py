"""Real public data -> the plain files the road reads: prompts, two teachers, evaluation, baseline.

    python prepare.py --data DATA --out prepared

Reads (inside DATA): teachers/alpaca_davinci003.jsonl.gz, teachers/alpaca_gpt4.jsonl.gz,
alpaca_eval/eval_instructions.json.gz, alpaca_eval/results/text_davinci_003/model_outputs.json.gz.

Writes (inside --out):
    prompts.jsonl     {"instruction"}: the road's prompts; any prefix is a random sample of them
    davinci.jsonl     {"instruction", "output"}: the weak teacher's completions of those prompts
    gpt4.jsonl        {"instruction", "output"}: the strong teacher's, for the same prompts, same order
    evaluation.jsonl  {"instruction"}: the first --evaluation AlpacaEval instructions that fit
    baseline.json     text_davinci_003's completions of them, as alpaca_eval model outputs

Rows whose GPT-4 text comes only from a file chosen for low scores (`gpt4_copies == ["nuggets_bad"]`) are
left out, so that the two teachers are compared on prompts nobody picked by the quality of an answer. The
length limits apply to both teachers alike: a prompt stays only if both completions fit the student's context.
The same data and arguments give the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

WEAK = "teachers/alpaca_davinci003.jsonl.gz"
STRONG = "teachers/alpaca_gpt4.jsonl.gz"
EVALUATION = "alpaca_eval/eval_instructions.json.gz"
BASELINE = "alpaca_eval/results/text_davinci_003/model_outputs.json.gz"

Row = dict[str, Any]


def arguments() -> argparse.Namespace:
    """Read the command line; stop with a sentence where a file is missing or a number makes no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with teachers/ and alpaca_eval/")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; made if absent")
    parser.add_argument("--prompts", type=int, default=2000, help="at most so many prompts (default 2000)")
    parser.add_argument("--evaluation", type=int, default=200, help="AlpacaEval instructions, 1..805 (default 200)")
    parser.add_argument("--max-instruction", type=int, default=400, help="characters (default 400)")
    parser.add_argument("--max-completion", type=int, default=1200, help="characters (default 1200)")
    parser.add_argument("--seed", type=int, default=0, help="which prompts, and in which order (default 0)")
    args = parser.parse_args()
    if not args.data.is_dir():
        parser.error(f"--data {args.data}: no such folder")
    for name in (WEAK, STRONG, EVALUATION, BASELINE):
        if not (args.data / name).is_file():
            parser.error(f"--data {args.data}: the file {name} is missing there")
    for name in ("prompts", "evaluation", "max_instruction", "max_completion"):
        if getattr(args, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    if args.out.exists() and not args.out.is_dir():
        parser.error(f"--out {args.out}: exists and is not a folder")
    return args


def read_lines(path: Path) -> list[Row]:
    """Read a packed JSONL file; name the file and line that does not parse."""
    rows = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                sys.exit(f"{path}, line {number}: not JSON ({error})")
    return rows


def read_document(path: Path) -> list[Row]:
    """Read a packed JSON file that holds one list."""
    with gzip.open(path, "rt", encoding="utf-8") as text:
        rows: list[Row] = json.load(text)
    return rows


def normalised(text: str) -> str:
    """Return `text` in lower case, without punctuation, spaces collapsed: what leakage compares."""
    return " ".join(re.sub(r"[^\w\s]", " ", text.lower()).split())


def choose(weak: list[Row], strong: list[Row], held_out: set[str], args: argparse.Namespace) -> list[tuple[Row, Row]]:
    """Return (weak row, strong row) per chosen prompt and print how many rows fell to which rule."""
    by_id = {row["id"]: row for row in strong}
    dropped: Counter[str] = Counter()
    seen: set[str] = set()
    kept: list[tuple[Row, Row]] = []
    for row in weak:
        other = by_id.get(row["id"])
        key = normalised(row["instruction"])
        if other is None or other["instruction"] != row["instruction"]:
            reason = "no strong completion of the same prompt"
        elif other["gpt4_copies"] == ["nuggets_bad"]:
            reason = "GPT-4 text only from the file of low-scoring rows"
        elif key in held_out:
            reason = "equal to an AlpacaEval instruction"
        elif not key or key in seen:
            reason = "empty, or the same prompt again"
        elif not row["output"].strip() or not other["output"].strip():
            reason = "an empty completion"
        elif len(row["instruction"]) > args.max_instruction:
            reason = f"instruction longer than {args.max_instruction} characters"
        elif max(len(row["output"]), len(other["output"])) > args.max_completion:
            reason = f"a completion longer than {args.max_completion} characters"
        else:
            seen.add(key)
            kept.append((row, other))
            continue
        dropped[reason] += 1
    kept.sort(key=lambda pair: hashlib.sha256(f"{args.seed}/{pair[0]['id']}".encode()).digest())
    dropped[f"more than --prompts {args.prompts}"] = max(0, len(kept) - args.prompts)
    leaks = sum(normalised(row["instruction"]) in held_out for row in weak)
    print(f"{len(weak)} prompts with a weak completion")
    print(f"  {leaks} of them equal an AlpacaEval instruction after normalisation")
    for reason, count in dropped.most_common():
        print(f"  skipped {count:5d}: {reason}")
    return kept[: args.prompts]


def choose_evaluation(data: Path, args: argparse.Namespace) -> tuple[list[Row], list[Row]]:
    """Return the evaluation instructions and the baseline's completions of them, in the same order."""
    baseline = {row["instruction"]: row for row in read_document(data / BASELINE)}
    kept: list[Row] = []
    dropped: Counter[str] = Counter()
    for row in read_document(data / EVALUATION):
        if len(kept) == args.evaluation:
            break
        if row["instruction"] not in baseline:
            dropped["no baseline completion"] += 1
        elif len(row["instruction"]) > 2 * args.max_instruction:
            dropped[f"instruction longer than {2 * args.max_instruction} characters"] += 1
        else:
            kept.append(row)
    sources = dict(Counter(row["dataset"] for row in kept))
    print(f"AlpacaEval: {len(kept)} of {args.evaluation} instructions asked for, by source {sources}")
    for reason, count in dropped.most_common():
        print(f"  skipped {count:5d}: {reason}")
    fields = ("instruction", "output", "generator")
    return kept, [{name: baseline[row["instruction"]][name] for name in fields} for row in kept]


def write_lines(path: Path, rows: list[Row]) -> None:
    """Write JSONL and say so."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"wrote {path}: {len(rows)} rows, {path.stat().st_size / 1e6:.2f} MB")


def median(values: list[int]) -> int:
    """Return the upper median."""
    return sorted(values)[len(values) // 2]


def main() -> None:
    """Read, choose, write."""
    args = arguments()
    held_out = {normalised(row["instruction"]) for row in read_document(args.data / EVALUATION)}
    chosen = choose(read_lines(args.data / WEAK), read_lines(args.data / STRONG), held_out, args)
    if not chosen:
        sys.exit("no prompt is left under these limits; raise --max-instruction or --max-completion")
    evaluation, baseline = choose_evaluation(args.data, args)

    args.out.mkdir(parents=True, exist_ok=True)
    write_lines(args.out / "prompts.jsonl", [{"instruction": weak["instruction"]} for weak, _ in chosen])
    for name, side in (("davinci", 0), ("gpt4", 1)):
        rows = [{"instruction": pair[side]["instruction"], "output": pair[side]["output"]} for pair in chosen]
        write_lines(args.out / f"{name}.jsonl", rows)
        print(f"  completions of {name}: median {median([len(row['output']) for row in rows])} characters")
    write_lines(args.out / "evaluation.jsonl", [{"instruction": row["instruction"]} for row in evaluation])
    path = args.out / "baseline.json"
    path.write_text(json.dumps(baseline, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    generators = ", ".join(sorted({row["generator"] for row in baseline}))
    print(f"wrote {path}: {len(baseline)} completions of {generators}")


if __name__ == "__main__":
    main()
