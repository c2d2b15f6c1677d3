"""An audit as one page that needs nothing else: no script, no network, readable on a phone and on paper.

What makes it so, and what keeps texts from acting in it, is shared with the other pages: `report.page`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tutelage.report.audit_words import Tree, interval, known, number, sentences
from tutelage.report.page import beginning, block, document, text

_STYLE = """\
ul.short{padding:1rem 1rem 1rem 2rem;background:var(--card);border-radius:.5rem}ul.short li{margin:.35rem 0}
table.measures{table-layout:fixed}table.measures th:first-child{width:32%}table.measures .v{width:11%}
table.measures .i{width:19%}table.measures .n{width:8%}td.plot{min-width:9rem}table.planted th:first-child{width:28%}
td.n,th.n{text-align:right;white-space:nowrap}td.v{white-space:nowrap}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{fill:var(--soft);font:9px system-ui,sans-serif}
.axis{stroke:var(--line)}.zero{stroke:var(--soft);stroke-dasharray:3 3}.whisker{stroke:var(--dot);stroke-width:2}
.dot{fill:var(--dot)}.key{display:inline-block;width:.8em;height:.8em;border-radius:.15em;margin-right:.35em}
@media(max-width:40rem){thead{display:none}tr{display:block;border-bottom:1px solid var(--line);padding:.5rem 0}
tbody th,td{display:inline-block;border:0;padding:.1rem .8rem .1rem 0;text-align:left}
table.measures tbody :is(th,.v,.i,.n),table.planted tbody th{width:auto}tbody th,td.plot{display:block}
td.plot svg{max-width:20rem}
td[data-is]::before{content:attr(data-is) " ";color:var(--soft);font-size:.85rem}td.n{text-align:left}}
@media print{details::details-content{content-visibility:visible;display:block;height:auto}}
"""


def audit_page(measured: Tree, about: Mapping[str, str], examples: Sequence[Tree], planted: Mapping[str, str]) -> str:
    """Return the page, UTF-8 HTML.

    Args:
        measured: the audit, as `audit.json` holds it.
        about: what was audited and how, in the order shown: name -> value.
        examples: {what, prompt, left, right, said: [{order, reply}]}, replies worth reading.
        planted: kind -> the text that was planted.
    """
    judge = text(measured["judge"])
    body = [
        f"<h1>Audit of {judge}</h1>",
        f'<p class="soft">{" · ".join(f"{text(k)}: {text(v)}" for k, v in about.items())}</p>',
        "<h2>In short</h2>",
        '<ul class="short">' + "".join(f"<li>{text(s)}</li>" for s in sentences(measured)) + "</ul>",
        '<p class="soft">In brackets and as whiskers: 95 % intervals, over pairs. An open end is drawn as an arrow. '
        "Dashed: what a judge without the fault would show.</p>",
        *(_table(title, rows) for title, rows in _groups(measured)),
        _flips(measured["position"]),
        _gold(measured["agreement"]),
        _injections(measured["injections"], planted),
        _examples(examples),
    ]
    return document(f"Audit of {measured['judge']}", body, _STYLE)


# ---- measures ---------------------------------------------------------------------------------------

_Row = tuple[str, str, Tree, float | None]
"""Name, meaning, estimate, and what a judge without the fault would show."""


def _groups(measured: Tree) -> list[tuple[str, list[_Row]]]:
    position, length, gold, own = (measured[k] for k in ("position", "length", "agreement", "self_preference"))
    even = "at equal quality" if length["quality"] != "unknown" else "quality unknown: no bias by itself"
    return [
        (
            "Position",
            [
                ("shown first wins", "every pair in both orders", position["first_wins"], 50.0),
                ("flips", "the verdict changes with the order", position["flips"], 0.0),
                ("position bias", "log-odds of being first, whatever the quality", position["bias"], 0.0),
            ],
        ),
        (
            "Length",
            [
                ("longer wins", "may be better, too", length["longer_wins"], 50.0),
                ("longer wins, gold ties", "equally good by gold label", length["longer_wins_gold_ties"], 50.0),
                ("slope per 100 words", f"log-odds, {even}", length["per_100_words"], 0.0),
            ],
        ),
        (
            "Reliability",
            [
                ("same verdict when asked again", "the very same question", measured["self_consistency"], 100.0),
                ("unreadable", "no verdict in the reply", measured["unreadable"], 0.0),
                ("right where both decide", "against gold labels", gold["accuracy"], 100.0),
                ("right in one order alone", "a tie counts half", gold["per_showing"], 100.0),
                ("kappa", "left, tie, right; 0 is chance", gold["kappa"], 1.0),
            ],
        ),
        ("Own family" if own["family"] is None else f"Own family ({own['family']})", _own_family(own)),
    ]


def _own_family(own: Tree) -> list[_Row]:
    rows: list[_Row] = [("self-preference", "points more than by gold labels", own["excess"], 0.0)]
    if known(own["judge_share"]):
        rows.insert(0, ("own family wins: judge", "pairs with one completion by it", own["judge_share"], None))
    if known(own["gold_share"]):
        rows.insert(1, ("own family wins: gold labels", "the same pairs", own["gold_share"], None))
    return rows


def _table(title: str, rows: Sequence[_Row]) -> str:
    cells = "".join(
        f"<tr><th scope=row>{text(name)}<small>{text(meaning)}</small></th>{_cells(estimate, ideal)}</tr>"
        for name, meaning, estimate, ideal in rows
    )
    head = "<th>measure<th class=v>estimate<th class=i>95 % interval<th><th class=n>pairs"
    return f"<h2>{text(title)}</h2><table class=measures><thead><tr>{head}</thead><tbody>{cells}</tbody></table>"


def _cells(estimate: Tree, ideal: float | None, widest: float | None = None) -> str:
    if not known(estimate):
        return f'<td colspan=4 class="soft">{text(estimate["note"])}</td>'
    value = "–" if estimate["value"] is None else number(estimate["value"], estimate["unit"])
    note = f"<small>{text(estimate['note'])}</small>" if estimate["note"] else ""
    return (
        f'<td class=v data-is="">{text(value)}</td><td class=i data-is="95 %">{text(interval(estimate))}{note}</td>'
        f"<td class=plot>{dot_and_whisker(estimate, ideal, widest)}</td>"
        f'<td class=n data-is="pairs">{estimate["num"]:,}</td>'
    )


def dot_and_whisker(estimate: Tree, ideal: float | None, widest: float | None = None) -> str:
    """Return an inline SVG of one estimate on the scale of its unit; `widest` is the end of one that is shared."""
    low, high = _scale(estimate, widest)

    def x(value: float) -> float:
        return round(6 + 188 * min(max((value - low) / (high - low), 0.0), 1.0), 2)

    one = x(low if estimate["low"] is None else estimate["low"])
    other = x(high if estimate["high"] is None else estimate["high"])
    parts = ["<line class=axis x1=6 x2=194 y1=10 y2=10 />"]
    if ideal is not None:
        parts.append(f"<line class=zero x1={x(ideal)} x2={x(ideal)} y1=2 y2=18 />")
    parts.append(f"<line class=whisker x1={one} x2={other} y1=10 y2=10 />")
    if estimate["low"] is None:
        parts.append(f'<path class=dot d="M{one - 5} 10l7 -4v8z"/>')
    if estimate["high"] is None:
        parts.append(f'<path class=dot d="M{other + 5} 10l-7 -4v8z"/>')
    if estimate["value"] is not None:
        parts.append(f"<circle class=dot cx={x(estimate['value'])} cy=10 r=4 />")
    parts.append(f"<text x=6 y=26>{_mark(low)}</text><text x=194 y=26 text-anchor=end>{_mark(high)}</text>")
    return f'<svg viewBox="0 0 200 28" aria-hidden=true>{"".join(parts)}</svg>'


def _scale(estimate: Tree, widest: float | None) -> tuple[float, float]:
    """0 to 100 for a share, -1 to 1 for kappa; else as far as the interval goes, alike to both sides of 0."""
    if estimate["unit"] == "%":
        return 0.0, 100.0
    if estimate["unit"] == "kappa":
        return -1.0, 1.0
    widest = max(_reach(estimate), 1e-6) if widest is None else widest
    step = 10.0 ** math.floor(math.log10(widest))
    widest = next(step * n for n in (1, 2, 5, 10) if step * n >= widest * 0.999)
    return -widest, widest


def _mark(value: float) -> str:
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def _reach(estimate: Tree) -> float:
    return max((abs(estimate[k]) for k in ("value", "low", "high") if estimate[k] is not None), default=0.0)


# ---- counts -----------------------------------------------------------------------------------------


def _flips(position: Tree) -> str:
    counts = (
        ("d", "same verdict in both orders", position["num_consistent"]),
        ("a", "first slot both times", position["num_first_twice"]),
        ("b", "second slot both times", position["num_second_twice"]),
        ("c", "a tie in one order", position["num_tied_once"]),
    )
    total = sum(num for *_, num in counts)
    if not total:
        return ""
    bars, start = "", 0.0
    for colour, _, num in counts:
        width = 100 * num / total
        bars += f'<rect x={start:.3f} width={width:.3f} y=0 height=4 style="fill:var(--{colour})" />'
        start += width
    key = " &nbsp; ".join(
        f'<span class=key style="background:var(--{c})"></span>{what} {num:,}' for c, what, num in counts
    )
    bar = f'<svg viewBox="0 0 100 4" preserveAspectRatio=none style="height:1.2rem" aria-hidden=true>{bars}</svg>'
    return f"<h2>When the order is swapped</h2><figure>{bar}<figcaption>{key}</figcaption></figure>"


def _gold(gold: Tree) -> str:
    if not any(map(any, gold["table"])):
        return ""
    names = ("left", "tie", "right")
    rows = "".join(
        f"<tr><th scope=row>gold: {name}</th>"
        + "".join(f'<td data-is="{said}">{num:,}</td>' for said, num in zip(names, row, strict=True))
        + "</tr>"
        for name, row in zip(names, gold["table"], strict=True)
    )
    head = "<th>gold label<th>judge: left<th>judge: tie or flip<th>judge: right"
    return f"<h2>Against gold labels</h2><table><thead><tr>{head}</thead><tbody>{rows}</tbody></table>"


def _injections(effects: Sequence[Tree], planted: Mapping[str, str]) -> str:
    if not effects:
        return ""
    widest = max([_reach(e["shift"]) for e in effects] + [1.0])
    rows = "".join(
        f"<tr><th scope=row>{text(e['kind'])}<small>{text(beginning(planted.get(e['kind'], '')))}</small></th>"
        f'<td class=v data-is="before">{_tally(e["before"])}</td>'
        f'<td class=v data-is="after">{_tally(e["after"])}</td>{_cells(e["shift"], 0.0, widest)}</tr>'
        for e in effects
    )
    head = "<th>planted text<th>before<th>after<th>shift<th>95 % interval<th><th class=n>pairs"
    return (
        "<h2>Planted texts</h2><p class=soft>The same showings without and with a text planted in one completion "
        "(drawn by a seed, not by its quality). Before and after: won / tied / lost / unreadable, of the completion "
        "that holds it; the shift of its win share is in percentage points.</p>"
        f"<table class=planted><thead><tr>{head}</thead><tbody>{rows}</tbody></table>"
    )


def _tally(tally: Tree) -> str:
    return " / ".join(f"{tally[k]:,}" for k in ("won", "tied", "lost", "unreadable"))


def _examples(examples: Sequence[Tree]) -> str:
    if not examples:
        return ""
    shown = "".join(
        f"<details><summary>{text(e['what'])}: {text(beginning(e['prompt']))}</summary>"
        f"<small>prompt</small>{block(e['prompt'])}<small>left</small>{block(e['left'])}"
        f"<small>right</small>{block(e['right'])}"
        + "".join(f"<small>{text(s['order'])}, the judge says</small>{block(s['reply'])}" for s in e["said"])
        + "</details>"
        for e in examples
    )
    return f"<h2>Examples</h2>{shown}"
