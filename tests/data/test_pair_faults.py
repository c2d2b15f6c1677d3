"""The rules for one pair, and for one completion: what each finds, and where it stays silent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from made import said, verdict
from tutelage.data.faults import (
    Decided,
    begins_with_prompt,
    decided,
    ends_midway,
    goes_on,
    has_special_tokens,
    is_alike,
    is_boilerplate,
    is_cut,
    is_empty,
    is_same,
)
from tutelage.data.normal import normal
from tutelage.records import Outcome, Prompt

ASK = Prompt.of("What is the capital of France, please?")
ANY = st.text(st.characters(), max_size=200)


def pair(chosen: str, rejected: str) -> Decided:
    return Decided(ASK, said(ASK, chosen), said(ASK, rejected, "you"), "0")


@pytest.mark.parametrize(("outcome", "chosen"), [("LEFT", "a"), ("RIGHT", "b"), ("TIE", None), ("INVALID", None)])
def test_only_a_decided_verdict_chooses(outcome: Outcome, chosen: str | None) -> None:
    found = decided(ASK, verdict(said(ASK, "a"), said(ASK, "b"), outcome))
    assert (found and found.chosen.text) == chosen
    assert found is None or {found.chosen.text, found.rejected.text} == {"a", "b"}


def test_the_same_text_is_no_preference() -> None:
    assert is_same(pair("Paris.", "Paris."))
    assert not is_same(pair("Paris.", "Paris"))


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("Paris.", "paris", True),
        ("It’s “Paris”.", 'Its "paris"', True),
        ("**Paris**\n\n" + "is it " * 50, "Paris is it" + " is it" * 49, True),
        ("Paris.", "Paris.", False),  # that is the same
        ("Paris", "Lyon", False),
        ("word " * 50 + "end", "word " * 50 + "End!", True),
        ("word " * 50 + "end", "word " * 50 + "ends", False),
        ("word " * 50 + "end", "other " * 50 + "end", False),
        ("a", "a b", False),
    ],
)
def test_texts_are_alike_if_only_case_spaces_punctuation_and_quotes_differ(one: str, other: str, alike: bool) -> None:
    assert is_alike(pair(one, other)) is alike
    assert is_alike(pair(other, one)) is alike


@given(ANY, st.sampled_from([str.upper, str.title, lambda t: t + "!", lambda t: t.replace(" ", "\n")]))
def test_the_look_at_the_first_words_decides_nothing_wrongly(text: str, change: object) -> None:
    other = change(text)  # type: ignore[operator]
    assert is_alike(pair(text, other)) == (text != other and normal(text) == normal(other))


@pytest.mark.parametrize("text", ["", " ", "\n\t \n"])
def test_white_space_is_empty(text: str) -> None:
    assert is_empty(ASK, said(ASK, text))
    assert not is_empty(ASK, said(ASK, text + "."))


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I cannot help with that.",
        "I’m sorry, but no.",
        "I am very sorry, but no.",
        "Sorry, I do not know.",
        "I apologize, but that is not possible.",
        '"I cannot assist with that request."',
        "I can't provide this.",
        "I'm unable to open links.",
        "Unfortunately, I cannot browse.",
        "<nooutput> This type of instruction cannot be fulfilled by a GPT model.",
        "<noinput>",
        "Well, as an AI language model, I have no taste.",
        "As a large language model, I was trained on text.",
        "I'm just an AI.",
        "That is beyond my knowledge cutoff.",
    ],
)
def test_refusals_and_talk_of_being_an_ai_are_boilerplate(text: str) -> None:
    assert is_boilerplate(ASK, said(ASK, text))


@pytest.mark.parametrize(
    "text",
    [
        "Paris.",
        "Use it as an aid.",
        "He said: I'm sorry, but it is over.",
        "I can't wait to see Paris!",
        "Write: we are sorry for the delay.",
        "The letter begins 'Unfortunately, we'.",
        "Training data are rows.",
        "An AI is a program.",
    ],
)
def test_other_texts_are_no_boilerplate(text: str) -> None:
    assert not is_boilerplate(ASK, said(ASK, text))


WHOLE = "Paris is the capital of France and lies on the river Seine."


@pytest.mark.parametrize(
    "text",
    [
        WHOLE[:-8],
        WHOLE + " It has many bridges,",
        WHOLE + "\n\nIt was built a long time ago and (",
        "Here it is:\n```python\nprint('Paris')\n",
        WHOLE + "\n\nThe Seine, on which it lies, is a river in the north of",
        WHOLE[:-1] + "  \n",
    ],
)
def test_what_ends_in_the_middle_of_a_sentence_or_of_code_is_cut(text: str) -> None:
    assert ends_midway(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "paris",
        WHOLE,
        WHOLE + '"',
        WHOLE + "\n\nBest regards,\nthe mayor of paris",
        WHOLE + "\n- bridges over the river and the canals",
        WHOLE + "\n3. bridges over the river and the canals",
        WHOLE + "\n| bridges | over the | river and | canals |",
        WHOLE + "\n    print(paris) # the capital of france",
        WHOLE + "\n```python\nprint('Paris')\n```",
        WHOLE + "\n\n# The many bridges of the river seine",
        WHOLE + "\n\nYou can read more of it at https://example.com/paris",
        WHOLE + " So many people love it #paris",
        "塞纳河上的巴黎是法国的首都 塞 纳 河 上 的 巴 黎 是 法 国",
    ],
)
def test_what_may_well_end_so_is_not_cut(text: str) -> None:
    assert not ends_midway(text)


def test_a_known_stop_reason_decides_whatever_the_end_looks_like() -> None:
    assert is_cut(ASK, said(ASK, WHOLE, stop_reason="length"))
    assert is_cut(ASK, said(ASK, WHOLE, stop_reason="filtered"))
    assert not is_cut(ASK, said(ASK, WHOLE[:-8], stop_reason="stop"))
    assert is_cut(ASK, said(ASK, WHOLE[:-8], stop_reason="unknown"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (ASK.text, True),
        (ASK.text.replace(" ", "\n") + " It is Paris.", True),
        ("Assistant: Paris.", True),
        (" human: Paris.", True),
        ("### Response: Paris.", True),
        ("What is the capital? Paris.", False),
        ("The assistant: a play.", False),
        ("Paris.", False),
        ("", False),
    ],
)
def test_a_completion_that_repeats_the_prompt_or_names_itself(text: str, found: bool) -> None:
    assert begins_with_prompt(ASK, said(ASK, text)) is found


def test_a_short_prompt_may_be_repeated() -> None:
    ask = Prompt.of("Say Paris.")
    assert not begins_with_prompt(ask, said(ask, "Say Paris."))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Paris.\n\nHuman: And of Spain?", True),
        ("Paris.\n\n  Human: And of Spain?", True),
        ("Paris.\n### Instruction:\nAnd of Spain?", True),
        ("Paris.\n<|user|>\nAnd of Spain?", True),
        ("Paris.<|im_end|>\n<|im_start|>user\nAnd of Spain?", True),
        ("Paris.\n[INST] And of Spain? [/INST]", True),
        ("Paris. Human: is what I am.", False),
        ("The Human: a book.", False),
        ("Paris.\n\nHumans live there.", False),
        ("Paris.\n### Instructions for a visit", False),
    ],
)
def test_a_completion_that_carries_on_with_the_next_turn(text: str, found: bool) -> None:
    assert goes_on(ASK, said(ASK, text)) is found


@given(ANY)
def test_every_rule_takes_any_text(text: str) -> None:
    one = said(ASK, text)
    for rule in (is_empty, is_boilerplate, is_cut, has_special_tokens, begins_with_prompt, goes_on):
        assert rule(ASK, one) in (True, False)
