"""Pairs -> questions -> verdicts: both orders, and no side is favoured by where it stands."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tutelage.critic.evaluator import OrderRule, load
from tutelage.critic.parse import Heard
from tutelage.critic.questions import Question, opinion_of, orders_of, questions, verdict_of
from tutelage.critic.template import read_back
from tutelage.errors import DataError
from tutelage.records import Completion, Message, Outcome, Pair, Prompt, Usage, Verdict

EVALUATOR = load("pairwise")
PROMPT = Prompt.of("Name a colour.")
PROMPTS = {PROMPT.id: PROMPT}


def pair_of(left: str, right: str, prompt: Prompt = PROMPT) -> Pair:
    one, two = (
        Completion(prompt_id=prompt.id, author="s", text=text, index=i) for i, text in enumerate((left, right))
    )
    return Pair(left=one, right=two)


def decided(asked: list[Question], heard: list[Heard], critic: str = "critic", name: str = "pairwise") -> Verdict:
    return verdict_of(asked, heard, opinion_of(asked, heard, load(name)), critic)


def judged(pair: Pair, critic: Callable[[str, str], str], rule: OrderRule = "both") -> Outcome:
    asked = questions([pair], PROMPTS, EVALUATOR, rule, 0)
    replies = []
    for question in asked:
        texts = read_back(question.messages[-1].content)
        assert texts is not None
        replies.append(Heard(f"Verdict: {critic(*texts[1:])}"))
    return decided(asked, replies).outcome


def longer(first: str, second: str) -> str:
    return "A" if len(first) > len(second) else "B" if len(second) > len(first) else "tie"


def test_both_orders_are_asked_next_to_each_other_and_show_the_same_texts() -> None:
    pairs = [pair_of("Red.", "Blue!"), pair_of("Green.", "Grey.")]
    asked = questions(pairs, PROMPTS, EVALUATOR, "both", 0)
    assert [(q.pair, q.order) for q in asked] == [
        (pair, order) for pair in pairs for order in ("left_first", "right_first")
    ]
    shown = [read_back(q.messages[-1].content) for q in asked]
    assert shown[0] == ("Name a colour.", "Red.", "Blue!")
    assert shown[1] == ("Name a colour.", "Blue!", "Red.")


def test_a_conversation_is_shown_as_a_transcript() -> None:
    turns = (Message(role="user", content="Hi."), Message(role="assistant", content="Yes?"))
    prompt = Prompt(messages=(*turns, Message(role="user", content="Why?")))
    (asked, _) = questions([pair_of("a", "b", prompt)], {prompt.id: prompt}, EVALUATOR, "both", 0)
    assert "User: Hi.\n\nAssistant: Yes?\n\nUser: Why?" in asked.messages[-1].content


def test_the_winner_is_the_same_completion_however_the_pair_is_turned() -> None:
    for rule in ("both", "random"):
        assert judged(pair_of("long text", "short"), longer, rule) == "LEFT"
        assert judged(pair_of("short", "long text"), longer, rule) == "RIGHT"
        assert judged(pair_of("abc", "xyz"), longer, rule) == "TIE"


def test_a_critic_that_looks_only_at_the_place_decides_nothing_when_asked_twice() -> None:
    for always in ("A", "B"):
        assert judged(pair_of("Red.", "Blue!"), lambda first, second, said=always: said) == "TIE"


def test_one_unreadable_reply_makes_the_verdict_invalid() -> None:
    assert judged(pair_of("Red.", "Blue!"), lambda first, second: "A" if first == "Red." else "?") == "INVALID"


def test_the_random_order_is_fair_the_same_each_time_and_another_for_another_seed() -> None:
    instructions = [f"Name colour {i}." for i in range(2000)]
    drawn = [orders_of(text, "random", 0) for text in instructions]
    assert drawn == [orders_of(text, "random", 0) for text in instructions]
    assert drawn != [orders_of(text, "random", 1) for text in instructions]
    assert abs(drawn.count(("left_first",)) - 1000) < 67  # three standard deviations
    assert set(drawn) == {("left_first",), ("right_first",)}


def test_the_random_order_is_the_one_alpaca_eval_draws() -> None:
    """Seen in alpaca_eval 0.6.6: RandomSwitchTwoColumnsProcessor, seed 0; output_1, the baseline, is our right."""
    switched = {"2+2": False, "2+3": True, "Name a colour.": True, "": False}
    for text, is_switched in switched.items():
        assert orders_of(text, "random", 0) == (("left_first",) if is_switched else ("right_first",)), text


def test_a_fixed_order_shows_the_baseline_first() -> None:
    assert orders_of("Name a colour.", "fixed", 3) == ("right_first",)


def test_a_verdict_keeps_the_replies_the_orders_and_what_it_cost() -> None:
    asked = questions([pair_of("Red.", "Blue!")], PROMPTS, EVALUATOR, "both", 0)
    bills = Usage(requests=1, dollars=0.5), Usage(requests=1, dollars=None)
    replies = [Heard(f"Verdict: {said}", usage=bill) for said, bill in zip("AB", bills, strict=True)]
    verdict = decided(asked, replies, "openai/judge")
    assert verdict.outcome == "LEFT"
    assert verdict.replies == ("Verdict: A", "Verdict: B")
    assert verdict.orders == ("left_first", "right_first")
    assert verdict.critic == "openai/judge"
    assert verdict.usage == Usage(requests=2, dollars=None)


def test_a_reply_that_was_cut_is_no_verdict_whatever_its_last_word() -> None:
    asked = questions([pair_of("Red.", "Blue!")], PROMPTS, EVALUATOR, "random", 0)
    assert decided(asked, [Heard("At first sight Verdict: A", is_whole=False)]).outcome == "INVALID"


def test_a_reply_too_few_is_no_verdict() -> None:
    asked: list[Question] = questions([pair_of("Red.", "Blue!")], PROMPTS, EVALUATOR, "both", 0)
    with pytest.raises(ValueError, match="zip"):
        decided(asked, [Heard("Verdict: A")])


def test_a_pair_whose_prompt_is_not_there_is_one_error() -> None:
    pair = pair_of("Rome.", "Oslo.", Prompt.of("Name a city."))
    with pytest.raises(DataError, match=f"answers the prompt {pair.prompt_id}, which is not there"):
        questions([pair], PROMPTS, EVALUATOR, "both", 0)
