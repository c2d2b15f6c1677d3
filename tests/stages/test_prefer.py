"""Verdicts -> preferences: no label is invented, and whatever is dropped is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from verdicts import BOTH, ONE, completion, verdict

from tutelage.critic.parse import Heard
from tutelage.errors import ConfigError, DataError, StoreError
from tutelage.inputs import Finished
from tutelage.records import Completion, Message, Pair, Preference, Prompt, Verdict, digest
from tutelage.stages import prefer, sft
from tutelage.stages.choosing import Choosing, preferences_of, winners_of
from tutelage.stages.label import VERDICTS
from tutelage.store import Artifact, Made, Work

Chosen = list[tuple[str, str]]


def prefer_of(*verdicts: Verdict, **settings: Any) -> tuple[list[Preference], Counter[str]]:
    """The preferences, and what was counted without what was counted zero times."""
    counts: Counter[str] = Counter()
    found = preferences_of(verdicts, Choosing(**settings), lambda what, num: counts.update({what: num}))
    return found, +counts


def texts(preferences: list[Preference]) -> Chosen:
    return [(p.chosen.text, p.rejected.text) for p in preferences]


# ---- the original's bugs ----------------------------------------------------------------------------


def test_bug_1_a_tie_or_an_unreadable_verdict_is_no_loss_for_anybody() -> None:
    """`preference == 1 else (1, 0)`: there, whatever was not 1 was a loss for output_1."""
    found, counts = prefer_of(verdict("a = b"), verdict("c ? d"), verdict("e > f"), verdict("g < h"))
    assert texts(found) == [("e", "f"), ("h", "g")]
    assert counts == {"dropped: ties": 1, "dropped: unreadable verdicts": 1}


@pytest.mark.parametrize("reply", ["1.5", "null", "0", "2.0", "None", "nan", "", "Verdict: 1", "Verdict: AB"])
def test_bug_1_a_reply_that_is_no_verdict_ends_as_no_preference(reply: str) -> None:
    from tutelage.critic.evaluator import load
    from tutelage.critic.questions import opinion_of, questions, verdict_of

    prompt = Prompt.of("Why?")
    pair = Pair(left=completion("yes", prompt.id), right=completion("no", prompt.id))
    evaluator = load("pairwise")
    asked = questions([pair], {prompt.id: prompt}, evaluator, "both", 0)
    heard = [Heard(reply), Heard("Verdict: A")]
    said = verdict_of(asked, heard, opinion_of(asked, heard, evaluator), "critic")
    assert prefer_of(said) == ([], {"dropped: unreadable verdicts": 1})


@given(st.permutations(range(30)), st.integers(1, 40))
def test_bug_5_exactly_as_many_as_asked_for_whatever_the_order(order: list[int], num: int) -> None:
    verdicts = [verdict("good > bad", prompt=f"p{i}") for i in order]
    found, counts = prefer_of(*verdicts, max_pairs=num)
    assert len(found) == min(num, 30)
    assert counts == ({"dropped: more than max_pairs": 30 - num} if num < 30 else {})
    same, _ = prefer_of(*sorted(verdicts, key=lambda v: v.id), max_pairs=num)
    assert {p.id for p in same} == {p.id for p in found}


def test_bug_8_the_verdicts_on_all_samples_are_used() -> None:
    found, _ = prefer_of(verdict("a < bb"), verdict("bb < ccc"), verdict("a < ccc"))
    assert texts(found) == [("bb", "a"), ("ccc", "bb"), ("ccc", "a")]
    assert {c.index for p in found for c in (p.chosen, p.rejected)} == {1, 2, 3}


@pytest.mark.parametrize("sign", ["=", ">", "<", "?"])
@pytest.mark.parametrize("strategy", ["all", "best_vs_worst"])
def test_no_verdict_whatever_makes_a_text_better_than_itself(sign: str, strategy: str) -> None:
    """A tie that chose the same text twice trained the original on nothing."""
    pair = Pair(left=completion("same", index=0), right=completion("same", index=1))
    said = verdict(f"x {sign} y")
    same = Verdict(pair=pair, orders=said.orders, outcome=said.outcome, critic="c", replies=said.replies)
    found, counts = prefer_of(same, strategy=strategy)
    assert found == []
    assert sum(counts.values()) == 1


# ---- which verdicts count ---------------------------------------------------------------------------


def test_min_probability_looks_at_the_decision_whichever_side_won() -> None:
    sure = verdict("a > b", 0.9), verdict("c < d", 0.1), verdict("e > f", 0.8)
    unsure = verdict("g > h", 0.79), verdict("i < j", 0.3)
    found, counts = prefer_of(*sure, *unsure, min_probability=0.8)
    assert texts(found) == [("a", "b"), ("d", "c"), ("e", "f")]
    assert counts == {"dropped: below min_probability": 2}


def test_a_verdict_without_a_probability_among_others_that_have_one_is_dropped_and_counted() -> None:
    found, counts = prefer_of(verdict("a > b", 0.9), verdict("c > d"), min_probability=0.6)
    assert texts(found) == [("a", "b")]
    assert counts == {"dropped: no probability": 1}


def test_min_probability_of_a_critic_that_gives_none_names_it_and_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"min_probability: no verdict of gpt-x has .*template=letter"):
        prefer_of(verdict("a > b", critic="gpt-x"), verdict("a = b"), min_probability=0.6)


def test_consistent_only_keeps_what_was_asked_in_both_orders() -> None:
    both, one = verdict("a > b"), verdict("c > d", orders=ONE)
    alone = verdict("e < f", orders=("left_alone", "right_alone"))
    found, counts = prefer_of(both, one, alone, consistent_only=True)
    assert texts(found) == [("a", "b"), ("f", "e")]
    assert counts == {"dropped: not asked in both orders": 1}


def test_a_panel_is_consistent_if_each_of_its_critics_was_asked_in_both_orders() -> None:
    panel, mixed = verdict("a > b", orders=BOTH * 3), verdict("c > d", orders=(*BOTH, *ONE))
    same = verdict("e > f", orders=ONE * 2)
    assert texts(prefer_of(panel, mixed, same, consistent_only=True)[0]) == [("a", "b")]


def test_consistent_only_of_a_critic_asked_in_one_order_names_it_and_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"consistent_only: no verdict of gpt-x comes .*label with order=both"):
        prefer_of(verdict("a > b", orders=ONE, critic="gpt-x"), consistent_only=True)


def test_a_critics_name_cannot_move_the_cursor_in_an_error() -> None:
    with pytest.raises(ConfigError) as caught:
        prefer_of(verdict("a > b", critic="\x1b[2J"), min_probability=0.6)
    assert "\x1b" not in str(caught.value)


# ---- the same texts ---------------------------------------------------------------------------------


def other_sample(said: str) -> Verdict:
    """A verdict on the same two texts in other samples."""
    found = verdict(said)
    left, right = (c.model_copy(update={"index": c.index + 50}) for c in (found.pair.left, found.pair.right))
    return found.model_copy(update={"pair": Pair(left=left, right=right)})


def test_the_same_texts_are_one_preference_that_names_all_its_verdicts() -> None:
    verdicts = verdict("a > b"), other_sample("a > b"), other_sample("b < a")
    found, counts = prefer_of(*verdicts)
    assert texts(found) == [("a", "b")]
    assert set(found[0].verdict_ids) == {v.id for v in verdicts}
    assert counts == {"joined: the same texts again": 2}


def test_the_same_texts_under_another_prompt_are_another_preference() -> None:
    assert len(prefer_of(verdict("a > b"), verdict("a > b", prompt="q"), verdict("a < b", prompt="r"))[0]) == 3


def test_verdicts_that_contradict_each_other_are_all_dropped() -> None:
    found, counts = prefer_of(verdict("a > b"), other_sample("a > b"), other_sample("b > a"), verdict("c > d"))
    assert texts(found) == [("c", "d")]
    assert counts == {"dropped: contradicted by another verdict on the same texts": 3}


# ---- how many ---------------------------------------------------------------------------------------


def test_max_per_prompt_bounds_every_prompt() -> None:
    many = [verdict(f"{'a' * i} > b", prompt=p) for p in "pq" for i in range(1, 6)]
    found, counts = prefer_of(*many, verdict("a > b", prompt="r"), max_per_prompt=2)
    assert Counter(p.prompt_id for p in found) == {"p": 2, "q": 2, "r": 1}
    assert counts == {"dropped: more than max_per_prompt": 6}
    assert prefer_of(*many, max_per_prompt=2, seed=1)[0] != prefer_of(*many, max_per_prompt=2)[0]


LENGTHS = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3), st.sampled_from("<>=")), max_size=25)


def lean(preferences: list[Preference]) -> tuple[int, int]:
    """How often the chosen one is the longer and the shorter one."""
    gaps = [len(p.chosen.text) - len(p.rejected.text) for p in preferences]
    return sum(g > 0 for g in gaps), sum(g < 0 for g in gaps)


@given(LENGTHS, st.integers(0, 3))
def test_balanced_by_length_the_chosen_one_is_as_often_longer_as_shorter(
    rows: list[tuple[int, int, str]], seed: int
) -> None:
    verdicts = [verdict(f"{'a' * n} {sign} {'b' * m}", prompt=f"p{i}") for i, (n, m, sign) in enumerate(rows)]
    everything, _ = prefer_of(*verdicts)
    found, counts = prefer_of(*verdicts, balance="length", seed=seed)
    longer, shorter = lean(everything)
    assert lean(found) == (min(longer, shorter),) * 2
    assert counts["dropped: to balance length"] == abs(longer - shorter) == len(everything) - len(found)


def test_balanced_by_side_the_left_one_is_chosen_as_often_as_the_right_one() -> None:
    left = [verdict("a > b", prompt=f"p{i}") for i in range(7)]
    right = [verdict("a < b", prompt=f"q{i}") for i in range(3)]
    found, counts = prefer_of(*left, *right, balance="side")
    assert Counter(p.chosen.text for p in found) == {"a": 3, "b": 3}
    assert counts == {"dropped: to balance side": 4}


def by(author: str, other: str, won: bool, prompt: str) -> Verdict:
    """A verdict on completions of two authors."""
    found = verdict("a > b" if won else "a < b", prompt=prompt)
    left, right = (
        c.model_copy(update={"author": name}) for c, name in ((found.pair.left, author), (found.pair.right, other))
    )
    return found.model_copy(update={"pair": Pair(left=left, right=right)})


def test_balanced_by_author_nobody_is_chosen_oftener_over_another_than_the_other_way_round() -> None:
    verdicts = [by("x", "y", i < 5, f"p{i}") for i in range(7)] + [by("x", "z", True, f"q{i}") for i in range(2)]
    verdicts += [by("z", "x", True, "r"), by("y", "y2", True, "s")]
    alone = other_sample("a > b")
    found, counts = prefer_of(*verdicts, alone, balance="author")
    assert Counter((p.chosen.author, p.rejected.author) for p in found) == {
        ("x", "y"): 2,
        ("y", "x"): 2,
        ("x", "z"): 1,
        ("z", "x"): 1,
        ("me", "me"): 1,
    }
    assert counts == {"dropped: to balance author": 3 + 1 + 1}


# ---- weights ----------------------------------------------------------------------------------------


def test_a_preference_weighs_what_its_probability_is_above_even_odds() -> None:
    found, counts = prefer_of(verdict("a > b", 0.75), verdict("c < d", 0.1), verdict("e > f"), weights="probability")
    assert [(p.chosen.text, pytest.approx(p.weight)) for p in found] == [("a", 0.5), ("d", 0.8)]
    assert counts == {"dropped: no probability": 1}


def test_verdicts_on_the_same_texts_weigh_what_they_say_on_average() -> None:
    again = other_sample("b < a").model_copy(update={"probability": 0.4})
    found, _ = prefer_of(verdict("a > b", 0.9), again, weights="probability")
    assert [p.weight for p in found] == [pytest.approx(0.5)]


def test_a_decision_against_its_own_probability_weighs_nothing_and_is_dropped() -> None:
    """A panel's majority can be for one side, its mean for the other."""
    found, counts = prefer_of(
        verdict("a > b", 0.4), verdict("c > d", 0.5), verdict("e > f", 1.0), weights="probability"
    )
    assert [(p.chosen.text, p.weight) for p in found] == [("e", 1.0)]
    assert counts == {"dropped: not probable": 2}


