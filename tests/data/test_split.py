"""A split: every prompt in one part, drawn by what begins alike, whatever the order of the rows."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tutelage.data.normal import group_of
from tutelage.data.share import first_groups, position
from tutelage.data.split import PARTS, Sizes, assign
from tutelage.errors import DataError
from tutelage.records import Message, Prompt

PROMPTS = [Prompt.of(f"Say {i}.") for i in range(2000)]
FOUR = {"sft": 0.1, "preference": 0.6, "validation": 0.1, "evaluation": 0.2}


def talk(*turns: str) -> Prompt:
    """A conversation that waits for an answer; the user and the assistant in turn."""
    roles = ("user", "assistant")
    return Prompt(messages=tuple(Message(role=roles[i % 2], content=t) for i, t in enumerate(turns)))


def parts(prompts: list[Prompt], **sizes: Any) -> dict[str, str | None]:
    """The part of each prompt."""
    return dict(assign({p.id: group_of(p) for p in prompts}, Sizes(**sizes)))


def counts(prompts: list[Prompt], **sizes: Any) -> Counter[str | None]:
    return Counter(parts(prompts, **sizes).values())


# ---- fractions --------------------------------------------------------------------------------------


def test_without_a_word_it_is_the_papers_ten_percent_for_sft_and_ninety_for_feedback() -> None:
    found = counts(PROMPTS)
    assert found["sft"] + found["preference"] == 2000
    assert found["sft"] == pytest.approx(200, abs=4 * (2000 * 0.1 * 0.9) ** 0.5)


@pytest.mark.parametrize("seed", [0, 1])
def test_each_part_has_about_its_fraction_and_every_prompt_is_in_one(seed: int) -> None:
    found = counts(PROMPTS, **FOUR, seed=seed)
    assert sum(found.values()) == 2000
    for part, fraction in FOUR.items():
        assert found[part] == pytest.approx(2000 * fraction, abs=4 * (2000 * fraction * (1 - fraction)) ** 0.5)
    assert None not in found


def test_what_the_fractions_leave_is_in_no_part() -> None:
    assert counts(PROMPTS, sft=0.1, preference=0.4)[None] == pytest.approx(1000, abs=90)


def test_fractions_that_make_one_leave_nothing_although_the_numbers_do_not_add_up() -> None:
    assert 0.7 + 0.2 + 0.1 < 1
    found = counts(PROMPTS, sft=0.7, preference=0.2, validation=0.1)
    assert None not in found
    assert sum(found.values()) == 2000


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 300), st.integers(0, 2**31 - 1))
def test_adding_and_reordering_rows_moves_no_prompt_from_one_fraction_to_another(
    luck: random.Random, more: int, seed: int
) -> None:
    before = parts(PROMPTS[:300], **FOUR, seed=seed)
    rows = [*PROMPTS[:300], *(Prompt.of(f"Sing {i}.") for i in range(more))]
    luck.shuffle(rows)
    after = parts(rows, **FOUR, seed=seed)
    assert {prompt_id: after[prompt_id] for prompt_id in before} == before


def test_a_larger_fraction_for_sft_or_evaluation_holds_the_same_prompts_and_more() -> None:
    small, large = parts(PROMPTS, **FOUR), parts(PROMPTS, **FOUR | {"sft": 0.2, "preference": 0.5})
    assert {i for i in small if small[i] == "sft"} < {i for i in large if large[i] == "sft"}
    assert all(large[i] == small[i] for i in small if small[i] in ("validation", "evaluation"))
    large = parts(PROMPTS, **FOUR | {"evaluation": 0.3, "preference": 0.5})
    assert {i for i in small if small[i] == "evaluation"} < {i for i in large if large[i] == "evaluation"}
    assert all(large[i] == "sft" for i in small if small[i] == "sft")


def test_another_seed_is_another_split() -> None:
    assert parts(PROMPTS, seed=0) != parts(PROMPTS, seed=1)


def test_the_order_is_not_that_of_the_shares_so_that_a_share_of_a_part_is_a_share_of_it() -> None:
    found = parts(PROMPTS)
    first = [p for p in PROMPTS if found[p.id] == "sft"]
    inside = sum(position(group_of(p), 0) < 0.5 for p in first)
    assert inside / len(first) == pytest.approx(0.5, abs=0.15)


# ---- groups -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [FOUR, {"sft": 100, "preference": 0.5, "evaluation": 50}])
def test_a_conversation_and_its_continuations_are_in_one_part(sizes: dict[str, Any]) -> None:
    told = [p for i in range(300) for p in (talk(f"Say {i}."), talk(f"Say {i}.", f"{i}", "Again."))]
    found = parts(told, **sizes)
    pairs = list(zip(told[::2], told[1::2], strict=True))
    assert [found[a.id] for a, _ in pairs] == [found[b.id] for _, b in pairs]


@pytest.mark.parametrize(
    "other", ["SAY 7!", " say 7 ", "Say\n7.", "“Say 7.”", "Say  7", "ｓａｙ 7"]
)  # the last is full-width
def test_a_prompt_that_is_only_written_otherwise_is_in_the_same_part(other: str) -> None:
    for seed in range(20):
        found = parts([*PROMPTS[:200], Prompt.of(other)], **FOUR, seed=seed)
        assert found[Prompt.of(other).id] == found[PROMPTS[7].id]


def test_a_system_message_moves_no_prompt() -> None:
    system = Message(role="system", content="Be brief.")
    with_one = [Prompt(messages=(system, *p.messages)) for p in PROMPTS]
    assert list(parts(with_one, **FOUR).values()) == list(parts(PROMPTS, **FOUR).values())


# ---- counts -----------------------------------------------------------------------------------------


def test_counts_are_exact_and_fractions_are_of_what_they_leave() -> None:
    found = counts(PROMPTS, evaluation=805, validation=195)
    assert (found["evaluation"], found["validation"]) == (805, 195)
    assert found["sft"] + found["preference"] == 1000
    assert found["sft"] == pytest.approx(100, abs=40)


def test_counts_of_all_four_may_take_everything() -> None:
    found = counts(PROMPTS[:100], sft=10, preference=70, validation=5, evaluation=15)
    assert found == {"sft": 10, "preference": 70, "validation": 5, "evaluation": 15}


def test_reordering_rows_moves_no_prompt_of_a_count() -> None:
    rows = PROMPTS[:400]
    assert parts(rows[::-1], sft=50, preference=0.5) == parts(rows, sft=50, preference=0.5)


def test_added_rows_push_prompts_out_of_a_count_but_move_none_between_fractions() -> None:
    sizes: dict[str, Any] = {"sft": 0.2, "preference": 0.8, "evaluation": 100}
    before, after = parts(PROMPTS[:1000], **sizes), parts(PROMPTS, **sizes)
    kept = {i for i in before if before[i] == after[i] == "evaluation"}
    assert 20 < len(kept) < 80  # half of the prompts are new, and so is half of the part
    assert not any(after[i] == "evaluation" for i in before if before[i] != "evaluation")
    assert all(after[i] == before[i] for i in before if before[i] != "evaluation")


def test_a_group_that_does_not_fit_into_a_count_is_passed_over() -> None:
    crowd = [talk("Hello!", "Hello.", f"Say {i}.") for i in range(50)]
    found = parts([*crowd, *PROMPTS[:50]], sft=20, preference=1.0)
    assert Counter(found.values())["sft"] == 20
    assert {found[p.id] for p in crowd} == {"preference"}


def test_the_first_groups_are_whole_and_never_more_than_asked_for() -> None:
    sizes = {"a": 3, "b": 2, "c": 5, "d": 1}
    for num in range(12):
        for seed in range(20):
            taken = first_groups(sizes, num, seed)
            assert sum(sizes[g] for g in taken) <= num
    assert first_groups(sizes, 11, 0) == set(sizes)
    assert first_groups(sizes, 0, 0) == set()


# ---- what cannot be ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "size"),
    [("0.1", 0.1), (".5", 0.5), ("1.", 1.0), ("1.0", 1.0), ("1e-3", 0.001), ("0", 0.0), ("2", 2), ("805", 805),
     (0.1, 0.1), (1.0, 1.0), (0, 0.0), (100, 100)],
)  # fmt: skip
def test_a_fraction_has_a_dot_and_a_count_has_none(given: object, size: float) -> None:
    found = Sizes(sft=given, preference=0.0).sft  # type: ignore[arg-type]
    assert (found, type(found)) == (size, type(size))


@pytest.mark.parametrize("given", ["1", 1])
def test_one_is_neither_all_nor_one_prompt_but_an_error(given: object) -> None:
    with pytest.raises(ValidationError, match=r"1 may be one prompt or all of them; write 1\.0 for all"):
        Sizes(sft=given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given", ["10%", "-1", "-0.1", "1.1", 1.1, 100.0, "100.0", "", ".", "nan", "all", True, None]
)
def test_what_is_no_size_is_refused_with_what_one_is(given: object) -> None:
    with pytest.raises(ValidationError, match=r"expected a fraction with a dot, 0\.0 to 1\.0, or a count"):
        Sizes(sft=given)  # type: ignore[arg-type]


def test_fractions_above_one_are_refused_with_their_sum() -> None:
    with pytest.raises(ValidationError, match=r"sft 0\.2 \+ preference 0\.9 is 1\.1; fractions are at most 1"):
        Sizes(sft=0.2)
    assert Sizes(sft=0.2, preference=100_000)


def test_more_than_there_is_is_an_error_that_says_how_many_there_are() -> None:
    with pytest.raises(DataError, match="evaluation=8 \\+ sft=4: there are only 10 prompts"):
        parts(PROMPTS[:10], sft=4, evaluation=8)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_nothing_falls_into_is_an_error(part: str) -> None:
    sizes = {"sft": 0.3, "preference": 0.3} | {part: 1e-9}
    with pytest.raises(DataError, match=f"{part}=1e-09: none of 20 prompts .* falls into this part"):
        parts(PROMPTS[:20], **sizes)


def test_a_count_that_no_group_fits_into_is_an_error() -> None:
    crowd = [talk("Hello!", "Hello.", f"Say {i}.") for i in range(50)]
    with pytest.raises(DataError, match=r"sft=20: none of 50 prompts \(1 begin differently\)"):
        parts(crowd, sft=20, preference=0.0)


# ---- what the original did --------------------------------------------------------------------------


def test_the_prompts_that_are_evaluated_are_not_the_first_of_the_training_prompts() -> None:
    """The original's test split was the first 256 (or 512) prompts of its training split."""
    found = parts(PROMPTS, evaluation=256)
    evaluated = {i for i, part in found.items() if part == "evaluation"}
    assert len(evaluated) == 256
    assert evaluated != {p.id for p in PROMPTS[:256]}
    trained = {i for i, part in found.items() if part in ("sft", "preference")}
    assert not evaluated & trained


def test_which_prompts_are_taken_does_not_depend_on_the_order_in_which_a_machine_lists_its_files() -> None:
    """The original read shards in the order of os.listdir, and took the first tenth of all rows."""
    shards = [PROMPTS[i : i + 500] for i in range(0, 2000, 500)]
    here = [p for shard in shards for p in shard]
    there = [p for shard in reversed(shards) for p in shard]
    assert parts(here) == parts(there)
    assert parts(here, sft=200) == parts(there, sft=200)


def test_prompts_for_sft_and_for_feedback_are_apart_however_many_there_are_and_in_whatever_order() -> None:
    """In the original the two were disjoint if a constant (6000) fitted the data and both were read in one order."""
    for rows in (PROMPTS[:100], PROMPTS[::-1], PROMPTS[700:]):
        taught = {prompt_id for prompt_id, part in parts(rows).items() if part == "sft"}
        fed = {prompt_id for prompt_id, part in parts(rows[::-1]).items() if part == "preference"}
        assert taught
        assert fed
        assert not taught & fed
