"""Shares of prompts: disjoint, whatever the order of the rows."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from tutelage.data.share import hold_out, in_share


@dataclass(frozen=True)
class Row:
    id: str
    prompt_id: str


ROWS = [Row(f"{prompt}-{number}", f"p{prompt}") for prompt in range(200) for number in range(2)]


def test_what_is_held_out_and_what_is_kept_have_no_prompt_in_common_and_are_all_there_is() -> None:
    kept, held_out = hold_out(ROWS, 0.25, seed=0)
    assert not {row.prompt_id for row in kept} & {row.prompt_id for row in held_out}
    assert {*kept, *held_out} == {*ROWS}
    assert len(kept) + len(held_out) == len(ROWS)
    assert len(held_out) / len(ROWS) == pytest.approx(0.25, abs=0.08)


def test_what_is_kept_stays_in_its_order() -> None:
    kept, _ = hold_out(ROWS, 0.25, seed=0)
    assert kept == [row for row in ROWS if row in set(kept)]


def test_moving_or_adding_rows_moves_no_prompt_and_the_first_held_out_stay_the_first() -> None:
    shuffled = [*ROWS, Row("new", "another prompt")]
    random.Random(1).shuffle(shuffled)
    _, before = hold_out(ROWS, 0.25, seed=0)
    _, after = hold_out(shuffled, 0.25, seed=0)
    assert [row for row in after if row.id != "new"] == before


def test_a_larger_share_holds_out_the_same_and_more() -> None:
    (_, less), (_, more) = hold_out(ROWS, 0.1, seed=0), hold_out(ROWS, 0.3, seed=0)
    assert more[: len(less)] == less


def test_another_seed_holds_out_other_prompts_and_a_share_of_0_none() -> None:
    assert hold_out(ROWS, 0.25, seed=0)[1] != hold_out(ROWS, 0.25, seed=1)[1]
    assert hold_out(ROWS, 0.0, seed=0) == (ROWS, [])


def test_it_is_not_the_order_that_shares_of_the_road_are_cut_by() -> None:
    """The prompts of a feedback share [0.5, 1] all stand beyond a half; some of them are held out all the same."""
    feedback = [row for row in ROWS if in_share(row.prompt_id, (0.5, 1.0), 0)]
    assert len(hold_out(feedback, 0.25, seed=0)[1]) / len(feedback) == pytest.approx(0.25, abs=0.1)
