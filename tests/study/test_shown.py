"""Which evaluated pairs people are shown, and what of them."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import Any

import pytest

from small_study import SmallStudy
from tutelage.findings import Shown
from tutelage.study.shown import OUTCOMES, shown


@pytest.fixture(scope="module")
def found(small: SmallStudy) -> list[Shown]:
    return shown(12, small.runs, "judge")


def verdicts(small: SmallStudy, arm: str, seed: int) -> dict[str, Any]:
    path = small.runs[arm][seed]["evaluate:judge"].path / "verdicts.jsonl"
    return {row["pair"]["left"]["prompt_id"]: row for row in map(json.loads, path.open())}


def test_every_text_and_reply_is_the_one_of_that_arm_and_seed(small: SmallStudy, found: list[Shown]) -> None:
    for each in found:
        verdict = verdicts(small, each.arm, each.seed)[each.prompt_id]
        assert each.completion == verdict["pair"]["left"]["text"]
        assert each.baseline == verdict["pair"]["right"]["text"]
        assert each.outcome == OUTCOMES[verdict["outcome"]]
        assert each.replies == tuple(zip(verdict["orders"], verdict["replies"], strict=True))
        assert each.judge == "judge"
    both_orders = [each for each in found if len(each.replies) == 2]
    assert {order for each in both_orders for order, _ in each.replies} == {"left_first", "right_first"}


def test_the_prompt_is_shown_with_its_text(small: SmallStudy, found: list[Shown]) -> None:
    path = small.runs["dpo-weak"][0]["evaluate:judge"].path / "prompts.jsonl"
    texts = {row["id"]: row["messages"][0]["content"] for row in map(json.loads, path.open())}
    assert {each.prompt_id: each.prompt for each in found}.items() <= texts.items()


def test_a_prompt_is_shown_for_every_arm_and_arms_equally_often(small: SmallStudy, found: list[Shown]) -> None:
    arms = defaultdict(list)
    for each in found:
        arms[each.prompt_id].append(each.arm)
    assert list(arms.values()) == [list(small.runs)] * 4


def test_seeds_take_turns_from_prompt_to_prompt(found: list[Shown]) -> None:
    assert [each.seed for each in found if each.arm == "dpo-weak"] == [0, 1, 0, 1]


def test_what_the_number_of_arms_does_not_divide_is_spread_to_within_one(small: SmallStudy) -> None:
    counts = Counter(each.arm for each in shown(7, small.runs, "judge"))
    assert sorted(counts.values()) == [2, 2, 3]


def test_the_seed_draws_the_prompts_and_more_of_them_begin_with_the_same(small: SmallStudy) -> None:
    first, again, other = (shown(6, small.runs, "judge", seed) for seed in (0, 0, 1))
    assert first == again
    assert {each.prompt_id for each in first} != {each.prompt_id for each in other}
    assert shown(9, small.runs, "judge")[:6] == first


def test_there_are_no_more_than_there_are_pairs(small: SmallStudy) -> None:
    found = shown(1000, small.runs, "judge")
    assert len(found) == len(small.runs) * 16
    assert len({(each.arm, each.prompt_id) for each in found}) == len(found)


def test_an_arm_that_no_such_judge_saw_is_left_out(small: SmallStudy) -> None:
    runs = small.runs["dpo-weak"]
    unjudged = {seed: {name: a for name, a in run.items() if name != "evaluate:judge"} for seed, run in runs.items()}
    found = shown(4, {**small.runs, "dpo-weak": unjudged}, "judge")
    assert {each.arm for each in found} == {"sft-weak-20", "best-of-n-weak"}
    assert shown(4, small.runs, "somebody else") == []
    assert shown(0, small.runs, "judge") == []


def test_every_outcome_has_a_word_of_its_own() -> None:
    assert OUTCOMES == {"LEFT": "won", "RIGHT": "lost", "TIE": "tied", "INVALID": "unreadable"}
