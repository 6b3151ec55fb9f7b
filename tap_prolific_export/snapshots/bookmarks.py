"""Bookmarks: what was delivered of each data collection, as the Singer state keeps it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tap_prolific_export.model import sha256_hex, text_or_none
from tap_prolific_export.rows.schema import STREAMS
from tap_prolific_export.signals import deferred
from tap_prolific_export.times import earlier, parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    # The key of one partition of the state.
    Context = dict[str, str]

REPLICATION_KEY = "exported_at"
COLLECTIONS = "collections"
FULL_EXPORTED_AT = "full_exported_at"
EXPORTS = "exports"

Entry = dict[str, Any]

# The state holds a bookmark for each stream of each data collection, and is written often: hosts
# whose ETags are longer than S3's get a digest of them kept.
MAX_ETAG = 40


@dataclass(frozen=True)
class Identity:
    """Identifies an archive by the job that made it, or by its content; either may be unknown.

    Attributes:
        export_id: The export job.
        etag: The archive's ETag; of an archive on disk, its size and a digest of its directory.
    """

    export_id: str | None = None
    etag: str | None = None

    @classmethod
    def of(cls, export_id: str | None, etag: str | None) -> Identity:
        """Return an identity with the ETag of an HTTP header, as short as it is kept."""
        etag = etag and etag.replace('"', "")
        if etag and len(etag) > MAX_ETAG:
            etag = sha256_hex(etag, 32)
        return cls(export_id, etag or None)

    def same_archive(self, other: Identity) -> bool:
        """Return whether both are certainly the same archive."""
        return (self.export_id is not None and self.export_id == other.export_id) or (
            self.etag is not None and self.etag == other.etag
        )


@dataclass(frozen=True)
class Bookmark:
    """The last archive of a data collection that a stream delivered.

    Attributes:
        exported_at: Of the archive that was delivered last: nothing in it is newer. None for a
            stream that is not incremental.
        archive: Which one that was.
        fingerprint: A digest of everything that shaped its records, but for the archive.
        content: A digest of what was delivered, for a stream that is small and always complete.
    """

    exported_at: datetime | None
    archive: Identity = field(default_factory=Identity)
    fingerprint: str = ""
    content: str | None = None

    def as_state(self) -> dict[str, str]:
        """Return the bookmark as it is in the Singer state, without unknown fields."""
        moment = self.exported_at.isoformat() if self.exported_at else None
        state = {
            "replication_key": REPLICATION_KEY if moment else None,
            "replication_key_value": moment,
            "export_id": self.archive.export_id,
            "etag": self.archive.etag,
            "fingerprint": "-".join(filter(None, (self.fingerprint, self.content))),
        }
        return {name: value for name, value in state.items() if value is not None}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Bookmark | None:
        """Read a bookmark; None if there is none, or none that can be trusted."""
        exported_at = None
        if state.get("replication_key") == REPLICATION_KEY:
            exported_at = parse_timestamp(state.get("replication_key_value"))
        if exported_at is None and "replication_key" in state:
            return None
        fingerprint, _, content = (text_or_none(state.get("fingerprint")) or "").partition("-")
        if not fingerprint:
            return None
        archive = Identity(text_or_none(state.get("export_id")), text_or_none(state.get("etag")))
        return cls(exported_at, archive, fingerprint, content or None)


def readable(bookmarks: object) -> tuple[dict[str, Any], list[str]]:
    """Return what can be read of a state's bookmarks, and the streams of which not all can be."""
    if not isinstance(bookmarks, dict):
        return {}, ["all streams"]
    found: dict[str, Any] = {}
    unreadable: list[str] = []
    known = {each.name for each in STREAMS}
    for stream, of_stream in bookmarks.items():
        partitions = of_stream.get("partitions", []) if isinstance(of_stream, dict) else None
        is_complete = False
        if isinstance(partitions, list):
            valid = [each for each in partitions if _is_partition(each)]
            times = Counter(_key(stream, each["context"]) for each in valid)
            # If two entries have the same context, neither can be trusted.
            kept = [each for each in valid if times[_key(stream, each["context"])] == 1]
            found[stream] = {**of_stream, "partitions": kept}
            is_complete = len(kept) == len(partitions) and all(map(_is_clear, kept))
        if not is_complete:  # the name of a stream that is not ours could be anything
            unreadable.append(stream if stream in known else "another stream")
    return found, unreadable


