"""HTML -> text as people write it: paragraphs, lists, code as Markdown has them; all other tags vanish."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_BLOCKS = frozenset(
    ("p", "div", "pre", "blockquote", "ul", "ol", "li", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "table", "tr", "dl")
)
_SILENT = frozenset(("script", "style"))


def text_of_html(html: str) -> str:
    """Return the text of `html`: never fails, whatever is left open."""
    parser = _Text()
    parser.feed(html)
    parser.close()
    return parser.text()


class _Text(HTMLParser):
    """Collects blocks. White space is one space, but in <pre>, which becomes a fence; <code> gets backticks."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._blocks: list[tuple[str, bool]] = []
        """Texts, and whether they are items of a list, which stand close together."""
        self._open: list[str] = []
        self._marker = ""
        self._lists: list[int | None] = []
        """How many items each list that is open has had; None: its items have no numbers."""
        self._in_pre = self._is_silent = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._is_silent = True
        if self._in_pre:
            return
        if tag in _BLOCKS:
            self._end_block()
        if tag == "pre":
            self._in_pre = True
        elif tag == "code":
            self._open.append("`")
        elif tag == "br":
            self._open.append("\n")
        elif tag in ("ul", "ol"):
            self._lists.append(0 if tag == "ol" else None)
        elif tag == "li":
            self._marker = self._next_marker()

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self._is_silent = False
        if self._in_pre:
            if tag == "pre":
                self._end_block()
                self._in_pre = False
            return
        if tag == "code":
            self._open.append("`")
        elif tag in _BLOCKS:
            self._end_block()
            if tag in ("ul", "ol") and self._lists:
                self._lists.pop()

    def handle_data(self, data: str) -> None:
        if not self._is_silent:
            self._open.append(data if self._in_pre else re.sub(r"\s+", " ", data))

    def _next_marker(self) -> str:
        indent = "  " * (len(self._lists) - 1)
        if not self._lists or self._lists[-1] is None:
            return f"{indent}- "
        self._lists[-1] += 1
        return f"{indent}{self._lists[-1]}. "

    def _end_block(self) -> None:
        text = "".join(self._open)
        self._open = []
        if self._in_pre:
            text = text.strip("\n")
            text = f"```\n{text}\n```" if text.strip() else ""
        else:
            text = re.sub(r" *\n *", "\n", re.sub(r" {2,}", " ", text)).strip()
        if text:
            self._blocks.append((self._marker + text, bool(self._marker)))
            self._marker = ""

    def text(self) -> str:
        """Return what was collected."""
        self._end_block()
        said = ""
        for place, (text, is_item) in enumerate(self._blocks):
            if place:
                said += "\n" if is_item and self._blocks[place - 1][1] else "\n\n"
            said += text
        return said
