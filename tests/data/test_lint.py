"""`tutelage data lint`: planted faults are found with their ids, and clean preferences pass in silence."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from made import artifact, preference, said, verdict
from tutelage.cli import main
from tutelage.config import build, merge_words
from tutelage.data.conflicts import Share, cyclic
from tutelage.data.lint import SAYS, LintConfig, lint
from tutelage.data.show import COLUMNS
from tutelage.data.texts import width_of
from tutelage.errors import ConfigError, DataError
from tutelage.measure.estimate import wilson
from tutelage.records import Completion, Outcome, Prompt
from tutelage.store import Artifact

Planted = list[tuple[Completion, Completion]]


def ask(number: int) -> Prompt:
    return Prompt.of(f"Please say the number {number} in two words or more.")


def clean(num: int = 60) -> Planted:
    """Pairs of which nothing can be said: each author and the longer one win as often as they lose."""
    found = []
    for i in range(num):
        prompt = ask(i)
        one = said(prompt, f"It is {i}, as you say.", "one")
        two = said(prompt, f"{i}, of course, and gladly so.", "two")
        found.append((one, two) if i % 2 else (two, one))
    return found


def labelled(root: Path, planted: Planted, outcome: Outcome = "LEFT") -> Artifact:
    prompts = {c.prompt_id: None for c, _ in planted}
    known = {p.id: p for p in (*map(ask, range(100)), ASK)}
    return artifact(
        root,
        "label",
        prompts=[known[name] for name in prompts],
        verdicts=[verdict(*pair, outcome, critic=f"critic {i}") for i, pair in enumerate(planted)],
    )


ASK = Prompt.of("Tell me everything that you know about Paris.")


def of(*texts: str, author: str = "me") -> tuple[Completion, Completion]:
    chosen, rejected = (said(ASK, text, author, index=i) for i, text in enumerate(texts))
    return chosen, rejected


def linted(path: Path, *words: str) -> str:
    return lint(build(LintConfig, merge_words(LintConfig, {}, [f"rows={path}", *words]), "tutelage data lint"))


def findings(root: Path, planted: Planted) -> list[dict[str, Any]]:
    made, out = labelled(root, planted), root / "found.jsonl"
    linted(made.path, f"out={out}")
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()]


def named(root: Path, planted: Planted) -> list[tuple[str, str, str]]:
    return [(f["finding"], f["side"], f["severity"]) for f in findings(root, planted)]


def test_clean_preferences_pass_in_silence(tmp_path: Path) -> None:
    assert findings(tmp_path, clean()) == []
    text = linted(labelled(tmp_path, clean()).path, "fail=warning")
    assert "60 decided pairs" in text
    assert text.count("\n  ") == len(SAYS), "every rule is named as one that found nothing"
    assert "finding  " not in text
    assert "warning: the" not in text


LONG = "Paris is the capital of France and lies on the river Seine."


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ((LONG, LONG), [("same", "both", "error")]),
        ((LONG, LONG.upper()), [("alike", "both", "warning")]),
        (("", LONG), [("empty", "chosen", "error")]),
        ((LONG, " \n"), [("empty", "rejected", "warning")]),
        ((LONG + "\n\nHuman: And Lyon?", LONG), [("next_turn", "chosen", "error")]),
        ((LONG, LONG + "\n\nHuman: And Lyon?"), [("next_turn", "rejected", "warning")]),
        (("Assistant: " + LONG, LONG), [("echo", "chosen", "warning")]),
        ((ASK.text + " Gladly.", LONG), [("echo", "chosen", "warning")]),
        ((LONG, LONG + "</s>"), [("special", "rejected", "warning")]),
        ((LONG[:-8], LONG), [("cut", "chosen", "warning")]),
        (("I'm sorry, but no.", LONG), [("boilerplate", "chosen", "warning")]),
        ((LONG, "As an AI, I have never been there."), [("boilerplate", "rejected", "warning")]),
    ],
)
def test_a_planted_fault_is_found_where_it_is(
    tmp_path: Path, texts: tuple[str, str], found: list[tuple[str, str, str]]
) -> None:
    planted = of(*texts)
    assert named(tmp_path, [*clean(), planted]) == found
    rows = findings(tmp_path / "again", [*clean(), planted])
    assert {(r["prompt_id"], r["chosen_id"], r["rejected_id"]) for r in rows} == {
        (ASK.id, planted[0].id, planted[1].id)
    }


@pytest.mark.parametrize(
    ("edges", "found"),
    [
        (["a > b", "b > a"], ["contradiction"] * 2),
        (["a > b", "a > b"], ["again"]),
        (["a > b", "a > b", "b > a"], ["again"] + ["contradiction"] * 3),
        (["a > b", "b > c", "c > a"], ["cycle"] * 3),
        (["a > b", "b > c", "c > d", "d > a", "d > e", "x > a"], ["cycle"] * 4),
        (["a > b", "b > c", "c > a", "c > b"], ["contradiction"] * 2),
        (["a > b", "b > c", "a > c", "c > d"], []),
        (["a > b", "c > b", "b > d", "a > d"], []),
    ],
)
def test_contradictions_cycles_and_copies_among_the_verdicts_of_a_prompt(
    tmp_path: Path, edges: list[str], found: list[str]
) -> None:
    planted = []
    for edge in edges:
        chosen, rejected = (f"The answer to it is {text}." for text in edge.split(" > "))
        planted.append((said(ASK, chosen), said(ASK, rejected)))
    rows = findings(tmp_path, [*clean(), *planted])
    assert sorted(r["finding"] for r in rows) == sorted(found)
    assert {r["prompt_id"] for r in rows} <= {ASK.id}


def test_only_the_edges_of_a_cycle_are_on_it_also_where_two_cycles_are_joined() -> None:
    two = {(1, 2), (2, 3), (3, 1), (4, 5), (5, 6), (6, 4)}
    assert cyclic([*two, (3, 4), (7, 1), (6, 8)]) == two


@given(st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(lambda edge: edge[0] != edge[1])))
def test_an_edge_is_on_a_cycle_if_its_end_leads_back(edges: set[tuple[int, int]]) -> None:
    leads = set(edges)
    for by, start, end in product(range(7), repeat=3):  # Warshall
        if (start, by) in leads and (by, end) in leads:
            leads.add((start, end))
    assert cyclic(edges) == {(start, end) for start, end in edges if (end, start) in leads}


def test_a_verdict_for_the_right_completion_counts_as_one_for_it(tmp_path: Path) -> None:
    rows = [verdict(*of("One.", "Two.")), verdict(*of("Two.", "One."), "RIGHT"), verdict(*of("One.", "Two."), "TIE")]
    made = artifact(tmp_path, "label", prompts=[ASK], verdicts=rows)
    text = linted(made.path)
    assert f"{SAYS['again']:40}{1:>8}" in text
    assert "1 ties and 0 unreadable verdicts, of which nothing is learnt, were left out" in text


@pytest.mark.parametrize(("text", "num"), [("I will look into that soon.", 3), ("I will look.", 0)])
def test_a_text_of_three_prompts_is_a_copy_unless_it_is_short(tmp_path: Path, text: str, num: int) -> None:
    planted = [(said(ask(i), f"The number is {i}, no less.", "two"), said(ask(i), text, "one")) for i in range(3)]
    rows = [r for r in findings(tmp_path, [*clean()[3:], *planted]) if r["finding"] == "copies"]
    assert len(rows) == num
    assert {r["side"] for r in rows} <= {"rejected"}


def test_a_text_of_two_prompts_is_no_copy(tmp_path: Path) -> None:
    text = "I will look into that soon."
    planted = [(said(ask(i), f"The number is {i}, no less.", "two"), said(ask(i), text, "one")) for i in (0, 1)]
    assert findings(tmp_path, [*clean()[2:], *planted]) == []


def test_the_longer_one_always_winning_is_a_skew_with_its_interval(tmp_path: Path) -> None:
    planted = [
        (said(ask(i), f"It is {i}, and nothing else at all.", a), said(ask(i), f"{i}, I say.", b))
        for i, (a, b) in enumerate([("one", "two"), ("two", "one")] * 20)
    ]
    text = linted(labelled(tmp_path, planted).path)
    assert "warning: the longer one was chosen in 40 of 40, 100.0% (95 % interval 91.2% to 100.0%)" in text
    assert "the chosen completion has +5.0 words more on average" in text


@pytest.mark.parametrize(("num", "flagged"), [(34, False), (36, True)])
def test_an_author_who_always_wins_is_named_once_there_are_pairs_enough(
    tmp_path: Path, num: int, flagged: bool
) -> None:
    planted = [p if p[0].author == "one" else (p[1], p[0]) for p in clean(num)]
    text = linted(labelled(tmp_path, planted).path)
    assert (f"warning: one was chosen in {num} of {num}, 100.0%" in text) is flagged
    assert (f"warning: two was chosen in 0 of {num}, 0.0%" in text) is flagged


def test_pairs_of_one_author_say_nothing_about_it(tmp_path: Path) -> None:
    planted = [(said(ask(i), f"It is {i}, yes.", "me"), said(ask(i), f"No, it is {i}.", "me")) for i in range(50)]
    assert "warning: me" not in linted(labelled(tmp_path, planted).path)


@pytest.mark.parametrize(("yes", "num"), [(0, 1), (1, 1), (30, 40), (500, 1000)])
def test_the_interval_is_wilsons(yes: int, num: int) -> None:
    assert Share(yes, num).interval == pytest.approx(wilson(yes / num, num), abs=1e-6)


def test_preferences_are_looked_at_as_verdicts_are(tmp_path: Path) -> None:
    good, bad = said(ASK, "I'm sorry, but no."), said(ASK, LONG)
    made = artifact(tmp_path, "prefer", prompts=[ASK], preferences=[preference(good, bad)], completions=[good])
    assert f"{SAYS['boilerplate']:40}{1:>8}" in linted(made.path)


def test_what_is_found_is_a_table_errors_first_with_an_example(tmp_path: Path) -> None:
    planted = [*clean(57), of("I'm sorry, but no.", LONG), of(LONG, ""), of("", LONG + "!")]
    lines = linted(labelled(tmp_path, planted).path).split("\n")
    assert lines[2].split() == ["finding", "pairs", "share", "chosen", "rejected", "severity", "example"]
    assert [line.rsplit(None, 6)[1:] for line in lines[3:5]] == [
        ["2", "3.3%", "1", "1", "error", ASK.id],
        ["1", "1.7%", "1", "0", "warning", ASK.id],
    ]
    assert [line.rsplit(None, 6)[0] for line in lines[3:5]] == [SAYS["empty"], SAYS["boilerplate"]]


HOSTILE = "\x1b[2J\u202e\ud800\r\n" + "漢" * 200


def test_no_line_is_wider_than_the_terminal_and_none_can_harm_it(tmp_path: Path) -> None:
    prompt = Prompt.of(HOSTILE, source=HOSTILE)
    pairs = [
        (said(prompt, f"{HOSTILE}{i}", "\x1b" + "漢" * 99), said(prompt, f"{i}{HOSTILE}", "b")) for i in range(40)
    ]
    pairs.append((said(prompt, ""), said(prompt, "\n")))
    made = artifact(tmp_path, "label", prompts=[prompt], verdicts=[verdict(*pair) for pair in pairs])
    lines = linted(made.path, "examples=2").split("\n")
    assert max(map(width_of, lines)) <= COLUMNS
    assert all(line.isprintable() for line in lines)
    assert any(line.startswith("warning: \\x1b漢") for line in lines)


def test_examples_are_shown_when_asked_for(tmp_path: Path) -> None:
    made = labelled(tmp_path, [*clean(), of("I'm sorry, but no.", LONG), of("Sorry, I do not know.", LONG)])
    assert LONG not in linted(made.path)
    text = linted(made.path, "examples=1")
    assert text.count(f"{SAYS['boilerplate']}, 1: prompt {ASK.id}") == 1
    assert LONG in text
    assert f"{SAYS['boilerplate']}, 2: prompt {ASK.id}" in linted(made.path, "examples=5")


# ---- files and mistakes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("planted", "fail", "status"),
    [
        ([], "warning", 0),
        ([of("I'm sorry, but no.", LONG)], "never", 0),
        ([of("I'm sorry, but no.", LONG)], "error", 0),
        ([of("I'm sorry, but no.", LONG)], "warning", 2),
        ([of("", LONG)], "never", 0),
        ([of("", LONG)], "error", 2),
        ([of("", LONG)], "warning", 2),
    ],
)
def test_the_status_says_what_was_found_if_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], planted: Planted, fail: str, status: int
) -> None:
    made = labelled(tmp_path, [*clean(), *planted])
    assert main(["data", "lint", f"rows={made.path}", f"fail={fail}"]) == status
    printed = capsys.readouterr()
    assert "decided pairs" in printed.out, "the table comes first"
    assert ("were found" in printed.err) is (status == 2)


def test_a_file_of_preferences_is_looked_at_with_what_its_reader_leaves_out(write_rows: Callable[..., Path]) -> None:
    rows = [{"prompt": ASK.text, "chosen": LONG, "rejected": LONG}]
    rows += [{"prompt": ask(i).text, "chosen": f"It is {i}.", "rejected": f"No, {i}."} for i in range(3)]
    path = write_rows("rows.jsonl", rows)
    text = linted(path)
    assert "3 decided pairs in" in text
    assert f"{SAYS['same']:40}{1:>8}" in text
    with pytest.raises(DataError, match="1 kinds of errors and 0 of warnings were found"):
        linted(path, "fail=error")


def test_what_has_no_verdicts_cannot_be_looked_at(tmp_path: Path, write_rows: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="has no verdicts to read"):
        linted(write_rows("rows.jsonl", [{"prompt": "a", "completion": "b"}]))
    made = artifact(tmp_path, "teach", prompts=[ASK], completions=[said(ASK, "x")])
    with pytest.raises(DataError, match="holds no decided pair to look at"):
        linted(made.path, f"out={tmp_path / 'found.jsonl'}")
    assert not (tmp_path / "found.jsonl").exists()


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "found.jsonl").write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        linted(labelled(tmp_path, clean()).path, f"out={tmp_path / 'found.jsonl'}")
