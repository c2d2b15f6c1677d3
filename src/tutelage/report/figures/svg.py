"""A figure as SVG text: the same bytes every time, with ids of its own and nothing that a page would have to load."""

from __future__ import annotations

import io
import re
from html import escape

from tutelage.report.figures.style import VARIABLES, Figure

_TAG = re.compile(r"<[^<>]*>")  # what people and models wrote is escaped, so these are matplotlib's own
_PATH = re.compile(r" ?([A-Za-z]) ?")
_BYTES_WITHOUT = {"Date": None, "Creator": None, "Format": None, "Type": None}
_ROOT = "stroke-linejoin:round;stroke-linecap:butt;font-family:{family}"


def svgs(figure: Figure, name: str) -> tuple[str, str]:
    """Return a figure as the text of a file and as text for inside a page. Call inside `styled()`.

    The one for a page takes the page's font and colours (--ink, --line, --a, ...); it is as wide as the page lets it
    be, and never wider than it was drawn.

    Args:
        name: keeps the ids apart from those of other figures; letters, digits and _.
    """
    body, width, height = _body(figure, name)
    said, size = escape(figure.get_label()), f'viewBox="0 0 {width} {height}" role="img"'
    alone = _ROOT.format(family="'DejaVu Sans',sans-serif")
    within = _ROOT.format(family="system-ui,sans-serif")
    within += f";width:100%;height:auto;max-width:{float(width) / 0.75:.0f}px"
    themed = _TAG.sub(lambda tag: _with_variables(tag[0]), body)
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return (
        f'<svg {spaces} width="{width}pt" height="{height}pt" {size} style="{alone}">\n'
        f"<title>{said}</title>{body}</svg>\n",
        f'<svg {size} aria-label="{said}" style="{within}">{themed}</svg>',
    )


def _body(figure: Figure, name: str) -> tuple[str, str, str]:
    """Return what is inside the svg tag, and its width and height in points."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=_BYTES_WITHOUT)
    text = buffer.getvalue()
    start = re.search(r'<svg [^>]*viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>', text)
    assert start is not None
    body = text[start.end() : text.rindex("</svg>")]
    # The style is for every element of the page that the figure is put into; it stands in the root's own instead.
    body = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>[^<]*</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r"<defs>\s*</defs>", "", body)
    used = set(re.findall(r'(?:url\(#|href="#)([\w.-]+)', body))
    body = _without_groups(_TAG.sub(lambda tag: _short(tag[0], name, used), body))
    return re.sub(r"\s*\n\s*", "\n", body), start[1], start[2]


def _short(tag: str, name: str, used: set[str]) -> str:
    """Drop ids that nothing refers to, put the figure's name before the others, and shorten the rest."""
    tag = re.sub(r' id="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", tag)
    tag = re.sub(r'(url\(#|href="#)', rf"\1{name}-", tag)
    tag = re.sub(r" font-family: [^;\"]*(;|(?=\"))| transform=\"rotate\(-?0 [^\"]*\"", "", tag)
    tag = re.sub(r"-?\d+\.\d{3,}", lambda m: f"{float(m[0]):.2f}", tag)
    tag = re.sub(r' d="([^"]*)"', lambda m: f' d="{_PATH.sub(lambda p: p[1], " ".join(m[1].split()))}"', tag)
    return re.sub(r"(?<=[a-z0-9]); (?=[a-z-]+: )|(?<=[a-z]): (?=[^ ])", lambda m: m[0].strip(), tag)


def _without_groups(body: str) -> str:
    """Drop the groups that say nothing, which are most of matplotlib's."""
    kept: list[bool] = []

    def of(tag: re.Match[str]) -> str:
        if tag[0].startswith("<g"):
            kept.append(tag[0] != "<g>")
        return tag[0] if (kept[-1] if tag[0].startswith("<g") else kept.pop()) else ""

    return re.sub(r"<g(?: [^<>]*)?>|</g>", of, body)


def _with_variables(tag: str) -> str:
    tag = tag.replace(" xlink:href=", " href=")
    return re.sub(r"#[0-9a-f]{6}\b", lambda m: f"var(--{VARIABLES[m[0]]})" if m[0] in VARIABLES else m[0], tag)