def _is_partition(entry: object) -> bool:
    context = entry.get("context") if isinstance(entry, dict) else None
    return isinstance(context, dict) and all(isinstance(each, str) for each in context.values())


def _is_clear(entry: Entry) -> bool:
    """Whether a partition holds a bookmark that can be read, or none."""
    has_bookmark = entry.keys() & {"replication_key", "replication_key_value", "fingerprint"}
    return not has_bookmark or Bookmark.from_state(entry) is not None


def context_of(data_collection_id: str, archive: str | None = None) -> Context:
    """Return the key of a data collection's state; each archive on disk has state of its own."""
    on_disk = {"archive": archive} if archive else {}
    return {"data_collection_id": data_collection_id, **on_disk}


def since(bookmarks: Iterable[Bookmark | None], lookback_seconds: int) -> datetime | None:
    """Return the time from which on responses may be new to one of the bookmarks' streams.

    Everything may be new (None) if one of them is missing, as its stream begins at the beginning.
    """
    times = [bookmark and bookmark.exported_at for bookmark in bookmarks]
    known = [time for time in times if time]
    if not known or len(known) < len(times):
        return None
    moment = earlier(min(known), lookback_seconds)
    # Whole seconds: how many digits the API accepts is not documented.
    return moment and moment.replace(microsecond=0)


class Bookmarks:
    """The bookmarks in a tap's state, which this reads and writes: one for each stream and context.

    They are found at once; the SDK looks for a partition by walking all of them. What came from
    outside must have passed `readable`.
    """

    def __init__(self, state: dict[str, Any]) -> None:
        self._bookmarks: dict[str, Any] = state.setdefault("bookmarks", {})
        self._entries: dict[tuple[str, str], Entry] = {
            _key(stream, entry["context"]): entry
            for stream, of_stream in self._bookmarks.items()
            for entry in of_stream.get("partitions", ())
        }

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
        self._write(stream, context, None)

    def full_exported_at(self, context: Mapping[str, str]) -> datetime | None:
        """Return when the last complete, unfiltered export that was delivered was read."""
        return parse_timestamp(self._entry(COLLECTIONS, context).get(FULL_EXPORTED_AT))

    def set_full_exported_at(self, context: Mapping[str, str], moment: datetime | None) -> None:
        """Set, or with None remove, what `full_exported_at` returns."""
        self._set(context, FULL_EXPORTED_AT, moment and moment.isoformat())

    def exports(self, context: Mapping[str, str]) -> list[str]:
        """Return the ids of the export jobs that the tap certainly created."""
        found = self._entry(COLLECTIONS, context).get(EXPORTS)
        return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []

    def set_exports(self, context: Mapping[str, str], ids: list[str]) -> None:
        """Set what `exports` returns."""
        self._set(context, EXPORTS, ids)

    def _entry(self, stream: str, context: Mapping[str, str]) -> Entry:
        return self._entries.get(_key(stream, context), {})

    def _set(self, context: Mapping[str, str], name: str, value: Any) -> None:
        """Set one field of a data collection's entry; an empty value removes it."""
        entry = {n: v for n, v in self._entry(COLLECTIONS, context).items() if n != "context"}
        entry[name] = value
        if not value:
            del entry[name]
        self._write(COLLECTIONS, context, entry or None)

    @deferred()
    def _write(self, stream: str, context: Mapping[str, str], fields: Entry | None) -> None:
        """Replace an entry; with None, remove it."""
        key = _key(stream, context)
        if fields is None:
            if entry := self._entries.pop(key, None):
                self._bookmarks[stream]["partitions"].remove(entry)
            return
        if key not in self._entries:
            self._entries[key] = {}
            of_stream = self._bookmarks.setdefault(stream, {})
            of_stream.setdefault("partitions", []).append(self._entries[key])
        self._entries[key].clear()
        self._entries[key].update({"context": dict(context), **fields})


def _key(stream: str, context: Mapping[str, str]) -> tuple[str, str]:
    return stream, repr(sorted(context.items()))
