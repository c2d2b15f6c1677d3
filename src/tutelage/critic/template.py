"""Pairwise prompts: text in, messages out. A template is a file; completions cannot break out of it.

The fields `{instruction}`, `{first}`, `{second}` are filled in one pass, so braces inside a completion
stay what they are, and every text stands verbatim between lines that carry `{fence}`: a hash of the
three texts, which no text among them can contain.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Self

from tutelage.errors import ConfigError
from tutelage.records import Message, Role

FIELDS = ("instruction", "first", "second", "fence")
_FIELD = re.compile(r"\{(instruction|first|second|fence)\}")
_SECTION = re.compile(r"^\[(system|user)\]\n", re.MULTILINE)


def fence_of(instruction: str, first: str, second: str) -> str:
    """Return the mark of the lines around the three texts; it depends on them, so they cannot hold it."""
    text = "\0".join((instruction, first, second)).encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()[:12]


@dataclass(frozen=True)
class Template:
    """A pairwise prompt: its name and one text per message, with fields still open."""

    name: str
    parts: tuple[tuple[Role, str], ...]

    @classmethod
    def load(cls, name_or_path: str) -> Self:
        """Read a template that comes with the package (`pairwise`) or a file.

        Raises:
            ConfigError: no such template, no `[user]` part, or a field is missing.
        """
        path = Path(name_or_path)
        try:
            if re.fullmatch(r"[\w-]+", name_or_path):
                text = (resources.files("tutelage.critic") / "templates" / f"{name_or_path}.txt").read_text("utf-8")
            else:
                text = path.read_text("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ConfigError(f"critic template {name_or_path}: not UTF-8 (byte {error.start})") from None
        except FileNotFoundError:
            raise ConfigError(
                f"critic template {name_or_path!r}: no such file, and no template of that name comes with "
                "tutelage; give 'pairwise' or a path such as my-template.txt"
            ) from None
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", error)
            raise ConfigError(f"critic template {name_or_path[:200]!r}: cannot be read ({why})") from None
        return cls.parse(path.stem, text)

    @classmethod
    def parse(cls, name: str, text: str) -> Self:
        """Split `text` at its `[system]` and `[user]` lines."""
        pieces = _SECTION.split(text)
        parts: list[tuple[Role, str]] = [
            ("system" if role == "system" else "user", body.strip())
            for role, body in zip(pieces[1::2], pieces[2::2], strict=True)
        ]
        if not parts or parts[-1][0] != "user":
            raise ConfigError(f"critic template {name!r}: the last part must begin with a line [user]")
        if pieces[0].strip():
            raise ConfigError(
                f"critic template {name!r}: text before the first [system] or [user] line is never sent"
            )
        missing = [f"{{{f}}}" for f in FIELDS if not any(f"{{{f}}}" in body for _, body in parts)]
        if missing:
            raise ConfigError(f"critic template {name!r}: the field {', '.join(missing)} does not occur in it")
        return cls(name, tuple(parts))

    def fill(self, instruction: str, first: str, second: str) -> tuple[Message, ...]:
        """Return the messages that show `first` and `second` in this order."""
        values = {
            "instruction": instruction,
            "first": first,
            "second": second,
            "fence": fence_of(instruction, first, second),
        }
        return tuple(
            Message(role=role, content=_FIELD.sub(lambda m: values[m[1]], body)) for role, body in self.parts
        )


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
