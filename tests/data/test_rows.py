"""Files of rows from elsewhere: damage is one error that names the line, unusable rows are counted."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.data.rows import read_completions, read_prompts
from tutelage.data.share import in_share, position
from tutelage.data.sources import read_objects
from tutelage.errors import ConfigError, DataError, StoreError
from tutelage.inputs import Rows
from tutelage.records import Completion, Prompt
from tutelage.store import Made, Work

GOOD = {"prompt": "Name a colour."}


def lines(*rows: Any) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def prompts_in(path: Path, **fields: Any) -> tuple[list[Prompt], Counter[str]]:
    counted: Counter[str] = Counter()
    return read_prompts(Rows(path=str(path), **fields), lambda what, num: counted.update({what: num})), counted


def completions_in(
    path: Path, author: str | None = None, **fields: Any
) -> tuple[list[Prompt], list[Completion], Counter[str]]:
    counted: Counter[str] = Counter()
    rows = Rows(path=str(path), author=author, **fields)
    prompts, completions = read_completions(rows, lambda what, num: counted.update({what: num}), known_author=True)
    return prompts, completions, counted


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def write(data: bytes, name: str = "rows.jsonl") -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return write


# ---- files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("rows.jsonl", lines(GOOD)),
        ("rows.jsonl", lines(GOOD).rstrip()),
        ("rows.jsonl", b"\xef\xbb\xbf" + lines(GOOD)),
        ("rows.jsonl", b"\r\n\r\n" + lines(GOOD).replace(b"\n", b"\r\n") + b"   \r\n"),
        ("rows.json", json.dumps([GOOD], indent=2).encode()),
        ("rows.json", b"\xef\xbb\xbf" + json.dumps([GOOD], indent=2).replace("\n", "\r\n").encode()),
        ("rows.jsonl.gz", gzip.compress(lines(GOOD), mtime=0)),
        ("rows.json.gz", gzip.compress(json.dumps([GOOD]).encode(), mtime=0)),
        ("rows.txt", lines(GOOD)),
    ],
)
def test_json_lines_and_json_lists_packed_or_not_with_any_line_ends(
    file: Callable[..., Path], name: str, data: bytes
) -> None:
    prompts, counted = prompts_in(file(data, name))
    assert [p.text for p in prompts] == ["Name a colour."]
    assert prompts[0].source == name
    assert not counted


def test_a_line_separator_inside_a_text_ends_no_row(file: Callable[..., Path]) -> None:
    row = json.dumps({"prompt": "a\u2028b\u0085c\x1cd"}, ensure_ascii=False).encode()
    assert prompts_in(file(row + b"\n"))[0][0].text == "a\u2028b\u0085c\x1cd"


PACKED = gzip.compress(lines(*[{"prompt": f"Say {i}."} for i in range(1000)]), mtime=0)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("rows.jsonl", b"", "is empty"),
        ("rows.jsonl", b"\n \n\r\n", "is empty"),
        ("rows.jsonl", b"\xef\xbb\xbf", "is empty"),
        ("rows.json", b"", "is empty"),
        ("rows.jsonl.gz", gzip.compress(b"", mtime=0), "is empty"),
        ("rows.jsonl", lines(GOOD) + b'{"prompt": "torn', "line 2: not JSON"),
        ("rows.jsonl", lines(GOOD) + b"\n\nnull\n", "line 4: expected an object"),
        ("rows.jsonl", lines(GOOD) + b"prompt,completion\n", "line 2: not JSON"),
        ("rows.jsonl", lines(GOOD, [1]), "line 2: expected an object"),
        ("rows.jsonl", lines(GOOD, "text"), "line 2: expected an object"),
        ("rows.jsonl", lines(GOOD, 7), "line 2: expected an object"),
        ("rows.jsonl", json.dumps([GOOD], indent=1).encode(), "line 1: not JSON"),
        ("rows.jsonl", lines(GOOD) + b"[" * 100_000, "line 2: not JSON"),
        ("rows.jsonl", lines(GOOD) + b'{"prompt": %s}' % (b"9" * 5000), "line 2: not JSON"),
        ("rows.jsonl", lines(GOOD) + '{"prompt": "größer"}\n'.encode("latin-1"), "line 2: not UTF-8"),
        ("rows.jsonl", lines(GOOD).decode().encode("utf-16"), "line 1: not UTF-8"),
        ("rows.json", b'[\n{"prompt": "a"},\n{"prompt"}\n]', "line 3: not JSON"),
        (
            "rows.json",
            b'{"prompt": "a"}',
            "is one JSON object, and the value of its first key is no list of completions but 'a'",
        ),
        ("rows.json", b"7", "expected a JSON list of objects, found a int"),
        ("rows.json", json.dumps([GOOD, 3]).encode(), "row 2: expected an object"),
        ("rows.json", b"[" * 100_000, "not JSON"),
        ("rows.json", b'[{"prompt": %s}]' % (b"9" * 5000), "not JSON"),
        ("rows.jsonl.gz", PACKED[:-20], "not a whole gzip file"),
        ("rows.jsonl.gz", PACKED[:5], "not a whole gzip file"),
        ("rows.jsonl.gz", PACKED[:40] + b"\0" * 40 + PACKED[80:], "not a whole gzip file"),
        ("rows.jsonl.gz", lines(GOOD), "not a whole gzip file"),
    ],
)
def test_a_damaged_file_is_one_error_that_names_file_and_line(
    file: Callable[..., Path], name: str, data: bytes, says: str
) -> None:
    path = file(data, name)
    with pytest.raises(DataError, match=says) as caught:
        prompts_in(path)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < len(str(path)) + 400


@pytest.mark.parametrize(("name", "says"), [("nothing.jsonl", "no such file"), ("a" * 400, "cannot be read")])
def test_a_file_that_is_not_there_is_one_error(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        prompts_in(tmp_path / name)


def test_a_folder_in_place_of_a_file_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        list(read_objects(tmp_path))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_objects(Path("nul\0byte.jsonl")))


# ---- prompts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi."},
        {"instruction": "Hi."},
        {"prompt": "Hi.", "instruction": "not this", "input": "nor this"},
        {"instruction": "Hi.", "input": "", "id": 7},
        {"messages": [{"role": "user", "content": "Hi."}]},
        {"prompt": [{"role": "user", "content": "Hi."}]},
    ],
)
def test_the_usual_spellings_of_a_prompt_are_read(file: Callable[..., Path], row: dict[str, Any]) -> None:
    assert prompts_in(file(lines(row)))[0] == [Prompt.of("Hi.", source="rows.jsonl")]


def test_a_field_of_any_name_can_be_asked_for(file: Callable[..., Path]) -> None:
    path = file(lines({"prompt": "not this", "question": "Hi."}))
    assert prompts_in(path, prompt_field="question")[0][0].text == "Hi."
    with pytest.raises(DataError, match=r"line 1: no field 'ask' \(found: prompt, question\).*prompt_field=NAME"):
        prompts_in(path, prompt_field="ask")


def test_a_field_that_is_named_is_read_whatever_the_row_looks_like(file: Callable[..., Path]) -> None:
    path = file(lines({"question": "Hi.", "answer": "Hello."}))
    assert [
        c.text for c in completions_in(path, author="me", prompt_field="question", completion_field="answer")[1]
    ] == ["Hello."]
    with pytest.raises(DataError, match=r"the fields question, answer, which is no .*prompt_field=NAME"):
        prompts_in(path)


def test_a_field_that_the_format_does_not_ask_for_is_one_error(file: Callable[..., Path]) -> None:
    path = file(lines({"conversations": [{"from": "human", "value": "Hi."}]}))
    with pytest.raises(ConfigError, match=r"is read as sharegpt, .* leave out prompt_field, or give format=plain"):
        prompts_in(path, format="sharegpt", prompt_field="question")


def test_a_preference_among_prompts_is_not_read_as_a_prompt_alone(file: Callable[..., Path]) -> None:
    path = file(lines(GOOD, GOOD | {"chosen": "Red.", "rejected": "Blue."}))
    with pytest.raises(DataError, match=r"line 2: holds a preference .*; give format=trl_preference"):
        prompts_in(path)


def test_the_two_fields_of_an_alpaca_row_are_not_read_as_one_half(file: Callable[..., Path]) -> None:
    path = file(lines({"instruction": "Translate.", "input": "Hallo", "output": "Hello"}))
    assert prompts_in(path)[0][0].text == "Translate.\n\nHallo"
    assert completions_in(path, author="me")[0][0].text == "Translate.\n\nHallo"
    assert prompts_in(path, prompt_field="instruction")[0][0].text == "Translate."


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({}, "line 2: no field 'prompt' or 'instruction' or 'messages' (found: none)"),
        ({"text": "Hi."}, "(found: text)"),
        ({"prompt": None}, "line 2: a prompt is a text or a list"),
        ({"prompt": 7}, "line 2: a prompt is a text or a list"),
        ({"prompt": True}, "line 2: a prompt is a text or a list"),
        ({"prompt": {"role": "user", "content": "Hi."}}, "line 2: a prompt is a text or a list"),
        ({"messages": ["Hi."]}, "line 2: expected a list of {'role', 'content'} messages"),
        ({"messages": [{"role": "user"}]}, "line 2: expected a list of {'role', 'content'} messages"),
        ({"messages": [{"role": "user", "content": None}]}, "line 2: expected a list of"),
        ({"messages": [{"role": "user", "content": 7}]}, "line 2: expected a list of"),
        ({"messages": [{"role": "human", "content": "Hi."}]}, "line 2: expected a list of"),
        ({"messages": [{"from": "human", "value": "Hi."}]}, "line 2: expected a list of"),
    ],
)
def test_a_row_without_a_prompt_is_one_error_that_names_the_line(
    file: Callable[..., Path], row: dict[str, Any], says: str
) -> None:
    path = file(lines(GOOD, row))
    with pytest.raises(DataError) as caught:
        prompts_in(path)
    assert says in str(caught.value)


def test_unusable_prompts_are_skipped_and_counted_by_reason(file: Callable[..., Path]) -> None:
    user, assistant = {"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}
    path = file(
        lines(
            GOOD,
            GOOD,
            {"prompt": ""},
            {"prompt": " \n\u3000"},
            {"prompt": []},
            {"messages": [assistant, user]},
            {"messages": [user, assistant]},
            {"messages": [{"role": "system", "content": "Be brief."}]},
            {"prompt": "Name a city."},
        )
    )
    prompts, counted = prompts_in(path)
    assert [p.text for p in prompts] == ["Name a colour.", "Name a city."]
    assert counted == {
        "skipped: the same prompt again": 1,
        "skipped: the prompt is empty or only white space": 2,
        "skipped: a prompt needs a user message": 2,
        "skipped: the conversation starts with the assistant; a prompt starts with the user": 1,
        "skipped: the conversation ends with the assistant; a prompt ends with the user": 1,
    }


def test_a_file_in_which_nothing_is_usable_is_an_error(file: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="holds no usable prompt"):
        prompts_in(file(lines({"prompt": " "})))
    with pytest.raises(DataError, match="holds no usable row"):
        prompts_in(file(b"[]", "rows.json"))
    with pytest.raises(DataError, match="holds no usable completion"):
        completions_in(file(lines({"prompt": "Hi.", "completion": "", "author": "me"})))


def test_prompts_are_read_to_the_letter(file: Callable[..., Path]) -> None:
    texts = [
        " Hi. ",
        "Hi.\r\n",
        "a\0b",
        "</s><|im_end|>",
        "{instruction}",
        "\u202eHi",
        "\ufeffHi",
        "👩‍👩‍👧",
        "x" * 100_000,
    ]
    assert [p.text for p in prompts_in(file(lines(*({"prompt": text} for text in texts))))[0]] == texts


def test_half_a_character_is_read_as_it_stands(file: Callable[..., Path]) -> None:
    assert prompts_in(file(b'{"prompt": "a\\ud83d"}\n'))[0][0].text == "a\ud83d"


# ---- completions ------------------------------------------------------------------------------------


def test_completions_are_read_with_their_author_and_numbered_by_prompt(file: Callable[..., Path]) -> None:
    path = file(
        lines(
            {"instruction": "Name a colour.", "output": "Red.", "generator": "weak", "dataset": "helpful_base"},
            {"prompt": "Name a colour.", "completion": "Blue.", "author": "weak"},
            {"prompt": "Name a colour.", "completion": "Blue.", "author": "strong"},
            {"prompt": "Name a city.", "completion": "Rome.", "author": "weak"},
        )
    )
    prompts, completions, counted = completions_in(path)
    assert [p.text for p in prompts] == ["Name a colour.", "Name a city."]
    assert [(c.author, c.text, c.index) for c in completions] == [
        ("weak", "Red.", 0),
        ("weak", "Blue.", 1),
        ("strong", "Blue.", 0),
        ("weak", "Rome.", 0),
    ]
    assert {c.prompt_id for c in completions} == {p.id for p in prompts}
    assert {c.stop_reason for c in completions} == {"unknown"}
    assert not counted


def test_an_author_that_is_given_stands_above_the_rows(file: Callable[..., Path]) -> None:
    path = file(lines({"prompt": "Hi.", "completion": "Hello.", "author": "row"}))
    assert completions_in(path, author="word")[1][0].author == "word"
    nobody = file(lines({"prompt": "Hi.", "completion": "Hello.", "author": None}))
    with pytest.raises(DataError, match=r"rows\.jsonl: nothing says who wrote the completions; give author=NAME"):
        completions_in(nobody)


@pytest.mark.parametrize("name", ["author", "generator", "teacher"])
def test_the_usual_names_of_an_author_are_known(file: Callable[..., Path], name: str) -> None:
    path = file(lines({"instruction": "Hi.", "output": "Hello.", name: "weak"}))
    assert completions_in(path)[1][0].author == "weak"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"prompt": "Hi."}, ": holds no usable completion; if they are in a field of another name, give completion"),
        (
            {"completion": "Hi."},
            ": the first row has the fields completion, author, which is no format that is known",
        ),
        ({"prompt": "Hi.", "completion": None}, ", line 1: the completion is no text but 'None'"),
        ({"prompt": "Hi.", "completion": 7}, ", line 1: the completion is no text but '7'"),
        ({"prompt": "Hi.", "completion": ["Hello."]}, ", line 1: expected a list of {'role', 'content'} messages"),
    ],
)
def test_a_row_without_a_completion_is_one_error(file: Callable[..., Path], row: dict[str, Any], says: str) -> None:
    path = file(lines(row | {"author": "me"}))
    with pytest.raises(DataError) as caught:
        completions_in(path)
    assert str(caught.value).startswith(f"{path}{says}")


def test_empty_and_repeated_completions_are_skipped_and_counted(file: Callable[..., Path]) -> None:
    rows = [("Hi.", "Hello."), ("Hi.", "Hello."), ("Hi.", ""), ("Hi.", " \n"), ("", "Hello."), ("Hi.", "Hello. ")]
    path = file(lines(*({"prompt": p, "completion": c} for p, c in rows)))
    _, completions, counted = completions_in(path, author="me")
    assert [(c.text, c.index) for c in completions] == [("Hello.", 0), ("Hello. ", 1)]
    assert counted == {
        "skipped: the same prompt and completion again": 1,
        "skipped: the completion is empty": 2,
        "skipped: the prompt is empty or only white space": 1,
    }


def test_a_prompt_whose_only_completion_is_empty_is_not_kept(file: Callable[..., Path]) -> None:
    path = file(lines({"prompt": "Hi.", "completion": ""}, {"prompt": "Bye.", "completion": "Bye!"}))
    assert [p.text for p in completions_in(path, author="me")[0]] == ["Bye."]


def test_an_artifact_is_read_as_it_is(tmp_path: Path) -> None:
    prompt = Prompt.of("Hi.", source="elsewhere")
    completion = Completion(prompt_id=prompt.id, author="weak", text="Hello.", stop_reason="length", index=3)
    work = Work(tmp_path, "teach", "run", {})
    with work.locked():
        work.write("prompts.jsonl", [prompt])
        work.write("completions.jsonl", [completion])
        work.finish({}, {}, Made())
    assert completions_in(work.path)[:2] == ([prompt], [completion])
    assert prompts_in(work.path)[0] == [prompt]
    with pytest.raises(ConfigError, match="is an artifact; author is for files from elsewhere"):
        completions_in(work.path, author="somebody")
    (work.path / "completions.jsonl").unlink()
    with pytest.raises(StoreError, match=r"has no completions\.jsonl"):
        completions_in(work.path)


# ---- shares -----------------------------------------------------------------------------------------

IDS = [Prompt.of(f"Say {i}.").id for i in range(4000)]


def test_positions_lie_in_zero_to_one_and_are_the_same_everywhere() -> None:
    places = [position(i, 0) for i in IDS]
    assert 0 <= min(places) < 0.01
    assert 0.99 < max(places) < 1
    assert places == [position(i, 0) for i in IDS]
    assert position("a", 0) == 0.4541693152310098


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_share_holds_about_that_part_of_the_prompts(share: float, seed: int) -> None:
    kept = sum(in_share(i, (0.0, share), seed) for i in IDS)
    assert abs(kept / len(IDS) - share) < 4 * (share * (1 - share) / len(IDS)) ** 0.5


@given(st.text(), st.integers(min_value=0), st.floats(0, 1))
def test_every_prompt_is_in_exactly_one_of_two_shares_that_meet(prompt_id: str, seed: int, cut: float) -> None:
    assert in_share(prompt_id, (0.0, cut), seed) != in_share(prompt_id, (cut, 1.0), seed)
    assert in_share(prompt_id, (0.0, 1.0), seed)


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_contains_a_smaller_one(a: float, b: float) -> None:
    small, large = sorted((a, b))
    inside = {i for i in IDS[:200] if in_share(i, (0.0, small), 0)}
    assert inside <= {i for i in IDS[:200] if in_share(i, (0.0, large), 0)}


def test_adding_and_moving_rows_moves_no_prompt_into_another_share(file: Callable[..., Path]) -> None:
    def kept(rows: list[dict[str, str]]) -> set[str]:
        return {p.text for p in prompts_in(file(lines(*rows)))[0] if in_share(p.id, (0.0, 0.3), 0)}

    rows = [{"prompt": f"Say {i}."} for i in range(200)]
    more = [{"prompt": f"Sing {i}."} for i in range(50)]
    assert kept([*more, *reversed(rows)]) & {row["prompt"] for row in rows} == kept(rows)


def test_a_share_holds_its_beginning_and_not_its_end() -> None:
    place = position("a", 0)
    assert in_share("a", (place, 1.0), 0)
    assert not in_share("a", (0.0, place), 0)


def test_another_seed_is_another_order() -> None:
    assert {i for i in IDS if in_share(i, (0, 0.1), 0)} != {i for i in IDS if in_share(i, (0, 0.1), 1)}
