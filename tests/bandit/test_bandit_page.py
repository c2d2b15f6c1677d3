"""The page computes what the command computes, and everybody can use it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tutelage.bandit.outcome import outcome
from tutelage.bandit.settings import Config
from tutelage.report.bandit_page import FIGURE_6, bandit_page, explorer

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
REPORT = files("tutelage") / "report"

SETTINGS = (
    Config(),
    Config(
        seed=2**32 - 1, student_peak=50, beta=0.2, label_noise=0.1, num_pairs=1000, num_samples=300, sft_steps=900
    ),
    Config(temperature=5, beta=1, teacher_peak=20.5, student_width=50, reward_steps=1001, sft_steps=999),
    Config(num_arms=2, student_peak=0, teacher_peak=1, student_width=1e4, reward_lr=3.9, sft_lr=0.5, sft_steps=500),
    Config(num_pairs=1, num_samples=1, student_width=0.001, sft_steps=0, reward_steps=0),
    Config(student_peak=95, reward_steps=500, sft_steps=100),
)


def in_node(settings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Run the page's own model outside of a page."""
    ask = (
        "function finish(work) { let step = work.next(); while (!step.done) step = work.next(); return step.value }"
        f"\nconsole.log(JSON.stringify({json.dumps(settings)}.map((each) => finish(outcome(each)))))"
    )
    code = REPORT.joinpath("bandit_model.js").read_text("utf-8") + ask
    done = subprocess.run(["node", "-"], input=code, capture_output=True, text=True, check=True, timeout=60)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def assert_equal(mine: Any, theirs: Any, where: str = "") -> None:
    if isinstance(mine, dict):
        assert mine.keys() == theirs.keys(), where
        for key in mine:
            assert_equal(mine[key], theirs[key], f"{where}.{key}")
    elif isinstance(mine, list):
        assert len(mine) == len(theirs), where
        for place, (one, other) in enumerate(zip(mine, theirs, strict=True)):
            assert_equal(one, other, f"{where}[{place}]")
    elif isinstance(mine, float):
        assert theirs == pytest.approx(mine, abs=1e-6, rel=1e-6), where
    else:
        assert mine == theirs, where


@pytest.mark.skipif(shutil.which("node") is None, reason="no node, which runs the page's script outside of a browser")
def test_the_page_computes_the_numbers_and_sentences_of_the_command() -> None:
    for config, theirs in zip(SETTINGS, in_node([c.identity() for c in SETTINGS]), strict=True):
        mine = outcome(config)
        del mine["total_variation"]  # the page shows none
        assert_equal(mine, theirs)


def test_the_page_begins_with_the_papers_settings_and_has_sliders_for_settings_that_exist() -> None:
    assert Config().identity() == FIGURE_6
    fragment, _ = explorer()
    names = re.findall(r'<input type="range" name="(\w+)"', fragment)
    assert {"teacher_peak", "teacher_width", "student_peak", "student_width", "beta", "num_pairs"} <= set(names)
    assert set(names) <= FIGURE_6.keys()
    for name, values in re.findall(r'name="(\w+)".*?data-values="(.*?)"', fragment):
        for value in json.loads(values)[:: len(json.loads(values)) - 1]:
            Config(**{name: value})  # both ends of a slider are settings that the command takes


def test_a_result_that_lies_between_the_places_of_a_slider_gets_a_place_of_its_own() -> None:
    fragment, _ = explorer(outcome(Config(beta=0.123, student_peak=40.5, reward_steps=10, sft_steps=10)))
    for name, value in (("beta", 0.123), ("student_peak", 40.5)):
        place, values = re.findall(rf'name="{name}".*? value="(\d+)".*?data-values="(.*?)"', fragment)[0]
        assert json.loads(values)[int(place)] == value


def test_the_explorer_can_stand_in_any_page() -> None:
    """No ids to collide with, nothing that its policy would have to allow but one script, every slider labelled."""
    fragment, script = explorer()
    assert " id=" not in fragment
    assert not re.search(r"\bon\w+=", fragment)
    assert not re.search(r"\beval\b|new Function|innerHTML|</script|import\(|fetch\(|https?://(?!www.w3.org)", script)
    assert fragment.count("<label>") == fragment.count("<input") == fragment.count("</output>") == 9
    assert fragment.startswith('<div class="bandit"')
    assert all(rule.strip().startswith((".bandit", "@media")) for rule in rules(fragment))
    assert explorer()[1] == explorer(outcome(Config(reward_steps=1, sft_steps=1)))[1]  # one hash for all


def rules(fragment: str) -> list[str]:
    style = fragment.split("<style>")[1].split("</style>")[0]
    selectors = re.findall(r"(?:^|[{}])([^{}]+)(?=\{)", style)
    return [selector for selector in selectors if selector.strip()]


# ---- in a browser -----------------------------------------------------------------------------------

