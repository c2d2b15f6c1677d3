"""Examples -> rows of tokens: packed without padding, a pair's prompt only once; or padded, where it must be.

A packed row is one sequence of tokens in segments `(prefix_start, prefix_length, start, length)`: the tokens
`start .. start + length` see themselves, causally, and before them the prefix. A preference is the segment
prompt + chosen and the segment rejected, whose prefix is the prompt. Positions count on from the prefix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from tutelage.train.columns import column
from tutelage.train.encode import Example


class Item(Protocol):
    """What can be trained on: completions of one prompt."""

    @property
    def id(self) -> str: ...

    @property
    def prompt_id(self) -> str: ...

    @property
    def branches(self) -> tuple[Example, ...]:
        """The completions, each with the same prompt."""

    @property
    def num_tokens(self) -> int:
        """Tokens of the prompt, once, and of all completions."""


T = TypeVar("T", bound=Item)


class Segment(NamedTuple):
    """See the module's text."""

    prefix_start: int
    prefix_length: int
    start: int
    length: int


class Segments:
    """The segments of a packed row, and the same for a kernel that takes sequences of different lengths."""

    def __init__(self, segments: Sequence[Segment], device: Any) -> None:
        self.list, self.device = tuple(segments), device

    @cached_property
    def query_starts(self) -> Tensor:
        """Where the queries of each segment begin, and the end of the last one, (S+1,) int32."""
        return self._cumulated([s.length for s in self.list])

    @cached_property
    def key_starts(self) -> Tensor:
        """Where the keys of each segment begin once gathered by `key_index`, (S+1,) int32."""
        return self._cumulated([s.prefix_length + s.length for s in self.list])

    @cached_property
    def key_index(self) -> Tensor:
        """The keys of each segment, its prefix first, as positions in the row."""
        parts = [
            torch.arange(start, start + length)
            for s in self.list
            for start, length in ((s.prefix_start, s.prefix_length), (s.start, s.length))
        ]
        return torch.cat(parts).to(self.device)

    @cached_property
    def longest(self) -> tuple[int, int]:
        """The most queries and the most keys of a segment."""
        return max(s.length for s in self.list), max(s.prefix_length + s.length for s in self.list)

    def mask(self) -> Tensor:
        """Return which token sees which, (1, 1, T, T) bool: for models that take no segments."""
        end = max(s.start + s.length for s in self.list)
        seen = torch.zeros(end, end, dtype=torch.bool)
        for prefix_start, prefix_length, start, length in self.list:
            rows = slice(start, start + length)
            seen[rows, prefix_start : prefix_start + prefix_length] = True
            seen[rows, rows] = torch.ones(length, length, dtype=torch.bool).tril()
        return seen[None, None].to(self.device)

    def _cumulated(self, lengths: list[int]) -> Tensor:
        return torch.tensor([0, *lengths], device=self.device).cumsum(0).to(torch.int32)


@dataclass(frozen=True)
class Rows:
    """Tokens and where to read what a model says of them. Positions are those of the flattened rows.

    input_ids, position_ids (R, T); segments of a packed row (then R = 1); attention_mask (R, T) of padded rows;
    predictors (L,): the position before each token that carries loss, targets (L,): that token, branch (L,): the
    completion it belongs to, counted over all items; ends (C,): the last position of each completion.
    """

    input_ids: Tensor
    position_ids: Tensor
    segments: Segments | None
    attention_mask: Tensor | None
    predictors: Tensor
    targets: Tensor
    branch: Tensor
    ends: Tensor


