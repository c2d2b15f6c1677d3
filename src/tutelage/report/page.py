"""What the pages share: one file that needs nothing else, readable on a screen, on a phone and on paper.

Whatever comes from a model, a file or a person is text: escaped, and control characters made visible. A page also
forbids itself to load anything, and to run anything but the scripts it was made with.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from html import escape

from tutelage.disk import visible

MAX_CHARACTERS = 1200
"""Of a text that is shown; the rest is counted."""
_LINE = 140
"""Of the start of one, where it stands for all of it."""

_STYLE = """\
:root{color-scheme:light dark;--page:#fff;--ink:#1b222b;--soft:#5a6573;--line:#d9dee5;--card:#f5f7f9;--dot:#1f6fb2;
--a:#1f6fb2;--b:#c8741a;--c:#8a93a0;--d:#3f8a5f}
@media(prefers-color-scheme:dark){:root{--page:#12161b;--ink:#e4e8ed;--soft:#98a3b1;--line:#2c343d;--card:#1a2027;
--dot:#6db3f2;--a:#6db3f2;--b:#e9a04f;--c:#7b8592;--d:#6cc294}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1rem 4rem;max-width:60rem;background:var(--page);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.6rem;line-height:1.25;overflow-wrap:anywhere}h2{font-size:1.15rem;margin:2.2rem 0 .5rem}
:focus-visible{outline:2px solid var(--dot);outline-offset:2px}
.soft,small,caption{color:var(--soft)}
table{width:100%;border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.45rem .6rem .45rem 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th{font-weight:600}thead th{color:var(--soft);font-weight:400;font-size:.85rem}
tbody th small{display:block;font-weight:400;overflow-wrap:anywhere}
figure{margin:0}details,pre{overflow:hidden}
details{border:1px solid var(--line);border-radius:.5rem;margin:.6rem 0;padding:.5rem .8rem}
summary{cursor:pointer;overflow-wrap:anywhere}
pre{margin:.3rem 0 .8rem;padding:.6rem;background:var(--card);border-radius:.35rem;white-space:pre-wrap;
overflow-wrap:anywhere;font:13px/1.45 ui-monospace,monospace;unicode-bidi:isolate}
@media print{body{max-width:none;padding:0;font-size:11pt}tr,figure{break-inside:avoid}h2,thead{break-after:avoid}}
"""


def document(title: str, body: Sequence[str], style: str = "", scripts: Sequence[str] = ()) -> str:
    """Return a page, UTF-8 HTML.

    Args:
        title: a text, of anybody.
        body: trusted HTML; empty parts are left out.
        style: trusted CSS, after that of all pages.
        scripts: trusted JavaScript, run in this order after the body; the page allows these, by hash, and no other.

    Raises:
        ValueError: a script holds what would end or hide it in HTML: `</script`, `<!--`.
    """
    for script in scripts:
        if any(sign in script.lower() for sign in ("</script", "<script", "<!--")):
            raise ValueError("a script that stands in a page must not hold <script, </script or <!--")
    hashes = "".join(f" '{_hash(script)}'" for script in scripts)
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    policy += f"; script-src{hashes}" if scripts else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>{text(title)}</title><style>{_STYLE}{style}</style></head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "".join(f"\n<script>{script}</script>" for script in scripts)
        + "\n</body></html>\n"
    )


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


def text(value: object) -> str:
    """Return any text as one line of page text in which nothing acts and nothing hides."""
    return escape(visible(str(value)))


def prose(said: str) -> str:
    """Return page text, which may be trusted HTML already, in which no line begins with a percent sign."""
    return re.sub(r"(?<=\d) %", "&nbsp;%", said)


def block(value: str) -> str:
    """Return the same for a text of many lines; a long one is cut, and the rest counted."""
    cut = value[:MAX_CHARACTERS]
    rest = f"\n[{len(value) - len(cut):,} more characters]" if len(cut) < len(value) else ""
    return f"<pre>{lines(cut)}{rest}</pre>"


def lines(value: str) -> str:
    """Return a text of many lines as page text."""
    return "\n".join(text(line) for line in value.split("\n"))


def beginning(value: str) -> str:
    """Return the start of a text, in one line; not yet page text."""
    value = " ".join(value[: 4 * _LINE].split())
    return value if len(value) <= _LINE else value[: _LINE - 1] + "…"
