"""Drop duplicate responses, and give different responses with one id ids of their own."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

from msgspec.structs import replace

from tap_prolific_export.model import sha256_hex
from tap_prolific_export.rows.responses import content_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from tap_prolific_export.rows.responses import Response

_HASH_BYTES = 16
_GROUP_SHIFT = 8 * _HASH_BYTES + 1


def distinct(
    read: Callable[[], Iterable[list[Response]]],
    wants: Callable[[Response], bool] | None = None,
    left: Callable[[], float] = lambda: 0,
    ids: Callable[[], Iterable[list[str]]] | None = None,
) -> Iterator[list[Response]]:
    """Yield each wanted response once, and different responses with one id under unique ids.

    Identical responses count as one. Of different ones with the same id, sorted by the hash of
    their content so that the order of lines does not matter, the first keeps the id and the others
    get ``:2``, ``:3`` and so on, followed by a hash if that id exists already. If any of them is
    wanted, all are yielded, because a new one may change the ids of the others.

    Shared ids are rare, so the responses are read again only if there are any. Without `ids`, a
    response that was yielded under its id before may then be replaced by another, with `again`
    set. Only hashes are kept in memory, however many responses there are.

    Args:
        read: Starts a new reading of all responses, in blocks.
        wants: Whether a response is wanted; None: all are.
        left: Returns how much is still to be read, as a multiple of what was read.
        ids: Starts a reading of all ids, to know those that are shared before anything is yielded.
    """
    seen = SeenIds()
    repeated: set[int] = set()
    for found in ids() if ids else ():
        repeated.update(hash_of(found[place]) for place in seen.add_all(found, left()))
    for block in read():
        if ids:
            if repeated:
                block[:] = [each for each in block if hash_of(each.id) not in repeated]
        elif again := seen.add_all([response.id for response in block], left()):
            repeated.update(hash_of(block[place].id) for place in again)
            for place in reversed(again):
                del block[place]
        wanted = [*filter(wants, block)] if wants else block
        if wanted:
            yield wanted
    if repeated:
        yielded = set() if ids else set(repeated)
        yield from _with_unique_ids(read, repeated, yielded, seen, wants or (lambda _: True))


def _with_unique_ids(
    read: Callable[[], Iterable[list[Response]]],
    repeated: Collection[int],
    first_pending: set[int],
    seen: SeenIds,
    wants: Callable[[Response], bool],
) -> Iterator[list[Response]]:
    """Yield the responses that share an id, except those already yielded under the right id.

    `repeated` are the hashes of the ids that occur more than once, `first_pending` those of which
    the first response was yielded, if it is wanted.
    """

    def sharing() -> Iterator[Response]:
        return (each for block in read() for each in block if hash_of(each.id) in repeated)

    ranks = _Ranks(sharing(), wants)
    for response in sharing():
        hashed = hash_of(response.id)
        # The caller yielded the first response of each hash, but not a second id with that hash.
        was_yielded = hashed in first_pending and wants(response)
        first_pending.discard(hashed)
        found = ranks.take(response, was_yielded=was_yielded)
        if found is None:
            continue
        rank, again = found
        if rank:
            new_id = f"{response.id}:{rank + 1}"
            if new_id in seen:
                new_id += f":{sha256_hex(response.id, 16)}"
            yield [replace(response, id=new_id)]
        elif not was_yielded:
            yield [replace(response, again=again)]


class _Ranks:
    """Rank of each response among those with its id, in the order of their content hashes."""

    def __init__(self, responses: Iterable[Response], wants: Callable[[Response], bool]) -> None:
        self._wants = wants
        self._keys = sorted(map(self._key, responses))
        unique = 0
        for key in self._keys:  # in place, to save memory
            if not unique or key != self._keys[unique - 1]:
                self._keys[unique] = key
                unique += 1
        del self._keys[unique:]
        self._taken = bytearray(unique)
        # At the first place of each group: whether any response of it is wanted, was yielded.
        self._is_wanted = bytearray(unique)
        self._was_yielded = bytearray(unique)
        group, begin = -1, 0
        for place, key in enumerate(self._keys):
            if key >> _GROUP_SHIFT != group:
                group, begin = key >> _GROUP_SHIFT, place
            self._is_wanted[begin] |= key & 1

    def take(self, response: Response, *, was_yielded: bool) -> tuple[int, bool] | None:
        """Return a response's rank, and whether another was yielded under its id before.

        None for a duplicate, or if no response with this id is wanted.
        """
        key = self._key(response)
        place = bisect_left(self._keys, key)
        begin = bisect_left(self._keys, key >> _GROUP_SHIFT << _GROUP_SHIFT)
        self._was_yielded[begin] |= was_yielded
        if self._taken[place] or not self._is_wanted[begin]:
            return None
        self._taken[place] = 1
        return place - begin, bool(self._was_yielded[begin])

    def _key(self, response: Response) -> int:
        """Return a number that sorts by id, then content; its last bit is set if it is wanted."""
        id_ = hashlib.sha256(response.id.encode("utf-8", "surrogatepass")).digest()
        number = int.from_bytes(id_[:_HASH_BYTES] + content_hash(response)[:_HASH_BYTES], "big")
        return number << 1 | self._wants(response)


class SeenIds:
    """A set of ids that stores an 8-byte hash of each, in a table at most three quarters full.

    It needs 11 to 16 bytes an id, where a Python set of strings needs over 100. Two ids with the
    same hash (in about one of 10^8 sets of a million) count as the same id, so a caller must check
    every hit.
    """

    def __init__(self) -> None:
        self._resize(1024)

    def _resize(self, size: int) -> None:
        self._table = array("q", [0]) * size
        self._size = size
        self._room = size * 3 // 4

    def __contains__(self, id_: str) -> bool:
        """Whether the id, or one with the same hash, is in the set."""
        hashed = hash_of(id_)
        place = hashed % self._size
        while found := self._table[place]:
            if found == hashed:
                return True
            place = place + 1 if place + 1 < self._size else 0
        return False

    def add_all(self, ids: Sequence[str], left: float = 0) -> list[int]:
        """Add ids; return the indexes of those that were in the set, or whose hash was.

        Args:
            ids: The ids to add.
            left: How much is still to come, as an estimate and a multiple of what came.
        """
        # One function with no calls in its loop, because this runs for every response.
        while self._room <= len(ids):
            self._grow(len(ids), left)
        table, size = self._table, self._size
        repeated = []
        for index, hashed in enumerate(map(hash, ids)):
            hashed = hashed or 1  # noqa: PLW2901  # as `hash_of`
            place = hashed % size
            while found := table[place]:
                if found == hashed:
                    repeated.append(index)
                    break
                place += 1
                if place == size:
                    place = 0
            else:
                table[place] = hashed
        self._room -= len(ids) - len(repeated)
        return repeated

    def _grow(self, more: int, left: float) -> None:
        """Make room for more ids: up to 8 times the size, as `left` may be a wrong estimate."""
        old = self._table
        used = self._size * 3 // 4 - self._room + more
        wanted = int(used * (1 + left)) * 7 // 5
        while wanted > self._size * 8:  # equal steps, so that the last one ends at the full size
            wanted = wanted // 8 + 1
        self._resize(max(wanted, self._size * 3 // 2))
        table, size = self._table, self._size
        for hashed in old:
            if hashed:
                place = hashed % size
                while table[place]:
                    place = place + 1 if place + 1 < size else 0
                table[place] = hashed
                self._room -= 1


def hash_of(id_: str) -> int:
    """Return a 64-bit hash of an id, never 0; it differs between processes."""
    return hash(id_) or 1