class _Marks:
    """Collects where the labels are while rows are laid out."""

    def __init__(self) -> None:
        self.predictors: list[int] = []
        self.targets: list[int] = []
        self.branch: list[int] = []
        self.ends: list[int] = []

    def add(self, example: Example, before: int | None, start: int) -> None:
        """Mark a completion whose first token stands at `start` and is predicted at `before`, if by anything."""
        ids, num_before = example.completion_ids, len(self.targets)
        for first, end in example.learnt:
            if first == 0 and end > 0:
                if before is not None:  # without a prompt nothing predicts the first token
                    self.predictors.append(before)
                    self.targets.append(ids[0])
                first = 1
            self.predictors += range(start + first - 1, start + end - 1)
            self.targets += ids[first:end]
        self.branch += [len(self.ends)] * (len(self.targets) - num_before)
        self.ends.append(start + len(ids) - 1 if ids else int(before or 0))

    def tensors(self, device: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return predictors, targets, branch, ends."""
        predictors, targets, branch, ends = (
            torch.tensor(x, dtype=torch.long, device=device)
            for x in (self.predictors, self.targets, self.branch, self.ends)
        )
        return predictors, targets, branch, ends


def pack(items: Sequence[Item], device: Any, share: bool = True) -> Rows:
    """Lay `items` out in one row; `share`: the prompt of an item once, not once per completion."""
    ids: list[int] = []
    positions: list[int] = []
    segments: list[Segment] = []
    marks = _Marks()
    for item in items:
        prompt = item.branches[0].prompt_ids
        prompt_start = len(ids)
        for number, branch in enumerate(item.branches):
            alone = number == 0 or not share
            start = len(ids)
            own = (*prompt, *branch.completion_ids) if alone else branch.completion_ids
            if alone:
                prompt_start = start
            prefix = 0 if alone else len(prompt)
            ids += own
            positions += range(prefix, prefix + len(own))
            if own:
                segments.append(Segment(prompt_start, prefix, start, len(own)))
            before = prompt_start + len(prompt) - 1 if prompt else None
            marks.add(branch, before, start + (len(prompt) if alone else 0))
    return Rows(
        torch.tensor([ids], device=device),
        torch.tensor([positions], device=device),
        Segments(segments, device),
        None,
        *marks.tensors(device),
    )


def pad(items: Sequence[Item], device: Any) -> Rows:
    """Lay `items` out in one row per completion, padded on the right (with the id 0, which nothing sees)."""
    branches = [branch for item in items for branch in item.branches]
    width = max(b.num_tokens for b in branches)
    ids = torch.zeros(len(branches), width, dtype=torch.long)
    mask = torch.zeros(len(branches), width, dtype=torch.long)
    marks = _Marks()
    for row, branch in enumerate(branches):
        ids[row, : branch.num_tokens] = torch.tensor(branch.prompt_ids + branch.completion_ids)
        mask[row, : branch.num_tokens] = 1
        start = row * width + len(branch.prompt_ids)
        marks.add(branch, start - 1 if branch.prompt_ids else None, start)
    positions = torch.arange(width, device=device).expand(len(branches), width)
    return Rows(ids.to(device), positions, None, mask.to(device), *marks.tensors(device))


def micro_batches(batch: Sequence[T], sizes: Sequence[int], budget: int, num_shards: int) -> list[list[list[T]]]:
    """Split a batch into `num_shards` lists of micro-batches, as many in each, alike in size.

    Only what is given decides, so every process finds the same. A micro-batch holds at most `budget` tokens, or
    one item that is larger. If there are fewer items than micro-batches, some are empty.

    Args:
        sizes: what each item costs, in tokens.

    Returns:
        Of each shard the micro-batches, all `len(result[0])` of them.
    """
    largest = sorted(range(len(batch)), key=lambda i: (-sizes[i], batch[i].id))
    rounds = max(1, min(-(-sum(sizes) // (budget * num_shards)), -(-len(batch) // num_shards)))
    while True:
        bins: list[list[T]] = [[] for _ in range(rounds * num_shards)]
        filled = [0] * len(bins)
        for i in largest:  # the largest first into what is emptiest: Graham 1969, within 4/3 of the best
            emptiest = filled.index(min(filled))
            bins[emptiest].append(batch[i])
            filled[emptiest] += sizes[i]
        if all(tokens <= budget or len(items) <= 1 for tokens, items in zip(filled, bins, strict=True)):
            return [bins[shard::num_shards] for shard in range(num_shards)]
        rounds += 1


class Built(Sequence[list[T]]):
    """Micro-batches of `items`, each built when it is its turn.

    Args:
        which: the items of each.
    """

    def __init__(self, items: Sequence[T], which: Sequence[list[int]]) -> None:
        self.items, self.which = items, which

    def __len__(self) -> int:
        return len(self.which)

    def __getitem__(self, index: Any) -> Any:
        return [self.items[i] for i in self.which[index]]


def chunks(items: Sequence[Item], sizes: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Yield which `items`, in order of size, make micro-batches of at most `budget` tokens: for work without one."""
    chunk: list[int] = []
    filled = 0
    for i in np.lexsort((column(items, "id"), -np.array(sizes))).tolist():
        if chunk and filled + sizes[i] > budget:
            yield chunk
            chunk, filled = [], 0
        chunk.append(i)
        filled += sizes[i]
    if chunk:
        yield chunk
