"""Shares of prompts: disjoint, whatever the order of the rows."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import pytest

from tutelage.data import share
from tutelage.data.normal import group_of
from tutelage.data.share import OfPrompts, in_share, position
from tutelage.records import Message, Prompt


@dataclass(frozen=True)
class Row:
    id: str
    prompt_id: str


ROWS = [Row(f"{prompt}-{number}", f"p{prompt}") for prompt in range(200) for number in range(2)]
GROUPS = {row.prompt_id: row.prompt_id for row in ROWS}
"""Every prompt begins in its own way."""


def hold_out(rows: list[Row], groups: dict[str, str], part: float, seed: int) -> tuple[list[Row], list[Row]]:
    ids, of_rows = np.array([row.id for row in rows]), np.array([groups[row.prompt_id] for row in rows])
    kept, held_out = share.hold_out(ids, of_rows, part, seed)
    return [rows[i] for i in kept], [rows[i] for i in held_out]


def test_what_is_held_out_and_what_is_kept_have_no_prompt_in_common_and_are_all_there_is() -> None:
    kept, held_out = hold_out(ROWS, GROUPS, 0.25, seed=0)
    assert not {row.prompt_id for row in kept} & {row.prompt_id for row in held_out}
    assert {*kept, *held_out} == {*ROWS}
    assert len(kept) + len(held_out) == len(ROWS)
    assert len(held_out) / len(ROWS) == pytest.approx(0.25, abs=0.08)


def test_what_is_kept_stays_in_its_order() -> None:
    kept, _ = hold_out(ROWS, GROUPS, 0.25, seed=0)
    assert kept == [row for row in ROWS if row in set(kept)]


def test_moving_or_adding_rows_moves_no_prompt_and_the_first_held_out_stay_the_first() -> None:
    shuffled = [*ROWS, Row("new", "another prompt")]
    random.Random(1).shuffle(shuffled)
    _, before = hold_out(ROWS, GROUPS, 0.25, seed=0)
    _, after = hold_out(shuffled, GROUPS | {"another prompt": "another prompt"}, 0.25, seed=0)
    assert [row for row in after if row.id != "new"] == before


def test_a_larger_share_holds_out_the_same_and_more() -> None:
    (_, less), (_, more) = hold_out(ROWS, GROUPS, 0.1, seed=0), hold_out(ROWS, GROUPS, 0.3, seed=0)
    assert more[: len(less)] == less


def test_another_seed_holds_out_other_prompts_and_a_share_of_0_none() -> None:
    assert hold_out(ROWS, GROUPS, 0.25, seed=0)[1] != hold_out(ROWS, GROUPS, 0.25, seed=1)[1]
    assert hold_out(ROWS, GROUPS, 0.0, seed=0) == (ROWS, [])


def test_it_is_not_the_order_that_shares_of_the_road_are_cut_by() -> None:
    """The prompts of a feedback share [0.5, 1] all stand beyond a half; some of them are held out all the same."""
    feedback = [row for row in ROWS if in_share(row.prompt_id, (0.5, 1.0), 0)]
    assert len(hold_out(feedback, GROUPS, 0.25, seed=0)[1]) / len(feedback) == pytest.approx(0.25, abs=0.1)


# ---- conversations that begin alike -----------------------------------------------------------------


def continued(prompt: Prompt) -> Prompt:
    more = (Message(role="assistant", content="Well."), Message(role="user", content="Go on."))
    return Prompt(messages=(*prompt.messages, *more))


BEGUN = [Prompt.of(f"Say {i}.") for i in range(300)]
TALKS = [*BEGUN, *map(continued, BEGUN)]


def test_a_conversation_and_its_continuation_are_of_one_share() -> None:
    """By the id of the prompt, one of them was taught and the other sampled."""
    first, second = OfPrompts(share=(0.0, 0.3)), OfPrompts(share=(0.3, 1.0))
    assert [first.takes(p) for p in BEGUN] == [first.takes(continued(p)) for p in BEGUN]
    assert 50 < sum(first.takes(p) for p in BEGUN) < 130
    assert all(first.takes(p) != second.takes(p) for p in TALKS)


def test_a_conversation_is_held_out_with_its_continuation() -> None:
    rows = [Row(p.id, p.id) for p in TALKS]
    groups = {p.id: group_of(p) for p in TALKS}
    kept, held_out = hold_out(rows, groups, 0.25, seed=0)
    assert {groups[row.prompt_id] for row in kept}.isdisjoint(groups[row.prompt_id] for row in held_out)
    assert len(held_out) == 2 * len({groups[row.prompt_id] for row in held_out})


def test_where_a_group_stands_is_the_same_on_every_machine_and_in_every_version() -> None:
    """Golden: another number would move the prompts of every split that is frozen."""
    assert group_of(Prompt.of("Say 7.")) == "c66f4cf41de1d16d"
    assert position(group_of(Prompt.of("Say 7.")), "split, 0") == 0.9662751626627171
