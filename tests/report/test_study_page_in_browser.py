"""The page of a study in a real browser: nothing acts, nothing is loaded, and everybody can read it."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from acting import ACTS, FIGURES, acting_findings
from made_findings import findings, hostile

from tutelage.findings import Findings
from tutelage.report.bandit_page import explorer
from tutelage.report.figures import write_figures
from tutelage.report.study_page import study_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium: apt-get install --no-install-recommends chromium fonts-dejavu-core"
)
ALONE = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"),
    "--virtual-time-budget=100000",
)
POLICY = re.compile('<meta http-equiv="Content-Security-Policy"[^>]*>')
TITLE = "miniature: did the feedback help?"


@dataclass(frozen=True)
class Opened:
    """What came of a page in the browser."""

    dom: str
    console: list[str]
    requests: list[str]

    @property
    def title(self) -> str:
        """As it is in the end, whatever it was."""
        return html.unescape(self.dom.split("<title>")[1].split("</title>")[0])


def opened(path: Path, *flags: str) -> Opened:
    """Open a page until it rests. No name is resolved: what it asks for is seen, and never sent."""
    log = path.with_suffix(".net.json")
    own = (f"--user-data-dir={path.parent / 'profile'}", f"--log-net-log={log}")
    nowhere = "--host-resolver-rules=MAP * ~NOTFOUND"
    command = [str(CHROMIUM), *ALONE, *own, nowhere, *flags, "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    events = [event.get("params", {}) for event in json.loads(log.read_text("utf-8"))["events"]]
    # The browser's own requests say that they come from no origin; a page's come from one, or from "null", a file.
    asked = [p["url"] for p in events if "url" in p and p.get("initiator", "not an origin") != "not an origin"]
    said = re.findall(r":CONSOLE.*", done.stderr.decode("utf-8", "replace"))
    return Opened(done.stdout.decode("utf-8", "replace"), said, asked)


def written(path: Path, page: str) -> Path:
    path.write_text(page, "utf-8")
    return path


# ---- nothing acts -----------------------------------------------------------------------------------


def test_the_texts_do_act_where_nobody_escapes_them(tmp_path: Path) -> None:
    """Otherwise the tests below would show nothing."""
    acts = ACTS.encode("utf-8", "replace").decode("utf-8")
    raw = f"<!doctype html><title>{TITLE}</title>{acts}<script>console.log(1)</script>"
    seen = opened(written(tmp_path / "raw.html", raw))
    assert seen.title == "ran"
    assert seen.console
    assert seen.requests == ["https://never-loaded.invalid/x.png"]


@pytest.mark.parametrize("is_guarded", [True, False], ids=["as it is", "without its policy"])
def test_hostile_texts_run_nothing_load_nothing_and_raise_no_error(tmp_path: Path, is_guarded: bool) -> None:
    """With the policy no attempt is even reported to the console; without it, the escaping alone holds."""
    page = study_page(acting_findings(name=TITLE), FIGURES)
    sentinel = page.split("<title>")[1].split("</title>")[0]
    seen = opened(written(tmp_path / "page.html", page if is_guarded else POLICY.sub("", page)))
    assert seen.title == html.unescape(sentinel)
    assert seen.dom.count("<script") == 0
    assert (seen.console, seen.requests) == ([], [])


def test_the_script_of_the_appendix_runs_and_no_other(tmp_path: Path) -> None:
    appendix = ('<p id=here style="color:red">not yet</p>', "document.getElementById('here').textContent = 'it ran'")
    page = study_page(hostile(), FIGURES, appendix)
    seen = opened(written(tmp_path / "page.html", page))
    assert '<p id="here" style="color:red">it ran</p>' in seen.dom
    assert (seen.title, seen.console, seen.requests) == (TITLE, [], [])
    other = page.replace("</main>", "<script>document.title='ran'</script></main>")
    seen = opened(written(tmp_path / "other.html", other))
    assert seen.title == TITLE
    assert len(seen.console) == 1
    assert "Content Security Policy" in seen.console[0]


# ---- with everything that is real -------------------------------------------------------------------


def small() -> Findings:
    """Something of everything, as axe takes its time with each cell."""
    every = findings()
    two = {name: getattr(every, name)[:2] for name in ("why", "shown", "sources", "comparisons")}
    return hostile().model_copy(update=two | {"arms": (every.arms[3], every.arms[5], *every.arms[-3:])})


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page with its real figures and the real explorer of the bandit."""
    return study_page(small(), write_figures(hostile(), tmp_path_factory.mktemp("figures")), explorer())


