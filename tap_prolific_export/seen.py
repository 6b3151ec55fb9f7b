"""Which ids have been seen before, at a few bytes each."""

from __future__ import annotations

from array import array

_EMPTY = 0


class SeenIds:
    """A set of ids that remembers 8 bytes of each, in a table at most three quarters full.

    So it costs 11 to 16 bytes an id, where a Python set of strings costs over 100. Two ids of one
    hash (about one in 10^8 sets of a million) are taken for the same: whoever asks has to look
    again at what is said to be seen.
    """

    def __init__(self) -> None:
        self._table = array("Q", [_EMPTY]) * 1024
        self._count = 0

    def add(self, id_: str) -> bool:
        """Add an id; return whether it, or one of its hash, was there already."""
        if self._count * 4 >= len(self._table) * 3:
            self._grow()
        return self._insert(hash_of(id_))

    def _insert(self, hashed: int) -> bool:
        table, size = self._table, len(self._table)
        place = hashed % size
        while table[place] != _EMPTY:
            if table[place] == hashed:
                return True
            place = place + 1 if place + 1 < size else 0
        table[place] = hashed
        self._count += 1
        return False

    def _grow(self) -> None:
        old = self._table
        self._table = array("Q", [_EMPTY]) * (len(old) + len(old) // 2)
        self._count = 0
        for hashed in old:
            if hashed != _EMPTY:
                self._insert(hashed)


def hash_of(id_: str) -> int:
    """Return 64 bits of an id, never 0; they differ between processes."""
    return (hash(id_) & 0xFFFFFFFFFFFFFFFF) or 1
