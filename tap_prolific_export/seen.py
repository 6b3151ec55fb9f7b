"""Which ids have been seen before, at a few bytes each."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        self._table = array("q", [_EMPTY]) * size
        self._size = size
        self._room = size * 3 // 4

    def add(self, id_: str) -> bool:
        """Add an id; return whether it, or one of its hash, was there already."""
        return bool(self.add_all([id_]))

    def __contains__(self, id_: str) -> bool:
        """Whether an id was added, or one of its hash."""
        hashed = hash_of(id_)
        place = hashed % self._size
        while found := self._table[place]:
            if found == hashed:
                return True
            place = place + 1 if place + 1 < self._size else 0
        return False

    def add_all(self, ids: Sequence[str], ahead: int = 0) -> list[int]:
        """Add ids; return the places of those which, or one of whose hash, were there already.

        Args:
            ids: To add.
            ahead: About how many may follow them.
        """
        # All in one place: it is done for every response.
        while self._room <= len(ids):
            self._grow(len(ids) + ahead)
        table, size = self._table, self._size
        again = []
        for number, hashed in enumerate(map(hash, ids)):
            hashed = hashed or 1  # noqa: PLW2901  # as `hash_of`
            place = hashed % size
            while found := table[place]:
                if found == hashed:
                    again.append(number)
                    break
                place += 1
                if place == size:
                    place = 0
            else:
                table[place] = hashed
        self._room -= len(ids) - len(again)
        return again

    def _grow(self, more: int) -> None:
        """Make room for more ids: the fewer times, the better, but not on anybody's word alone."""
        old = self._table
        taken = self._size * 3 // 4 - self._room
        enough = (taken + more) * 7 // 5
        while enough > self._size * 8:  # by such steps, the last one ends where it should
            enough = enough // 8 + 1
        self._resize(max(enough, self._size * 3 // 2))
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
    return hash(id_) or 1
