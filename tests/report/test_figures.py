"""The figures of a study: what is drawn are the findings' numbers, and the SVGs are safe inside any page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from made_findings import HOSTILE_NAMES, JUDGES, findings, hostile

from tutelage import extras
from tutelage.errors import MissingExtraError, StoreError
from tutelage.findings import Findings, Span
from tutelage.report.figures import FIGURES, save, write_figures
from tutelage.report.figures.curves import spread
from tutelage.report.figures.style import VARIABLES, styled, wrapped

pytest.importorskip("matplotlib")
FOUND = findings()


@pytest.fixture(scope="module")
def drawn() -> dict[str, Any]:
    """Every figure of the made findings."""
    with styled():
        return {name: draw(FOUND) for name, draw in FIGURES.items()}


class Written(NamedTuple):
    """What `write_figures` left behind for findings with hostile names."""

    folder: Path
    svgs: dict[str, str]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """All figures of findings with hostile names, drawn once, of few panels, as drawing takes time."""
    folder = tmp_path_factory.mktemp("drawn") / "figures"
    found = hostile()
    few = found.model_copy(update={"why": found.why[:2], "judges": found.judges[:1]})
    return Written(folder, write_figures(few, folder))


def lines(axes: Any, along: int = 0) -> list[tuple[float, float]]:
    """The ends of the intervals on `axes`; along 0: lying, 1: upright."""
    ends = [path.vertices[:, along] for one in axes.collections for path in one.get_paths()]
    return [(float(low), float(high)) for low, high in ends]


def ends(span: Span) -> tuple[float, float]:
    assert span.low is not None
    assert span.high is not None
    return span.low, span.high


def texts(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


# ---- the numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 1])
def test_bars_are_as_long_as_the_win_rates_and_their_lines_are_the_intervals(drawn: Any, place: int) -> None:
    axes, judge = drawn["win_rates"].axes[place], JUDGES[place]
    rates = [rate for arm in FOUND.arms if (rate := arm.rate_by(judge))]
    assert [text for text in texts(axes) if text[0].isdigit()] == [f"{rate.rate.value:.1f}" for rate in rates]
    assert lines(axes) == [ends(rate.rate) for rate in rates]
    seeds = [tuple(map(float, line.get_xdata())) for line in axes.lines if line.get_marker() == "o"]
    assert seeds == [tuple(rate.by_seed.values()) for rate in rates]
    assert "no finished run" in texts(axes)[-1]


def test_a_bar_with_feedback_is_full_to_its_start_and_hatched_to_its_rate(drawn: Any) -> None:
    axes = drawn["win_rates"].axes[0]
    hatched = [p for p in axes.patches if p.get_hatch()]
    shown = {round(p.get_y() + p.get_height() / 2): (p.get_x(), p.get_x() + p.get_width()) for p in hatched}
    assert shown[3] == pytest.approx((43.2, 64.9))
    full = [p for p in axes.patches if not p.get_hatch() and round(p.get_y() + p.get_height() / 2) == 3]
    assert [p.get_width() for p in full] == [43.2]
    harmed = [p for p in axes.patches if round(p.get_y() + p.get_height() / 2) == 8]
    assert [(p.get_x(), p.get_x() + p.get_width()) for p in harmed] == [(0, 76.0), (76.0, 76.0), (76.0, 79.8)]


def test_differences_stand_raw_above_and_length_controlled_below(drawn: Any) -> None:
    for axes, judge in zip(drawn["differences"].axes, JUDGES, strict=True):
        asked = [c for c in FOUND.comparisons if c.judge == judge]
        marks = [float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() in ("o", "D")]
        assert marks == [v for c in asked for v in (c.difference.value, c.length_controlled.value)]
        assert lines(axes) == [ends(span) for c in asked for span in (c.difference, c.length_controlled)]
        assert [text for text in texts(axes) if text in ("gain", "harm", "no gain", "cannot tell")] == [
            c.outcome for c in asked
        ]
        band = axes.patches[0]
        assert (band.get_x(), band.get_width()) == (-FOUND.margin, 2 * FOUND.margin)


def test_scaling_shows_each_curve_against_each_cost_and_says_which_it_cannot(drawn: Any) -> None:
    figure = drawn["scaling"]
    assert len(figure.axes) == 6
    for axes, rule in zip(figure.axes[:3], ("prompts", "dollars", "tokens"), strict=True):
        shown = [
            list(zip(map(float, line.get_xdata()), map(float, line.get_ydata()), strict=True))
            for line in axes.lines
            if line.get_marker() == "o" and line.get_linestyle() == "-" and line.get_transform() == axes.transData
        ]
        known = [c for c in FOUND.curves if all(p.at[rule] is not None for p in c.points)]
        assert shown == [[(p.at[rule], p.rates[JUDGES[0]].value) for p in c.points] for c in known]
    assert "Not against dollars, as they are unknown: SFT on strong." in " ".join(figure.texts[-1].get_text().split())


def test_arms_with_feedback_stand_at_what_they_cost(drawn: Any) -> None:
    axes = drawn["scaling"].axes[1]
    marks = {
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in axes.lines
        if line.get_marker() in ("D", "s", "X") and line.get_transform() != axes.get_yaxis_transform()
    }
    fed = [arm for arm in FOUND.arms if arm.feedback != "none"]
    assert marks == {(arm.cost.dollars, arm.rates[0].rate.value) for arm in fed if arm.cost}


def test_the_strong_teachers_figure_sets_feedback_beside_all_of_one_teacher(drawn: Any) -> None:
    axes = drawn["strong_teacher"].axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["strong-10+critic-a", "strong-100"]  # and no bar of the weak teacher
    assert [text.strip() for text in texts(axes) if text.startswith(" ")] == ["taught by strong"]


def test_training_curves_have_a_line_for_each_run_and_a_thick_one_for_their_mean(drawn: Any) -> None:
    axes = drawn["training"].axes[1]
    *runs, mean = [list(map(float, line.get_ydata())) for line in axes.lines]
    logged = [run.values["kl/reference_to_policy"] for run in FOUND.why[0].curves]
    assert runs == [list(values) for values in logged]
    assert mean == pytest.approx([sum(v or 0 for v in at) / 3 for at in zip(*logged, strict=True)])
    assert axes.lines[-1].get_linewidth() > axes.lines[0].get_linewidth()
    steps = [list(line.get_xdata()) for line in drawn["training"].axes[0].lines]
    assert all(each == list(FOUND.why[0].curves[0].steps[:-1]) for each in steps)  # no value at the last


def test_lengths_and_confidence_show_what_was_measured(drawn: Any) -> None:
    words, ended = drawn["lengths"].axes
    for axes, before, after in ((words, "words_before", "words_after"), (ended, "ended_before", "ended_after")):
        dots = [float(line.get_xdata()[0]) for line in axes.lines if line.get_marker() == "o"]
        assert dots == [getattr(why, one).value for why in FOUND.why for one in (before, after)]
    binned = [why for why in FOUND.why if why.by_confidence]
    assert len(drawn["confidence"].axes) == len(binned) == 2
    assert list(drawn["confidence"].axes[0].lines[1].get_ydata()) == pytest.approx([58, 66, 77, 86])
    said = " ".join(drawn["confidence"].texts[-1].get_text().split())
    assert "Not shown: weak-10+critic-b (critic-b gives no probabilities)." in said


def test_the_matrix_frames_and_names_related_critics_and_judges(drawn: Any) -> None:
    axes = drawn["matrix"].axes[0]
    assert [text for text in texts(axes) if text[0] == "+"] == ["+21.7", "+17.4", "+15.1", "+17.1"]
    assert [("one family" in text, "the same model" in text) for text in texts(axes)[1::2]] == [
        (True, False),
        (False, False),
        (False, False),
        (False, True),
    ]
    assert [patch.get_linewidth() for patch in axes.patches[1::2]] == [2, 0.8, 0.8, 2]


# ---- what is not there -------------------------------------------------------------------------------

_BARE: dict[str, Any] = {"comparisons": (), "curves": (), "matrix": (), "why": ()}


def made_of(found: Findings) -> list[str]:
    with styled():
        return [name for name, draw in FIGURES.items() if draw(found) is not None]


def test_a_figure_for_which_there_is_nothing_is_not_made(tmp_path: Path) -> None:
    assert made_of(findings(**_BARE)) == ["win_rates", "strong_teacher"]
    plain = tuple(arm for arm in FOUND.arms if arm.feedback == "none")
    assert made_of(findings(**_BARE, arms=plain)) == ["win_rates"]
    unfinished = tuple(arm.model_copy(update={"rates": ()}) for arm in FOUND.arms)
    assert write_figures(findings(**_BARE, arms=unfinished), tmp_path / "figures") == {}
    assert not (tmp_path / "figures").exists()
    (tmp_path / "figures").mkdir()
    for name in ("matrix.png", "matrix.svg", "mine.png"):
        (tmp_path / "figures" / name).write_text("of an earlier report")
    assert write_figures(findings(**_BARE, arms=unfinished), tmp_path / "figures") == {}
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["mine.png"]


def test_unknown_differences_and_free_teachers_are_said_and_not_drawn() -> None:
    unknown = Span(value=None, note="no run of weak-100")
    asked = FOUND.comparisons[0].model_copy(update={"difference": unknown, "length_controlled": unknown})
    free = [
        curve.model_copy(
            update={"points": tuple(p.model_copy(update={"at": p.at | {"dollars": 0.0}}) for p in curve.points)}
        )
        for curve in FOUND.curves
    ]
    arms = tuple(arm for arm in FOUND.arms if arm.feedback == "none")
    bare = findings(**_BARE | {"comparisons": (asked,), "curves": tuple(free), "arms": arms, "judges": JUDGES[:1]})
    with styled():
        shown, scaling = FIGURES["differences"](bare), FIGURES["scaling"](bare)
    assert texts(shown.axes[0])[0] == "no run of weak-100"
    assert len(scaling.axes) == 2
    said = " ".join(scaling.texts[-1].get_text().split())
    assert "Nothing is drawn against dollars, of which none were spent." in said


# ---- the files ---------------------------------------------------------------------------------------


def test_every_figure_is_written_as_png_and_as_svg_in_real_colours(written: Written) -> None:
    assert list(written.svgs) == list(FIGURES)
    assert {path.name for path in written.folder.iterdir()} == {f"{n}.{e}" for n in FIGURES for e in ("png", "svg")}
    for name in FIGURES:
        assert (written.folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        text = (written.folder / f"{name}.svg").read_text("utf-8")
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root[0].text
        assert "var(--" not in text
        assert "#1b222b" in text


def tags(svg: str) -> Iterator[str]:
    """Everything between < and >; what people wrote is escaped and is none of it."""
    yield from re.findall(r"<[^<>]*>", svg)


def test_inline_svgs_load_nothing_run_nothing_and_take_their_colours_from_the_page(written: Written) -> None:
    for name, svg in written.svgs.items():
        root = ElementTree.fromstring(svg)
        assert root.get("role") == "img"
        assert root.get("aria-label"), name
        assert {element.tag for element in root.iter()} <= {"svg", "g", "defs", "path", "text", "use", "rect"} | {
            "pattern",
            "clipPath",
        }
        assert not [key for element in root.iter() for key in element.attrib if key.startswith("on")]
        assert not re.findall(r"#[0-9a-f]{6}\b|http|@import|data:", " ".join(list(tags(svg))[1:]))
        assert {v for v in re.findall(r"var\(--(\w+)\)", svg)} <= set(VARIABLES.values())
        # Black is what SVG paints where nothing is said, and is not seen on a dark page.
        assert [t.get("style") for t in root.iter("text") if "fill:" not in (t.get("style") or "")] == []
        assert len(svg.encode()) < 150_000


def test_ids_are_unique_over_all_figures_and_every_reference_is_met(written: Written) -> None:
    ids = [i for svg in written.svgs.values() for tag in tags(svg) for i in re.findall(r' id="([^"]*)"', tag)]
    assert len(ids) == len(set(ids))
    used = {
        r for svg in written.svgs.values() for tag in tags(svg) for r in re.findall(r'(?:url\(|href=")#([^")]*)', tag)
    }
    assert used == set(ids)


def test_hostile_names_are_text_as_they_were_given(written: Written) -> None:
    shown = "".join("".join(ElementTree.fromstring(svg).itertext()) for svg in written.svgs.values())
    for name in ("$\\frac{weak}{10}$", "<img src=x onerror=alert(2)> &", "we$ak", "critic\\u202ea\\x07 $"):
        assert name in shown
    assert not any(c in shown for c in "\u202e\x07")
    assert all("<script" not in svg and "<img" not in svg for svg in written.svgs.values())
    assert HOSTILE_NAMES["weak-100"][:20] in shown


def test_the_same_findings_give_the_same_bytes(drawn: Any, written: Written, tmp_path: Path) -> None:
    with styled():
        for folder in ("one", "other"):
            save(FIGURES["matrix"](FOUND), "matrix", tmp_path / folder)
    for name in ("matrix.svg", "matrix.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    text = (written.folder / "win_rates.svg").read_text("utf-8")
    assert not re.search(r"<metadata|<!--|\b20\d\d-\d\d-\d\d|Matplotlib", text)


def test_a_folder_that_cannot_be_written_and_a_missing_library_are_one_error_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        write_figures(findings(**_BARE), tmp_path / "file" / "figures")
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tutelage\[plot\]'"):
        write_figures(FOUND, tmp_path)


def test_the_users_own_matplotlib_settings_change_nothing_and_are_left_alone(tmp_path: Path) -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path"}), styled():
        save(FIGURES["matrix"](FOUND), "matrix", tmp_path / "theirs")
        assert matplotlib.rcParams["font.size"] == 9
    with styled():
        save(FIGURES["matrix"](FOUND), "matrix", tmp_path / "ours")
    assert (tmp_path / "ours" / "matrix.svg").read_bytes() == (tmp_path / "theirs" / "matrix.svg").read_bytes()
    assert matplotlib.rcParams["font.size"] != 9


@pytest.mark.parametrize("heights", [[], [50.0], [40.0, 40.0, 40.0], [1.0, 99.0, 99.5, 99.9], [0.0] * 5])
def test_labels_are_spread_in_order_and_apart(heights: list[float]) -> None:
    placed = spread(heights, 5.0, 0.0, 100.0)
    assert all(b - a >= 5 - 1e-9 for a, b in pairwise(placed))
    assert all(0 <= place <= 100 for place in placed)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b", "a b"),
        ("word word word", "word\nword\nword"),
        ("one two three four five", "one\ntwo\nthr…"),
        ("\u202e\x00", "\\u20\n2e\\x\n00"),
    ],
)
def test_wrapped_text_keeps_to_its_lines_and_says_that_it_was_cut(text: str, shown: str) -> None:
    assert wrapped(text, 4) == shown


def test_questions_with_long_names_are_not_cut_where_they_would_read_the_same() -> None:
    made = findings()
    name = "a-critic-whose-name-is-as-long-as-a-name-may-be-" + 12 * "x"
    asked = {c.question: f"Feedback from {name} over {c.question}" for c in made.comparisons}
    long = tuple(c.model_copy(update={"question": asked[c.question]}) for c in made.comparisons)
    figure = FIGURES["differences"](made.model_copy(update={"comparisons": long}))
    for axes in figure.axes:
        shown = [label.get_text() for label in axes.get_yticklabels()]
        assert len(set(shown)) == len(shown)
        assert figure.get_size_inches()[1] / len(figure.axes) > 0.15 * sum(s.count("\n") + 1 for s in shown)