@pytest.mark.slow
def test_figures_and_explorer_raise_no_error_and_load_nothing(tmp_path: Path, report: str) -> None:
    seen = opened(written(tmp_path / "report.html", report))
    assert (seen.title, seen.console, seen.requests) == (TITLE, [], [])
    assert seen.dom.count('<figure class="figure">') == 8
    assert report.count("<script>") == 1
    assert len(report.encode("utf-8")) < 1_000_000


FRAME = """
document.querySelectorAll('details').forEach(d => { d.open = true });
const wide = [...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll')
  && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.outerHTML.slice(0, 200));
axe.run(document, OPTIONS).then(r => parent.postMessage({width: innerWidth, wide, passed: r.passes.map(v => v.id),
  dark: matchMedia('(prefers-color-scheme: dark)').matches,
  violations: r.violations.map(v => [v.id, v.nodes.map(n => n.html)])}, '*'),
  e => parent.postMessage({error: String(e)}, '*'));
"""
FRAMES = """<!doctype html><title>frames</title><pre id=said></pre><script>
const all = []; addEventListener('message', e => { all.push(e.data);
document.getElementById('said').textContent = JSON.stringify(all) });</script>"""


def checked(report: str, folder: Path, widths: dict[int, dict[str, Any]], *flags: str) -> dict[int, dict[str, Any]]:
    """Run axe on the page in frames of these widths (a window has a least width), each with its options."""
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
    page = POLICY.sub("", report)
    frames = FRAMES
    for width, options in widths.items():
        scripts = f"<script>{axe}</script><script>{FRAME.replace('OPTIONS', json.dumps(options))}</script>"
        written(folder / f"{width}.html", page.replace("</body>", f"{scripts}</body>"))
        frames += f'<iframe src="{width}.html" style="width:{width}px;height:800px;border:0"></iframe>'
    dom = opened(written(folder / "frames.html", frames), *flags).dom
    said = json.loads(html.unescape(dom.split('<pre id="said">')[1].split("</pre>")[0]))
    assert all("error" not in frame for frame in said), said
    return {frame["width"]: frame for frame in said}


@pytest.mark.slow
def test_axe_finds_nothing_and_nothing_overflows_on_a_screen_and_on_a_phone(tmp_path: Path, report: str) -> None:
    no_colours = {"rules": {"color-contrast": {"enabled": False}}}  # they are those of the screen, and take the time
    frames = checked(report, tmp_path, {1200: {}, 360: no_colours})
    assert frames.keys() == {1200, 360}
    for frame in frames.values():
        assert frame["violations"] == []
        assert frame["wide"] == []
        assert {"document-title", "html-has-lang", "page-has-heading-one", "scope-attr-valid"} <= set(frame["passed"])
    assert "color-contrast" in frames[1200]["passed"]
    assert not frames[1200]["dark"]


@pytest.mark.slow
def test_colours_are_told_apart_in_the_dark(tmp_path: Path, report: str) -> None:
    colours = {"runOnly": ["color-contrast", "link-in-text-block"]}
    frame = checked(report, tmp_path, {1200: colours}, "--blink-settings=preferredColorScheme=0")[1200]
    assert frame["dark"]
    assert frame["violations"] == []
    assert "color-contrast" in frame["passed"]
