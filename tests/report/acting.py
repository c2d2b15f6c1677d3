"""Findings of which every text tries to act in a page, and figures to put beside them."""

from __future__ import annotations

from typing import Any, get_args

from made_findings import findings

from tutelage.findings import Feedback, Findings, Outcome, Rule
from tutelage.records import Record

PICTURE = '<svg viewBox="0 0 640 200" role="img" aria-label="a picture"><rect width="9" height="9"/></svg>'
NAMES = ("win_rates", "differences", "scaling", "strong_teacher", "training", "lengths", "matrix", "confidence")
FIGURES = dict.fromkeys(NAMES, PICTURE)
ACTS = (
    "</title></style></script></pre><script>document.title='ran'</script>"
    "<img src=https://never-loaded.invalid/x.png onerror=\"document.title='ran'\">\x1b[2J\u202e\ud83d\"'&amp;"
)
_WORDS = {word for kind in (Feedback, Outcome, Rule) for word in get_args(kind)}


def acting_findings(**changes: Any) -> Findings:
    """Return `findings` with something that acts at the end of every text: names, keys, completions, all."""
    made: Findings = _acting(findings(**changes))
    return made


def _acting(value: Any) -> Any:
    if isinstance(value, Record):
        return type(value).model_construct(**{n: _acting(getattr(value, n)) for n in type(value).model_fields})
    if isinstance(value, dict):
        return {_acting(key): _acting(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_acting, value))
    return f"{value}{ACTS}" if isinstance(value, str) and value and value not in _WORDS else value
