"""Responses that share an id -> responses with ids of their own; pure."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tap_prolific_export.archive.export_archive import Block
from tap_prolific_export.rows.responses import content_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from tap_prolific_export.rows.responses import Response

_HASH_BYTES = 16
_GROUP_SHIFT = 8 * _HASH_BYTES + 1


def distinct(
    read: Callable[[], Iterable[Response]], wants: Callable[[Response], bool] = lambda _: True
) -> Iterator[Response]:
    """Yield each response that is wanted once, and those that share an id under ids of their own.

    Of several with one id the first keeps it and the others get ``:2``, ``:3`` and so on, in the
    order of their content's hash, whatever the order of the lines; identical ones are one. Where
    there is such an id already, a digest follows. If any of them is wanted, all are: one that is
    new may have moved the others to other ids.

    That is rare, so they are looked for in more readings, and only if there are any: what was
    yielded under the id by then may be yielded anew, with `again` set. Of each nothing is held but
    hashes, however many there are.

    Args:
        read: Begins a reading of the responses.
        wants: Whether a response is wanted.
    """
    seen = SeenIds()
    repeated: set[int] = set()
    for response in read():
        if seen.add(response.id):
            repeated.add(hash_of(response.id))
        elif wants(response):
            yield response
    yield from _sharing(read, repeated, seen, wants)


def distinct_in_blocks(
    found: Iterable[Response | Block],
    read: Callable[[], Iterable[Response]],
    ahead: Callable[[], int] = lambda: 0,
) -> Iterator[Response | list[list[Any]]]:
    """Yield what `distinct` does, all of it wanted, of those in blocks what was made of them.

    Args:
        found: A reading of the responses, as far as they are not in blocks.
        read: Begins a reading of all responses.
        ahead: Returns about how many are yet to be found.
    """
    seen = SeenIds()
    repeated: set[int] = set()
    for each in found:
        if not isinstance(each, Block):
            if seen.add(each.id):
                repeated.add(hash_of(each.id))
            else:
                yield each
            continue
        ids, made = each
        if again := seen.add_all(ids, ahead()):
            repeated.update(hash_of(ids[place]) for place in again)
            left_out = {*again}
            made = [
                [row for place, row in enumerate(rows) if place not in left_out] for rows in made
            ]
        yield made
    yield from _sharing(read, repeated, seen)


def _sharing(
    read: Callable[[], Iterable[Response]],
    repeated: Collection[int],
    seen: SeenIds,
    wants: Callable[[Response], bool] = lambda _: True,
) -> Iterator[Response]:
    """Yield the responses that share an id, as far as they do not stand as they were yielded.

    Args:
        read: Begins a reading of the responses.
        repeated: The hashes of ids that came more than once; the first of each was yielded.
        seen: All ids.
        wants: Whether a response is wanted.
    """
    if not repeated:
        return
    ranks = _Ranks((each for each in read() if hash_of(each.id) in repeated), wants)
    unmet = set(repeated)
    for response in read():
        hashed = hash_of(response.id)
        if hashed not in repeated:
            continue
        # The first of a hash was yielded above; of two ids with one hash, one was not.
        was_yielded = hashed in unmet and wants(response)
        unmet.discard(hashed)
        found = ranks.take(response, was_yielded=was_yielded)
        if found is None:
            continue
        rank, again = found
        if rank:
            yield replace(response, id=_new_id(response.id, rank + 1, seen))
        elif not was_yielded:
            yield replace(response, again=again)


def _new_id(id_: str, number: int, seen: SeenIds) -> str:
    found = f"{id_}:{number}"
    if found not in seen:
        return found
    digest = hashlib.sha256(id_.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{found}:{digest[:16]}"


class _Ranks:
    """The ranks that responses have among those of their id, by the hash of their content.

    Args:
        responses: They.
        wants: Whether a response is wanted.
    """

    def __init__(self, responses: Iterable[Response], wants: Callable[[Response], bool]) -> None:
        self._wants = wants
        self._keys = sorted(map(self._key, responses))
        unique = 0
        for key in self._keys:  # in place: there may be very many
            if not unique or key != self._keys[unique - 1]:
                self._keys[unique] = key
                unique += 1
        del self._keys[unique:]
        self._taken = bytearray(unique)
        # Of each group, where it begins: whether any of it is wanted, or was yielded before.
        self._is_wanted = bytearray(unique)
        self._was_yielded = bytearray(unique)
        group, begin = -1, 0
        for place, key in enumerate(self._keys):
            if key >> _GROUP_SHIFT != group:
                group, begin = key >> _GROUP_SHIFT, place
            self._is_wanted[begin] |= key & 1

    def take(self, response: Response, *, was_yielded: bool) -> tuple[int, bool] | None:
        """Return a response's rank, and whether another was yielded under its id before.

        None for one that was taken already, or in whose group none is wanted.
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
        """Return a number that sorts by id, then content; the last bit tells what is wanted."""
        id_ = hashlib.sha256(response.id.encode("utf-8", "surrogatepass")).digest()
        number = int.from_bytes(id_[:_HASH_BYTES] + content_hash(response)[:_HASH_BYTES], "big")
        return number << 1 | self._wants(response)


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
