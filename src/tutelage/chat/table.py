"""Where the rows of a long file begin, by key: a hash table in two flat arrays.

A dictionary would do the same, but every entry would be three Python objects; a journal of a million replies has
to fit beside everything else.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

_FIRST_SIZE = 1024
_EMPTY = 0xFFFF_FFFF_FFFF_FFFF


class OffsetTable:
    """A multimap from keys (hexadecimal digests) to file offsets, with one mark per entry.

    Only the first 64 bits of a key are kept, so what is found has to be compared with the whole key. Open
    addressing with linear probing, at most two thirds full: 17 bytes a slot, 26 to 51 bytes an entry.
    """

    def __init__(self) -> None:
        self._count = 0
        self._make(_FIRST_SIZE)

    def __len__(self) -> int:
        return self._count

    def add(self, key: str, offset: int, marked: bool = False) -> None:
        """Add an entry; the same one twice is one."""
        if 3 * (self._count + 1) > 2 * len(self._keys):
            self._grow()
        self._insert(int(key[:16], 16), offset, marked)

    def find(self, key: str) -> list[int]:
        """Return the offsets under `key` (and, rarely, under one that begins alike), smallest first."""
        return sorted(self._offsets[slot] for slot in self._slots(int(key[:16], 16)))

    def mark(self, key: str, offset: int) -> bool:
        """Mark an entry; return True if it was not marked before."""
        for slot in self._slots(int(key[:16], 16)):
            if self._offsets[slot] == offset:
                new, self._marks[slot] = not self._marks[slot], 1
                return new
        raise KeyError(key)

    def _make(self, size: int) -> None:
        self._keys = array("Q", bytes(8 * size))
        self._offsets = array("Q", b"\xff" * (8 * size))
        self._marks = bytearray(size)

    def _slots(self, key: int) -> Iterator[int]:
        size = len(self._keys)
        slot = key % size
        while self._offsets[slot] != _EMPTY:
            if self._keys[slot] == key:
                yield slot
            slot = (slot + 1) % size

    def _insert(self, key: int, offset: int, marked: bool) -> None:
        size = len(self._keys)
        slot = key % size
        while self._offsets[slot] != _EMPTY:
            if self._keys[slot] == key and self._offsets[slot] == offset:
                return
            slot = (slot + 1) % size
        self._keys[slot], self._offsets[slot], self._marks[slot] = key, offset, marked
        self._count += 1

    def _grow(self) -> None:
        old = zip(self._keys, self._offsets, self._marks, strict=True)
        self._count = 0
        self._make(2 * len(self._keys))
        for key, offset, mark in old:
            if offset != _EMPTY:
                self._insert(key, offset, bool(mark))
