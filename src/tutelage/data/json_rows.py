"""JSON files of any size -> one row at a time: a list of objects, one object of many keys, or an object a line.

Why not a streaming parser: the one that is kept (ijson) refuses NaN and whole numbers of 20 digits, which Python
writes and reads, turns half a character into a question mark without a word, and takes gigabytes for nested brackets.
Here element after element is read from a window on the text, as `json` reads it, so that a row is the same however it
came. What pydantic's parser reads, which is twice as fast, it reads as `json` does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from tutelage.data.text import LONGEST, PIECE, numbered_lines, pieces
from tutelage.errors import DataError

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()
_NEXT_OBJECT = re.compile(r'[ \t\r\n]*,[ \t\r\n]*\{[ \t\r\n]*"[^"\\]{1,60}"')
"""From the end of an object in a list to the first key of the next."""
_AT_ONCE = 1 << 18
"""So many characters of rows are read at once: what they make has room in a core's cache."""
_PATIENCE = 8
"""So many wrong guesses in a row are enough."""
_FIRST_LINE = 16 * PIECE
"""In a first line longer than that, no row of JSON lines is looked for."""
_LITERAL = 16
"""An error so near to the end of the window may be a number, an escape or a NaN that goes on."""


def parse(text: str) -> Any:
    """Return what `json.loads` returns, faster.

    Raises:
        ValueError: not JSON, or a number of thousands of digits.
        RecursionError: too many brackets.
    """
    try:
        return from_json(text, cache_strings="keys")
    except ValueError:  # it may be half a character or many brackets, which json reads
        return json.loads(text)


def read_json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (where, value) for each line that is not blank.

    Raises:
        DataError: empty, or not JSON; names the line.
    """
    is_empty = True
    for number, line in numbered_lines(path):
        if line.isspace() or not line:
            continue
        is_empty = False
        where = f"{path}, line {number}"
        try:
            value = parse(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: not JSON ({error}); expected one JSON object a line") from None
        yield where, value
    if is_empty:
        raise DataError(f"{path}: is empty; expected one JSON object a line")


def read_json(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (where, value) for each element of a list, or {"key", "value"} for each key of an object.

    A file of several objects is JSON lines under another name, and read as such.

    Raises:
        DataError: empty, or not JSON; names the line.
    """
    window = _Window(path)
    opening = window.next()
    if opening == "[":
        yield from _elements(path, window)
    elif opening == "{":
        if window.holds_several():
            yield from read_json_lines(path)
        else:
            yield from _keys(path, _Window(path))
    elif not opening:
        raise DataError(f"{path}: is empty; expected one JSON object a line")
    else:
        kind = type(window.value()).__name__
        raise DataError(f"{path}: expected a JSON list of objects, found a {kind}")


def _elements(path: Path, window: _Window) -> Iterator[tuple[str, Any]]:
    named = f"{path}, row"
    for number, value in enumerate(window.elements(), 1):
        yield f"{named} {number}", value


def _keys(path: Path, window: _Window) -> Iterator[tuple[str, Any]]:
    window.next()
    window.skip()
    number, more = 0, not window.closes("}")
    while more:
        number += 1
        if window.next() != '"':
            raise window.broken("Expecting property name enclosed in double quotes")
        key = window.value()
        if window.next() != ":":
            raise window.broken("Expecting ':' delimiter")
        window.skip()
        yield f"{path}, row {number}", {"key": key, "value": window.value()}
        more = window.goes_on("}")
    window.end()


