"""Numbers as they come -> a histogram for a terminal."""

from __future__ import annotations

from collections import Counter
from itertools import zip_longest

BARS = " ▏▎▍▌▋▊▉█"


class Lengths:
    """Counts lengths. There are few different ones, so the quantiles are exact however many are counted."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def add(self, length: int) -> None:
        """Count one."""
        self.counts[length] += 1

    def quantile(self, share: float) -> int:
        """Return the shortest length that at least this share of all is not longer than."""
        needed, seen = share * self.counts.total(), 0
        for length in sorted(self.counts):
            seen += self.counts[length]
            if seen >= needed:
                return length
        return 0

    def bins(self) -> list[tuple[int, int, int]]:
        """Return (first, last, how many): 0, 1, 2-3, 4-7, ...; from the first to the last that is not empty."""
        found: Counter[int] = Counter()
        for length, num in self.counts.items():
            found[length.bit_length()] += num
        edges = range(min(found), max(found) + 1) if found else range(0)
        return [((1 << i) >> 1, (1 << i) - 1, found[i]) for i in edges]

    def lines(self, title: str, columns: int) -> list[str]:
        """Return the histogram, its title first, in lines of at most so many columns."""
        head = f"{title}: median {self.quantile(0.5):,}, p95 {self.quantile(0.95):,}, max {self.quantile(1):,}"
        rows = [(f"{a:,}" if a == b else f"{a:,}-{b:,}", num) for a, b, num in self.bins()]
        return [head[:columns], *bars(rows, columns)]


def bars(rows: list[tuple[str, int]], columns: int) -> list[str]:
    """Return a line per row: its name, how many, a bar as long as its share of the most."""
    if not rows:
        return []
    names, nums = (max(len(text) for text in texts) for texts in zip(*((n, f"{i:,}") for n, i in rows), strict=True))
    room = columns - names - nums - 6
    most = max(num for _, num in rows) or 1
    return [f"  {name:>{names}}  {num:>{nums},}  {bar(num / most, room)}".rstrip() for name, num in rows]


def bar(share: float, columns: int) -> str:
    """Return a bar over this share of the columns, in eighths; what is not nothing is seen."""
    eighths = max(round(share * columns * 8), 1 if share > 0 else 0)
    whole, rest = divmod(eighths, 8)
    return (BARS[8] * whole + BARS[rest]).rstrip()


def beside(left: list[str], right: list[str], columns: int) -> list[str]:
    """Return two blocks of lines side by side, the right one from column `columns` on."""
    return [f"{a:<{columns}}{b}".rstrip() for a, b in zip_longest(left, right, fillvalue="")]
