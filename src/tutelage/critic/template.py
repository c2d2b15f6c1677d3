"""Judging prompts: text in, messages out. A template is a file; completions cannot break out of it.

A pairwise template has the fields `{instruction}`, `{first}`, `{second}`, a pointwise one `{instruction}` and
`{completion}`. They are filled in one pass, so braces inside a completion stay what they are, and every text
stands verbatim between lines that carry `{fence}`: a hash of the texts, which no text among them can contain.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from tutelage.errors import ConfigError
from tutelage.records import Message, Role

PAIRWISE = ("instruction", "first", "second")
POINTWISE = ("instruction", "completion")
_OPEN = re.compile(r"\{(\w+)\}")
_SECTION = re.compile(r"^\[(settings|system|user)\]\n", re.MULTILINE)


def fence_of(*texts: str) -> str:
    """Return the mark of the lines around the texts; it depends on them, so they cannot hold it."""
    text = "\0".join(texts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()[:12]


@dataclass(frozen=True)
class Template:
    """A judging prompt: its name and one text per message, with fields still open."""

    name: str
    parts: tuple[tuple[Role, str], ...]
    fields: tuple[str, ...] = PAIRWISE
    """What is filled in, in the order of `fill`'s arguments, as it is named between braces."""
    strips: bool = False
    """Whether white space around each filled message is cut, as alpaca_eval does."""

    @property
    def is_pointwise(self) -> bool:
        """True if one completion is shown alone."""
        return len(self.fields) == 2

    @classmethod
    def parse(cls, name: str, text: str) -> tuple[Self, str]:
        """Split `text` at its `[settings]`, `[system]` and `[user]` lines; return the settings as they stand there.

        Raises:
            ConfigError: no `[user]` part at the end, text that is never sent, or a field is missing.
        """
        pieces = _SECTION.split(text)
        if pieces[0].strip():
            raise ConfigError(
                f"critic template {name!r}: text before the first [system] or [user] line is never sent"
            )
        sections = list(zip(pieces[1::2], pieces[2::2], strict=True))
        settings = sections.pop(0)[1] if sections and sections[0][0] == "settings" else ""
        if any(kind == "settings" for kind, _ in sections):
            raise ConfigError(f"critic template {name!r}: [settings] may only stand at the very beginning")
        parts: list[tuple[Role, str]] = [
            ("system" if kind == "system" else "user", body.strip()) for kind, body in sections
        ]
        if not parts or parts[-1][0] != "user":
            raise ConfigError(f"critic template {name!r}: the last part must begin with a line [user]")
        named = {match for _, body in parts for match in _OPEN.findall(body)}
        fields = POINTWISE if "completion" in named and not {"first", "second"} & named else PAIRWISE
        missing = [f"{{{f}}}" for f in (*fields, "fence") if f not in named]
        if missing:
            raise ConfigError(f"critic template {name!r}: the field {', '.join(missing)} does not occur in it")
        return cls(name, tuple(parts), fields), settings

    def fill(self, *texts: str) -> tuple[Message, ...]:
        """Return the messages that show `texts`: the instruction, then the completion(s) in this order."""
        values: Mapping[str, str] = dict(zip(self.fields, texts, strict=True)) | {"fence": fence_of(*texts)}
        filled = ((role, _OPEN.sub(lambda m: values.get(m[1], m[0]), body)) for role, body in self.parts)
        return tuple(Message(role=role, content=text.strip() if self.strips else text) for role, text in filled)


def read_back(text: str) -> tuple[str, str, str] | None:
    """Return (instruction, first, second) from a filled `pairwise` user message, or None if it is not one.

    The inverse of `Template.fill`, for critics that are programs: the miniature's stands where an API
    model stands and must read what that model would read.
    """
    opening = re.search(r"^<instruction ([0-9a-f]{12})>$", text, re.MULTILINE)
    if opening is None:
        return None
    found = []
    for tag in ("instruction", "answer-a", "answer-b"):
        pattern = rf"^<{tag} {opening[1]}>\n(.*)\n</{tag} {opening[1]}>$"
        match = re.search(pattern, text, re.MULTILINE | re.DOTALL)
        if match is None:
            return None
        found.append(match[1])
    return found[0], found[1], found[2]
