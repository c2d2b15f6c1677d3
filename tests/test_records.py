"""The nouns: what they refuse, what their ids stand for, how usage adds up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tutelage import errors
from tutelage.records import Completion, Message, Pair, Preference, Prompt, Sampling, Usage, Verdict, digest

PROMPT = Prompt.of("Name a colour.")


def completion(text: str = "Red.", prompt: Prompt = PROMPT, **fields: Any) -> Completion:
    return Completion(prompt_id=prompt.id, author="weak", text=text, **fields)


PAIR = Pair(left=completion("Red."), right=completion("Blue."))


def verdict(**fields: Any) -> Verdict:
    said = {"orders": ("left_first",), "replies": ("Verdict: A",), "outcome": "LEFT"} | fields
    return Verdict(pair=PAIR, critic="critic", **said)


# ---- ids --------------------------------------------------------------------------------------------


def test_one_text_has_one_id_wherever_it_comes_from() -> None:
    written_out = Prompt(messages=(Message(role="user", content="Name a colour."),), source="elsewhere.jsonl")
    assert written_out.id == PROMPT.id
    assert len(PROMPT.id) == 16


def test_ids_have_not_changed_since_the_first_release() -> None:
    """Artifacts on disk hold these; a change here makes every one of them unreadable."""
    assert PROMPT.id == digest([["user", "Name a colour."]]) == "928a1264e62d5cc3"
    assert completion().id == "fe60bb4192f83658"
    assert PAIR.id == "556aa0c4d9d87d04"
    assert verdict().id == "7fb27acbee737983"


@given(st.text(min_size=1).filter(str.strip), st.text(min_size=1).filter(str.strip))
def test_different_texts_have_different_ids(first: str, second: str) -> None:
    assert (Prompt.of(first).id == Prompt.of(second).id) == (first == second)


def test_a_prompt_cannot_be_spelt_as_another_by_moving_text_between_messages() -> None:
    one = Prompt(messages=(Message(role="system", content="ab"), Message(role="user", content="c")))
    two = Prompt(messages=(Message(role="system", content="a"), Message(role="user", content="bc")))
    assert one.id != two.id


def test_a_stored_id_that_belongs_to_other_content_is_refused() -> None:
    row = json.loads(PROMPT.model_dump_json())
    row["messages"][0]["content"] = "Name a city."
    with pytest.raises(ValidationError, match=f"id {PROMPT.id} does not belong to this content"):
        Prompt.model_validate(row)


@pytest.mark.parametrize("stored", ["", "0" * 16, PROMPT.id[:8], PROMPT.id.upper() + "x"])
def test_a_stored_id_that_is_empty_short_or_wrong_is_refused(stored: str) -> None:
    with pytest.raises(ValidationError, match="id"):
        Prompt.model_validate({"id": stored, "messages": [{"role": "user", "content": "Name a colour."}]})
    with pytest.raises(ValidationError, match="id"):
        Prompt.model_validate_json(
            json.dumps({"id": stored, "messages": [{"role": "user", "content": "Name a colour."}]})
        )


@pytest.mark.parametrize("record", [PROMPT, completion(), PAIR, verdict()], ids=lambda r: type(r).__name__)
def test_every_identified_record_survives_a_round_trip_with_its_id(record: Any) -> None:
    assert type(record).model_validate(json.loads(record.model_dump_json())) == record


def test_what_a_completion_cost_is_no_part_of_its_id_but_everything_else_is() -> None:
    plain = completion()
    assert completion(usage=Usage(requests=1, dollars=3.0)).id == plain.id
    others = [
        completion("Green."),
        completion(stop_reason="length"),
        completion(sampling=Sampling(temperature=0.0)),
        completion(sampling=Sampling(seed=1)),
        completion(index=1),
        completion(prompt=Prompt.of("Name a city.")),
        Completion(prompt_id=PROMPT.id, author="strong", text="Red."),
    ]
    assert len({plain.id, *(c.id for c in others)}) == 1 + len(others)


# ---- what cannot be said ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "record", [PROMPT, completion(), PAIR, verdict(), Usage(), Sampling()], ids=lambda r: type(r).__name__
)
def test_unknown_fields_are_refused_and_nothing_can_be_changed_afterwards(record: Any) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        type(record).model_validate(json.loads(record.model_dump_json()) | {"split": "train"})
    field = next(iter(type(record).model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(record, field, None)


def test_unknown_fields_are_refused_inside_records_too() -> None:
    row = json.loads(PAIR.model_dump_json())
    row["left"]["score"] = 1
    with pytest.raises(ValidationError, match="left"):
        Pair.model_validate(row)


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([], "needs a user message"),
        ([("system", "Be brief.")], "needs a user message"),
        ([("assistant", "Hello."), ("user", "Hi.")], "starts with the assistant"),
        ([("system", "s"), ("assistant", "Hello."), ("user", "Hi.")], "starts with the assistant"),
        ([("user", "Hi."), ("assistant", "Hello.")], "ends with the assistant"),
        ([("user", "")], "empty or only white space"),
        ([("user", " \n\t\u3000")], "empty or only white space"),
    ],
)
def test_what_is_no_prompt_is_refused_and_says_why(messages: list[tuple[Any, str]], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Prompt(messages=tuple(Message(role=role, content=content) for role, content in messages))


def test_a_conversation_that_ends_with_the_user_is_a_prompt_and_reads_as_a_transcript() -> None:
    turns: list[tuple[Any, str]] = [("system", "Be brief."), ("user", "Hi."), ("assistant", "Yes?"), ("user", "Why?")]
    prompt = Prompt(messages=tuple(Message(role=role, content=content) for role, content in turns))
    assert prompt.text == "System: Be brief.\n\nUser: Hi.\n\nAssistant: Yes?\n\nUser: Why?"
    assert PROMPT.text == "Name a colour."


def test_a_pair_needs_two_completions_of_one_prompt() -> None:
    with pytest.raises(ValidationError, match="a pair needs one prompt"):
        Pair(left=completion(), right=completion(prompt=Prompt.of("Name a city.")))
    with pytest.raises(ValidationError, match="cannot be compared with itself"):
        Pair(left=completion(), right=completion())


def test_a_pair_and_its_mirror_image_are_two_pairs() -> None:
    assert Pair(left=PAIR.right, right=PAIR.left).id != PAIR.id
    assert PAIR.prompt_id == PROMPT.id


def test_a_verdict_needs_one_reply_for_each_order_and_at_least_one() -> None:
    for orders, replies in [((), ()), (("left_first",), ()), (("left_first", "right_first"), ("Verdict: A",))]:
        with pytest.raises(ValidationError, match="orders asked but"):
            verdict(orders=orders, replies=replies)


@pytest.mark.parametrize("wrong", [{"outcome": "A"}, {"outcome": None}, {"probability": 1.5}, {"probability": -0.1}])
def test_a_verdict_has_one_of_four_outcomes_and_a_probability_is_one(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        verdict(**wrong)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"verdict_ids": ()}, "at least one verdict"),
        ({"prompt_id": "0" * 16}, "own prompt"),
        ({"rejected": completion("Red.", index=1)}, "the same text"),
        ({"rejected": completion("Rome.", prompt=Prompt.of("Name a city."))}, "own prompt"),
        ({"weight": 0}, "greater than 0"),
    ],
)
def test_a_preference_without_a_verdict_or_a_contrast_is_refused(wrong: dict[str, Any], says: str) -> None:
    right = {
        "prompt_id": PROMPT.id,
        "chosen": PAIR.left,
        "rejected": PAIR.right,
        "verdict_ids": (verdict().id,),
    }
    assert Preference.model_validate(right).weight == 1.0
    with pytest.raises(ValidationError, match=says):
        Preference.model_validate(right | wrong)


def test_a_completion_has_ended_unless_it_was_cut_or_filtered() -> None:
    assert [completion(stop_reason=r).ended for r in ("stop", "unknown", "length", "filtered")] == [
        True,
        True,
        False,
        False,
    ]


# ---- usage ------------------------------------------------------------------------------------------


def test_usage_adds_up_and_one_unknown_price_makes_the_sum_unknown() -> None:
    known = Usage(requests=1, input_tokens=10, output_tokens=2, dollars=0.5)
    unknown = Usage(requests=1, input_tokens=1, output_tokens=1, dollars=None)
    assert known + known == Usage(requests=2, input_tokens=20, output_tokens=4, dollars=1.0)
    for total in (known + unknown, unknown + known, Usage.total([known, unknown, known])):
        assert total.dollars is None
    assert Usage.total([known, unknown]).input_tokens == 11
    assert Usage.total([]) == Usage()
    assert Usage.total([]).dollars == 0.0


# ---- the hash, and the tree of errors ---------------------------------------------------------------


@given(st.dictionaries(st.text(), st.integers()))
def test_the_hash_does_not_depend_on_the_order_of_keys(value: dict[str, int]) -> None:
    assert digest(value) == digest(dict(reversed(value.items())))


def test_half_a_surrogate_pair_has_an_id_too() -> None:
    assert Prompt.of("a\ud83d").id != Prompt.of("a").id


def test_the_tree_at_the_top_of_the_errors_names_every_error_and_no_other() -> None:
    defined = {n for n, e in vars(errors).items() if isinstance(e, type) and issubclass(e, Exception)}
    drawn = {word.strip(" │├└─") for word in str(errors.__doc__).split() if word.endswith("Error")}
    assert drawn == defined
    assert all(issubclass(getattr(errors, name), errors.TutelageError) for name in defined)


def test_a_record_that_is_nested_is_not_hashed_again_and_a_copy_with_other_content_is() -> None:
    completion = Completion(prompt_id=Prompt.of("x").id, author="a", text="one")
    other = completion.model_copy(update={"text": "two"})
    assert other == Completion(prompt_id=completion.prompt_id, author="a", text="two")
    assert other.id != completion.id
    assert completion.model_copy() == completion
    pair = Pair(left=completion, right=other)
    assert pair.left is completion
    with pytest.raises(ValidationError, match="does not belong to this content"):
        Pair.model_validate(pair.model_dump() | {"left": other.model_dump() | {"id": completion.id}})


@given(st.lists(st.text() | st.none() | st.integers(-(10**9), 10**9)))
def test_the_quick_writer_of_ids_gives_the_same_ones(value: list[object]) -> None:
    assert digest(value, is_simple=True) == digest(value)


def test_the_quick_writer_takes_every_character_as_the_other_does() -> None:
    texts = [chr(i) for i in (*range(0x3000), 0xD7FF, 0xD800, 0xDFFF, 0xE000, 0xFEFF, 0xFFFF, 0x1F600)]
    assert [digest([text], is_simple=True) for text in texts] == [digest([text]) for text in texts]
