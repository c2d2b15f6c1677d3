"""The page of a study: every number that was found, and texts of models that stay texts."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from acting import FIGURES, PICTURE, acting_findings
from made_findings import HOSTILE_TEXTS, findings, hostile

from tutelage.findings import Missing, Span
from tutelage.records import Record
from tutelage.report.page import MAX_CHARACTERS, document
from tutelage.report.study_page import study_page
from tutelage.report.study_words import count, dollars, duration, hours, interval, p_value, points, typeset


class Seen(HTMLParser):
    """What a browser would see."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.attributes |= given.keys()
        self.ids += [str(given["id"])] if "id" in given else []
        self.links += [str(given["href"])] if "href" in given else []

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All that can be read, without the tags."""
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def page() -> str:
    return study_page(findings(), FIGURES)


@pytest.fixture(scope="module")
def seen(page: str) -> Seen:
    return Seen(page)


# ---- hostile texts ----------------------------------------------------------------------------------


def test_texts_that_act_add_no_tag_and_no_attribute_and_cannot_hide(seen: Seen) -> None:
    page = study_page(acting_findings(), FIGURES)
    acting = Seen(page)
    assert acting.tags == seen.tags
    assert acting.attributes == seen.attributes
    assert "script" not in acting.tags
    assert not any(name.startswith("on") for name in acting.attributes)
    assert all(character.isprintable() or character == "\n" for character in page)
    assert page.count("&lt;script&gt;document.title=") > 500
    page.encode("utf-8")


def test_hostile_texts_of_a_study_never_appear_raw() -> None:
    page = study_page(hostile(), FIGURES)
    for text in HOSTILE_TEXTS:
        assert not re.search("[<>\x00-\x09\x0b-\x1f\u200b-\u202e\u2066\ud83d]", text) or text not in page
    assert "<script" not in page
    assert "onerror=" not in re.sub(r">[^<]*<", "><", page)


def test_the_page_needs_nothing_else(page: str) -> None:
    markup = re.sub(r">[^<]*<", "><", page)
    assert not re.search(r"https?:|src=|@import|url\(|<link|<script|<iframe|<object", markup)
    assert "default-src 'none'" in page
    assert "script-src" not in page
    assert "prefers-color-scheme:dark" in page
    assert 'name="viewport"' in page
    assert "@media print" in page


def test_the_page_of_ten_arms_and_fifty_pairs_stays_far_below_three_megabytes(page: str) -> None:
    assert page.count("<details class=pair>") == 50
    assert len(page.encode("utf-8")) < 400_000


# ---- structure --------------------------------------------------------------------------------------


def test_headings_are_in_order_under_one_title(page: str) -> None:
    levels = [int(level) for level in re.findall(r"<h(\d)", page)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))


def test_the_contents_lead_to_every_section_and_no_link_leads_nowhere(page: str, seen: Seen) -> None:
    assert len(seen.ids) == len(set(seen.ids))
    assert [link for link in seen.links if link.removeprefix("#") not in seen.ids] == []
    for name in ("The verdict", "Win rates", "Comparisons", "Scaling", "Why", "Judges", "Cost", "Provenance"):
        assert re.search(rf"<a href=#([\w-]+)>{name}</a>[^§]*<section id=\1><h2>{name}</h2>", page), name


def test_every_table_has_a_caption_and_says_which_cells_are_names(page: str, seen: Seen) -> None:
    assert seen.tags.count("table") == seen.tags.count("caption") >= 10
    assert not re.search(r"<th(?! (class=group )?scope| class=n scope)[ >]", page)


def test_every_tag_that_needs_an_end_has_one(page: str, seen: Seen) -> None:
    ended = ("table", "caption", "tbody", "thead", "tr", "td", "th", "svg", "ul", "ol", "li", "details", "summary")
    for tag in (*ended, "pre", "small", "figure", "p", "h1", "h2", "h3", "h4", "div", "span", "section", "b", "code"):
        assert page.count(f"</{tag}>") == seen.tags.count(tag), tag


def test_the_verdict_comes_first_and_what_is_missing_beside_it(page: str, seen: Seen) -> None:
    found = findings()
    order = [*map(typeset, found.verdict), *found.warnings, "Not finished: 4 runs are missing", "Win rate against"]
    places = [seen.text.index(text) for text in order]
    assert places == sorted(places)
    assert "weak-5 (weak, 5 %), no run is finished. seeds 0, 1 and 2 at sft: stopped by its user" in seen.text
    assert "2 of 3 are there. seed 2 at dpo: TrainingError" in seen.text.replace(" ( ", " (")


# ---- numbers ----------------------------------------------------------------------------------------


def spans_of(value: Any) -> Iterator[Span]:
    if isinstance(value, Span):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from spans_of(part)
    elif isinstance(value, tuple):
        for part in value:
            yield from spans_of(part)
    elif isinstance(value, Record):
        for name in type(value).model_fields:
            yield from spans_of(getattr(value, name))


def test_every_value_and_every_interval_is_on_the_page(seen: Seen) -> None:
    spans = list(spans_of(findings()))
    assert len(spans) > 150
    for span in spans:
        assert span.value is None or points(span.value) in seen.text
        assert interval(span) in seen.text
        assert span.note in seen.text


def test_every_comparison_is_shown_with_all_that_was_found(page: str) -> None:
    found = findings().comparisons
    rows = [re.sub("<[^>]+>", " ", row) for row in re.findall(r"<tr>(.*?)</tr>", page) if 'class="badge' in row]
    assert len(rows) == len(found)
    for one, row in zip(found, map(unescape, rows), strict=True):
        row = " ".join(row.split())
        assert row.startswith(
            f"{one.question} {one.first} against {one.second} {points(one.difference.value or 0, True)}"
        )
        assert f"{points(one.difference.value or 0, signed=True)} {interval(one.difference)}" in row
        assert f"{points(one.length_controlled.value or 0, signed=True)} {interval(one.length_controlled)}" in row
        assert f"{p_value(one.p_value)} Holm {p_value(one.adjusted_p_value)} 500 · {one.num_seeds} 2.4" in row
        assert "prompts 41.0" in row
        assert one.outcome in row
        assert ("about 9 seeds would tell" in row) == (one.needed_seeds == 9)


def test_matched_comparisons_are_shown_by_all_rules_and_the_recipes_own_is_marked(page: str, seen: Seen) -> None:
    assert page.count("<mark>prompts</mark><small>the recipe’s rule</small>") == len(findings().comparisons)
    assert page.count("<th scope=row>API dollars</th>") == len(findings().comparisons)
    assert page.count("<th scope=row>training tokens</th>") == len(findings().comparisons)
    assert "$1.11" in seen.text
    assert "106,900 tokens" in seen.text


def test_judges_that_are_akin_to_a_critic_are_named_in_words(page: str) -> None:
    matrix = page.split("id=matrix-table")[1].split("</table>")[0]
    assert re.findall(r"<mark>([^<]*)</mark>", matrix) == ["one family", "the same model"]
    assert "own taste +4.8 (1.8 to 7.8)" in matrix


def test_an_unknown_price_is_said_and_not_taken_for_nothing() -> None:
    arm = findings().arms[0]
    assert arm.cost is not None
    unknown = arm.model_copy(update={"cost": arm.cost.model_copy(update={"critic_dollars": None})})
    text = Seen(study_page(findings(arms=(unknown,), total_dollars=None), FIGURES)).text
    assert "Paid for the whole study, shared stages once: unknown (so is a price) ." in text
    assert "$0.30 unknown price $0.35" in text


def test_every_artifact_is_there_and_leads_to_what_it_was_made_of(page: str, seen: Seen) -> None:
    sources = findings().sources
    for source in sources:
        assert source.fingerprint in seen.text
        assert source.content in seen.text
        assert source.path in seen.text
    assert len([link for link in seen.links if link.startswith("#artifact-")]) == sum(len(s.made_of) for s in sources)
    assert "tutelage 0.0.0, python 3.11.9" in seen.text
    assert "tutelage trace 0000000000000000" in seen.text
    assert "loss: name: dpo beta: 0.1" in seen.text


def test_a_long_completion_is_cut_and_the_rest_counted(page: str) -> None:
    rest = len(HOSTILE_TEXTS[5]) - MAX_CHARACTERS
    assert f"[{rest:,} more characters]" in page
    assert "x" * MAX_CHARACTERS not in page


# ---- little there -----------------------------------------------------------------------------------


def test_a_study_of_which_nothing_is_finished_says_so_and_shows_no_number() -> None:
    missing = (Missing(seed=0, stage="sft", why="no such file"),)
    arms = tuple(
        a.model_copy(update={"rates": (), "cost": None, "missing": missing, "seeds": ()}) for a in findings().arms
    )
    nothing: dict[str, Any] = dict.fromkeys(
        ("comparisons", "curves", "matrix", "judged", "why", "shown", "sources"), ()
    )
    page = study_page(findings(arms=arms, verdict=(), warnings=(), total_dollars=None, **nothing), {})
    assert "there is no verdict" in page
    assert "no run is finished" in page
    assert not re.search(r"None|\bnan\b|<table[^>]*><caption[^>]*></caption>", page)
    for left_out in ("Comparisons", "Scaling", "Judges", "Sampled pairs", "The strong teacher"):
        assert f"<h2>{left_out}</h2>" not in page


def test_one_judge_and_one_seed_are_not_told_apart_from_others() -> None:
    one = [c.model_copy(update={"seed_deviation": None}) for c in findings().comparisons if c.judge == "judge-a"]
    page = study_page(findings(judges=("judge-a",), seeds=(0,), comparisons=tuple(one)), FIGURES)
    assert "Judge: judge-a, whose" not in page
    assert "judge: judge-a · seed: 0 ·" in page
    assert "one seed<small>prompts 41.0</small>" in page


# ---- figures and the appendix -----------------------------------------------------------------------


def test_every_figure_is_shown_once_in_its_place_and_none_is_made_too_small_to_read() -> None:
    page = study_page(findings(), {**FIGURES, "scaling": PICTURE.replace("640", "1400")})
    assert page.count("<svg") == len(FIGURES)
    assert page.count('<div style="min-width:683px"><svg viewBox="0 0 640 200"') == len(FIGURES) - 1
    assert '<div style="min-width:1493px"><svg viewBox="0 0 1400 200"' in page.split("<h2>Scaling</h2>")[1][:300]


def test_a_figure_without_a_place_is_refused_and_not_left_out() -> None:
    with pytest.raises(ValueError, match="no place in the page for the figures \\['bars'\\]"):
        study_page(findings(), {"bars": PICTURE})


def test_the_script_of_an_appendix_is_the_only_one_that_may_run() -> None:
    script = "document.querySelector('#here').textContent = 1 < 2 && 'ran'"
    page = study_page(findings(), FIGURES, ("<p id=here></p>", script))
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}'\"" in page
    assert page.count("<script>") == 1
    assert page.endswith(f"<script>{script}</script>\n</body></html>\n")
    assert "unsafe-inline" not in page.split("script-src")[1].split('"')[0]
    with pytest.raises(ValueError, match="must not hold"):
        document("t", [], scripts=["a = '</script>'"])


# ---- words ------------------------------------------------------------------------------------------


def test_numbers_have_sensible_digits_and_a_real_minus() -> None:
    assert [points(x, signed=True) for x in (4.14, -0.61, -0.04, 0.0)] == ["+4.1", "−0.6", "0.0", "0.0"]
    assert interval(Span(value=1, low=1.24, high=7)) == "1.2 to 7.0"
    assert interval(Span(value=None, low=-2.0)) == "above −2.0"
    assert [dollars(x) for x in (None, 0.0, 0.004, 1234.567)] == ["unknown", "$0.00", "under $0.01", "$1,234.57"]
    assert [duration(x) for x in (0.44, 41.2, 59.6, 249, 11_100)] == [
        "0.4 s",
        "41 s",
        "1 min 0 s",
        "4 min 9 s",
        "3 h 5 min",
    ]
    assert [hours(x) for x in (0.0, 0.001, 0.25, 123.4)] == ["0.00", "under 0.01", "0.25", "123.4"]
    assert [p_value(x) for x in (0.0002, 0.0312)] == ["under 0.001", "0.031"]
    assert count(1234.4) == "1,234"


def test_sentences_made_for_a_terminal_are_printed_with_real_signs_and_names_stay_as_they_are() -> None:
    said = "C's teachers' gain: -5.6 points (95 % CI -9.1 to -2.2) over sft-weak-10, 'so' p=-1"
    assert typeset(said) == "C’s teachers’ gain: −5.6 points (95 % CI −9.1 to −2.2) over sft-weak-10, 'so' p=-1"


def test_the_page_says_how_an_outcome_comes_about_and_never_that_a_small_difference_is_no_gain(page: str) -> None:
    assert "<b>No gain</b>: the whole interval lies below 2 points" in page
    assert "counts as no gain" not in page
    assert "Sharma et al. 2024" in page
