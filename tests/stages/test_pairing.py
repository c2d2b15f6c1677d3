"""Which pairs are judged: every sample counts, no pair twice, no text against itself, as many as asked for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import DataError
from tutelage.inputs import Rows
from tutelage.records import Completion, Pair, Prompt
from tutelage.stages import label
from tutelage.stages.judging import Critic
from tutelage.stages.pairing import Pairing, draw, pairs_between, pairs_within, read_pairs


def completion(text: str, prompt: str = "p", author: str = "me", index: int = 0) -> Completion:
    return Completion(prompt_id=prompt, author=author, text=text, index=index)


def samples(*texts: str, prompt: str = "p", author: str = "me") -> list[Completion]:
    return [completion(text, prompt, author, index) for index, text in enumerate(texts)]


def texts(pairs: list[Pair]) -> list[str]:
    return [pair.left.text + pair.right.text for pair in pairs]


@pytest.fixture
def counts() -> Counter[str]:
    return Counter()


def counter(counts: Counter[str]) -> Any:
    return lambda what, num: counts.update({what: num})


@pytest.mark.parametrize(
    ("pairing", "within", "between"),
    [
        ("all", ["ab", "ac", "ad", "bc", "bd", "cd"], ["ax", "ay", "bx", "by"]),
        ("first", ["ab"], ["ax"]),
        ("star", ["ab", "ac", "ad"], ["ax", "ay"]),
    ],
)
def test_each_way_of_pairing_gives_its_pairs(
    pairing: Any, within: list[str], between: list[str], counts: Counter[str]
) -> None:
    assert texts(pairs_within(samples(*"abcd"), counter(counts), pairing)) == within
    others = samples("x", "y", author="you")
    assert texts(pairs_between(samples(*"ab"), others, counter(counts), pairing)) == between
    assert counts == {}


def test_bug_8_every_sample_of_a_prompt_is_judged_unless_asked_otherwise(counts: Counter[str]) -> None:
    """The original compared sample 0 alone."""
    pairs = pairs_within(samples("a", "b", "c"), counter(counts), Pairing().pairing)
    assert {c.index for pair in pairs for c in (pair.left, pair.right)} == {0, 1, 2}


def test_samples_are_taken_in_the_order_they_were_drawn_not_in_that_of_the_file(counts: Counter[str]) -> None:
    backwards = list(reversed(samples("a", "b", "c")))
    assert texts(pairs_within(backwards, counter(counts), "star")) == ["ab", "ac"]


def test_prompts_are_matched_by_id_whatever_their_order(counts: Counter[str]) -> None:
    left = [completion(f"l{i}", f"p{i}") for i in range(5)]
    right = [completion(f"r{i}", f"p{i}", "you") for i in (3, 1, 4)]
    assert texts(pairs_between(left, right, counter(counts))) == ["l1r1", "l3r3", "l4r4"]
    assert counts == {"prompts without a completion to compare with": 2}


def test_a_prompt_that_only_the_other_author_has_answered_is_counted_too(counts: Counter[str]) -> None:
    right = [completion("r", "p", "you"), completion("s", "q", "you")]
    assert texts(pairs_between([completion("l")], right, counter(counts))) == ["lr"]
    assert counts == {"prompts without a completion to compare with": 1}


def test_the_same_text_is_never_compared_with_itself_and_first_takes_the_next_pair(counts: Counter[str]) -> None:
    assert texts(pairs_within(samples("a", "a", "b"), counter(counts), "first")) == ["ab"]
    assert counts == {"skipped: both completions are the same text": 1}


def test_the_same_pair_is_taken_once_though_it_is_there_in_both_orders(counts: Counter[str]) -> None:
    both = samples("a", "b")
    assert texts(pairs_between(both, both, counter(counts))) == ["ab"]
    assert counts == {"skipped: both completions are the same text": 2, "skipped: the same pair again": 1}


def test_bug_5_exactly_as_many_pairs_as_asked_for(counts: Counter[str]) -> None:
    """The original kept two more."""
    pairs = [p for i in range(50) for p in pairs_within(samples("a", "b", prompt=f"p{i}"), counter(counts))]
    drawn = draw(pairs, 20, 0, counter(counts))
    assert len(drawn) == 20
    assert counts == {"left out: more than max_pairs": 30}
    assert [p for p in pairs if p in drawn] == drawn  # in their own order
    assert draw(pairs, 20, 1, counter(counts)) != drawn
    assert draw(pairs, 50, 0, counter(counts)) == draw(pairs, None, 0, counter(counts)) == pairs


@given(st.permutations(range(12)), st.integers(1, 12))
def test_the_order_of_the_rows_decides_nothing_in_a_draw(order: list[int], num: int) -> None:
    quiet = lambda what, num: None  # noqa: E731
    pairs = [pairs_within(samples("a", "b", prompt=f"p{i}"), quiet)[0] for i in range(12)]
    moved = draw([pairs[i] for i in order], num, 7, quiet)
    assert {p.id for p in moved} == {p.id for p in draw(pairs, num, 7, quiet)}


def test_a_file_with_one_completion_a_prompt_is_refused(write_rows: Any) -> None:
    path = write_rows("one.jsonl", [{"prompt": "Why?", "completion": "So.", "author": "me"}])
    with pytest.raises(DataError, match=r"one\.jsonl: nothing to compare.*num_samples=2"):
        read_pairs(Rows(path=str(path)), None, Pairing(), 0, lambda what, num: None)


def test_label_judges_exactly_max_pairs_and_its_estimate_counts_no_more(tmp_path: Path, write_rows: Any) -> None:
    rows = [{"prompt": f"Why {i}?", "completion": t, "author": "me"} for i in range(9) for t in ("a", "b", "c")]
    inputs = label.Inputs(completions=Rows(path=str(write_rows("rows.jsonl", rows))))
    critic = Critic(provider="miniature", model="critic_unbiased")
    config = label.Config(
        artifacts=tmp_path, critic=critic, max_pairs=5, pairing="star", order="fixed", max_invalid=1
    )
    assert len(label.plan(config, inputs).requests) == 5
    made = label.run(config, inputs)
    assert made.record.counts["verdicts"] == 5
    assert made.record.counts["left out: more than max_pairs"] == 13
    assert len(made.rows("prompts.jsonl", Prompt)) <= 5