def test_weights_of_a_critic_without_probabilities_are_refused_and_so_are_those_of_best_and_worst() -> None:
    with pytest.raises(ConfigError, match=r"weights: no verdict of gpt-x has a probability"):
        prefer_of(verdict("a > b", critic="gpt-x"), weights="probability")
    with pytest.raises(ConfigError, match=r"weights: found 'probability': needs strategy=all"):
        prefer.STAGE.configure(["verdicts=v", "weights=probability", "strategy=best_vs_worst"])


def test_without_the_setting_every_preference_weighs_the_same() -> None:
    found, _ = prefer_of(verdict("a > b", 0.6), verdict("c > d", 0.9))
    assert {p.weight for p in found} == {1.0}


# ---- best against worst -----------------------------------------------------------------------------


def test_the_completion_with_the_most_wins_is_set_against_the_one_with_the_fewest() -> None:
    verdicts = [verdict(said) for said in ("a > b", "a > c", "a > d", "b > c", "b > d", "d > c")]
    found, counts = prefer_of(*verdicts, strategy="best_vs_worst")
    assert texts(found) == [("a", "c")]
    assert set(found[0].verdict_ids) == {v.id for v in verdicts} - {verdict("b > d").id}
    assert counts == {"left out: completions between best and worst": 2}


