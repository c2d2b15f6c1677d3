"""Rows: every token once, every label where it belongs, every batch split without a loss."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st

from tutelage.train.encode import Example
from tutelage.train.pairs import PairExample
from tutelage.train.rows import chunks, micro_batches, pack, pad

IDS = st.lists(st.integers(1, 99), min_size=1, max_size=9).map(tuple)


def pair(number: int, prompt: Any, chosen: Any, rejected: Any) -> PairExample:
    sides = (Example(f"{number}{side}", f"p{number}", prompt, ids) for side, ids in (("a", chosen), ("b", rejected)))
    return PairExample(str(number), *sides)


PAIRS = st.lists(st.tuples(IDS, IDS, IDS), min_size=1, max_size=5).map(
    lambda rows: [pair(number, *row) for number, row in enumerate(rows)]
)


def read_back(rows: Any) -> list[list[tuple[int, ...]]]:
    """Of every completion, what each of its tokens is predicted from and the token: by rows, positions and mask."""
    flat = rows.input_ids.flatten()
    width = rows.input_ids.shape[1]
    found: list[list[tuple[int, ...]]] = [[] for _ in rows.ends]
    for place, target, branch in zip(
        rows.predictors.tolist(), rows.targets.tolist(), rows.branch.tolist(), strict=True
    ):
        if rows.segments is None:
            start = place // width * width
            seen = torch.arange(start, place + 1)
            assert bool(rows.attention_mask.flatten()[seen].all())
        else:
            seen = rows.segments.mask()[0, 0, place].nonzero().flatten()
        before = tuple(flat[seen].tolist())
        assert rows.position_ids.flatten()[place] == len(before) - 1
        found[branch].append((*before, target))
    return found


def wanted(pairs: list[PairExample]) -> list[list[tuple[int, ...]]]:
    """The same from the examples themselves; the first token of a rejected completion sees the prompt alone."""
    return [
        [b.prompt_ids + b.completion_ids[: n + 1] for n in range(len(b.completion_ids))]
        for p in pairs
        for b in p.branches
    ]


@given(PAIRS)
def test_each_token_is_predicted_from_its_own_prompt_and_completion_only(pairs: list[PairExample]) -> None:
    for rows in (pack(pairs, "cpu"), pack(pairs, "cpu", share=False), pad(pairs, "cpu")):
        assert read_back(rows) == wanted(pairs)


LENGTHS = st.lists(st.integers(1, 4), min_size=1, max_size=7).filter(lambda each: len(each) % 2 == 1)
"""Of turns that carry loss, and of what is between them."""


def conversation(number: int, prompt: Any, lengths: list[int]) -> Example:
    ends = list(accumulate(lengths))
    silent = tuple(zip(ends[:-1:2], ends[1::2], strict=True))
    return Example(str(number), f"p{number}", prompt, tuple(range(10, 10 + ends[-1])), silent)


@given(st.lists(st.tuples(IDS, LENGTHS), min_size=1, max_size=5))
def test_what_is_between_turns_is_seen_and_never_predicted(given_: list[tuple[Any, list[int]]]) -> None:
    examples = [conversation(number, *row) for number, row in enumerate(given_)]
    labels = [
        [e.prompt_ids + e.completion_ids[: n + 1] for start, end in e.learnt for n in range(start, end)]
        for e in examples
    ]
    for rows in (pack(examples, "cpu"), pack(examples, "cpu", share=False), pad(examples, "cpu")):
        assert read_back(rows) == labels
        assert len(rows.targets) == sum(e.num_labels for e in examples)
        assert rows.input_ids.flatten()[rows.ends].tolist() == [e.completion_ids[-1] for e in examples]


@given(PAIRS)
def test_each_completion_ends_at_its_last_token(pairs: list[PairExample]) -> None:
    last = [branch.completion_ids[-1] for p in pairs for branch in p.branches]
    for rows in (pack(pairs, "cpu"), pack(pairs, "cpu", share=False), pad(pairs, "cpu")):
        assert rows.input_ids.flatten()[rows.ends].tolist() == last


@given(PAIRS)
def test_a_shared_prompt_is_there_once(pairs: list[PairExample]) -> None:
    assert pack(pairs, "cpu").input_ids.shape == (1, sum(p.num_tokens for p in pairs))


@given(PAIRS)
def test_the_kernel_is_told_the_same_as_the_mask(pairs: list[PairExample]) -> None:
    segments = pack(pairs, "cpu").segments
    assert segments is not None
    mask = segments.mask()[0, 0]
    for number, segment in enumerate(segments.list):
        queries = range(int(segments.query_starts[number]), int(segments.query_starts[number + 1]))
        keys = segments.key_index[int(segments.key_starts[number]) : int(segments.key_starts[number + 1])]
        assert list(queries) == list(range(segment.start, segment.start + segment.length))
        for row, query in enumerate(queries):  # the last query sees all keys, the one before it one less ...
            seen = keys[: len(keys) - segment.length + row + 1]
            assert torch.equal(mask[query].nonzero().flatten(), seen.sort().values)
    assert segments.longest == (
        max(s.length for s in segments.list),
        max(s.prefix_length + s.length for s in segments.list),
    )


@given(PAIRS, st.integers(1, 60), st.integers(1, 4))
def test_a_batch_is_divided_without_loss_and_within_the_budget(
    pairs: list[PairExample], budget: int, shards: int
) -> None:
    sizes = [p.num_tokens for p in pairs]
    shares = micro_batches(pairs, sizes, budget, shards)
    assert len({len(share) for share in shares}) == 1
    assert len(shares) == shards
    assert sorted(p.id for share in shares for micro in share for p in micro) == sorted(p.id for p in pairs)
    assert all(len(m) <= 1 or sum(p.num_tokens for p in m) <= budget for share in shares for m in share)


@given(PAIRS, st.integers(1, 60))
def test_chunks_lose_nothing_and_stay_within_the_budget(pairs: list[PairExample], budget: int) -> None:
    found = [[pairs[i] for i in chunk] for chunk in chunks(pairs, [p.num_tokens for p in pairs], budget)]
    assert sorted(p.id for chunk in found for p in chunk) == sorted(p.id for p in pairs)
    assert all(len(chunk) == 1 or sum(p.num_tokens for p in chunk) <= budget for chunk in found)
