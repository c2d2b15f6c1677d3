"""Compare what tutelage makes of published annotations with what was published, and with alpaca_eval itself.

    python benchmarks/measure/parity.py DATA_DIR
    python benchmarks/measure/parity.py DATA_DIR --alpaca-eval ENVIRONMENT/bin/python

DATA_DIR holds, at any depth, files of alpaca_eval's repository: annotations.json (.gz too), <judge>_leaderboard.csv
(or, beside x.annotations.json, x.leaderboard.csv), baseline_<name>.csv with fitted weights, and a table of
difficulties whose name begins with instruction_difficulty. With an environment that has alpaca_eval, both fit the
length-controlled win rate on the same inputs; its df_gamed.csv is on a hub and not read, so one is made up from
real lengths and preferences.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tutelage.data.alpaca_eval import is_switched
from tutelage.measure.alpaca_eval import coverage, in_order, metrics, preference_of_logprobs
from tutelage.measure.annotations import Annotation, read_annotations
from tutelage.measure.leaderboard import Entry, read_leaderboard
from tutelage.measure.length_control import (
    fit_length_control,
    predicted_win_rate,
    read_difficulties,
    read_gamed,
    read_weights,
)
from tutelage.measure.logistic import sigmoid

Files = dict[Path, list[Annotation]]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first stand on the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def name_of(rows: list[Annotation]) -> str:
    """Return policy and judge of a file."""
    return f"{rows[0].generator_2}, {rows[0].annotator}"


def published_row(path: Path, rows: list[Annotation], folder: Path) -> Entry | None:
    """Return the leaderboard's entry for the policy of a file, or None if there is none in the folder."""
    stem = path.name.partition(".annotations.json")[0]
    boards = [path.with_name(f"{stem}.leaderboard.csv"), *folder.rglob(f"{rows[0].annotator}_leaderboard.csv")]
    for board in filter(Path.is_file, boards):
        for entry in read_leaderboard(board).entries:
            if entry.name == rows[0].generator_2:
                return entry
    return None


def rates(files: Files, folder: Path) -> str:
    """Compare win rates and standard errors with the leaderboards'."""
    lines, rate_gaps, error_gaps = [], [0.0], [0.0]
    for path, rows in files.items():
        found, published = metrics(rows), published_row(path, rows, folder)
        if published is None:
            lines.append([name_of(rows), f"{found.win_rate:.6f}", "not published", "", ""])
            continue
        rate_gaps.append(abs(found.win_rate - published.win_rate))
        error_gaps.append(abs((found.standard_error or 0) - (published.standard_error or 0)))
        length = "" if published.avg_length == found.avg_length else f"{found.avg_length} ({published.avg_length})"
        cells = [f"{found.win_rate:.6f}", f"{rate_gaps[-1]:.1e}", f"{error_gaps[-1]:.1e}", length]
        lines.append([name_of(rows), *cells])
    head = ["policy, judge", "win rate, %", "gap to published", "gap of the standard error", "other length"]
    total = f"{len(rate_gaps) - 1} published rows: win rates within {max(rate_gaps):.1e}, standard errors within "
    return f"{table(head, lines)}\n\n{total}{max(error_gaps):.1e} percentage points\n"


def logprobs(files: Files) -> str:
    """Compare preferences worked out from the judge's log-probabilities with those in the files."""
    lines = []
    for rows in files.values():
        both = [(preference_of_logprobs(a), a.preference) for a in rows]
        gaps = [abs(ours - theirs) for ours, theirs in both if ours is not None and theirs is not None]
        if gaps:
            same = sum(a.output_1 == a.output_2 for a in rows)
            switched = sum(is_switched(a.instruction) for a in rows)
            lines.append([name_of(rows), str(len(gaps)), str(same), f"{max(gaps):.1e}", f"{switched} of {len(rows)}"])
    if not lines:
        return "no file holds log-probabilities\n"
    count = sum(int(line[1]) for line in lines)
    head = ["policy, judge", "recomputed", "equal texts, not asked", "largest gap", "shown switched"]
    return f"{table(head, lines)}\n\n{count} preferences recomputed\n"


