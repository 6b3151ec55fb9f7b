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
        self._resize(1024)

    def _resize(self, size: int) -> None:
        self._table = array("Q", [_EMPTY]) * size
        self._size = size
        self._room = size * 3 // 4

    def add(self, id_: str) -> bool:
        """Add an id; return whether it, or one of its hash, was there already."""
        # All in one place: it is called for every response.
        table, size = self._table, self._size
        hashed = hash_of(id_)
        place = hashed % size
        while found := table[place]:
            if found == hashed:
                return True
            place += 1
            if place == size:
                place = 0
        table[place] = hashed
        self._room -= 1
        if not self._room:
            self._grow()
        return False

    def _grow(self) -> None:
        old = self._table
        self._resize(self._size + self._size // 2)
        table, size = self._table, self._size
        for hashed in old:
            if hashed:
                place = hashed % size
                while table[place]:
                    place = place + 1 if place + 1 < size else 0
                table[place] = hashed
                self._room -= 1


def hash_of(id_: str) -> int:
    """Return 64 bits of an id, never 0; they differ between processes."""
    return (hash(id_) & 0xFFFFFFFFFFFFFFFF) or 1
