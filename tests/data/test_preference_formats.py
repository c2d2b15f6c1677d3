"""Rows of preferences -> verdicts: golden rows of every format, every encoding, and what must not be guessed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from example_rows_preferences import EXAMPLES
from tutelage.config import build, merge_words
from tutelage.data.formats import FORMATS, recognise
from tutelage.data.formats.html_text import text_of_html
from tutelage.data.formats.item import Item, Options
from tutelage.errors import DataError
from tutelage.stages import importing

Row = dict[str, Any]


def read(name: str, *rows: Row, **options: Any) -> tuple[list[Item], Counter[str]]:
    """The items of rows, and what was counted."""
    counts: Counter[str] = Counter()
    named = ((f"f.jsonl, line {number}", row) for number, row in enumerate(rows, 1))
    items = list(FORMATS[name].read(named, Options(**options), lambda what, num: counts.update({what: num})))
    return items, +counts


def write(name: str, items: list[Item]) -> tuple[list[Mapping[str, Any]], Counter[str]]:
    """The rows of items, and what was counted."""
    counts: Counter[str] = Counter()
    writer = FORMATS[name].write
    assert writer is not None
    return list(writer(items, lambda what, num: counts.update({what: num}))), +counts


def said(item: Item) -> tuple[str, str, str, str]:
    """Prompt, left and right text, outcome."""
    assert item.verdict is not None
    pair = item.verdict.pair
    return item.prompt.text, pair.left.text, pair.right.text, item.verdict.outcome


# ---- all of them ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_row_is_recognised_as_its_own_format_and_no_other(name: str) -> None:
    for row in EXAMPLES[name]:
        assert recognise("f.jsonl", row).name == name


@pytest.mark.parametrize("name", EXAMPLES)
def test_good_rows_are_read_without_a_skip_and_no_preference_holds_a_completion_to_learn(name: str) -> None:
    items, counts = read(name, *EXAMPLES[name])
    assert items
    assert not any("skipped" in what for what in counts)
    compares = FORMATS[name].holds == ("verdicts",)
    assert all((item.verdict is not None and not item.completions) == compares for item in items)
    assert all(item.verdict.orders == ("unknown",) for item in items if item.verdict)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if FORMATS[name].write])
def test_what_is_written_reads_to_the_same_items(name: str) -> None:
    items, _ = read(name, *EXAMPLES[name])
    rows, _ = write(name, items)
    assert read(name, *map(dict, rows))[0] == items


@pytest.mark.parametrize("name", [name for name in EXAMPLES if FORMATS[name].write and name != "responses"])
def test_a_format_writes_the_verdicts_of_another_and_counts_what_it_cannot_say(name: str) -> None:
    items, _ = read("pandalm", *EXAMPLES["pandalm"])
    rows, counts = write(name, items)
    ties = 2 if name != "annotations" else 0
    assert counts == ({"not written: ties": ties} if ties else {})
    (left, right, *_) = read(name, *map(dict, rows))[0]
    better = [item.verdict.pair.left.text for item in (left, right) if item.verdict and name != "annotations"]
    assert better in (["Long.", "A sentence."], [])
    assert write(name, [Item(items[0].prompt)])[1] == {"not written: prompts and completions without a verdict": 1}


@pytest.mark.parametrize(
    "name", [n for n in EXAMPLES if n not in ("responses", "annotations", "pandalm", "trl_kto", "rankings")]
)
def test_two_completions_of_one_text_are_no_verdict(name: str) -> None:
    row = next(row for row in EXAMPLES[name] if "score_ratio" not in row or row["labels"])
    if name == "stackexchange":
        row = row | {"answers": [answer | {"text": "<p>Same.</p>"} for answer in row["answers"]]}
    elif name == "shp":
        row = row | {"human_ref_B": row["human_ref_A"]}
    else:
        row = row | {"rejected": row["chosen"]}
    items, counts = read(name, row)
    assert not items
    assert sum(num for what, num in counts.items() if what.startswith("skipped")) == 1


# ---- annotations ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preference", "outcome", "probability"),
    [
        (1, "RIGHT", None),
        (2, "LEFT", None),
        (1.0, "RIGHT", None),
        (2.0, "LEFT", None),
        (0, "TIE", None),
        (0.0, "TIE", None),
        (1.5, "TIE", None),
        (1.25, "RIGHT", 0.25),
        (1.75, "LEFT", 0.75),
        (1.000037053, "RIGHT", 0.000037053),
        (None, "INVALID", None),
        (-1, "INVALID", None),
        (float("nan"), "INVALID", None),
    ],
)
def test_every_encoding_of_a_preference_is_read_by_its_rule(
    preference: Any, outcome: str, probability: float | None
) -> None:
    ((item,), _) = read("annotations", EXAMPLES["annotations"][0] | {"preference": preference})
    assert item.verdict is not None
    assert item.verdict.outcome == outcome
    assert item.verdict.probability == (None if probability is None else pytest.approx(probability))
    assert (item.verdict.pair.left.text, item.verdict.pair.left.author) == ("The policy's.", "policy")
    assert (item.verdict.pair.right.text, item.verdict.pair.right.author) == ("The baseline's.", "baseline")
    assert item.verdict.critic == "judge"


@pytest.mark.parametrize("preference", [3, 0.5, -2, "1", "output_2", True, [], float("inf"), 10**400])
def test_a_preference_that_is_none_of_these_is_an_error_that_names_the_row(preference: Any) -> None:
    with pytest.raises(DataError, match=r"f.jsonl, line 1: a preference of .* expected a number from 1"):
        read("annotations", EXAMPLES["annotations"][0] | {"preference": preference})


def test_bug_1_a_tie_a_null_or_a_number_below_one_and_a_half_is_no_win_of_output_2() -> None:
    """`(0, 1) if preference == 1 else (1, 0)`: there, each of these was a loss of output_1."""
    items, _ = read("annotations", *EXAMPLES["annotations"])
    won = {item.prompt.text: item.verdict.outcome for item in items if item.verdict}
    assert {text for text, outcome in won.items() if outcome == "LEFT"} == {
        f"Say something about {p}." for p in (2, 1.75, 2.0)
    }


# ---- HH ---------------------------------------------------------------------------------------------

ASKED = "\n\nHuman: Hi.\n\nAssistant: Hello.\n\nHuman: A colour?"


def hh(chosen: str, rejected: str) -> tuple[list[Item], Counter[str]]:
    return read("hh", {"chosen": chosen, "rejected": rejected})


def test_the_common_turns_of_two_transcripts_are_the_prompt() -> None:
    ((item,), counts) = hh(f"{ASKED}\n\nAssistant: Red.", f"{ASKED}\n\nAssistant: Seven.")
    assert [(m.role, m.content) for m in item.prompt.messages] == [
        ("user", "Hi."),
        ("assistant", "Hello."),
        ("user", "A colour?"),
    ]
    assert said(item)[1:] == ("Red.", "Seven.", "LEFT")
    assert not counts


@pytest.mark.parametrize(
    "text",
    [
        "Who said Human: hello?",
        "One\nHuman: two",
        "Human: x",
        "a\n\nHuman says: b",
        "x\n\n Assistant: y",
        " spaces ",
        "\n",
    ],
)
def test_the_name_of_a_speaker_inside_a_text_begins_no_turn(text: str) -> None:
    row = {
        name: f"\n\nHuman: A{text}\n\nAssistant: {end}" for name, end in (("chosen", f"B{text}"), ("rejected", "C"))
    }
    ((item,), _) = read("hh", row)
    assert said(item)[:3] == (f"A{text}", f"B{text}", "C")
    assert write("hh", [item])[0] == [row]


def test_a_row_of_hh_is_written_byte_for_byte() -> None:
    rows = EXAMPLES["hh"]
    assert write("hh", read("hh", *rows)[0])[0] == rows


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason"),
    [
        (
            f"{ASKED}\n\nAssistant: a",
            "\n\nHuman: Other.\n\nAssistant: b",
            "the transcripts differ before the last turn",
        ),
        (f"{ASKED}\n\nAssistant: a", "\n\nHuman: Hi.\n\nAssistant: b", "the transcripts differ before the last turn"),
        (
            f"{ASKED}\n\nAssistant: a\n\nHuman: b",
            f"{ASKED}\n\nAssistant: b",
            "the transcript ends with the human's turn",
        ),
        (f"{ASKED}\n\nAssistant: ", f"{ASKED}\n\nAssistant: b", "the last turn of the transcript is empty"),
        (f"{ASKED}\n\nAssistant:", f"{ASKED}\n\nAssistant: b", "the last turn of the transcript is empty"),
        (f"{ASKED}\n\nAssistant: a", f"{ASKED}\n\nAssistant: \n", "the last turn of the transcript is empty"),
        ("\n\nHuman: \n\nAssistant: a", "\n\nHuman: \n\nAssistant: b", "the prompt is empty or only white space"),
        ("\n\nHuman:\n\nAssistant: a", "\n\nHuman:\n\nAssistant: b", "the prompt is empty or only white space"),
        (f"{ASKED}\n\nAssistant: a\n\nAssistant: c", f"{ASKED}\n\nAssistant: b", "turns of the transcript are not"),
        ("\n\nAssistant: a", "\n\nAssistant: b", "turns of the transcript are not"),
        ("Hello", "\n\nHuman: Hi.\n\nAssistant: b", "the transcript does not begin with a turn"),
        ("", "", "the transcript does not begin with a turn"),
    ],
)
def test_transcripts_that_hold_no_preference_are_counted_under_the_reason(
    chosen: str, rejected: str, reason: str
) -> None:
    items, counts = hh(chosen, rejected)
    assert not items
    ((what, num),) = counts.items()
    assert what.startswith("skipped: ")
    assert reason in what
    assert num == 1


# ---- SHP, Stack Exchange ----------------------------------------------------------------------------


def test_shp_is_read_by_its_labels() -> None:
    items, _ = read("shp", *EXAMPLES["shp"])
    assert [said(item)[1] for item in items] == ["In water.", "In a bowl."]
    assert [item.gap for item in items] == [8.0, 8.0]


def test_shp_rows_whose_scores_are_close_are_counted() -> None:
    close, computed = EXAMPLES["shp"][0] | {"score_ratio": 1.99}, dict(EXAMPLES["shp"][0], score_A=3)
    del computed["score_ratio"]
    items, counts = read("shp", close, computed, EXAMPLES["shp"][0] | {"score_ratio": 2.0})
    assert len(items) == 1
    assert counts == {"skipped: the better score is less than 2 times the other": 2}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"labels": 2}, "expected labels 1"),
        ({"labels": None}, "expected labels 1"),
        ({"labels": "A"}, "'labels' is no number"),
        ({"score_ratio": None, "score_B": 0}, "no field 'score_ratio', nor"),
        ({"human_ref_A": None}, "'human_ref_A' is no text"),
    ],
)
def test_shp_rows_that_cannot_be_read_are_one_error(change: Row, says: str) -> None:
    with pytest.raises(DataError, match=f"f.jsonl, line 1: .*{says}"):
        read("shp", EXAMPLES["shp"][0] | change)


def test_of_a_question_every_two_answers_of_different_scores_are_a_verdict() -> None:
    items, counts = read("stackexchange", *EXAMPLES["stackexchange"])
    assert [said(item) for item in items] == [
        ("How do I print in `Python`?", "With print.", "By hand.", "LEFT"),
        ("How do I print in `Python`?", "With print.", "Not.", "LEFT"),
    ]
    assert [item.gap for item in items] == [4.0, 4.0]
    assert counts == {"left out: two answers with the same score": 1}
    assert items[0].verdict is not None
    assert items[0].verdict.pair.left.author == "ann"


def test_questions_without_two_answers_of_different_scores_are_counted() -> None:
    (row,) = EXAMPLES["stackexchange"]
    answers = row["answers"]
    empty = answers[0] | {"text": "<p> </p>"}
    items, counts = read(
        "stackexchange", row | {"answers": answers[:1]}, row | {"answers": answers[1:]}, row | {"answers": [empty]}
    )
    assert not items
    assert counts == {
        "skipped: a question without two answers of different scores": 3,
        "left out: two answers with the same score": 1,
        "skipped: an answer without text": 1,
    }


@pytest.mark.parametrize("answers", [None, "x", ["x"], [{"text": "x"}], [{"pm_score": 1}], {"text": ["x"]}])
def test_answers_of_another_form_are_one_error(answers: Any) -> None:
    with pytest.raises(DataError, match=r"f.jsonl, line 1: "):
        read("stackexchange", EXAMPLES["stackexchange"][0] | {"answers": answers})


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One &amp; two\nlines.</p>\n\n<p>Three <em>four</em>.</p>", "One & two lines.\n\nThree four."),
        ("<p>Use <code>a &lt; b</code>:</p><pre><code>if a &lt; b:\n    pass\n</code></pre>",
         "Use `a < b`:\n\n```\nif a < b:\n    pass\n```"),
        ("<ul><li>one</li><li>two</li></ul><p>end</p>", "- one\n- two\n\nend"),
        ("<ol><li><p>one</p></li><li>two<ul><li>in</li></ul></li></ol>", "1. one\n2. two\n  - in"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("<p>see <a href='x'>this</a><img src='y'> &nbsp; &#233;</p>", "see this é"),
        ("plain, no tags", "plain, no tags"),
        ("<p>open <code>code", "open `code"),
        ("<pre>  kept\n\n  so</pre>", "```\n  kept\n\n  so\n```"),
        ("<script>x()</script><p>1 < 2 & 3</p></div></ul></pre>", "1 < 2 & 3"),
        ("", ""),
        ("<p> </p><pre>\n</pre>", ""),
    ],
)  # fmt: skip
def test_html_becomes_text_as_people_write_it(html: str, text: str) -> None:
    assert text_of_html(html) == text


# ---- UltraFeedback ----------------------------------------------------------------------------------


def test_ultrafeedback_is_read_from_messages_and_equal_scores_are_a_tie() -> None:
    items, _ = read("ultrafeedback", *EXAMPLES["ultrafeedback"])
    assert [said(item) for item in items] == [
        ("Name a colour.", "Red.", "Seven.", "LEFT"),
        ("Name a colour.", "Red.", "Seven.", "TIE"),
        ("Name a colour.", "Red.", "Seven.", "LEFT"),
    ]
    assert [item.gap for item in items] == [6.5, 0.0, -1.0]


@pytest.mark.parametrize("before", ["", "\n\n"])
@pytest.mark.parametrize("after", [" ", ""])
def test_a_prompt_that_a_text_really_begins_with_is_taken_off(before: str, after: str) -> None:
    row = EXAMPLES["ultrafeedback"][2]
    texts = {n: f"{before}Human: Name a colour.\n\nAssistant:{after}{n}" for n in ("chosen", "rejected")}
    ((item,), _) = read("ultrafeedback", row | texts)
    assert said(item)[1:3] == ("chosen", "rejected")


@pytest.mark.parametrize(
    "text",
    [
        "Red, as everybody knows, is a colour; so is blue.",
        "<|user|>\nName a colour.\n<|assistant|>\nRed.",
        "Human: Name a colour?\n\nAssistant: Red.",
        "Human: Name a colour.\n\nAssistent: Red.",
        "",
    ],
)
def test_bug_16_a_text_is_never_cut_by_the_length_of_what_should_stand_there(text: str) -> None:
    items, counts = read("ultrafeedback", EXAMPLES["ultrafeedback"][2] | {"chosen": text})
    assert not items
    ((reason, num),) = counts.items()
    assert "does not begin with its prompt" in reason
    assert "format=trl_preference" in reason
    assert num == 1


def test_scores_beside_completions_alone_are_trls_columns() -> None:
    row = EXAMPLES["ultrafeedback"][2] | {"chosen": "Red.", "rejected": "Seven."}
    assert recognise("f", row).name == "trl_preference"
    assert said(read("trl_preference", row)[0][0])[1:] == ("Red.", "Seven.", "LEFT")


# ---- TRL --------------------------------------------------------------------------------------------


def test_trls_preferences_are_read_as_texts_as_messages_and_with_the_prompt_in_them() -> None:
    items, _ = read("trl_preference", *EXAMPLES["trl_preference"])
    assert [said(item) for item in items] == [("Name a colour.", "Red.", "Seven.", "LEFT")] * 3 + [
        ("Name a colour\n\nof blood", "Red.", "Seven.", "LEFT")
    ]
    assert len({item.verdict.id for item in items[:3] if item.verdict}) == 1


def test_the_users_own_names_of_columns_are_taken() -> None:
    columns = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    ((item,), _) = read("trl_preference", {"q": "Why?", "good": "So.", "bad": "No."}, columns=columns)
    assert said(item) == ("Why?", "So.", "No.", "LEFT")
    with pytest.raises(DataError, match=r"no field 'good' \(found: q, bad\).*chosen_field=NAME"):
        read("trl_preference", {"q": "Why?", "bad": "No."}, columns=columns)


def test_two_texts_without_a_prompt_are_refused_and_not_cut_where_they_begin_to_differ() -> None:
    row = {"chosen": "The sky is blue.", "rejected": "The sky is green."}
    assert recognise("f", row).name == "trl_preference"
    with pytest.raises(DataError, match="there is no prompt; name its field"):
        read("trl_preference", row)


def test_conversations_that_differ_before_the_end_are_counted() -> None:
    user, good, bad = (EXAMPLES["trl_preference"][1][name][0] for name in ("prompt", "chosen", "rejected"))
    other = user | {"content": "Name a number."}
    rows = [
        {"chosen": [user, good], "rejected": [other, bad]},
        {"chosen": [user, good, user, good], "rejected": [user, bad]},
        {"chosen": [user, user], "rejected": [user, bad]},
        {"chosen": [good], "rejected": [bad]},
        {"prompt": [user], "chosen": [good, good], "rejected": [bad]},
        {"prompt": [user], "chosen": [user], "rejected": [bad]},
    ]
    items, counts = read("trl_preference", *rows)
    assert not items
    assert sum(counts.values()) == len(rows)
    assert all(what.startswith("skipped: ") for what in counts)


def test_a_desirable_and_an_undesirable_completion_of_one_prompt_make_a_verdict() -> None:
    items, counts = read("trl_kto", *EXAMPLES["trl_kto"])
    assert [said(item)[1:] for item in items] == [("Red.", "Seven.", "LEFT"), ("Blue.", "Eight.", "LEFT")]
    assert not counts


def test_completions_without_a_partner_are_counted_and_the_count_says_what_to_do() -> None:
    rows = [
        {"prompt": "a", "completion": "x", "label": True},
        {"prompt": "a", "completion": "y", "label": True},
        {"prompt": "a", "completion": "z", "label": False},
        {"prompt": "b", "completion": "z", "label": False},
        {"prompt": "c", "completion": "same", "label": False},
        {"prompt": "c", "completion": "same", "label": True},
    ]
    items, counts = read("trl_kto", *rows)
    assert [said(item) for item in items] == [("a", "x", "z", "LEFT")]
    assert {what.partition(" completions")[0]: num for what, num in counts.items()} == {
        "skipped: desirable": 2,
        "skipped: undesirable": 2,
    }
    assert any("to learn from them, give them alone, without label" in what for what in counts)


def test_a_bad_row_that_is_counted_is_quoted_without_what_could_move_the_cursor() -> None:
    _, counts = read("trl_kto", {"\x1b[2J": "x"}, skip_bad=True)
    assert all(what.isprintable() for what in counts)
    assert counts.total() == 1


@pytest.mark.parametrize("label", [None, "good", 2, [], 0.5])
def test_a_label_that_is_neither_true_nor_false_is_one_error(label: Any) -> None:
    row = EXAMPLES["trl_kto"][0] | {"label": label}
    with pytest.raises(DataError, match=r"f.jsonl, line 1: expected a label true or false"):
        read("trl_kto", row)
    assert read("trl_kto", row, skip_bad=True) == (
        [],
        {f"skipped: expected a label true or false, found {str(label)!r}": 1},
    )


# ---- PandaLM, and completions that nobody compared --------------------------------------------------


def test_what_most_of_three_people_say_is_the_verdict_else_a_tie() -> None:
    items, _ = read("pandalm", *EXAMPLES["pandalm"])
    assert [said(item)[3] for item in items] == ["LEFT", "RIGHT", "TIE", "TIE"]
    assert items[0].verdict is not None
    assert items[0].prompt.text == "Shorten this.\n\nA long sentence."
    assert (items[0].verdict.pair.left.author, items[0].verdict.pair.right.author) == ("bloom-7b", "llama-7b")
    assert items[0].verdict.replies == ("1, 1, 2",)


def test_a_response_that_became_a_truth_value_is_counted() -> None:
    _, counts = read("pandalm", EXAMPLES["pandalm"][0] | {"response1": True})
    assert counts == {"skipped: a response is no text but true or false": 1}


@pytest.mark.parametrize("vote", [3, None, True, "1"])
def test_a_vote_that_is_none_is_one_error(vote: Any) -> None:
    with pytest.raises(DataError, match=r"f.jsonl, line 1: expected annotator1, annotator2, annotator3"):
        read("pandalm", EXAMPLES["pandalm"][0] | {"annotator2": vote})


def test_votes_of_a_model_without_the_texts_say_where_the_texts_are() -> None:
    row = {"idx": 7, "gpt_result": "1", "gpt_reason": "It is better.", "gpt_reference": "This."}
    assert recognise("f", row).name == "pandalm"
    with pytest.raises(DataError, match=r"of row 7 of PandaLM's test set, not the texts; read testset-v1.json"):
        read("pandalm", row)


def test_rankings_are_read_by_their_words_and_of_pairs_the_first_is_better() -> None:
    items, _ = read("rankings", *EXAMPLES["rankings"])
    assert [said(item) for item in items] == [
        ("Name\n\na colour.", "Red.", "7", "LEFT"),
        ("Name\n\na colour.", "Red.", "7", "RIGHT"),
        ("Name\n\na colour.", "Red.", "7", "TIE"),
        ("Name\n\na colour.", "Red.", "7", "LEFT"),
        ("Name\n\na colour.", "Blue.", "7", "LEFT"),
    ]


@pytest.mark.parametrize(
    "row",
    [
        {"response1": "a", "response2": "b", "instruction": "c", "preference": "a"},
        {"response1": "a", "response2": "b", "instruction": "c", "preference": 1},
        {"key": "c", "value": {"sentences": [["a"]]}},
        {"key": "c", "value": {"sentences": [["a", None]]}},
        {"key": "c", "value": []},
    ],
)
def test_a_ranking_of_another_form_is_one_error(row: Row) -> None:
    with pytest.raises(DataError, match=r"f.jsonl, line 1: "):
        read("rankings", row)


def test_a_table_without_names_of_its_columns_is_told_so() -> None:
    row = {"In this task, you are given a passage of some length. " * 3: "x", "Passage: once upon a time": "y"}
    with pytest.raises(DataError, match="seems to have no line with the names: say them"):
        recognise("f.csv", row)


def test_one_object_that_is_no_list_of_rows_is_told_so_and_not_by_fields_that_it_does_not_have() -> None:
    with pytest.raises(DataError, match=r"f.json: is one JSON object, .* but 'Hi.'; expected .* a list of rows"):
        recognise("f.json", {"key": "prompt", "value": "Hi."})


def test_completions_that_nobody_compared_are_completions_of_one_prompt() -> None:
    items, _ = read("responses", *EXAMPLES["responses"])
    assert [(item.prompt.text, [c.text for c in item.completions]) for item in items] == [
        ("Name a colour\n\nof blood.", ["Red.", "Dark red."]),
        ("Name a colour.", ["Red.", "Blue."]),
    ]


# ---- the presets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hh", "shp", "se", "ultrafeedback", "ultrafeedbacknarrow", "aiprefs"])
def test_the_research_codes_names_are_presets_of_a_format_that_holds_verdicts(name: str) -> None:
    inputs = build(importing.Inputs, merge_words(importing.Inputs, {}, [f"rows={name}"]), "tutelage import")
    assert inputs.rows.format is not None
    assert FORMATS[inputs.rows.format].holds == ("verdicts",)
    assert "/" in inputs.rows.path