def test_best_and_worst_of_a_star_were_never_compared_with_each_other() -> None:
    found, _ = prefer_of(verdict("a > b"), verdict("a < c"), strategy="best_vs_worst")
    assert texts(found) == [("c", "b")]
    assert prefer_of(verdict("a > b"), verdict("a < c"), strategy="best_vs_worst", balance="side")[0] == found


def test_equal_wins_are_decided_by_the_mean_probability() -> None:
    verdicts = verdict("a > x", 0.7), verdict("b > x", 0.9), verdict("x > y", 0.6), verdict("a = b", 0.5)
    found, _ = prefer_of(*verdicts, strategy="best_vs_worst")
    assert [p.chosen.text for p in found] == ["b"]


def test_a_circle_has_no_best_completion() -> None:
    circle = verdict("a > b"), verdict("b > c"), verdict("c > a")
    found, counts = prefer_of(*circle, strategy="best_vs_worst")
    assert (found, counts) == ([], {"dropped: prompts without a best completion": 1})


def test_two_samples_of_one_text_stand_together_and_never_against_each_other() -> None:
    found, _ = prefer_of(verdict("a > b"), other_sample("a < c"), strategy="best_vs_worst")
    assert texts(found) == [("c", "b")]


@given(st.permutations(["a > b", "b > c", "c > d", "d > a", "a > c", "d > b"]))
def test_best_against_worst_does_not_depend_on_the_order_of_the_verdicts(order: list[str]) -> None:
    found, _ = prefer_of(*map(verdict, order), strategy="best_vs_worst")
    assert [p.id for p in found] == [
        p.id for p in prefer_of(*map(verdict, sorted(order)), strategy="best_vs_worst")[0]
    ]


