"""`tutelage bandit`: run the experiment and write down what came of it."""

from __future__ import annotations

from tutelage.bandit.outcome import Tree, outcome
from tutelage.bandit.settings import Config
from tutelage.disk import disk_errors, dump_json, write_atomically
from tutelage.extras import require
from tutelage.progress import say
from tutelage.report.bandit_page import bandit_page
from tutelage.report.bandit_picture import draw_bandit

_NAMES = {"student": "student", "teacher": "teacher", "rlaif": "feedback (RLAIF)", "sft": "SFT"}


def run(config: Config) -> str:
    """Write bandit.json, its picture and its page into `config.out`; return the result in words.

    Raises:
        MissingExtraError: matplotlib is not installed.
        StoreError: the folder cannot be written.
    """
    require("plot", "tutelage bandit")
    with disk_errors(config.out):
        config.out.mkdir(parents=True, exist_ok=True)
    found = outcome(config)
    draw_bandit(found, config.out / "bandit.png", config.out / "bandit.svg")
    with disk_errors(config.out):
        write_atomically(config.out / "bandit.html", bandit_page(found))
        write_atomically(config.out / "bandit.json", dump_json(found, indent=1) + "\n")
    say(f"bandit: made {config.out / 'bandit.html'}, and beside it bandit.png, bandit.svg and bandit.json")
    return text(found)


def text(found: Tree) -> str:
    """Return the result for people."""
    lines = [f"{'policy':<18}{'likeliest arm':>14}{'expected reward':>17}{'KL from the student':>21}"]
    for name, shown in _NAMES.items():
        arm, reward, kl = (found[key][name] for key in ("likeliest_arm", "expected_reward", "kl_from_student"))
        lines.append(f"{shown:<18}{arm:>14}{reward:>17.2f}{kl:>21.2f}")
    lines += ["", *(f"{what}: {num:,}" for what, num in found["counts"].items())]
    lines += ["", "total variation (0: the same policy; 1: no arm in common)"]
    for what, distance in found["total_variation"].items():
        lines.append(
            f"  {what}: {distance:.3f}" if distance is not None else f"  {what}: these labels have no such limit"
        )
    return "\n".join([*lines, "", *found["says"]])
