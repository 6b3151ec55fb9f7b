"""The Singer state: its bookmarks, and STATE messages, no more of them than are of use."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from singer_sdk.helpers._state import StateWriter

from tap_prolific_export.bookmarks import Bookmark
from tap_prolific_export.streams.output import TERMINATION
from tap_prolific_export.times import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from singer_sdk.helpers.types import TapState
    from singer_sdk.singerlib.encoding.base import GenericSingerWriter

INTERVAL_SECONDS = 10.0
COLLECTIONS = "collections"
FULL_EXPORTED_AT = "full_exported_at"
EXPORTS = "exports"
# A state of no more partitions than this, or about 60 KB, may be written at any time.
SMALL = 240

Entry = dict[str, Any]


class Ledger:
    """The bookmarks in a tap's state, one for each stream and context, found at once.

    The SDK looks for a partition by walking all of them.

    Args:
        state: The tap's state, which this reads and writes.
    """

    def __init__(self, state: TapState) -> None:
        self._bookmarks: dict[str, Any] = state.setdefault("bookmarks", {})
        self._entries: dict[tuple[str, str], Entry] = {}
        for stream, of_stream in self._bookmarks.items():
            for entry in of_stream.get("partitions") or ():
                key = _key(stream, entry.get("context") or {})
                # Of two entries for one partition, nobody knows which holds: neither is believed.
                self._entries[key] = {} if key in self._entries else entry

    def bookmark(self, stream: str, context: Mapping[str, str]) -> Bookmark | None:
        """Return a stream's bookmark, if it has one."""
        return Bookmark.from_state(self._entry(stream, context))

    def put(self, stream: str, context: Mapping[str, str], bookmark: Bookmark) -> None:
        """Set a stream's bookmark."""
        entry = self._entry(stream, context)
        kept = {name: entry[name] for name in (FULL_EXPORTED_AT, EXPORTS) if name in entry}
        self._write(stream, context, {**bookmark.as_state(), **kept})

    def drop(self, stream: str, context: Mapping[str, str]) -> None:
        """Remove a stream's bookmark, if it has one."""
        if _key(stream, context) in self._entries:
            self._write(stream, context, None)

    def full_exported_at(self, context: Mapping[str, str]) -> datetime | None:
        """Return when the last complete, unfiltered export that was delivered was read."""
        return parse_timestamp(self._entry(COLLECTIONS, context).get(FULL_EXPORTED_AT))

    def set_full_exported_at(self, context: Mapping[str, str], moment: datetime | None) -> None:
        """Set, or with None remove, what `full_exported_at` returns."""
        self._set(context, FULL_EXPORTED_AT, moment and moment.isoformat())

    def exports(self, context: Mapping[str, str]) -> list[str]:
        """Return the ids of the export jobs that are certainly ours."""
        found = self._entry(COLLECTIONS, context).get(EXPORTS)
        return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []

    def set_exports(self, context: Mapping[str, str], ids: list[str]) -> None:
        """Set what `exports` returns."""
        self._set(context, EXPORTS, ids)

    def _entry(self, stream: str, context: Mapping[str, str]) -> Entry:
        return self._entries.get(_key(stream, context), {})

    def _set(self, context: Mapping[str, str], name: str, value: Any) -> None:
        """Set, or where there is no value remove, one field of a data collection's entry."""
        entry = {n: v for n, v in self._entry(COLLECTIONS, context).items() if n != "context"}
        entry[name] = value
        if not value:
            del entry[name]
        self._write(COLLECTIONS, context, entry or None)

    @TERMINATION.held()
    def _write(self, stream: str, context: Mapping[str, str], fields: Entry | None) -> None:
        """Replace an entry; with None, remove it."""
        key = _key(stream, context)
        known = self._entries.pop(key, None)
        partitions = self._bookmarks.setdefault(stream, {}).setdefault("partitions", [])
        if known == {} or fields is None:
            partitions[:] = [e for e in partitions if _key(stream, e.get("context") or {}) != key]
        if fields is None:
            return
        entry = known or {}
        entry.clear()
        entry.update({"context": dict(context), **fields})
        if not known:
            partitions.append(entry)
        self._entries[key] = entry


def _key(stream: str, context: Mapping[str, str]) -> tuple[str, str]:
    return stream, repr(sorted(context.items()))


class CalmStateWriter(StateWriter):
    """Writes STATE at most every `INTERVAL_SECONDS`, and when it is told to.

    Each STATE holds every partition, and the SDK writes one for every stream of every partition:
    the output would grow with the square of the number of data collections. To write one late is
    safe, to write it early is not.

    Args:
        message_writer: The tap's.
        monotonic: Seconds on a clock that never jumps.
    """

    def __init__(
        self,
        message_writer: GenericSingerWriter[Any, Any],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(message_writer)
        self._monotonic = monotonic
        self._written_at = monotonic()

    def write_state(self, state: TapState) -> None:
        """Write the state if it has changed and the last one is old enough."""
        if self._monotonic() - self._written_at >= INTERVAL_SECONDS:
            self.flush(state)

    def write_soon(self, state: TapState) -> None:
        """Write a state that must not be lost: now, unless it is so large that it has to wait."""
        streams = state.get("bookmarks", {}).values()
        if sum(len(stream.get("partitions") or ()) for stream in streams) <= SMALL:
            self.flush(state)
        else:
            self.write_state(state)

    def flush(self, state: TapState) -> None:
        """Write the state now, if it has changed."""
        super().write_state(state)
        self._written_at = self._monotonic()
