"""Measures training against TRL and against the original research code's algorithm, in one run, on one machine.

    python benchmarks/train/run.py [--tiny] [--turns N] [--threads N] [--only dpo1,dpo3,sft,memory,mfu,bf16] [--gpu]

Prints one Markdown table per benchmark. `../peers.py` makes TRL's environment; if it is not there, TRL is named and
left out. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from harness import Bench, FailedError, Runs, agreement, narrate, python_of, settings
from tables import Target, machine, spanned, table, versions
from workloads import Case, Lengths, Objective, Shape, Workload, described, useful_flops

NAMES = {
    "tutelage": "tutelage",
    "research": "the research code's algorithm",
    "trl_best": "TRL, best settings",
    "trl_defaults": "TRL, defaults",
    "trl_packing": "TRL, packing",
}
NOT_INSTALLED = "not measured (not installed: `python benchmarks/peers.py train`)"
OUT_OF_MEMORY = "not measured (out of memory)"
NO_GPU = "not measured (no GPU)"
SAME_IN_BF16 = 0.05
SIZES = (1, 2, 4, 8)
DPO_BEST = tuple(("plain", size) for size in SIZES)
SFT_BEST = (
    *(("plain", size) for size in SIZES),
    *(("padding_free", size) for size in SIZES[1:]),
    *(("rebalance", size) for size in SIZES[1:3]),
)
PACKING = tuple(("packing", size) for size in SIZES[:3])


@dataclass(frozen=True)
class Sizes:
    """What is trained. The tiny sizes only show that everything runs."""

    dpo: Workload
    sft: Workload
    memory: Workload
    gpu: Workload
    threads: int = 1
    is_tiny: bool = False

    def case(self, contender: str, workload: Workload, **options: object) -> Case:
        """Return a case with the threads that are wanted."""
        return Case(contender, workload, threads=self.threads, **options)  # type: ignore[arg-type]


def full_sizes(threads: int) -> Sizes:
    """Return the sizes that are measured."""
    small = Shape(vocabulary=1024, hidden=384, layers=4, heads=6, key_value_heads=6, intermediate=1024)
    wide = Shape(vocabulary=32_000, hidden=256, layers=4, heads=4, key_value_heads=4, intermediate=688)
    mistral = Shape(32_000, 4096, 32, 32, 8, 14_336, kind="mistral")
    return Sizes(
        dpo=Workload("dpo", small, num=64),
        sft=Workload("sft", small, num=128),
        memory=Workload("dpo", wide, num=16),
        gpu=Workload("dpo", mistral, num=512, batch_size=32, lr=5e-7),
        threads=threads,
    )


def tiny_sizes(threads: int) -> Sizes:
    """Return sizes for a few seconds."""
    shape = Shape(vocabulary=128, hidden=32, layers=2, heads=2, key_value_heads=2, intermediate=64)
    lengths = Lengths(prompt=10, max_prompt=24, completion=15, max_length=48)

    def workload(objective: Objective, **changes: object) -> Workload:
        return Workload(objective, replace(shape, **changes), num=16, lengths=lengths)  # type: ignore[arg-type]

    return Sizes(
        dpo=workload("dpo"),
        sft=workload("sft"),
        memory=workload("dpo", vocabulary=1024),
        gpu=workload("dpo", kind="mistral", key_value_heads=1),
        threads=threads,
        is_tiny=True,
    )


def dpo1(bench: Bench, sizes: Sizes) -> None:
    """How long one epoch of DPO takes."""
    limits = {"trl_best": 1.35, "trl_defaults": 2.5, "research": 2.0}
    _speed("dpo1", bench, sizes, _dpo_cases(bench, sizes, epochs=1), limits)


def dpo3(bench: Bench, sizes: Sizes) -> None:
    """How long three epochs of DPO take: the reference is asked once where it is not a second model."""
    limits = {"trl_best": 1.4, "trl_defaults": 3.0, "research": 2.4}
    _speed("dpo3", bench, sizes, _dpo_cases(bench, sizes, epochs=3), limits)


def sft(bench: Bench, sizes: Sizes) -> None:
    """How long one epoch of SFT takes."""
    best = bench.best(sizes.case("trl_best", sizes.sft), SFT_BEST)
    packing = bench.best(sizes.case("trl_packing", sizes.sft, variant="packing"), PACKING)
    cases = [sizes.case("tutelage", sizes.sft), sizes.case("research", sizes.sft), best, packing]
    _speed("sft", bench, sizes, cases, {"trl_best": 1.3, "trl_packing": 1.3})


def _dpo_cases(bench: Bench, sizes: Sizes, epochs: int) -> list[Case]:
    workload = replace(sizes.dpo, epochs=epochs)
    best = bench.best(sizes.case("trl_best", workload), DPO_BEST)
    return [
        sizes.case("tutelage", workload),
        sizes.case("research", workload),
        best,
        sizes.case("trl_defaults", workload),
    ]


def _speed(name: str, bench: Bench, sizes: Sizes, cases: Sequence[Case], limits: dict[str, float]) -> None:
    results = bench.interleaved(cases)
    ours, workload = results[0], results[0].case.workload
    tokens = described(workload)["tokens"] * workload.epochs
    rows, targets = [], []
    for runs in results:
        who = runs.case.contender
        if not runs.turns:
            rows.append([NAMES[who], NOT_INSTALLED, *[""] * 6])
            continue
        times = runs.times(ours)
        rows.append(
            [
                NAMES[who],
                settings(runs.case),
                f"**{spanned(runs.values('seconds'), runs.median('seconds'))}**",
                f"{runs.median('reference_seconds'):.1f}" if runs.median("reference_seconds") else "",
                f"{runs.median('wall_seconds'):.1f}",
                f"{tokens / runs.median('seconds'):,.0f}",
                f"{times:.2f}",
                f"{runs.median('lifetime_peak'):,.0f}",
            ]
        )
        if who in limits:
            targets.append(Target(f"CPU time, {NAMES[who]} : tutelage", times, limits[who]))
    head = ["who", "settings", "CPU s", "of it the reference", "wall s", "tokens per CPU-second", "who : tutelage"]
    text = table([*head, "peak RSS MB"], rows) + f"\n\n{agreement(results)}"
    _print(name, f"{_of(workload)} {_median(bench)}", text, targets, results, bench, sizes)


def memory(bench: Bench, sizes: Sizes) -> None:
    """How much memory DPO adds, with a vocabulary that makes logits large."""
    workload = sizes.memory
    cases = [sizes.case(who, workload, warm_up=False) for who in ("tutelage", "research")]
    cases += [sizes.case("trl_best", workload, warm_up=False, micro_batch=size) for size in (workload.batch_size, 1)]
    results = bench.interleaved(cases)
    ours, theirs = results[:2]
    rows = []
    for runs in results:
        if not runs.turns:
            rows.append([NAMES[runs.case.contender], NOT_INSTALLED, *[""] * 5])
            continue
        numbers = [runs.median(name) for name in ("memory_before", "memory_peak", "memory")]
        ratios = [1 / runs.times(ours, name) for name in ("memory", "memory_peak")]
        rows.append(
            [
                NAMES[runs.case.contender],
                settings(runs.case) or ("by tokens" if runs is ours else f"micro-batch {workload.batch_size}"),
                *(f"{number:,.0f}" for number in numbers),
                *(f"{ratio:.2f}" for ratio in ratios),
            ]
        )
    head = ["who", "settings", "RSS before, MB", "peak RSS, MB", "added, MB"]
    text = table([*head, "tutelage : who, added", "tutelage : who, peak"], rows) + f"\n\n{agreement(results)}"
    what = (
        f"{_of(workload)} Before: all is imported and the policy is built; added: gradients, optimizer, reference "
        f"and activations at the peak of the training. {_median(bench)}"
    )
    added, peak = (1 / theirs.times(ours, name) for name in ("memory", "memory_peak"))
    targets = [
        Target("memory added, tutelage : the research code's algorithm", added, 0.25, at_least=False),
        Target("peak memory, tutelage : the research code's algorithm", peak, 0.25, at_least=False),
    ]
    _print("memory", what, text, targets, results, bench, sizes)


def mfu(bench: Bench, sizes: Sizes) -> None:
    """Which share of the fastest matrix product's arithmetic is useful work."""
    workload = sizes.dpo
    results = bench.interleaved(_dpo_cases(bench, sizes, epochs=1)[:3])
    peaks = bench.gemm(sizes.threads, "cpu", "float32")
    rows, shares = [], {}
    for runs in results:
        if not runs.turns:
            rows.append([NAMES[runs.case.contender], NOT_INSTALLED, "", ""])
            continue
        seconds = [cpu / sizes.threads for cpu in runs.values("train_seconds")]
        rates = [useful_flops(workload, workload.items()) / second for second in seconds]
        share = [rate / peak for rate, peak in zip(rates, peaks, strict=True)]
        shares[runs.case.contender] = statistics.median(share)
        rows.append(
            [
                NAMES[runs.case.contender],
                settings(runs.case),
                f"{statistics.median(rates) / 1e9:.1f}",
                f"**{shares[runs.case.contender]:.0%}**",
            ]
        )
    text = table(["who", "settings", "useful GFLOP/s", "MFU"], rows)
    peak = spanned([peak / 1e9 for peak in peaks], statistics.median(peaks) / 1e9)
    what = (
        f"{_of(workload)} Of the training alone, without the reference's pass. The fastest float32 matrix product "
        f"found, on as many threads: {peak} GFLOP/s. {_median(bench)}"
    )
    _print("mfu", what, text, [Target("MFU", shares["tutelage"], 0.6)], results, bench, sizes)


