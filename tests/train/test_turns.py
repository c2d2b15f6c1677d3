"""loss_on=all: every turn of the assistant is learnt, as if it were an example of its own, and each once."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny import CHATML, byte_level, folder, sentencepiece_like
from tutelage import stages
from tutelage.records import Completion, Message, Prompt, Trained
from tutelage.train.encode import Encoder, Example, Unusable
from tutelage.train.examples import encode_completions
from tutelage.train.settings import Truncation
from tutelage.train.template import chat_template
from tutelage.train.truncation import truncate
from tutelage.train.turns import WITHIN

TOKENS = {"eos_token": "<|im_end|>", "pad_token": "<|pad|>", "bos_token": "<|im_start|>"}
THREE = ("What is the capital?", "Paris.", "Hello there?", "hello, how are you", "The fox?", "the lazy dog")


def encoder(template: str = CHATML, tokenizer: Any = None) -> Encoder:
    tokenizer = tokenizer or byte_level(**TOKENS)
    tokenizer.chat_template = template
    return Encoder(tokenizer)


def prompt(*said: str, system: str = "") -> Prompt:
    """A conversation: the user, the assistant, the user ..."""
    first = [Message(role="system", content=system)] if system else []
    roles: Any = ("user", "assistant")
    return Prompt(messages=(*first, *(Message(role=roles[i % 2], content=text) for i, text in enumerate(said))))


def rows(*said: str, stop: Any = "unknown") -> tuple[list[Prompt], list[Completion]]:
    """Every turn of the assistant as a row, as the readers of conversations give them."""
    prompts = [prompt(*said[:i]) for i in range(1, len(said), 2)]
    return prompts, [
        Completion(prompt_id=p.id, author="t", text=said[2 * i + 1], stop_reason=stop) for i, p in enumerate(prompts)
    ]


def encoded(
    e: Encoder, given_: tuple[list[Prompt], list[Completion]], loss_on: Any = "all", length: int = 10_000, **rule: Any
) -> tuple[list[Example], Counter[str]]:
    counts: Counter[str] = Counter()
    prompts = {p.id: p for p in given_[0]}
    rows = [(prompts[c.prompt_id], c) for c in given_[1]]
    found = encode_completions(e, rows, length, Truncation(**rule), lambda what, n: counts.update({what: n}), loss_on)
    return [example for _, example in found], counts


def turns(example: Example) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """What each turn that carries loss comes after, and its tokens."""
    ids, start = example.prompt_ids + example.completion_ids, len(example.prompt_ids)
    return [(ids[: start + a], ids[start + a : start + b]) for a, b in example.learnt]


def both(*said: str) -> tuple[list[Prompt], list[Completion]]:
    """Two completions of one conversation."""
    p = prompt(*said)
    return [p], [Completion(prompt_id=p.id, author="t", text=text, index=i) for i, text in enumerate(("one", "two"))]


def joined(
    *several: tuple[list[Prompt], list[Completion]],
) -> tuple[list[Prompt], list[Completion]]:
    return [p for each in several for p in each[0]], [c for each in several for c in each[1]]


def test_a_conversation_of_three_rows_is_one_example_with_the_turns_of_all_three() -> None:
    e = encoder()
    apart, _ = encoded(e, rows(*THREE), "last")
    found, counts = encoded(e, rows(*THREE))
    assert len(found) == 1
    assert turns(found[0]) == [(one.prompt_ids, one.completion_ids) for one in apart]
    assert counts == {WITHIN: 2}


def test_every_earlier_turn_ends_with_the_end_of_turn_token_as_a_label() -> None:
    e = encoder()
    (found,), _ = encoded(e, rows(*THREE))
    assert [ids[-1] for _, ids in turns(found)] == [e.end_id] * 3
    assert [e.decode(ids) for _, ids in turns(found)] == list(THREE[1::2])


def test_what_the_user_says_in_between_carries_no_loss() -> None:
    e = encoder()
    (found,), _ = encoded(e, rows(*THREE))
    between = [e.tokenizer.decode(found.completion_ids[a:b]) for a, b in found.silent]
    assert between == [f"\n<|im_start|>user\n{said}<|im_end|>\n<|im_start|>assistant\n" for said in THREE[2::2]]
    assert found.num_labels == sum(len(ids) for _, ids in turns(found))


def test_by_default_only_the_completion_carries_loss() -> None:
    assert stages.get("sft").configure(["model=m", "completions=c"])[0].loss_on == "last"
    found, counts = encoded(encoder(), rows(*THREE), "last")
    assert [example.silent for example in found] == [()] * 3
    assert not counts


def test_several_completions_of_one_conversation_teach_its_history_once() -> None:
    e = encoder()
    found, counts = encoded(e, both(*THREE[:5]))
    labels = [e.decode(ids) for example in found for _, ids in turns(example)]
    assert labels == [*THREE[1:4:2], "one", "two"]
    assert not counts


def test_conversations_that_part_after_a_turn_teach_it_once() -> None:
    e = encoder()
    one, other = rows(*THREE), rows(*THREE[:4], "And then?", "Nothing.")
    found, counts = encoded(e, joined(other, one))
    labels = [e.decode(ids) for example in found for _, ids in turns(example)]
    assert sorted(labels) == sorted({*THREE[1::2], "Nothing."})
    assert counts == {WITHIN: 4}


def test_a_row_that_ran_into_the_limit_is_not_the_turn_that_ended() -> None:
    found, counts = encoded(encoder(), joined(rows(*THREE[:2], stop="length"), rows(*THREE[:4])))
    assert [len(example.learnt) for example in found] == [2, 1]
    assert counts == {WITHIN: 1}


def test_what_the_longer_conversation_loses_its_beginning_teaches() -> None:
    """It is left out only where the longer one is really trained on: not if that is skipped, or cut before."""
    e = encoder()
    whole, _ = encoded(e, rows(*THREE))
    skipped, counts = encoded(e, rows(*THREE), length=whole[0].num_tokens - 1, rule="skip")
    assert [len(example.learnt) for example in skipped] == [2]
    assert counts[WITHIN] == 1
    hostile = rows(*THREE[:4], "<|im_end|> x", "no")
    found, counts = encoded(e, hostile)
    assert [len(example.learnt) for example in found] == [2]
    assert counts == {WITHIN: 1, "skipped: the prompt contains the special token <|im_end|>": 1}


def test_an_empty_earlier_turn_teaches_nothing() -> None:
    e = encoder()
    (found,), _ = encoded(
        e, ([p := prompt("Hello?", " ", "hello?")], [Completion(prompt_id=p.id, author="t", text="x")])
    )
    assert found.prompt_ids == e.prompt_ids(p)
    assert not found.silent


def test_a_system_message_stays_before_the_first_turn() -> None:
    e = encoder()
    p = prompt(*THREE[:3], system="Be the fox.")
    (found,), _ = encoded(e, ([p], [Completion(prompt_id=p.id, author="t", text="x")]))
    assert found.prompt_ids == e.prompt_ids(prompt(THREE[0], system="Be the fox."))


def test_sft_trains_on_each_turn_of_a_conversation_once_and_says_what_became_of_its_rows(tmp_path: Path) -> None:
    said = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(THREE)]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"messages": said}) + "\n", "utf-8")
    model, stage = folder(tmp_path / "model"), stages.get("sft")
    words = [f"model={model}", f"completions={tmp_path / 'rows.jsonl'}", "epochs=1", f"artifacts={tmp_path / 'a'}"]
    together, apart = (stage.run(*stage.configure([*words, f"loss_on={what}"])) for what in ("all", "last"))
    assert (together.record.counts["completions"], together.record.counts[WITHIN]) == (1, 2)
    assert apart.record.counts["completions"] == 3
    (row,) = together.rows("trained.jsonl", Trained)
    assert row.prompt_id == prompt(*THREE[:5]).id
    # nothing was learnt yet: the loss of the first batch is that of the same weights on the same turns
    losses = [json.loads((made.path / "metrics.jsonl").read_text())["loss"] for made in (together, apart)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


# ---- templates that rewrite what was said -----------------------------------------------------------

STRIPS_THOUGHTS = CHATML.replace("m['content']", "m['content'].split('</think>')[-1]")
NO_END = "{% for m in messages %}{{ m['role'] + ':' + m['content'] + ('</s>' if loop.last else '\n') }}{% endfor %}"
OPENS_OTHERWISE = CHATML.replace("assistant\n'", "assistant\n<think></think>'")
SHORTENED = CHATML.replace("for m in messages", "for m in messages[-3:]")


@pytest.mark.parametrize(
    ("template", "said", "reason"),
    [
        (STRIPS_THOUGHTS, ("a", "<think>hm</think>b", "c"), "does not keep an earlier turn with <|im_end|> after it"),
        (chat_template("original"), THREE[:3], "does not keep an earlier turn with <|im_end|> after it"),
        (OPENS_OTHERWISE, THREE[:3], "opens an earlier turn otherwise than a new one"),
        (SHORTENED, THREE[:5], "opens an earlier turn otherwise than a new one"),
    ],
)
def test_a_template_that_rewrites_what_was_said_makes_the_conversation_unusable(
    template: str, said: tuple[str, ...], reason: str
) -> None:
    e = encoder(template)
    p = prompt(*said)
    row = Completion(prompt_id=p.id, author="t", text="x")
    found, counts = encoded(e, ([p], [row]))
    assert not found
    assert [(key, num) for key, num in counts.items() if reason in key] == [*counts.items()] != []
    assert len(encoded(e, ([p], [row]), "last")[0]) == 1


def test_a_token_that_spans_the_start_of_an_earlier_turn_makes_the_conversation_unusable() -> None:
    # "capital" is one token, so "cap" + "ital" merge in a history and not where the turn is new
    template = "{% for m in messages %}{{ m['content'] + ('</s>' if m['role'] == 'assistant' else '') }}{% endfor %}"
    e = encoder(template, byte_level(eos_token="</s>"))
    p = prompt("the cap", "ital", "x")
    with pytest.raises(Unusable, match="a token spans the start of an earlier turn"):
        e.example(p, Completion(prompt_id=p.id, author="t", text="y"), [1])


def test_a_template_that_trims_what_was_said_teaches_it_as_the_history_has_it() -> None:
    e = encoder(CHATML.replace("m['content']", "m['content'].strip()"))
    p = prompt("Hello? ", " Paris. ", "And?")
    (found,), _ = encoded(e, ([p], [Completion(prompt_id=p.id, author="t", text="x")]))
    assert [e.decode(ids) for _, ids in turns(found)] == ["Paris.", "x"]


# ---- any conversation -------------------------------------------------------------------------------

BYTES = byte_level(**TOKENS)
PIECES = sentencepiece_like(**TOKENS)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="<"), min_size=1, max_size=12).filter(str.strip)
"""None with a special token: all of those begin with <."""


@pytest.mark.parametrize("tokenizer", [BYTES, PIECES], ids=["bytes", "pieces"])
@pytest.mark.parametrize("template", ["chatml", "human_assistant"])
@given(data=st.data())
def test_any_conversation_is_the_union_of_its_rows_or_is_counted(tokenizer: Any, template: str, data: Any) -> None:
    e = encoder(chat_template(template), tokenizer)
    said = data.draw(st.lists(TEXTS, min_size=2, max_size=8).filter(lambda each: len(each) % 2 == 0))
    apart, _ = encoded(e, rows(*said), "last")
    found, counts = encoded(e, rows(*said))
    labels = [turn for example in found for turn in turns(example)]
    if not any(key.startswith("skipped") for key in counts):
        assert labels == [(one.prompt_ids, one.completion_ids) for one in apart]
        assert len(found) == 1
    else:  # a token spans a border: nothing is learnt that no row has, and nothing twice
        assert {*labels} <= {(one.prompt_ids, one.completion_ids) for one in apart}
        assert len({*labels}) == len(labels)


# ---- what is too long -------------------------------------------------------------------------------


def spans(prompt_: int, *lengths: int) -> Example:
    """Turns and what is between them, by turns, in ids that count up."""
    ends = [sum(lengths[: i + 1]) for i in range(len(lengths))]
    return Example("c", "p", (0,) * prompt_, tuple(range(ends[-1])), tuple(zip(ends[:-1:2], ends[1::2], strict=True)))


def test_a_cut_within_a_turn_keeps_its_beginning() -> None:
    (kept,) = truncate([spans(3, 5, 4, 6)], 3 + 11, Truncation())
    assert (kept.completion_ids, kept.silent, kept.num_labels) == (tuple(range(11)), ((5, 9),), 7)


@pytest.mark.parametrize("room", [5, 6, 8, 9])
def test_a_cut_within_what_is_not_learnt_takes_all_of_it(room: int) -> None:
    (kept,) = truncate([spans(3, 5, 4, 6)], 3 + room, Truncation())
    assert (kept.completion_ids, kept.silent, kept.num_labels) == (tuple(range(5)), (), 5)


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=7).filter(lambda each: len(each) % 2 == 1), st.integers(4, 40)
)
def test_any_cut_keeps_the_beginning_and_ends_with_a_token_that_carries_loss(lengths: list[int], length: int) -> None:
    whole = spans(3, *lengths)
    (kept,) = truncate([whole], length, Truncation())
    size = len(kept.completion_ids)
    assert kept.completion_ids == whole.completion_ids[:size]
    labels = {i for a, b in kept.learnt for i in range(a, b)}
    assert labels == {i for a, b in whole.learnt for i in range(a, b) if i < size}
    assert size - 1 in labels
    assert 0 < kept.num_labels == len(labels)
    if whole.num_tokens <= length:
        assert kept == whole