def test_the_winner_of_a_prompt_is_the_one_with_the_most_wins_less_losses() -> None:
    found, _ = prefer_of(*map(verdict, ("a > b", "c > a", "c > b")), verdict("x < y", prompt="q"))
    assert [c.text for c in winners_of(found, 0)] == ["c", "y"]


# ---- the stage --------------------------------------------------------------------------------------

World = Callable[..., Artifact]


@pytest.fixture
def labelled(tmp_path: Path) -> World:
    """Write an artifact of label (or another stage) with these verdicts."""

    def write(*verdicts: Verdict, stage: str = "label") -> Artifact:
        work = Work(tmp_path / "a", stage, "run", {"seed": digest([v.id for v in verdicts])})
        work.path.mkdir(parents=True)
        work.write("prompts.jsonl", PROMPTS)
        work.write(VERDICTS, verdicts)
        return work.finish({}, {}, Made())

    return write


PROMPTS = [Prompt(messages=(Message(role="user", content=f"Work out {i} plus {i}."),)) for i in range(3)]


def chosen_from(made: Artifact, **settings: Any) -> Artifact:
    config = prefer.Config(artifacts=made.path.parents[1], **settings)
    return prefer.run(config, prefer.Inputs(verdicts=Finished(path=str(made.path))))


def test_verdicts_of_a_panel_are_taken_too_and_those_of_an_evaluation_are_not(labelled: World) -> None:
    one = verdict("a > b", prompt=PROMPTS[0].id)
    assert chosen_from(labelled(one, stage="panel")).record.counts["preferences"] == 1
    with pytest.raises(StoreError, match="was made by evaluate; expected an artifact of label or panel"):
        chosen_from(labelled(one, stage="evaluate"))


