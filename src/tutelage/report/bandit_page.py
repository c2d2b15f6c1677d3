"""The bandit as something to play with: sliders, the paper's Figure 6, the sweep; no server, no library.

`bandit_model.js` takes the same steps as the Python code on the same random draws, so that the page shows the numbers
of the command. Only numbers go into the page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

from tutelage.report.page import document

Tree = Mapping[str, Any]
"""What bandit.json holds."""

FIGURE_6: Tree = {
    "seed": 0,
    "num_arms": 100,
    "teacher_peak": 80,
    "teacher_width": 300,
    "student_peak": 40,
    "student_width": 300,
    "beta": 0.1,
    "num_pairs": 250_000,
    "num_samples": 250_000,
    "temperature": 0,
    "label_noise": 0,
    "reward_lr": 0.01,
    "reward_steps": 7500,
    "sft_lr": 0.01,
    "sft_steps": 15_000,
    "gap_step": 5,
}
"""The settings of the paper's figure, where the page begins."""

_WIDTHS = (10, 20, 50, 100, 150, 200, 300, 400, 600, 800, 1200, 2000, 5000)
_MANY = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 250_000, 500_000)
_BETAS = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1, 2, 5)
_SLIDERS: Sequence[tuple[str, str, str, Sequence[float] | None]] = (
    ("teacher_peak", "Teacher's peak", "arms", None),
    ("student_peak", "Student's peak", "arms", None),
    ("beta", "Beta: price of leaving the student", "", _BETAS),
    ("teacher_width", "Teacher's width", "arms squared", _WIDTHS),
    ("student_width", "Student's width", "arms squared", _WIDTHS),
    ("label_noise", "Label noise: share turned around", "", tuple(step / 50 for step in range(26))),
    ("num_pairs", "Pairs that the critic labels", "pairs", _MANY),
    ("num_samples", "Samples of the teacher", "samples", _MANY),
    ("temperature", "Critic's temperature", "arms", (0, 1, 2, 5, 10, 20, 50, 100)),
)
"""Setting, label, unit, places of the slider (None: every arm)."""

_POLICIES = (("student", "student"), ("teacher", "teacher"), ("rlaif", "feedback"), ("sft", "SFT"))
_MEASURES = (
    ("likeliest_arm", "likeliest arm"),
    ("expected_reward", "expected reward"),
    ("kl_from_student", "KL from the student, nats"),
)
_REWARDS = (("learned", "learned reward"), ("true", "true reward, scaled"))


def explorer(found: Tree | None = None) -> tuple[str, str]:
    """Return (HTML, script) of the explorer, for any page with the colours of `report.page`.

    Args:
        found: a result to begin with; None: the settings of the paper's figure, computed when it is first seen.
    """
    settings = FIGURE_6 if found is None else found["settings"]
    says = ("…", "…", "…") if found is None else found["says"]
    style = _file("bandit_page.css")
    html = (
        f'<div class="bandit" data-settings="{_json(settings)}" data-paper="{_json(FIGURE_6)}"><style>{style}</style>'
        f'<ul class="says" data-of="says">{"".join(f"<li>{escape(each)}</li>" for each in says)}</ul>'
        f'<figure class="stage"><svg data-of="policies" role="img" aria-label="Chance of each arm"></svg></figure>'
        f'<p class="keys">{"".join(_key(*each) for each in (*_POLICIES, *_REWARDS))}</p>'
        f'<div class="sliders">{"".join(_slider(settings, *each) for each in _SLIDERS)}</div>'
        '<p><button type="button">Back to the start</button></p>'
        f'<div class="both"><figure><svg data-of="sweep" role="img" aria-label="Expected reward by teacher"></svg>'
        "<figcaption>Each point of the SFT curve is another teacher. Dotted: where SFT overtakes feedback. "
        f"Dot: this teacher.</figcaption></figure>{_table(found)}</div>"
        '<p class="soft" role="status">The numbers of <code data-of="command">tutelage bandit</code> '
        "(while a slider moves: of fewer, longer steps).</p>"
        "<noscript><p>The sliders need JavaScript.</p></noscript></div>"
    )
    script = f'(() => {{\n"use strict";\n{_file("bandit_model.js")}\n{_file("bandit_page.js")}}})();\n'
    return html, script


def bandit_page(found: Tree) -> str:
    """Return a page, UTF-8 HTML, that begins with the numbers of `found`."""
    html, script = explorer(found)
    title = "Feedback on a weak student, or SFT on a strong teacher?"
    about = (
        f"A bandit with {found['settings']['num_arms']} arms; the true reward of an arm is its number. The student "
        "is shown pairs of its own samples with a critic's preference, learns a reward from them, and moves towards "
        "what the reward likes (feedback); or it imitates the teacher's samples (SFT). After Section 5 and Figure 6 "
        "of Sharma et al. 2024, arXiv 2402.12366."
    )
    body = ["<main>", f"<h1>{title}</h1>", f'<p class="soft">{about}</p>', html, "</main>"]
    return document(title, body, scripts=[script])


def _file(name: str) -> str:
    return (resources.files("tutelage") / "report" / name).read_text("utf-8")


def _json(value: Tree) -> str:
    return escape(json.dumps(dict(value), separators=(",", ":")))


def _slider(settings: Tree, name: str, label: str, unit: str, places: Sequence[float] | None) -> str:
    value = settings[name]
    values = sorted({*(range(settings["num_arms"]) if places is None else places), value})
    return (
        f'<label><span>{label}</span><output>{value:,}</output><input type="range" name="{name}" min="0" '
        f'max="{len(values) - 1}" value="{values.index(value)}" data-unit="{unit}" '
        f'data-values="{json.dumps(values, separators=(",", ":"))}"></label>'
    )


def _key(kind: str, name: str) -> str:
    line = f'<path class="curve {kind}" d="M0 5H32"/>'
    return f'<span><svg class="key" viewBox="0 0 32 10" aria-hidden="true">{line}</svg>{name}</span>'


def _table(found: Tree | None) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for _, name in _MEASURES)
    rows = ""
    for kind, name in _POLICIES:
        cells = "".join(f'<td data-of="{m} {kind}">{_value(found, m, kind)}</td>' for m, _ in _MEASURES)
        rows += f'<tr><th scope="row">{_key(kind, name)}</th>{cells}</tr>'
    return f'<table><thead><tr><th scope="col">policy</th>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _value(found: Tree | None, measure: str, policy: str) -> str:
    if found is None:
        return "…"
    value = found[measure][policy]
    return f"{value}" if isinstance(value, int) else f"{value:.2f}"
