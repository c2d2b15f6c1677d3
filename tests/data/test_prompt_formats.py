"""The formats that hold prompts and completions: what each reads by which rule, and that it writes what it read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from importlib import resources
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from example_rows import EXAMPLES, chat, said
from tutelage.config import build, preset_names
from tutelage.data.formats import FORMATS
from tutelage.data.formats.item import Item, Options
from tutelage.data.rows import read_completions
from tutelage.errors import DataError
from tutelage.inputs import Prompts, Rows, Source
from tutelage.plain_yaml import parse_yaml
from tutelage.records import Completion, Message, Prompt

TO_NAME = {"trl_prompt_only", "trl_prompt_completion", "wikitext"}
"""Formats whose rows are not told from others', so that they have to be named."""
TO_LEARN = [name for name, found in FORMATS.items() if "verdicts" not in found.holds]
AS_READ = {
    "plain",
    "messages",
    "trl_prompt_only",
    "trl_prompt_completion",
    "alpaca_eval",
    "completions",
    "samples",
    "ultrachat",
    "wikitext",
}
"""Formats that say nothing that items do not; but for an id, and that of ShareGPT."""


def read(name: str, *rows: dict[str, Any], **options: Any) -> tuple[list[Item], Counter[str]]:
    counted: Counter[str] = Counter()
    options = {"num_turns": FORMATS[name].num_turns} | options
    numbered = [(f"line {number}", row) for number, row in enumerate(rows, 1)]
    items = list(FORMATS[name].read(numbered, Options(**options), lambda what, num: counted.update({what: num})))
    return items, counted


def write(name: str, items: Iterable[Item]) -> tuple[list[dict[str, Any]], Counter[str]]:
    counted: Counter[str] = Counter()
    writer = FORMATS[name].write
    assert writer is not None
    return [dict(row) for row in writer(items, lambda what, num: counted.update({what: num}))], counted


def texts(items: Iterable[Item]) -> list[tuple[str, ...]]:
    """The prompt's turns and the completions of each item."""
    return [(*(m.content for m in item.prompt.messages), *(c.text for c in item.completions)) for item in items]


def conversation(*turns: str, author: str = "me") -> Item:
    """An item of which the last turn is the completion."""
    prompt = Prompt(messages=tuple(Message(**m) for m in said(*turns[:-1])))
    return Item(prompt, (Completion(prompt_id=prompt.id, author=author, text=turns[-1]),))


# ---- all formats ------------------------------------------------------------------------------------


def test_every_format_has_example_rows() -> None:
    assert set(EXAMPLES) == set(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_good_rows_fit_their_format_and_no_other(name: str) -> None:
    for row in EXAMPLES[name]:
        found = [f.name for f in FORMATS.values() if f.fits(row)]
        assert found == ([name] if name not in TO_NAME else found[:1])


def test_fields_of_several_formats_make_a_row_no_more_than_one_of_them() -> None:
    names = ("prompt", "completion", "instruction", "input", "output", "messages", "generator", "dataset", "author")
    for num in range(1, 6):
        for fields in combinations(names, num):
            assert len([f.name for f in FORMATS.values() if f.fits(dict.fromkeys(fields, "text"))]) < 2, fields


@pytest.mark.parametrize("name", TO_LEARN)
def test_what_is_written_reads_to_the_same_items(name: str) -> None:
    items, _ = read(name, *EXAMPLES[name], author="me")
    rows, counted = write(name, items)
    assert len(items) >= len(EXAMPLES[name])
    assert not counted
    assert read(name, *rows, author="me") == (items, Counter())


@pytest.mark.parametrize("name", sorted(AS_READ))
def test_rows_are_written_as_they_were_read(name: str) -> None:
    rows, _ = write(name, read(name, *EXAMPLES[name], num_turns=None)[0])
    assert [row | {"prompt_id": ""} for row in rows] == [row | {"prompt_id": ""} for row in EXAMPLES[name]]


@pytest.mark.parametrize("name", TO_LEARN)
def test_a_prompt_that_waits_is_written_or_counted_never_lost(name: str) -> None:
    rows, counted = write(name, [Item(Prompt.of("Hi."))])
    assert len(rows) + sum(counted.values()) == 1


@pytest.mark.parametrize("name", TO_LEARN)
def test_conversations_with_a_system_message_are_written_or_counted_never_lost(name: str) -> None:
    prompt = Prompt(messages=tuple(Message(**m) for m in said("Hi.", "Hello.", "Who?", system="Be brief.")))
    item = Item(prompt, (Completion(prompt_id=prompt.id, author="me", text="I."),))
    rows, counted = write(name, [item])
    assert len(rows) + sum(v for k, v in counted.items() if k.startswith("not written")) == 1


# ---- ShareGPT ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("turns", "num_turns", "expected"),
    [
        ("hghg", 1, [("h0", "g1")]),
        ("hghg", 2, [("h0", "g1"), ("h0", "g1", "h2", "g3")]),
        ("hghg", None, [("h0", "g1"), ("h0", "g1", "h2", "g3")]),
        ("hghghghg", 3, [("h0", "g1"), ("h0", "g1", "h2", "g3"), ("h0", "g1", "h2", "g3", "h4", "g5")]),
        ("shg", 1, [("h1", "g2")]),  # a system turn is among the three that are read
        ("sshg", 1, [("h2",)]),  # two of them leave no room for the answer
        ("hsg", 1, [("h0", "g2")]),
        ("hgsh", 2, [("h0", "g1")]),
        ("h", 1, [("h0",)]),
    ],
)
def test_the_first_turns_of_a_conversation_are_read_as_the_research_code_did(
    turns: str, num_turns: int | None, expected: list[tuple[str, ...]]
) -> None:
    names = {"h": "human", "g": "gpt", "s": "system"}
    row = {"conversations": chat(*((names[kind], f"{kind}{place}") for place, kind in enumerate(turns)))}
    items, _ = read("sharegpt", row, num_turns=num_turns)
    assert texts(items) == expected
    assert {c.author for item in items for c in item.completions} <= {"chatgpt"}