def predictions(folder: Path) -> str:
    """Compare length-controlled win rates predicted from published weights with the published ones."""
    tables = sorted(folder.rglob("instruction_difficulty*.csv"))
    weights = sorted(folder.rglob("baseline_*.csv"))
    if not tables or not weights:
        return "no difficulties or no weights: nothing predicted\n"
    difficulties = read_difficulties(tables[0])
    entries = {}
    for board in map(read_leaderboard, sorted(folder.rglob("*_leaderboard.csv"))):
        if f"baseline_{board.baseline}" == weights[0].stem:
            entries |= {e.name: e.length_controlled for e in board.entries}
    lines, gaps = [], []
    for name, model in read_weights(weights[0]).items():
        published = entries.get(name)
        if published is not None:
            ours = predicted_win_rate(difficulties, model)
            gaps.append(abs(ours - published))
            lines.append([name, f"{ours:.6f}", f"{published:.6f}", f"{gaps[-1]:.1e}"])
    head = ["policy", "predicted, %", "published, %", "gap"]
    return f"{table(head, lines)}\n\n{len(gaps)} predictions within {max(gaps, default=0):.1e} percentage points\n"


def made_up_gamed(path: Path, rows: list[Annotation], difficulties: np.ndarray) -> None:
    """Write gamed rows: the real lengths' differences, all to one side, and preferences that lean on them."""
    delta = np.array([len(a.output_1) - len(a.output_2) for a in rows], dtype=float)
    delta = np.abs(delta / delta.std(ddof=1))
    real = np.array([0.5 if a.score is None else a.score for a in rows])
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        names = ("preference", "std_delta_len", "instruction_difficulty", "not_gamed_baseline")
        out.writerow(["model", "index", *names])
        for model, sign in (("verbose", -1), ("concise", 1)):
            label = 0.7 * sigmoid(-1.5 * np.tanh(sign * delta)) + 0.3 * real
            for i in range(len(rows)):
                out.writerow([model, i, float(label[i]), float(sign * delta[i]), float(difficulties[i]), False])


def fits(files: Files, folder: Path, python: Path) -> str:
    """Compare the fit with alpaca_eval's own on the same inputs."""
    difficulties = read_difficulties(sorted(folder.rglob("instruction_difficulty*.csv"))[0])
    complete = {p: rows for p, rows in files.items() if coverage(rows).is_complete}
    lines, gaps = [], []
    with tempfile.TemporaryDirectory() as temporary:
        gamed = Path(temporary) / "df_gamed.csv"
        made_up_gamed(gamed, in_order(next(iter(complete.values()))), difficulties)
        script = Path(__file__).with_name("alpaca_eval_fit.py")
        command = [str(python), str(script), str(gamed), *map(str, complete)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{python}: alpaca_eval failed:\n{done.stderr[-2000:]}")
        theirs = {row["file"]: row for row in map(json.loads, done.stdout.splitlines())}
        held = read_gamed(gamed)
    for path, rows in complete.items():
        other, start = theirs[str(path)], time.process_time()
        ours = fit_length_control(in_order(rows), difficulties, held)
        seconds = time.process_time() - start
        gaps.append((abs(ours.win_rate - other["length_controlled"]), abs(ours.win_rate - other["converged"])))
        cells = [
            f"{ours.win_rate:.4f}",
            f"{other['length_controlled']:.4f}",
            f"{gaps[-1][0]:.4f}",
            f"{gaps[-1][1]:.1e}",
        ]
        cells += [f"{ours.strength or 0:.3g} / {other['C'][0]:.3g} / {other['C'][1]:.3g}"]
        cells += [f"{ours.standard_error or 0:.2f}", f"{ours.difficulty_spread:.3f} / {other['spread']:.3f}"]
        lines.append([name_of(rows), *cells, f"{seconds:.1f} / {other['seconds']:.1f}"])
    head = [
        "policy, judge",
        "ours, %",
        "alpaca_eval, %",
        "gap",
        "gap if liblinear converges",
        "C: ours / its / converged",
    ]
    head += ["our standard error", "lc_standard_error: ours / its", "CPU seconds: ours / its"]
    largest, converged = map(max, zip(*gaps, strict=True))
    says = f"{len(gaps)} fits within {largest:.4f} percentage points, {converged:.1e} if liblinear converges"
    return f"{table(head, lines)}\n\n{says}\n"


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA_DIR")
    parser.add_argument("--alpaca-eval", type=Path, metavar="PYTHON", help="an interpreter that has alpaca_eval")
    options = parser.parse_args()
    paths = [p for p in sorted(options.data.rglob("*annotations.json*")) if p.name.endswith((".json", ".json.gz"))]
    if not paths:
        raise SystemExit(f"{options.data}: holds no annotations.json")
    files = {path: read_annotations(path) for path in paths}
    print("## Win rates\n", rates(files, options.data), sep="\n")
    print("## Preferences from log-probabilities\n", logprobs(files), sep="\n")
    print("## Length-controlled win rates from published weights\n", predictions(options.data), sep="\n")
    if options.alpaca_eval is not None:
        print("## Length-controlled fit\n", fits(files, options.data, options.alpaca_eval), sep="\n")


if __name__ == "__main__":
    main()
