"""Leaks: what is evaluated is found in training prompts however it is written, and its neighbours are no leaks."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from running import tutelage
from tutelage.config import build, merge_words
from tutelage.data.gate import LeaksConfig, apart, leaks
from tutelage.data.leaks import Leakage, Leaks
from tutelage.errors import ConfigError, DataError
from tutelage.inputs import Prompts
from tutelage.records import Message, Prompt

LONG = (
    "I keep bees in a small garden behind the house. The hive is restless since Monday, and I don't know why. "
    'My neighbour says "leave them alone". What should I look at first?'
)
STORY = "Write a short story about a lighthouse keeper who finds a letter"
EVALUATED = [LONG, STORY, "What is the capital of Norway?", "how do I fold a paper crane", "Why is rust red?", "Hi"]


def talk(*turns: str) -> Prompt:
    """A conversation of these user turns, each but the last answered."""
    said = [m for turn in turns for m in (Message(role="user", content=turn), Message(role="assistant", content="…"))]
    return Prompt(messages=tuple(said[:-1]))


Found = Callable[..., list[tuple[str, str]]]


@pytest.fixture(scope="module")
def found() -> Found:
    index = Leaks(Prompt.of(text) for text in EVALUATED)
    return lambda *turns: [(leak.kind, leak.evaluated.text) for leak in index.of(talk(*turns))]


# ---- what is a leak ---------------------------------------------------------------------------------


@pytest.mark.parametrize("text", EVALUATED)
def test_the_same_text_is_exact_in_whatever_turn_it_stands(found: Found, text: str) -> None:
    for turns in ([text], [text, "Thank you, and now?"], ["Good evening to you all", text], ["One", text, "Two"]):
        assert ("exact", text) in found(*turns)


def test_a_system_message_may_ask_too() -> None:
    system, user = Message(role="system", content=f"You are kind. {LONG}"), Message(role="user", content="Go on.")
    assert [leak.kind for leak in Leaks([Prompt.of(LONG)]).of(Prompt(messages=(system, user)))] == ["near"]


@pytest.mark.parametrize("text", EVALUATED)
@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        str.title,
        lambda text: f"\n {text.replace(' ', '  ')}\t",
        lambda text: text.replace(" ", "\u00a0\n"),
        lambda text: text.rstrip("?.") + "...!",
        lambda text: "".join(c for c in text if c.isalnum() or c.isspace()),
        lambda text: text.replace('"', "»").replace("'", "’") + " “”",
        lambda text: text.replace('"', "„").replace("'", "`").replace("-", "—"),
    ],
)
def test_case_white_space_punctuation_and_quotes_change_nothing(
    found: Found, text: str, change: Callable[[str], str]
) -> None:
    assert text in [evaluated for kind, evaluated in found(change(text)) if kind != "near"]


@pytest.mark.parametrize("text", EVALUATED[:5])
def test_a_sentence_more_is_near_wherever_it_stands(found: Found, text: str) -> None:
    words, more = text.split(), "Please take your time, it is for my sister."
    for changed in (
        f"{more} {text}",
        f"{text} {more}",
        f"{text.lower()}\n{more}",
        *(" ".join([*words[:place], more, *words[place:]]) for place in range(1, len(words))),
    ):
        assert ("near", text) in found(changed), changed


@given(st.integers(0, 37), st.lists(st.text(st.characters(codec="utf-8"), max_size=12), max_size=40))
def test_a_longer_prompt_is_found_whatever_is_put_into_it_at_one_place(place: int, added: list[str]) -> None:
    words = LONG.split()
    more = " ".join(" ".join(added).split()[:40])
    changed = " ".join([*words[:place], more, *words[place:]])
    kinds = [leak.kind for leak in Leaks([Prompt.of(LONG)]).of(Prompt.of(changed))]
    assert len(kinds) == 1 or len(more) > 40  # one long "word" of another script is many words


def test_a_training_prompt_that_is_most_of_an_evaluated_one_is_near(found: Found) -> None:
    assert found(LONG.replace(" The hive is restless since Monday, and I don't know why.", "")) == [("near", LONG)]
    assert found("What should I look at first?") == []


def test_a_word_in_fifty_may_be_another() -> None:
    words = [f"word{i}" for i in range(100)]
    index = Leaks([Prompt.of(" ".join(words))])
    for changed, leak in (([50, 70], True), ([50, 60, 70], False)):
        text = " ".join("other" if i in changed else word for i, word in enumerate(words))
        assert bool(index.of(Prompt.of(text))) is leak


# ---- what is none -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "What is the capital of Sweden?",  # of the same template
        "My teacher asks what is the capital of Norway and of Sweden",  # a short prompt as a part of a sentence
        "How do I fold a paper plane?",
        "Write a short story about a lighthouse keeper who finds a map",
        "Write a short story",
        "Hi, how do you do?",
        "Hi! Why is the sky blue?",
        "I keep bees in a small garden behind the house. Which flowers do they like?",
        "red is rust why",
        "!!!",
    ],
)
def test_a_neighbour_is_no_leak(found: Found, text: str) -> None:
    assert found(text) == []


def test_words_that_are_far_apart_in_a_long_text_are_no_leak(found: Found) -> None:
    pieces = [" ".join(STORY.split()[i : i + 3]) for i in range(0, 12, 3)]
    assert found((" and so on" * 30 + " ").join(pieces)) == []
    assert found((" and so on" * 3 + " ").join(pieces)) == [("near", STORY)]


def test_only_the_same_words_count_where_nearness_is_switched_off() -> None:
    index = Leaks([Prompt.of(LONG)], overlap=None)
    assert index.of(Prompt.of(LONG + " Thank you very much.")) == []
    assert [leak.kind for leak in index.of(Prompt.of(LONG.lower()))] == ["normalised"]


# ---- evaluated conversations, and texts of all kinds --------------------------------------------------


def test_of_an_evaluated_conversation_the_last_turn_counts_if_it_can_stand_alone() -> None:
    alone, leaning = talk("Hello there", STORY), talk("Tell me about the city of Oslo please", "Shorter, please")
    index = Leaks([alone, leaning])
    assert [leak.evaluated for leak in index.of(talk(STORY + "!"))] == [alone]
    assert index.of(talk("Shorter, please")) == index.of(talk("Explain entropy to me", "Shorter, please")) == []
    assert [leak.evaluated for leak in index.of(talk("tell me about the city of Oslo please", "shorter please"))] == [
        leaning
    ]


@pytest.mark.parametrize("overlap", [0.98, None])
def test_an_evaluated_conversation_that_goes_on_is_the_same_conversation(overlap: float | None) -> None:
    found = Leaks([talk(LONG, "Shorter, please")], overlap).of(talk(LONG, "Shorter, please", "Thanks.", STORY))
    assert [leak.kind for leak in found] == ["exact"]


def test_evaluated_prompts_that_are_the_same_are_all_named() -> None:
    evaluated = [Prompt.of(STORY), Prompt.of(STORY.upper()), talk("Hello", STORY)]
    kinds = {leak.evaluated.id: leak.kind for leak in Leaks(evaluated).of(Prompt.of(STORY))}
    assert kinds == {evaluated[0].id: "exact", evaluated[1].id: "normalised", evaluated[2].id: "exact"}


@pytest.mark.parametrize(
    ("evaluated", "leak", "none"),
    [
        ("🎉🎉!", " 🎉🎉! ", "🎉!"),
        ("?!", "?!", "!?"),
        ("请介绍一下中国的历史和文化。", "你好！请介绍一下中国的历史和文化", "请介绍一下法国的历史和文化。"),
        ("東京の天気はどうですか?", "東京の天気は どうですか。", "大阪の天気はどうですか?"),
        ("भारत की राजधानी क्या है और वहाँ कितने लोग रहते हैं", "भारत की राजधानी क्या है, और वहाँ कितने लोग रहते हैं?",
         "भारत का राजधानी क्या है और वहाँ कितने लोग रहते हैं"),
        ("Où est la gare de l’Est à Paris ?", "OÙ EST LA GARE DE L'EST À PARIS", "Où est la gare de Lyon à Paris ?"),
    ],
)  # fmt: skip
def test_texts_without_words_or_spaces_are_told_apart(evaluated: str, leak: str, none: str) -> None:
    index = Leaks([Prompt.of(evaluated)])
    assert len(index.of(Prompt.of(leak))) == 1
    assert index.of(Prompt.of(none)) == []


@pytest.mark.parametrize(
    "piece", ["what is the best way ", "a ", "a", ".", "Hi. ", "who\n", "'", "中", "\u0301", "\ud800"]
)
def test_a_long_text_of_anything_takes_a_moment(found: Found, piece: str) -> None:
    text = piece * (100_000 // len(piece)) + "x"
    assert found(text) == []
    assert [leak.kind for leak in Leaks([Prompt.of(text)]).of(Prompt.of(text))] == ["exact"]


# ---- the gate and the command -------------------------------------------------------------------------


def test_the_gate_blocks_with_the_kinds_and_the_first_pairs_side_by_side() -> None:
    train = [Prompt.of(t) for t in (STORY, STORY.upper(), f"{LONG} Thank you.", "Name a tree.")]
    inputs = Prompts(path="train.jsonl"), Prompts(path="eval.jsonl")
    with pytest.raises(DataError) as error:
        apart(train, map(Prompt.of, EVALUATED), Leakage(), inputs, lambda what, num: None)
    said = str(error.value).splitlines()
    assert said[0].startswith(
        "train.jsonl: 3 of 4 training prompts are evaluated too (1 exact, 1 normalised, 1 near); a win rate on them "
        "says nothing. Leave them out with leakage.action=remove; tutelage data leaks prompts=train.jsonl "
        "evaluation=eval.jsonl out=leaks.jsonl lists all of them."
    )
    assert said[3:5] == [f"  normalised  training:  {STORY.upper()}", f"              evaluated: {STORY}"]


def test_the_command_that_lists_all_reads_the_same_prompts() -> None:
    asked = Prompts(path="my train.jsonl", num_turns=3, without=("</s>", "a, b"), fraction=0.5)
    inputs = asked, Prompts(path="artifacts/0-split/run-1", part="evaluation")
    with pytest.raises(DataError, match="tutelage data leaks") as error:
        apart([Prompt.of(STORY)], [Prompt.of(STORY)], Leakage(overlap=None), inputs, lambda what, num: None)
    words = shlex.split(str(error.value).partition("tutelage data leaks ")[2].partition(" lists all")[0])
    config = build(LeaksConfig, merge_words(LeaksConfig, {}, words), "")
    assert (config.prompts, config.evaluation, config.overlap) == (*inputs, None)


def test_the_gate_removes_and_counts_or_lets_through() -> None:
    train = [Prompt.of(t) for t in ("Name a tree.", STORY, STORY.upper(), f"{LONG} Thank you.")]
    counted: Counter[str] = Counter()
    counts = {
        "left out: prompts that are evaluated (exact)": 1,
        "left out: prompts that are evaluated (normalised)": 1,
        "left out: prompts that are evaluated (near)": 1,
    }

    def gate(prompts: list[Prompt], action: Any) -> list[Prompt]:
        leakage = Leakage(action=action)
        inputs = Prompts(path="t"), Prompts(path="e")
        return apart(
            prompts, map(Prompt.of, EVALUATED), leakage, inputs, lambda what, num: counted.update({what: num})
        )

    assert gate(train, "allow") == train
    assert gate(train, "remove") == train[:1]
    assert counted == counts
    with pytest.raises(DataError, match="none is left to train on"):
        gate(train[1:], "remove")


def test_the_command_says_how_many_and_writes_every_pair(
    tmp_path: Path, write_rows: Callable[[str, list[Any]], Path]
) -> None:
    said = [m.model_dump() for m in talk(STORY, "Longer.").messages]
    prompts = [said, STORY, "Name a tree.", f"{LONG} Thank you."]
    train = write_rows("train.jsonl", [{"prompt": prompt} for prompt in prompts])
    test = write_rows("test.jsonl", [{"instruction": text} for text in (*EVALUATED, STORY.upper())])
    out = tmp_path / "leaks.jsonl"
    told = tutelage(tmp_path, "data", "leaks", "prompts=train.jsonl", "evaluation=test.jsonl", f"out={out}").stdout
    table = [line.split() for line in told.splitlines()]
    assert table[1:6] == [["exact", "2", "1"], ["normalised", "0", "1"], ["near", "1", "1"], ["together", "3", "3"],
                          ["of", "4", "7"]]  # fmt: skip
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    both = [("exact", STORY), ("normalised", STORY.upper())]
    assert [(row["kind"], row["evaluated"]) for row in rows] == [*both, *both, ("near", LONG)]
    assert rows[4]["training"] == f"{LONG} Thank you."
    config = LeaksConfig(prompts=Prompts(path=str(train)), evaluation=Prompts(path=str(test)))
    with pytest.raises(ConfigError, match="is there already"):
        leaks(config.model_copy(update={"out": out}))
    with pytest.raises(DataError, match=r"train\.jsonl: 3 of 4 training prompts are evaluated too"):
        leaks(config.model_copy(update={"fail": True}))