@pytest.mark.parametrize(
    ("turns", "items", "counted"),
    [
        ("gh", 0, {"skipped: the conversation starts with the assistant; a prompt starts with the user": 1}),
        (
            "sg",
            0,
            {
                "skipped: the conversation starts with the assistant": 1,
                "left out: turns of others than human and gpt": 1,
            },
        ),
        ("hhg", 1, {"cut short: conversations with two turns of human, or of gpt, in a row": 1}),
        ("hgg", 1, {"cut short: conversations with two turns of human, or of gpt, in a row": 1}),
        ("ss", 0, {"skipped: no turn of human or gpt": 1, "left out: turns of others than human and gpt": 2}),
        ("", 0, {"skipped: no turn of human or gpt": 1}),
    ],
)
def test_conversations_that_make_no_sense_are_counted(turns: str, items: int, counted: dict[str, int]) -> None:
    names = {"h": "human", "g": "gpt", "s": "system"}
    found, why = read("sharegpt", {"conversations": chat(*((names[kind], kind) for kind in turns))})
    assert len(found) == items
    assert len(why) == len(counted)
    for reason, num in counted.items():
        assert [n for w, n in why.items() if w.startswith(reason)] == [num]


def test_a_text_that_is_not_wanted_drops_a_conversation_wherever_it_stands() -> None:
    row = {"conversations": chat(("human", "Hi."), ("gpt", "Hello."), ("human", "a"), ("gpt", "b</s>"))}
    assert read("sharegpt", row, without=("<s>", "</s>")) == ([], {"skipped: contains </s>": 1})
    assert len(read("sharegpt", row)[0]) == 1


def test_a_conversation_of_several_items_is_one_row_again_and_other_ones_are_not_joined() -> None:
    turns = chat(("human", "Hi."), ("gpt", "Hello."), ("human", "Who?"), ("gpt", "I."))
    items, _ = read("sharegpt", {"conversations": turns}, {"conversations": turns[:2]}, num_turns=None)
    rows, counted = write("sharegpt", items)
    assert [row["conversations"] for row in rows] == [turns, turns[:2]]
    assert not counted
    assert rows[0]["id"] == rows[1]["id"] == Prompt.of("Hi.").id


def test_turns_that_are_not_to_be_learnt_are_marked_where_the_format_can_and_counted_where_it_cannot() -> None:
    item = conversation("Hi.", "Hello.", "Who?", "I.")
    rows, counted = write("messages", [item])
    assert [m.get("weight") for m in rows[0]["messages"]] == [None, 0, None, None]
    assert not counted
    for name in ("sharegpt", "ultrachat"):
        assert write(name, [item])[1] == {
            "written with turns that were not to be learnt, which the format cannot say": 1
        }


# ---- completions by prompt ---------------------------------------------------------------------------