def bf16(bench: Bench, sizes: Sizes) -> None:
    """What computing in bfloat16 gains, weights staying float32."""
    cases = [sizes.case("tutelage", sizes.dpo, precision=precision) for precision in ("float32", "bfloat16")]
    results = bench.interleaved(cases)
    single, half = results
    rows = []
    for runs in results:
        peaks = bench.gemm(sizes.threads, "cpu", runs.case.precision)
        rows.append(
            [
                runs.case.precision,
                spanned(runs.values("seconds"), runs.median("seconds")),
                f"{1 / runs.times(single):.2f}",
                f"{statistics.median(peaks) / 1e9:.0f}",
                f"{runs.turns[0].losses[0]:.6f}, {runs.turns[0].losses[-1]:.6f}",
            ]
        )
    head = ["tutelage computes in", "CPU s", "times as fast", "GEMM, GFLOP/s", "first and last loss"]
    what = f"{_of(sizes.dpo)} The weights and the optimizer are float32 in both. {_median(bench)}"
    target = Target("bfloat16, times as fast", 1 / half.times(single), 1.4)
    _print("bf16", what, table(head, rows), [target], results, bench, sizes)


def gpu(bench: Bench, sizes: Sizes) -> None:
    """The same on a GPU, with a model of Mistral-7B's shape. Without one, tiny sizes show that everything runs."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    workload = sizes.gpu
    what = f"{_of(workload)} Computed in bfloat16, weights and optimizer float32. {_median(bench)}"
    cases = [sizes.case(who, workload, precision="bfloat16", device=device) for who in NAMES if who != "trl_packing"]
    tutelage, _, best, defaults = cases
    defaults = replace(defaults, micro_batch=min(workload.batch_size, 8))  # TRL's own
    if device == "cuda" or sizes.is_tiny:
        best = bench.best(best, (*DPO_BEST, ("plain", 16)) if device == "cuda" else DPO_BEST)
        results = bench.interleaved([tutelage, best, defaults])
    else:
        results = [Runs(case, ()) for case in (tutelage, best, defaults)]
    num, tokens = workload.num * workload.epochs, described(workload)["tokens"] * workload.epochs
    flops = useful_flops(workload, workload.items()) * workload.epochs
    rows, targets = [], []
    for runs in results:
        who = runs.case.contender
        if device == "cpu" or not runs.turns:
            rows.append([NAMES[who], _missing(runs.case), *[""] * 6])
            continue
        wall, train = runs.median("wall_seconds"), runs.median("train_wall")
        share = flops / train / statistics.median(bench.gemm(sizes.threads, device, "bfloat16"))
        times = runs.times(results[0], "wall_seconds")
        peak = runs.median("memory_peak") / 1024
        numbers = [f"{wall:.1f}", f"{tokens / wall:,.0f}", f"{num / wall:.1f}", f"**{share:.0%}**", f"{times:.2f}"]
        rows.append([NAMES[who], settings(runs.case), *numbers, f"{peak:.1f}"])
        if who == "tutelage":
            targets.append(Target("MFU", share, 0.5))
        else:
            targets.append(Target(f"time, {NAMES[who]} : tutelage", times, 1.45 if who == "trl_best" else 2.7))
    head = ["who", "settings", "wall s", "tokens/s", "pairs/s", "MFU", "who : tutelage", "peak GiB"]
    if device == "cuda":
        what += f" {torch.cuda.get_device_name()}."
    text = table(head, rows)
    if results[0].turns:
        text += f"\n\n{agreement(results, same=SAME_IN_BF16)}"
    _print("gpu", what, text, targets, results, bench, sizes)


def _missing(case: Case) -> str:
    if case.device == "cpu":
        return NO_GPU
    return OUT_OF_MEMORY if python_of(case.contender) else NOT_INSTALLED


BENCHMARKS: dict[str, Callable[[Bench, Sizes], None]] = {
    "dpo1": dpo1,
    "dpo3": dpo3,
    "sft": sft,
    "memory": memory,
    "mfu": mfu,
    "bf16": bf16,
}


def _of(workload: Workload) -> str:
    """Return what is trained, in words."""
    shape, lengths, found = workload.shape, workload.lengths, described(workload)
    million = (shape.num_backbone + shape.num_head) / 1e6
    what = "pairs" if workload.objective == "dpo" else "completions"
    shared = f", {found['shared']:.2f}x with prompts shared" if workload.objective == "dpo" else ""
    return (
        f"{workload.objective.upper()}, {workload.num} {what}, {workload.epochs} epoch(s), steps of "
        f"{workload.batch_size}; {shape.kind}, {shape.layers} layers of {shape.hidden}, vocabulary "
        f"{shape.vocabulary:,} ({million:.1f}M weights that multiply). Median lengths: prompts {lengths.prompt}, "
        f"completions {lengths.completion}, together at most {lengths.max_length}: {found['tokens']:,} tokens an "
        f"epoch, {found['padding']:.2f}x if batches are padded to the longest{shared}."
    )


def _median(bench: Bench) -> str:
    return "One turn." if bench.turns == 1 else f"Medians of {bench.turns} interleaved turns, ratios paired by turn."


def _print(
    name: str, what: str, text: str, targets: Sequence[Target], results: Sequence[Runs], bench: Bench, sizes: Sizes
) -> None:
    print(f"### {name}\n\n{what}\n\n{text}\n")
    if sizes.is_tiny:
        print("`--tiny`: this only shows that everything runs; the numbers mean nothing.")
    elif targets:
        print("\n".join(map(str, targets)))
    print(f"\n{'; '.join(filter(None, (machine(sizes.threads), versions(results))))}.\n", flush=True)


def main() -> None:
    """Run the benchmarks that are named, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(BENCHMARKS), help="which benchmarks, with commas (default: all)")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, one turn: only shows that everything runs")
    parser.add_argument("--turns", type=int, default=5, help="how often each case is run; the median is printed")
    parser.add_argument("--threads", type=int, default=1, help="of every contender (default: 1)")
    parser.add_argument("--gpu", action="store_true", help="instead: a 7B model on one GPU against TRL")
    args = parser.parse_args()
    names = args.only.split(",")
    if unknown := sorted(set(names) - set(BENCHMARKS)):
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    if args.turns < 1 or args.threads < 1:
        parser.error("--turns and --threads are at least 1")
    sizes = tiny_sizes(args.threads) if args.tiny else full_sizes(args.threads)
    bench = Bench(turns=1 if args.tiny else args.turns, is_tiny=args.tiny)
    chosen = {"gpu": gpu} if args.gpu else {name: BENCHMARKS[name] for name in names}
    for name, benchmark in chosen.items():
        narrate(name)
        try:
            benchmark(bench, sizes)
        except FailedError as error:
            sys.exit(f"{name}: {error}")


if __name__ == "__main__":
    main()