ALONE = (
    "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-background-networking --disable-sync "
    "--disable-component-update --no-first-run --enable-logging=stderr --virtual-time-budget=99999999"
)
"""Virtual time leaps while a page waits for its next frame, which comes in real time: so there is plenty of it."""
MOVE = """
(async () => {
  const root = document.querySelector(".bandit");
  const said = {};
  const rest = () => new Promise((go) => setTimeout(go, 50));
  const settled = async () => { while (root.dataset.state !== "settled") await rest() };
  const cells = () =>
    Object.fromEntries([...root.querySelectorAll("td[data-of]")].map((each) => [each.dataset.of, each.textContent]));
  said.begin = cells();
  await settled();
  said.start = cells();
  for (const [name, place] of Object.entries({beta: 7, student_peak: 30, label_noise: 5, num_pairs: 3})) {
    const slider = root.querySelector(`[name=${name}]`);
    slider.value = place;
    slider.dispatchEvent(new Event("input"));
  }
  while (root.dataset.state !== "moving") await new Promise((go) => requestAnimationFrame(go));
  await settled();
  said.moved = cells();
  said.command = root.querySelector("[data-of=command]").textContent;
  const drawn = [...root.querySelectorAll("figure path")].map((path) => path.getAttribute("d"));
  said.curves = drawn.filter((d) => /^M[-L\\d. ]+$/.test(d)).length;
  const end = document.documentElement.clientWidth + 1;
  const wide = [...document.querySelectorAll("body *")].filter((each) => each.getBoundingClientRect().right > end);
  said.wide = wide.filter((each) => !each.closest("svg")).map((each) => each.outerHTML.slice(0, 99));
  const broken = (await axe.run()).violations;
  said.violations = broken.map((each) => [each.id, each.nodes.map((node) => node.html.slice(0, 200))]);
  parent.postMessage(said, "*");
})().catch((error) => parent.postMessage(String(error.stack), "*"));
"""
FRAMES = """<!doctype html><title>frame</title><pre id=said></pre><script>
addEventListener("message", (e) => { document.getElementById("said").textContent = JSON.stringify(e.data) });
</script><iframe src="WIDTH.html" style="width:WIDTHpx;height:3000px;border:0"></iframe>"""


def opened(path: Path, *flags: str) -> tuple[str, list[str]]:
    """Return what a page became, and what it said to the console."""
    command = [
        str(CHROMIUM),
        *ALONE.split(),
        f"--user-data-dir={path.parent / 'profile'}",
        *flags,
        "--dump-dom",
        path.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True)
    return done.stdout.decode("utf-8"), re.findall(r":CONSOLE.*", done.stderr.decode("utf-8", "replace"))


def allowing(page: str, *scripts: str) -> str:
    """Return the page with more scripts and a policy that lets them run; for all others it is what it was."""
    hashes = [base64.b64encode(hashlib.sha256(each.encode("utf-8")).digest()).decode("ascii") for each in scripts]
    assert page.count("script-src 'sha256-") == 1
    page = page.replace("script-src", "script-src " + " ".join(f"'sha256-{each}'" for each in hashes))
    return page.replace("</body>", "".join(f"<script>{each}</script>" for each in scripts) + "</body>")


def cells_of(found: Any) -> dict[str, str]:
    return {
        f"{measure} {policy}": f"{value}" if isinstance(value, int) else f"{value:.2f}"
        for measure in ("likeliest_arm", "expected_reward", "kl_from_student")
        for policy, value in found[measure].items()
    }


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install --no-install-recommends chromium")
@pytest.mark.parametrize(("width", "dark"), [(1100, False), (360, True)], ids=["screen, light", "phone, dark"])
def test_a_slider_that_was_moved_shows_the_numbers_of_the_command_it_names(
    tmp_path: Path, width: int, dark: bool
) -> None:
    found = outcome(Config())
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
    page = allowing(bandit_page(found), axe, MOVE)
    (tmp_path / f"{width}.html").write_text(page, "utf-8")
    (tmp_path / "frame.html").write_text(FRAMES.replace("WIDTH", str(width)), "utf-8")
    dom, console = opened(tmp_path / "frame.html", f"--blink-settings=preferredColorScheme={0 if dark else 1}")
    said = json.loads(html.unescape(dom.split('<pre id="said">')[1].split("</pre>")[0]))
    assert isinstance(said, dict), said
    assert said["begin"] == said["start"] == cells_of(found)
    assert said["command"] == "tutelage bandit student_peak=30 beta=0.2 num_pairs=1000 label_noise=0.1"
    assert said["moved"] == cells_of(outcome(Config(student_peak=30, beta=0.2, num_pairs=1000, label_noise=0.1)))
    assert said["curves"] == 4 + 2 + 4
    assert (said["violations"], said["wide"], console) == ([], [], [])