class _Window:
    """What is in the memory of a file: from the element that is next, as far as it takes to read it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pieces = pieces(path)
        self._text = ""
        self._place = 0
        self._passed = 0
        """Characters of the file before `_text`."""
        self._between = ""
        """The last character of the element before, and what lay between it and the first key of the next."""
        self._step = 0
        """How many characters lie between the two objects."""
        self._tried = 0
        """Up to here the guess was wrong."""
        self._wrong = 0

    def next(self) -> str:
        """Return the character that is next after white space; "" at the end."""
        while True:
            self._place = _SPACE.match(self._text, self._place).end()  # type: ignore[union-attr]
            if self._place < len(self._text):
                return self._text[self._place]
            if not self._more():
                return ""

    def skip(self) -> None:
        """Go past one character."""
        self._place += 1

    def value(self) -> Any:
        """Return the value that is next, and go past it."""
        self.next()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                if not self._may_be_cut(error) or not self._more():
                    raise self.broken(error.msg, error.pos) from None
            except (ValueError, RecursionError) as error:  # a number of thousands of digits, or too many brackets
                raise DataError(
                    f"{self.path}, line {self._line_of(self._place)}: not JSON that can be read ({error})"
                ) from None
            else:
                # A number at the very end may go on.
                if end < len(self._text) or not self._more():
                    self._place = end
                    return value

    def elements(self) -> Iterator[Any]:
        """Yield the elements of the list that is next, to the end of the file."""
        self.skip()
        more = not self.closes("]")
        while more:
            yield from self._alike()
            value = self.value()
            following = _NEXT_OBJECT.match(self._text, self._place)
            if following and self._text[self._place - 1] == "}":
                self._between = "}" + following[0]
                self._step = self._between.index("{") - 1
            yield value
            more = self.goes_on("]")
        self.end()

    def _alike(self) -> Iterator[Any]:
        """Yield the objects that are next and in memory, as long as they follow each other as the last two did.

        Rows of a file mostly look alike, so where one of them ends can be guessed, and all up to there be read at
        once. A wrong guess does no harm: then that is no list. After some, none are made.
        """
        while self._between and self._wrong < _PATIENCE and self._place >= self._tried:
            end = self._text.rfind(self._between, self._place, self._place + _AT_ONCE) + 1
            if not end and len(self._text) - self._place < PIECE and self._more():
                end = self._text.rfind(self._between, 0, PIECE) + 1
            try:
                values = from_json(f"[{self._text[self._place : end]}]", cache_strings="keys") if end else []
            except ValueError:
                values = []
            if not values:
                self._wrong += 1
                self._tried = end
                return
            self._place, self._wrong = end + self._step, 0
            yield from values

    def closes(self, closing: str) -> bool:
        """Go past the bracket that ends it all, if it is next; return whether it was."""
        if self.next() != closing:
            return False
        self.skip()
        return True

    def goes_on(self, closing: str) -> bool:
        """Go past a comma, or the bracket that ends it all; return whether there is more."""
        found = self.next()
        if found not in (",", closing) or not found:
            raise self.broken("Expecting ',' delimiter")
        self.skip()
        return found == ","

    def end(self) -> None:
        """Check that nothing follows."""
        if self.next():
            raise self.broken("Extra data")

    def holds_several(self) -> bool:
        """True if the line that begins here is a whole value, and is not the last."""
        while "\n" not in self._text[self._place :] and len(self._text) < _FIRST_LINE and self._more():
            pass
        line, _, _ = self._text[self._place :].partition("\n")
        try:
            parse(line)
        except (ValueError, RecursionError):
            return False
        self._place += len(line)
        return bool(self.next())

    def broken(self, what: str, place: int | None = None) -> DataError:
        """Return the error that names the line."""
        line = self._line_of(self._place if place is None else place)
        return DataError(
            f"{self.path}, line {line}: not JSON ({what}); "
            "expected a list of objects, or one object a line in a file named .jsonl"
        )

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        return error.msg.startswith("Unterminated string") or error.pos > len(self._text) - _LITERAL

    def _line_of(self, place: int) -> int:
        """Return the line of a character, counted from the beginning; see `text._line_at`."""
        line, left = 1, self._passed + place
        for piece in pieces(self.path):
            line += piece.count("\n", 0, left)
            left -= len(piece)
            if left <= 0:
                break
        return line

    def _more(self) -> bool:
        """Forget what was read, and read on: as much again as there is, so that a long element is soon whole."""
        rest = self._text[self._place :]
        if len(rest) > LONGEST:
            raise DataError(
                f"{self.path}, line {self._line_of(self._place)}: the element that begins here is longer than "
                f"{LONGEST >> 20} MB; expected a list of rows, each of which fits into memory"
            )
        parts, size = [rest], 0
        while size <= len(rest) and (piece := next(self._pieces, "")):
            parts.append(piece)
            size += len(piece)
        if not size:
            return False
        self._passed += self._place
        self._tried = max(0, self._tried - self._place)
        self._text, self._place = "".join(parts), 0
        return True
