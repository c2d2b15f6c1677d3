"""A study as one page that needs nothing else: the verdict first, then everything it rests on.

What makes it so, and what keeps texts from acting in it, is shared with the other pages: `report.page`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tutelage.findings import ArmFound, Findings
from tutelage.report import study_reasons, study_results, study_sources, tables
from tutelage.report.page import document, prose, text
from tutelage.report.study_words import RULES, listed, moment, road, typeset

_STYLE = """\
:root{--good:#22663f;--bad:#a1302a;--mark:#fdf1d7}
@media(prefers-color-scheme:dark){:root{--good:#7fd0a2;--bad:#f0958d;--mark:#43361b}}
body{max-width:70rem;padding-inline:clamp(1rem,3vw,2rem)}
h1{font-size:1.9rem;margin:.4rem 0 .3rem;letter-spacing:-.01em}h2{font-size:1.35rem;margin:3rem 0 .6rem}
h3{font-size:1.05rem;margin:1.8rem 0 .4rem;overflow-wrap:anywhere}
h4{font-size:.85rem;font-weight:600;margin:.8rem 0 .2rem}
p,li{max-width:46rem;overflow-wrap:anywhere}p{margin:.5rem 0}a{color:var(--dot);text-underline-offset:.15em}
nav ol{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;margin:1rem 0 0;padding:.6rem 0;list-style:none;font-size:.9rem;
border-block:1px solid var(--line)}
nav a{text-decoration:none;display:inline-block;padding:.2rem 0}nav a:hover{text-decoration:underline}
.top{display:grid;grid-template-columns:minmax(0,5fr) minmax(0,3fr);gap:1rem;align-items:start}
.top>div,.missing{padding:1.1rem 1.3rem;border-radius:.6rem;background:var(--card)}
.top>div:only-child{grid-column:1/-1}
.verdict{border-left:4px solid var(--dot)}.verdict p{margin:.7rem 0 0;line-height:1.5}
.verdict p:first-child{margin:0;font-size:1.15rem;line-height:1.45}.verdict p.soft{font-size:.9rem}
.top h3,.missing h3{margin:0 0 .4rem;font-size:1rem}.top ul,.missing ul{margin:.3rem 0 0;padding-left:1.1rem}
.top li,.missing li{margin:.35rem 0}.warnings{border-left:4px solid var(--b)}.warnings ul{font-size:.93rem}
.missing{margin-top:1rem;border-left:4px solid var(--bad)}
.plain{font-size:.9rem}ul.plain{padding-left:1.1rem}ul.plain li{margin:.25rem 0}
.figure{margin:1rem 0 1.4rem}.figure>.scroll{margin-left:-9px}
.figure figcaption{color:var(--soft);font-size:.9rem;max-width:46rem}
.figure svg{display:block;width:100%;height:auto}
.badge{display:inline-block;padding:.05rem .5rem;border:1px solid currentcolor;border-radius:1rem;font-size:.82rem;
font-weight:600;white-space:nowrap;color:var(--soft)}.badge.gain{color:var(--good)}.badge.harm{color:var(--bad)}
mark{padding:.05rem .35rem;border-radius:.25rem;background:var(--mark);color:var(--ink)}
code{font:.88em ui-monospace,monospace;overflow-wrap:anywhere}details.pair{padding:.4rem .8rem}
summary:hover{color:var(--dot)}div.pair{display:grid;grid-template-columns:1fr 1fr;gap:1rem}div.pair>div{min-width:0}
.nw{white-space:nowrap}footer{margin-top:3rem;padding-top:.8rem;border-top:1px solid var(--line)}
tr:target{background:var(--card)}
@media screen and (max-width:48rem){.top,div.pair{grid-template-columns:minmax(0,1fr)}div.pair{gap:0}
h1{font-size:1.5rem}nav a{padding:.35rem 0}}
@media print{@page{margin:15mm}body{font-size:9.5pt}h1{font-size:18pt}h2{font-size:14pt;margin-top:1.5rem}
h3,h4,summary{break-after:avoid}nav{display:none}.top>div,.missing{border:1px solid var(--line)}
.figure>div>div{min-width:0!important}.figure figcaption,.data caption{font-size:8.5pt}.badge{font-size:8pt}
.verdict p:first-child{font-size:12pt}.warnings ul,nav ol,h4,.plain,.verdict p.soft{font-size:1em}
#appendix{display:none}}
"""

_FIGURES = {
    "win_rates": ("Win rates", "After Figure 2 of the paper."),
    "differences": ("Comparisons", ""),
    "scaling": ("Scaling", "After Figure 3 of the paper."),
    "strong_teacher": ("The strong teacher", "After Figure 5 of the paper."),
    "training": ("Training", ""),
    "lengths": ("Lengths", ""),
    "confidence": ("Confidence", ""),
    "matrix": ("Critics and judges", ""),
}
"""What a figure is called, and what stands below it: titles, keys and notes are in the pictures."""

_APPENDIX = (
    "<p class=soft>The paper’s synthetic experiment, its Section 5, to play with: when does feedback do more for a "
    "weak student than SFT on a strong teacher? It is no part of what this study found.</p>"
)


_PAPER = (
    "The paper: Sharma et al. 2024, A Critical Evaluation of AI Feedback for Aligning Large Language Models, "
    "arXiv 2402.12366."
)


def study_page(findings: Findings, figures: Mapping[str, str], appendix: tuple[str, str] | None = None) -> str:
    """Return the page, UTF-8 HTML.

    Args:
        figures: name -> trusted inline SVG, as `report.figures` draws them; one that there is not is left out.
        appendix: trusted HTML that is shown last, and the JavaScript it needs.

    Raises:
        ValueError: a figure has no place in the page.
    """
    drawn = _Figures(figures)
    sections = [
        ("verdict", "The verdict", _verdict(findings)),
        ("comparisons", "Comparisons", drawn.take("differences") + _comparisons(findings)),
        ("win-rates", "Win rates", drawn.take("win_rates") + study_results.win_rates(findings)),
        ("scaling", "Scaling", drawn.take("scaling") + study_results.curves(findings)),
        ("strong-teacher", "The strong teacher", drawn.take("strong_teacher")),
        ("why", "Why", _why(findings, drawn)),
        ("judges", "Judges", drawn.take("matrix") + study_reasons.matrix(findings) + study_reasons.judges(findings)),
        ("cost", "Cost", study_reasons.costs(findings)),
        ("pairs", "Sampled pairs", _pairs(findings)),
        ("provenance", "Provenance", study_sources.provenance(findings)),
        ("appendix", "Appendix: the bandit", _APPENDIX + appendix[0] if appendix else ""),
    ]
    drawn.done()
    sections = [section for section in sections if section[2]]
    title = f"{findings.name}: did the feedback help?"
    contents = "".join(f"<li><a href=#{place}>{name}</a></li>" for place, name, _ in sections)
    made = text(f"{moment(findings.made_at)} by tutelage {findings.tutelage}")
    body = [
        f"<header><h1>{text(title)}</h1><p class=soft>{_about(findings)}</p>"
        f'<nav aria-label="Contents"><ol>{contents}</ol></nav></header>\n<main>',
        *(f"<section id={place}><h2>{name}</h2>\n{html}</section>" for place, name, html in sections),
        f"</main>\n<footer class=soft><p>Made {made}.</p><p>{_PAPER}</p></footer>",
    ]
    return document(title, body, tables.STYLE + _STYLE, [appendix[1]] if appendix else [])


# ---- the head ---------------------------------------------------------------------------------------


def _about(findings: Findings) -> str:
    judges, seeds = list(findings.judges), [str(seed) for seed in findings.seeds]
    said = (
        f"Baseline: {findings.baseline}",
        f"{'judge' if len(judges) == 1 else 'judges'}: {listed(judges)}",
        f"{'seed' if len(seeds) == 1 else 'seeds'}: {listed(seeds)}",
        f"{findings.num_prompts:,} prompts to evaluate on",
        f"arms made equal in {RULES[findings.match]}",
    )
    return text(" · ".join(said))


_DIFFERENCE = re.compile(r"(?<=adds )\d[\d.]* points|[+\N{MINUS SIGN}]\d[\d.]* points|\d[\d.]* points(?= ahead)")
_BOLD = r"<b>\g<0></b>"


def _verdict(findings: Findings) -> str:
    said = "".join(
        f"<p>{_DIFFERENCE.sub(_BOLD, prose(text(typeset(sentence))))}</p>" for sentence in findings.verdict
    )
    warnings = "".join(f"<li>{text(typeset(warning))}</li>" for warning in findings.warnings)
    if said:
        points = f"Points are percentage points of the win rate against {findings.baseline}"
        said += f"<p class=soft>{text(points)}. Judge: {text(findings.judges[0])}.</p>"
    beside = f"<div class=warnings><h3>Warnings</h3><ul>{warnings}</ul></div>" if warnings else ""
    said = said or "<p>No comparison has what it needs yet, so there is no verdict.</p>"
    return f"<div class=top><div class=verdict>{said}</div>{beside}</div>{_missing(findings)}"


def _missing(findings: Findings) -> str:
    unfinished = [arm for arm in findings.arms if arm.missing]
    if not unfinished:
        return ""
    num = sum(len(arm.missing) for arm in unfinished)
    runs = "1 run is" if num == 1 else f"{num:,} runs are"
    return (
        f"<div class=missing><h3>Not finished: {runs} missing</h3>"
        f"<ul>{''.join(map(_missing_of, unfinished))}</ul>"
        "<p>Everything below rests on the runs that are there. The same command goes on from here.</p></div>"
    )


def _missing_of(arm: ArmFound) -> str:
    seeds: dict[tuple[str, str], list[str]] = {}
    for run in arm.missing:
        seeds.setdefault((run.stage, run.why), []).append(str(run.seed))
    reasons = "; ".join(
        f"{'seed' if len(those) == 1 else 'seeds'} {listed(those)} at {stage}: {why}"
        for (stage, why), those in seeds.items()
    )
    rest = (
        "no run is finished"
        if not arm.seeds
        else f"{len(arm.seeds)} of {len(arm.seeds) + len(arm.missing)} are there"
    )
    return f"<li><b>{text(arm.name)}</b> ({text(road(arm))}), {rest}. {text(reasons)}</li>"


# ---- sections ---------------------------------------------------------------------------------------


def _comparisons(findings: Findings) -> str:
    matched = study_results.matched(findings)
    at_equal_cost = f"<h3>At equal cost</h3>{matched}" if matched else ""
    return study_results.comparisons(findings) + study_results.reading(findings) + at_equal_cost


def _why(findings: Findings, drawn: _Figures) -> str:
    training, confidence = study_reasons.training(findings), study_reasons.confidence(findings)
    parts = [
        drawn.take("training"),
        _folded("The logged values as a table", training),
        drawn.take("lengths"),
        drawn.take("confidence"),
        _folded("The confidence as a table", confidence),
        study_reasons.unsure(findings),
        study_reasons.why(findings),
    ]
    return "".join(parts)


def _folded(summary: str, html: str) -> str:
    return f"<details><summary>{summary}</summary>{html}</details>" if html else ""


def _pairs(findings: Findings) -> str:
    shown = study_sources.shown(findings)
    if not shown:
        return ""
    num = f"{len(findings.shown):,}"
    return (
        f"<p class=soft>{num} of the evaluated pairs. Won and lost are said of the arm’s completion. Texts are shown "
        f"as they are, control characters as escapes. On paper, what is folded stays folded.</p>{shown}"
    )


class _Figures:
    """The figures, each of which is shown once."""

    def __init__(self, figures: Mapping[str, str]) -> None:
        self._left = dict(figures)

    def take(self, name: str) -> str:
        """Return the figure of this name, if there is one."""
        svg = self._left.pop(name, "")
        return _figure(*_FIGURES[name], svg) if svg else ""

    def done(self) -> None:
        """See that none is left."""
        if self._left:
            raise ValueError(f"no place in the page for the figures {sorted(self._left)}; known: {sorted(_FIGURES)}")


def _figure(title: str, caption: str, svg: str) -> str:
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return (
        f'<figure class=figure><div class=scroll tabindex=0 role=group aria-label="Figure: {title}">'
        f'<div style="min-width:{_least_width(svg)}px">{svg}</div></div>{below}</figure>\n'
    )


def _least_width(svg: str) -> int:
    """Return the width, px, below which a picture scrolls: at four fifths of its size one still reads.

    Pictures are drawn in points, of which 72 are an inch; in a page 96 px are.
    """
    found = re.search(r'viewBox="[\d.-]+ [\d.-]+ ([\d.]+)', svg)
    return round(0.8 * float(found[1]) * 96 / 72) if found else 640
