"""Templates say how their replies are read; what does not fit is refused before anything is paid for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tutelage.critic.evaluator import SHIPPED, load
from tutelage.critic.parse import Heard
from tutelage.critic.questions import opinion_of, questions, verdict_of
from tutelage.errors import ConfigError
from tutelage.records import Completion, Pair, Prompt

BODY = "[user]\n{fence} {instruction} {first} {second}\n"
PROMPT = Prompt.of("Name a colour.")
LEFT, RIGHT = (Completion(prompt_id=PROMPT.id, author="s", text=text) for text in ("Red.", "Blue!"))
PAIR = Pair(left=LEFT, right=RIGHT)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_template_that_comes_with_tutelage_shows_all_texts_and_names_its_reply(name: str) -> None:
    evaluator = load(name)
    asked = questions([PAIR], {PROMPT.id: PROMPT}, evaluator, "both", 0)
    assert len(asked) == 2
    for question in asked:
        shown = question.messages[-1].content
        assert "Name a colour." in shown
        texts = ["Red.", "Blue!"] if not evaluator.template.is_pointwise else []
        assert all(text in shown for text in texts)
        assert "{" not in shown.replace('{"reason"', "")


@pytest.mark.parametrize(
    ("name", "replies", "outcome"),
    [
        ("pairwise", ["Verdict: A", "Verdict: B"], "LEFT"),
        ("rubric", ["1. A 2. A\nVerdict: B", "Verdict: A"], "RIGHT"),
        ("structured", ['{"reason": "", "verdict": "tie"}', '{"reason": "", "verdict": "tie"}'], "TIE"),
        ("pointwise", ["Score: 7", "Score: 6.5"], "LEFT"),
        ("pointwise", ["Score: 7", "Score: 7"], "TIE"),
        ("pointwise", ["Score: 7", "Seven."], "INVALID"),
        ("letter", ["A", "B"], "INVALID"),  # no log-probabilities came
    ],
)
def test_each_template_has_its_own_way_to_say_it(name: str, replies: list[str], outcome: str) -> None:
    evaluator = load(name)
    asked = questions([PAIR], {PROMPT.id: PROMPT}, evaluator, "both", 0)
    heard = [Heard(text) for text in replies]
    assert verdict_of(asked, heard, opinion_of(asked, heard, evaluator), "c").outcome == outcome


def test_the_probability_of_both_orders_is_their_mean() -> None:
    evaluator = load("letter")
    asked = questions([PAIR], {PROMPT.id: PROMPT}, evaluator, "both", 0)
    heard = [Heard("A", top=({"A": -0.10536, "B": -2.302585},)), Heard("A", top=({"A": -0.510826, "B": -0.916291},))]
    verdict = verdict_of(asked, heard, opinion_of(asked, heard, evaluator), "c")
    assert verdict.outcome == "TIE"  # a flip: each order was won by the one shown first
    assert verdict.probability == pytest.approx((0.9 + 0.4) / 2, abs=1e-4)


def test_a_completion_is_cut_only_on_demand_and_then_says_so() -> None:
    asked = questions([PAIR], {PROMPT.id: PROMPT}, load("pairwise"), "fixed", 0, max_chars=4)
    assert "Red." in asked[0].messages[-1].content
    assert "Blue\n[1 more characters are not shown]" in asked[0].messages[-1].content
    assert asked[0].num_cut == 1
    assert questions([PAIR], {PROMPT.id: PROMPT}, load("pairwise"), "fixed", 0)[0].num_cut == 0


def test_a_file_says_in_its_settings_how_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("[settings]\nparser: letter\nmax_tokens: 1\ntop_logprobs: 20\ntemperature: null\n" + BODY)
    evaluator = load(str(path))
    assert (evaluator.max_tokens, evaluator.top_logprobs, evaluator.temperature) == (1, 20, None)
    assert evaluator.identity != load("letter").identity


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[settings]\nparser: votes\n" + BODY, "parser: found 'votes'"),
        ("[settings]\nmax_token: 5\n" + BODY, "max_token: unknown key; did you mean max_tokens"),
        ("[settings]\nparser: score\n" + BODY, "does not fit the fields"),
        ("[settings]\nparser: letter\n" + BODY, "parser letter needs top_logprobs"),
        ("[user]\n{fence}{instruction}{completion}\n", "does not fit the fields"),
        ("[settings]\n: [\n" + BODY, "not readable as YAML"),
        (BODY + "[settings]\nparser: verdict\n", "only stand at the very beginning"),
    ],
)
def test_settings_that_do_not_fit_are_one_error(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "mine.txt"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says):
        load(str(path))