def test_all_completions_of_a_prompt_are_under_one_key_whichever_order_they_come_in() -> None:
    items = [conversation("Hi.", "a"), conversation("Bye.", "b"), conversation("Hi.", "c")]
    assert write("completions", items)[0] == [{"key": "Hi.", "value": ["a", "c"]}, {"key": "Bye.", "value": ["b"]}]
    assert write("samples", items)[0][0] == {"key": "Human: Hi.\n\nAssistant: ", "value": ["a", "c"]}


def test_shards_of_a_folder_are_read_in_the_order_of_their_names_and_nothing_is_overwritten(tmp_path: Path) -> None:
    """Bug 3 of the research code: shards in the order of the disk, of overlapping ones the last kept."""
    shards = {"ff10": {"Hi.": ["c", "a"], "Who?": ["I."]}, "ff0": {"Bye.": ["b"], "Hi.": ["a"]}}
    for name, found in shards.items():
        (tmp_path / f"{name}_claude_completions.json").write_text(json.dumps(found))
    counted: Counter[str] = Counter()
    rows = Rows(path=str(tmp_path), format="completions", author="claude-v1")
    prompts, found_completions = read_completions(rows, lambda what, num: counted.update({what: num}))
    assert [p.text for p in prompts] == ["Bye.", "Hi.", "Who?"]
    assert [(c.text, c.index) for c in found_completions] == [("b", 0), ("a", 0), ("c", 1), ("I.", 0)]
    assert counted == {"skipped: the same prompt and completion again": 1}


@pytest.mark.parametrize(
    "key",
    [
        "Human: Say\n\nHuman: twice.\n\nAssistant: ",
        "Human: Say\n\nAssistant: this:\n\nAssistant: ",
        "Human: a\n\nAssistant: b\n\nHuman: c\n\nHuman: d\n\nAssistant: ",
    ],
)
def test_a_transcript_that_could_be_read_in_several_ways_is_skipped_and_not_written(key: str) -> None:
    items, counted = read("samples", {"key": key, "value": ["Hi."]})
    assert not items
    assert counted == {"skipped: the turns of Human and Assistant do not come in turn": 1}
    said_so = key.removeprefix("Human: ").removesuffix("\n\nAssistant: ")
    assert write("samples", [conversation(said_so, "Hi.")]) == (
        [],
        {"not written: completions of prompts that the format cannot hold": 1},
    )


@settings(max_examples=40)
@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=5).filter(lambda turns: len(turns) % 2))
def test_any_conversation_comes_back_from_its_transcript(turns: list[str]) -> None:
    item = conversation(*turns, "answer")
    rows, counted = write("samples", [item])
    assert counted or read("samples", *rows, author="me")[0] == [item]


@pytest.mark.parametrize(
    ("name", "row", "says"),
    [
        ("completions", {"key": "Hi.", "value": "Hello."}, "expected a list of completions for each prompt"),
        ("completions", {"key": "Hi.", "value": ["Hello.", 7]}, "expected a list of completions for each prompt"),
        ("completions", {"prompt": "Hi."}, "no field 'key'"),
        ("samples", {"key": "Hi.", "value": ["Hello."]}, "format=completions reads the file"),
        ("alpaca", {"instruction": "Hi.", "input": ["x"], "output": ""}, "'input' is no text"),
        ("sharegpt", {"conversations": "Hi."}, "expected 'conversations', a list"),
        ("sharegpt", {"conversations": [{"from": "human", "value": None}]}, "expected turns {'from', 'value'}"),
        ("sharegpt", {"id": 1}, "expected 'conversations', a list"),
        ("wikitext", {"texts": "Hi."}, "no field 'text'"),
        ("trl_prompt_completion", {"prompt": "Hi."}, "completion_field=NAME"),
        ("messages", {"messages": [{"role": "user", "content": "Hi.", "weight": 2}]}, "of the weight '2'"),
    ],
)
def test_a_row_that_is_written_otherwise_is_one_error(name: str, row: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError) as caught:
        read(name, row)
    assert str(caught.value).startswith("line 1: ")
    assert says in str(caught.value)


# ---- messages ----------------------------------------------------------------------------------------


def test_parts_names_and_developers_of_openai_s_messages_are_read() -> None:
    row = {
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "name": "al",
                "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "."}],
            },
            {"role": "assistant", "content": "Hello.", "weight": 1, "tool_calls": None},
        ],
        "tools": [],
    }
    items, counted = read("messages", row)
    assert texts(items) == [("Be brief.", "Hi.", "Hello.")]
    assert items[0].prompt.messages[0].role == "system"
    assert not counted


CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f"}}]}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": said("Hi.", "Hello."), "tools": [{"type": "function"}]}, "the conversation uses tools"),
        ({"messages": [*said("Hi."), CALL]}, "the conversation uses tools"),
        ({"messages": [*said("Hi."), {"role": "tool", "content": "7"}]}, "the conversation uses tools"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "a message is more than text",
        ),
        (
            {"messages": [*said("Hi."), {"role": "assistant", "content": "Hello.", "weight": 0}]},
            "no turn of the assistant is to be learnt",
        ),
    ],
)
def test_what_a_message_cannot_say_is_skipped_and_counted(row: dict[str, Any], reason: str) -> None:
    assert read("messages", row) == ([], {f"skipped: {reason}": 1})


# ---- others ------------------------------------------------------------------------------------------


def test_the_input_of_an_alpaca_row_stands_a_blank_line_below_its_instruction() -> None:
    rows = [{"instruction": "Translate.", "input": value, "output": "x"} for value in ("Hallo", "", None)]
    assert texts(read("alpaca", *rows)[0]) == [("Translate.\n\nHallo", "x"), ("Translate.", "x"), ("Translate.", "x")]


def test_ultrachat_is_read_where_it_begins_with_the_user_and_an_answer() -> None:
    good = {"prompt": "a", "messages": said("a", "b", "c", "d")}
    bad = [
        {"prompt": "a", "messages": messages}
        for messages in (said("a"), said("a", "b", system="s"), said("a", "b")[1:], [])
    ]
    items, counted = read("ultrachat", good, *bad)
    assert texts(items) == [("a", "b")]
    assert counted == {"skipped: does not begin with the user and the assistant's answer": 4}


def test_the_first_ten_words_of_a_long_text_are_the_prompt_and_short_texts_are_counted() -> None:
    long, short = " " + "word " * 30, "word " * 20
    items, counted = read("wikitext", {"text": long}, {"text": short}, {"text": ""}, {"text": "w" * 200})
    assert texts(items) == [(" " + "word " * 9, "word " * 21)]
    assert counted == {"skipped: a text of 100 characters or 10 words at most": 3}


def test_only_names_of_alpaca_eval_s_parts_become_a_source() -> None:
    rows = [{"dataset": name, "instruction": "Hi."} for name in ("koala", "mine", 7)]
    assert [item.prompt.source for item in read("alpaca_eval", *rows, source="f.json")[0]] == [
        "koala",
        *["f.json"] * 2,
    ]


def test_texts_are_turns_to_trl_s_readers_and_written_as_messages() -> None:
    items, _ = read("trl_prompt_completion", {"prompt": "Hi.", "completion": "Hello."})
    assert write("trl_prompt_completion", items)[0] == [
        {"prompt": said("Hi."), "completion": [{"role": "assistant", "content": "Hello."}]}
    ]
    assert write("trl_prompt_only", items)[0] == [{"prompt": said("Hi.")}]


# ---- presets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", preset_names("data"))
def test_a_preset_for_data_names_a_format_that_there_is_and_serves_prompts_too(name: str) -> None:
    source = build(Source, {"preset": name}, where="test")
    assert source.format in FORMATS
    assert build(Prompts, {"preset": name}, where="test").path == source.path
    assert source.author or source.format != "completions"  # which says nothing of it


@pytest.mark.parametrize("name", preset_names("data"))
def test_every_setting_of_a_preset_for_data_is_one_that_an_import_takes(name: str) -> None:
    text = (resources.files("tutelage") / "presets" / "data" / f"{name}.yaml").read_text("utf-8")
    assert set(parse_yaml(text)) <= set(Source.model_fields)
    assert text.startswith("# ")


@pytest.mark.parametrize("name", ["plain", "alpaca_eval", "trl_prompt_only"])
def test_what_is_given_to_an_instruction_is_not_lost_where_only_later_rows_have_it(name: str) -> None:
    rows = [{"instruction": "Add.", "output": "?"}, {"instruction": "Add.", "input": "2, 3", "output": "5"}]
    items, _ = read(name, *rows, {"instruction": "Add.", "input": "", "output": "x"}, {"prompt": "P.", "input": "no"})
    assert [item.prompt.text for item in items] == ["Add.", "Add.\n\n2, 3", "Add.", "P."]
    with pytest.raises(DataError, match="line 1: 'input' is no text but '5'"):
        read(name, {"instruction": "Add.", "input": 5})
