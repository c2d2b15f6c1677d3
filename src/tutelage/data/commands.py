"""`tutelage data formats|show|lint|...`: what data is, before anything is done with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tutelage.config import Group
from tutelage.data.formats import FORMATS
from tutelage.data.gate import LeaksConfig, leaks
from tutelage.data.lint import LintConfig, lint
from tutelage.data.show import ShowConfig, show


class FormatsConfig(Group):
    """Lists the formats that can be read and written."""


def formats(config: FormatsConfig) -> str:
    """Return a line per format: its name, what it holds, what it is."""
    rows = [(f.name, ", ".join(f.holds), "" if f.write else "read only; ", f.says) for f in FORMATS.values()]
    names, holds = (max(len(row[i]) for row in rows) for i in (0, 1))
    return "\n".join(f"{name:{names}}  {what:{holds}}  {only}{says}" for name, what, only, says in rows)


ACTIONS: Mapping[str, tuple[type[Group], Callable[[Any], object]]] = {
    "formats": (FormatsConfig, formats),
    "show": (ShowConfig, show),
    "lint": (LintConfig, lint),
    "leaks": (LeaksConfig, leaks),
}
