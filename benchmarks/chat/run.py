"""Measures the layer that talks to models against its peers, in one run, on one machine.

    python benchmarks/chat/run.py [--quick] [--full] [--turns N] [throughput scaling pairs rerun]

Prints one Markdown table per benchmark. `../peers.py` makes the environments of the peers; a peer that is not
installed is named and left out. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from harness import Case, Client, FailedError, Run, Runs, interleaved, narrate, run, serving
from tables import Target, machine, table, versions

OURS = Client("tutelage", "client_tutelage.py", "requests")
OUR_PAIRS = Client("tutelage", "client_tutelage.py", "pairs")
BARE = Client("bare aiohttp loop, nothing kept", "client_peers.py", "aiohttp")
SDKS = (
    Client("AsyncOpenAI", "client_peers.py", "openai", "openai", "sdks"),
    Client("AsyncOpenAI, its aiohttp transport", "client_peers.py", "openai-aiohttp", "openai", "sdks"),
    Client("AsyncAnthropic", "client_peers.py", "anthropic", "anthropic", "sdks"),
    Client("AsyncAnthropic, its aiohttp transport", "client_peers.py", "anthropic-aiohttp", "anthropic", "sdks"),
)
ALPACA_EVAL = Client("alpaca_eval", "client_alpaca_eval.py", "pairs", "alpaca_eval", "alpaca_eval")

NOT_INSTALLED = "not measured (not installed: `python benchmarks/peers.py chat`)"
NOT_FULL = "not measured (more than 20 minutes: `--full`)"


@dataclass(frozen=True)
class Sizes:
    """How much is asked. The quick sizes only show that everything runs."""

    turns: int
    connections: int = 256
    requests: int = 10_000
    sdk_requests: int = 2_000
    many_requests: int = 100_000
    pairs: int = 805
    many_pairs: int = 10_000
    pair_connections: tuple[int, int] = (64, 256)
    latency: float = 0.2
    is_full: bool = False
    is_quick: bool = False


def quick_sizes() -> Sizes:
    """Return sizes for a few seconds."""
    return Sizes(
        turns=1,
        connections=16,
        requests=400,
        sdk_requests=40,
        many_requests=2_000,
        pairs=40,
        many_pairs=200,
        pair_connections=(8, 16),
        latency=0.02,
        is_quick=True,
    )


def throughput(sizes: Sizes) -> None:
    """How many requests a CPU-second buys when the server takes no time."""
    cases = [Case(client, sizes.requests, sizes.connections) for client in (OURS, BARE)]
    cases += [Case(client, sizes.sdk_requests, sizes.connections) for client in SDKS]
    results = interleaved(cases, sizes.turns)
    ours = results[0]
    rows = []
    for runs in results:
        if not runs.turns:
            rows.append([runs.case.client.name, NOT_INSTALLED, *[""] * 5])
            continue
        rates = runs.values("rate")
        rows.append(
            [
                runs.case.client.name,
                f"{runs.case.num:,}",
                f"**{runs.median('rate'):,.0f}**"
                + (f" ({min(rates):,.0f} to {max(rates):,.0f})" if rates[1:] else ""),
                f"{ours.median('rate') / runs.median('rate'):.2f}",
                f"{runs.median('wall'):.1f}",
                f"{runs.median('rss'):.0f}",
                f"{runs.median('server_share'):.0%}",
            ]
        )
    _print(
        "throughput",
        f"{sizes.connections} connections, no latency, prompts of about 3 kB. tutelage keeps every reply in its "
        f"journal, the others keep nothing. {_median(sizes)}",
        table(
            [
                "client",
                "requests",
                "requests per CPU-second",
                "tutelage : client",
                "wall s",
                "peak RSS MB",
                "server busy",
            ],
            rows,
        ),
        [
            Target("requests per CPU-second", ours.median("rate"), 2_000, at_least=True, digits=0),
            Target("peak RSS in MB", ours.median("rss"), 120, digits=0),
        ],
        _all(results),
        sizes,
    )


def scaling(sizes: Sizes) -> None:
    """Whether ten times as many requests take ten times the time, and the same memory."""
    cases = [Case(OURS, num, sizes.connections) for num in (sizes.requests, sizes.many_requests)]
    few, many = results = interleaved(cases, sizes.turns)
    rows = [
        [
            f"{runs.case.num:,}",
            f"{runs.median('cpu'):.2f}",
            f"{runs.median('cpu') / runs.case.num * 1e6:.0f}",
            f"{runs.median('wall'):.1f}",
            f"{runs.median('rss'):.0f}",
        ]
        for runs in results
    ]
    times, rss = (many.median(name) / few.median(name) for name in ("cpu", "rss"))
    rows.append(["ratio", f"{times:.2f}", "", f"{many.median('wall') / few.median('wall'):.2f}", f"{rss:.2f}"])
    _print(
        "scaling",
        f"tutelage, {sizes.connections} connections, no latency; the requests come from a generator. "
        f"{_median(sizes)}",
        table(["requests", "CPU s", "CPU us per request", "wall s", "peak RSS MB"], rows),
        [
            Target("ratio of the CPU times", times, 11, digits=2),
            Target("ratio of the peak RSS", rss, 1.3, digits=2),
        ],
        _all(results),
        sizes,
    )


def pairs(sizes: Sizes) -> None:
    """How long it takes to have pairs judged, from texts to verdicts, against AlpacaEval."""
    some, most = sizes.pair_connections
    cases = [
        Case(OUR_PAIRS, sizes.pairs, some, sizes.latency),
        Case(OUR_PAIRS, sizes.pairs, most, sizes.latency),
        Case(ALPACA_EVAL, sizes.pairs, some, sizes.latency),
        Case(OUR_PAIRS, sizes.many_pairs, some, sizes.latency),
    ]
    results = interleaved(cases, sizes.turns)
    theirs_of_many = Case(ALPACA_EVAL, sizes.many_pairs, some, sizes.latency)
    results += interleaved([theirs_of_many], 1) if sizes.is_full else [Runs(theirs_of_many, ())]
    ours, ours_wide, theirs, ours_of_many, theirs_many = results
    _print(
        "pairs",
        f"The server takes {sizes.latency * 1000:.0f} ms. tutelage: records, questions (order=random), journal, "
        "verdicts. alpaca_eval: weighted_alpaca_eval_gpt4_turbo, reference outputs and metric local. "
        + _median(sizes),
        table(
            ["client", "pairs", "connections", "wall s", "least possible", "CPU s", "import CPU s", "peak RSS MB"],
            [_pairs_row(runs, sizes) for runs in results],
        )
        + "".join(_ratio(mine, other) for mine, other in ((ours, theirs), (ours_of_many, theirs_many))),
        [
            Target(f"wall s, {sizes.pairs:,} pairs, {some} connections", ours.median("wall"), 4, digits=2),
            Target(f"CPU s, {sizes.pairs:,} pairs, {some} connections", ours.median("cpu"), 1.5, digits=2),
            Target(f"wall s, {sizes.pairs:,} pairs, {most} connections", ours_wide.median("wall"), 2, digits=2),
            Target(f"wall s, {sizes.many_pairs:,} pairs", ours_of_many.median("wall"), 36),
            Target(f"CPU s, {sizes.many_pairs:,} pairs", ours_of_many.median("cpu"), 8, digits=2),
        ],
        _all(results),
        sizes,
    )


def _pairs_row(runs: Runs, sizes: Sizes) -> list[str]:
    case = runs.case
    row = [case.client.name, f"{case.num:,}", str(case.connections)]
    if not runs.turns:
        return [*row, NOT_FULL if case.num == sizes.many_pairs and not sizes.is_full else NOT_INSTALLED, *[""] * 4]
    least = -(-case.num // case.connections) * case.latency
    numbers = (runs.median("wall"), least, runs.median("cpu"), runs.median("import_cpu"))
    return [*row, *(f"{number:.2f}" for number in numbers), f"{runs.median('rss'):.0f}"]


def _ratio(ours: Runs, theirs: Runs) -> str:
    if not theirs.turns:
        return ""
    wall, cpu, rss = (theirs.median(name) / ours.median(name) for name in ("wall", "cpu", "rss"))
    return (
        f"\n\n{ours.case.num:,} pairs, {ours.case.connections} connections: alpaca_eval takes {wall:.1f} times "
        f"the wall time, {cpu:.0f} times the CPU time and {rss:.1f} times the memory of tutelage."
    )


def rerun(sizes: Sizes) -> None:
    """What the same requests cost when their replies are in the journal."""
    case = Case(OURS, sizes.requests, sizes.connections)
    first, again = [], []
    for turn in range(sizes.turns):
        narrate(f"rerun: {case.num:,} requests twice, {turn + 1} of {sizes.turns}")
        with serving(case.latency) as url, tempfile.TemporaryDirectory() as folder:
            first.append(run(url, case, Path(folder)))
            again.append(run(url, case, Path(folder), num_asked=0))
    results = [Runs(case, tuple(first)), Runs(case, tuple(again))]
    rows = [
        [
            name,
            f"{case.num:,}",
            f"{runs.turns[0].num_at_server:,}",
            f"{runs.median('rate'):,.0f}",
            f"{runs.median('wall'):.2f}",
            f"{runs.median('rss'):.0f}",
        ]
        for name, runs in zip(("first", "again"), results, strict=True)
    ]
    _print(
        "rerun",
        f"tutelage, the same requests in a second process, from the journal of the first. {_median(sizes)}",
        table(["run", "requests", "at the server", "requests per CPU-second", "wall s", "peak RSS MB"], rows),
        [Target("requests at the server, second run", results[1].median("num_at_server"), 0, digits=0)],
        _all(results),
        sizes,
    )


BENCHMARKS: dict[str, Callable[[Sizes], None]] = {
    "throughput": throughput,
    "scaling": scaling,
    "pairs": pairs,
    "rerun": rerun,
}


def _median(sizes: Sizes) -> str:
    return "One turn." if sizes.turns == 1 else f"Medians of {sizes.turns} interleaved turns."


def _all(results: Iterable[Runs]) -> list[Run]:
    return [run for runs in results for run in runs.turns]


def _print(name: str, what: str, text: str, targets: list[Target], runs: list[Run], sizes: Sizes) -> None:
    print(f"### {name}\n\n{what}\n\n{text}")
    if sizes.is_quick:
        print("\n`--quick`: this only shows that everything runs; the numbers mean nothing.")
    else:
        print("\n" + "\n".join(map(str, targets)))
    print(f"\n{machine()}; {versions(runs)}.\n", flush=True)


def main() -> None:
    """Run the benchmarks that are named, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of: {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only shows that everything runs")
    parser.add_argument("--full", action="store_true", help="alpaca_eval on the 10,000 pairs too; > 20 minutes")
    parser.add_argument("--turns", type=int, default=3, help="how often each case is run; the median is printed")
    args = parser.parse_args()
    if unknown := sorted(set(args.names) - set(BENCHMARKS)):
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    sizes = quick_sizes() if args.quick else Sizes(turns=max(1, args.turns), is_full=args.full)
    for name in args.names or BENCHMARKS:
        narrate(name)
        try:
            BENCHMARKS[name](sizes)
        except FailedError as error:
            sys.exit(f"{name}: {error}")


if __name__ == "__main__":
    main()
