"""The page of an audit: numbers as they are, and texts of models that stay texts."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from tutelage.measure.agreement import family_of
from tutelage.measure.audit import audit
from tutelage.measure.injected import Injected
from tutelage.measure.showings import Observation, PairFacts
from tutelage.records import Usage
from tutelage.report.audit_page import audit_page, dot_and_whisker
from tutelage.report.audit_words import in_words, interval, number, sentences
from tutelage.report.page import MAX_CHARACTERS

HOSTILE = "<script>alert(1)</script></style></pre>\x1b[2J\x07\u202eevil\u2028\ud83d\"'&amp;<img src=x onerror=y>{x}"


def measured(judge: str = "gpt-4o", num: int = 40, kind: str = "ignore") -> dict[str, Any]:
    """An audit of a judge that likes the first one, and now and then cannot be read."""
    facts, seen, planted = {}, [], []
    for i in range(num):
        gold = ("LEFT", "RIGHT", "TIE")[i % 3]
        facts[str(i)] = PairFacts(str(i), 10 + i % 7, 12, "gpt-4", "claude", None, gold)  # type: ignore[arg-type]
        for left_first in (True, False):
            won = None if i % 11 == 0 else float((i % 2 == 0) == left_first or i % 5 == 0)
            seen.append(Observation(str(i), left_first, 0, won))
            planted.append(Injected(kind, True, Observation(str(i), left_first, 0, float(left_first))))
    usage = Usage(requests=2 * num, input_tokens=9000, output_tokens=500, dollars=0.12)
    return audit(judge, seen, facts, planted, usage).tree()


def page(text: str = "plain") -> str:
    said = [{"order": "left first", "reply": text}]
    example = {"what": "flip", "prompt": text, "left": text, "right": text, "said": said}
    return audit_page(measured(text, kind=text), {text: text}, [example], {text: text})


class Tags(HTMLParser):
    """What a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.attributes |= {name for name, _ in attrs}


def seen_in(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    return tags


def test_hostile_texts_add_no_tag_and_no_attribute_and_cannot_hide() -> None:
    hostile, plain = page(HOSTILE), page()
    assert seen_in(hostile).tags == seen_in(plain).tags
    assert seen_in(hostile).attributes == seen_in(plain).attributes
    assert "script" not in seen_in(hostile).tags
    assert not any(name.startswith("on") for name in seen_in(hostile).attributes)
    assert all(character.isprintable() or character == "\n" for character in hostile)
    assert r"\u202eevil\u2028" in hostile
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in hostile
    hostile.encode("utf-8")


def test_the_page_needs_nothing_else() -> None:
    text = page()
    assert not re.search(r"https?:|src=|@import|url\(|<link|<script", text)
    assert "default-src 'none'" in text
    assert "prefers-color-scheme:dark" in text
    assert 'name="viewport"' in text


def test_every_tag_that_needs_an_end_has_one() -> None:
    tags, text = seen_in(page()), page()
    for tag in ("table", "tbody", "thead", "svg", "ul", "details", "pre", "small", "figure", "td", "p", "h2"):
        assert text.count(f"</{tag}>") == tags.tags[tag], tag


def test_the_page_says_the_same_as_the_words_and_shows_every_measure() -> None:
    tree, text = measured(), page("gpt-4o")
    for sentence in sentences(tree):
        assert sentence.split(":")[0] in text
    assert in_words(tree["position"]["first_wins"]) in text
    for name in ("shown first wins", "position bias", "slope per 100 words", "kappa", "self-preference", "flips"):
        assert name in text
    assert text.count("<circle") >= 10


def test_a_long_text_is_cut_and_the_rest_counted() -> None:
    text = page("x" * 50_000)
    assert f"[{50_000 - MAX_CHARACTERS:,} more characters]" in text
    assert "x" * (MAX_CHARACTERS + 1) not in text.split("<h2>Examples</h2>")[1]


def test_what_cannot_be_told_is_said_and_not_drawn() -> None:
    tree = audit("c", [Observation("p", True, 0, 1.0)], {"p": PairFacts("p", 1, 2, "a", "b")}).tree()
    text = audit_page(tree, {}, [], {})
    assert "cannot tell: no pair was asked in both orders" in text
    assert "None" not in text
    assert "nan" not in text


# ---- words ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (56.23, "%", "56.2 %"),
        (-3.04, "percentage points", "−3.0"),
        (0.256, "log-odds", "+0.26"),
        (0.0379, "log-odds per word", "+0.038"),
        (0.4, "kappa", "0.40"),
    ],
)
def test_a_number_has_the_digits_of_its_unit(value: float, unit: str, said: str) -> None:
    assert number(value, unit) == said


def estimate(value: float | None, low: float | None, high: float | None, unit: str = "%") -> dict[str, Any]:
    return {"value": value, "standard_error": 1.0, "low": low, "high": high, "num": 9, "unit": unit, "note": "why"}


def test_an_interval_is_said_as_far_as_it_is_known() -> None:
    assert in_words(estimate(56.2, 53.1, 59.3)) == "56.2 % (53.1 to 59.3)"
    assert interval(estimate(None, 0.5, None, "log-odds")) == "above 0.50"
    assert interval(estimate(None, None, -0.5, "log-odds")) == "below −0.50"
    assert in_words(estimate(None, 0.5, None, "log-odds")) == "above 0.50 (why)"
    assert in_words(estimate(None, None, None)) == "why"


def test_sentences_say_what_a_person_needs_first() -> None:
    said = sentences(measured())
    assert said[0].startswith("Position: the completion shown first wins ")
    assert said[1].startswith("Flips: ")
    assert "confounded" not in " ".join(said)
    assert any(s.startswith("Own family (openai): wins") for s in said)
    assert any(s.startswith("Planted texts: of 1 kinds") for s in said)
    assert said[-1].startswith("Cost: 80 replies, 9,500 tokens, $0.1200")
    assert family_of("gpt-4o") == "openai"


def test_an_open_interval_is_drawn_as_an_arrow() -> None:
    closed, opened = estimate(0.1, 0.0, 0.2, "log-odds"), estimate(None, 0.1, None, "log-odds")
    assert dot_and_whisker(closed, 0.0).count("<path") == 0
    assert dot_and_whisker(opened, 0.0).count("<path") == 1
    assert "<circle" not in dot_and_whisker(opened, 0.0)


@pytest.mark.parametrize("value", [0.0, 1e-12, -0.4, 3.0, 1e6])
def test_any_value_is_drawn_within_the_picture(value: float) -> None:
    picture = dot_and_whisker(estimate(value, value - 1, value + 1, "log-odds"), 0.0)
    (place,) = re.findall(r"cx=([\d.]+)", picture)
    assert 6 <= float(place) <= 194
