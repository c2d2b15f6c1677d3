"""The figures of a study, each made of its findings; one for which there is nothing to draw is not made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from tutelage.disk import disk_errors, write_atomically
from tutelage.findings import Findings
from tutelage.report.figures.bars import strong_teacher, win_rates
from tutelage.report.figures.curves import scaling
from tutelage.report.figures.forest import differences
from tutelage.report.figures.inside import confidence, lengths, training
from tutelage.report.figures.matrix import matrix
from tutelage.report.figures.style import Figure, styled
from tutelage.report.figures.svg import svgs

FIGURES: Mapping[str, Callable[[Findings], Figure | None]] = {
    "differences": differences,
    "win_rates": win_rates,
    "scaling": scaling,
    "strong_teacher": strong_teacher,
    "matrix": matrix,
    "training": training,
    "confidence": confidence,
    "lengths": lengths,
}
"""In the order in which a report shows them."""
FOLDER = "figures"


def write_figures(findings: Findings, folder: Path) -> dict[str, str]:
    """Write every figure that the findings support as PNG and SVG into `folder`, and return them for a page.

    One that they do not support is removed, if it lies there from an earlier report.

    Returns:
        name -> inline SVG: it takes its colours from the page (--page, --ink, --soft, --line, --card, --a to --d),
        says in an aria-label what it shows, and loads nothing.

    Raises:
        MissingExtraError: matplotlib is not installed.
        StoreError: the folder cannot be written.
    """
    drawn: dict[str, str] = {}
    with styled():
        for name, draw in FIGURES.items():
            if (figure := draw(findings)) is not None:
                drawn[name] = save(figure, name, folder)
    with disk_errors(folder):
        for name in FIGURES.keys() - drawn.keys():
            for ending in ("png", "svg"):
                (folder / f"{name}.{ending}").unlink(missing_ok=True)
    return drawn


def save(figure: Figure, name: str, folder: Path) -> str:
    """Write NAME.png and NAME.svg, the same bytes every time, and return the inline SVG. Call inside `styled()`."""
    figure.draw_without_rendering()
    figure.set_layout_engine(None)  # laid out once; else it would be drawn twice for every file
    alone, within = svgs(figure, name)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / f"{name}.png", dpi=150, metadata={"Software": None})
        write_atomically(folder / f"{name}.svg", alone)
    return within