def test_nothing_left_says_what_became_of_the_verdicts(labelled: World) -> None:
    prompt = PROMPTS[0].id
    said = verdict("a = b", prompt=prompt), verdict("c ? d", prompt=prompt), verdict("e > f", 0.6, prompt=prompt)
    made = labelled(*said)
    with pytest.raises(DataError, match=r"dropped: 1 ties, 1 unreadable verdicts, 1 below min_probability"):
        chosen_from(made, min_probability=0.9)


def test_only_the_prompts_of_preferences_are_kept(labelled: World) -> None:
    made = labelled(verdict("a > b", prompt=PROMPTS[0].id), verdict("a = b", prompt=PROMPTS[1].id))
    chosen = chosen_from(made)
    assert chosen.rows("prompts.jsonl", Prompt) == PROMPTS[:1]
    assert [c.text for c in chosen.rows("completions.jsonl", Completion)] == ["a"]


def test_the_best_of_each_prompt_follows_the_drawn_labels(labelled: World) -> None:
    made = chosen_from(labelled(*(verdict("a > b", prompt=p.id) for p in PROMPTS)), shuffled=True)
    drawn = [p.chosen.text for p in made.rows("preferences.jsonl", Preference)]
    assert {*drawn} == {"a", "b"}
    assert [c.text for c in made.rows("completions.jsonl", Completion)] == drawn


def test_sft_trains_on_the_best_of_n_that_prefer_leaves(labelled: World, tmp_path: Path) -> None:
    saids = ("a > b", "c > a", "c > b")
    made = labelled(*(verdict(said, prompt=p.id) for p in PROMPTS for said in saids))
    best = chosen_from(made, strategy="best_vs_worst")
    words = ["model=miniature", f"completions={best.path}", f"artifacts={tmp_path / 'a'}", "batch_size=2"]
    student = sft.run(*sft.STAGE.configure([*words, "optimizer=adamw", "max_length=64"]))
    assert student.record.counts["completions"] == 3
    assert student.record.inputs["completions"].artifact == best.record.fingerprint
    completions = best.rows("completions.jsonl", Completion)
    assert [c.text for c in completions] == ["c", "c", "c"]
    trained = (student.path / "trained.jsonl").read_text()
    assert all(c.id in trained for c in completions)
