"""What the streams have delivered, in earlier runs and in this one.

A bookmark moves when its stream has emitted all of a delivery's rows, and not before: until then,
nothing in the state says that any of them were. So a run may end at any point, and the next one
begins each partition that was not finished anew.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from tap_prolific_export.rows.schema import RESPONSES
from tap_prolific_export.signals import deferred
from tap_prolific_export.snapshots.bookmarks import Bookmark, context_of, since

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from tap_prolific_export.archive.export_archive import Part
    from tap_prolific_export.model import DataCollectionRef
    from tap_prolific_export.snapshots.bookmarks import Bookmarks, Context, Identity
    from tap_prolific_export.snapshots.snapshot import Snapshot

logger = logging.getLogger("tap-prolific-export")


class StreamInfo(Protocol):
    """What `Progress` needs to know of a stream.

    Attributes:
        reads: The parts of an archive that its rows are made of, besides the metadata.
        replication_key: The column of its bookmark; None if it is not incremental.
    """

    name: str
    reads: frozenset[Part]
    replication_key: str | None

    @property
    def is_emitted(self) -> bool:
        """Whether its records are written."""

    @property
    def is_full_run(self) -> bool:
        """Whether it delivers everything, whatever it delivered before."""

    @property
    def fingerprint(self) -> str:
        """A digest of everything that shapes its records."""


class Progress:
    """Keeps the bookmarks of one run, and the export jobs that it owns; an `OwnedJobs`.

    Args:
        lookback_seconds: So long after its own time a response may still appear, or change.
        urgent: Called when the bookmarks hold something that must not be lost.
    """

    def __init__(
        self,
        bookmarks: Bookmarks,
        streams: Sequence[StreamInfo],
        lookback_seconds: int,
        urgent: Callable[[], None],
    ) -> None:
        self._bookmarks = bookmarks
        self._urgent = urgent
        self._selected = [stream for stream in streams if stream.is_emitted]
        self._of_responses = [stream for stream in self._selected if stream.reads]
        self._left_out = [s for s in streams if s.reads and not s.is_emitted]
        self._lookback_seconds = lookback_seconds
        self._snapshot: Snapshot  # since `begin`
        self._pending: set[str] = set()
        self._completed: set[str] = set()
        self._came_from_disk: set[str] = set()

    # Used by `source`, as the history of earlier runs:

    @property
    def reads(self) -> frozenset[Part]:
        """The parts of an archive that the streams read, besides the metadata."""
        return frozenset().union(*(stream.reads for stream in self._selected))

    def since(self, context: Context) -> datetime | None:
        """Return the time from which responses may be new to a stream; None for all of them."""
        bookmarks = [self._usable(stream, context) for stream in self._of_responses]
        return since(bookmarks, self._lookback_seconds)

    def latest(self, context: Context) -> datetime | None:
        """Return `exported_at` of the newest archive that a selected stream has delivered."""
        bookmarks = [self._bookmark(stream, context) for stream in self._of_responses]
        known = [mark.exported_at for mark in bookmarks if mark and mark.exported_at]
        return max(known, default=None)

    def has(self, context: Context, archive: Identity) -> bool:
        """Return whether every selected stream has delivered this archive."""
        return not any(self._wants(stream, context, archive) for stream in self._selected)

    def confirm(self, context: Context, archive: Identity, exported_at: datetime) -> None:
        """Move the bookmarks to a newer archive that holds what was delivered."""
        for stream in self._selected:
            bookmark = self._usable(stream, context)
            if bookmark and bookmark.exported_at and bookmark.exported_at < exported_at:
                moved = replace(bookmark, exported_at=exported_at, archive=archive)
                self._bookmarks.put(stream.name, context, moved)

    def ours(self, ref: DataCollectionRef) -> Sequence[str]:
        """Return the ids of the export jobs that are certainly ours."""
        return self._bookmarks.exports(context_of(ref.id))

    def take(self, ref: DataCollectionRef, export_id: str) -> None:
        """Record at once that the tap owns a job."""
        self._bookmarks.set_exports(context_of(ref.id), [*self.ours(ref), export_id])
        self._urgent()

    def release(self, ref: DataCollectionRef, export_id: str) -> None:
        """Record that a job of the tap is gone."""
        left = [each for each in self.ours(ref) if each != export_id]
        self._bookmarks.set_exports(context_of(ref.id), left)

    # Used by `sync` while a snapshot is open:

    def begin(self, snapshot: Snapshot, *, anew: bool = False) -> None:
        """Begin a snapshot; `anew`: in place of one that was not finished, and of all its rows."""
        self._snapshot = snapshot
        self._completed = set()
        self._pending = {
            stream.name
            for stream in self._selected
            if anew or self._wants(stream, snapshot.context, snapshot.identity)
        }
        changed = [
            stream.name
            for stream in self._selected
            if (bookmark := self._bookmark(stream, snapshot.context))
            and bookmark.fingerprint != stream.fingerprint
        ]
        if changed:
            logger.info(
                "%s: delivering %s anew: settings or selection have changed what they hold.",
                snapshot.collection.ref,
                ", ".join(changed),
            )
        if snapshot.on_disk:
            # Its rows may replace newer ones, from a later archive or from the API.
            self._came_from_disk.add(snapshot.facts.data_collection_id)
            of_api = context_of(snapshot.facts.data_collection_id)
            self._bookmarks.set_full_exported_at(of_api, None)

    def is_pending(self, stream: StreamInfo) -> bool:
        """Return whether the stream still has to deliver the open snapshot."""
        return stream.name in self._pending

    def has_content(self, stream: StreamInfo, content: str) -> bool:
        """Return whether the stream's content equals what it delivered last."""
        bookmark = self._usable(stream, self._snapshot.context)
        return bookmark is not None and bookmark.content == content

    def complete(self, stream: StreamInfo, content: str | None = None) -> None:
        """Move the stream's bookmark: all of its rows have been emitted."""
        snapshot = self._snapshot
        self._pending.discard(stream.name)
        self._completed.add(stream.name)
        exported_at = snapshot.facts.exported_at if stream.replication_key else None
        bookmark = Bookmark(exported_at, snapshot.identity, stream.fingerprint, content)
        self._bookmarks.put(stream.name, snapshot.context, bookmark)

    def full_exported_at(self, *, is_whole: bool) -> datetime | None:
        """Return `full_exported_at` as it is once the open snapshot's rows are emitted.

        `is_whole` says that everything in the archive was read, and none of it was dropped.
        """
        snapshot = self._snapshot
        if is_whole and self._is_full():
            return snapshot.facts.exported_at
        return None if snapshot.on_disk else self._bookmarks.full_exported_at(snapshot.context)

    @deferred()  # a state that has only some of these changes would be wrong
    def close(self, last: StreamInfo | None, *, is_whole: bool) -> None:
        """Finish the open snapshot, if every stream has delivered all of it.

        The bookmark of `collections`, if it is emitted, is the last; `is_whole` as above.
        """
        if self._pending - {last.name if last else ""}:
            return
        if last:
            self.complete(last)
        context = self._snapshot.context
        if is_whole and self._is_full():
            self._bookmarks.set_full_exported_at(context, self._snapshot.facts.exported_at)
            # Their rows are older and would look withdrawn: these streams start from the beginning.
            for stream in self._left_out:
                self._bookmarks.drop(stream.name, context)

    def _is_full(self) -> bool:
        """Whether all rows of an unfiltered export have been emitted, each by this run."""
        return (
            self._snapshot.is_of_everything
            and RESPONSES.name in self._completed
            and all(stream.name in self._completed for stream in self._of_responses)
        )

    def _wants(self, stream: StreamInfo, context: Context, archive: Identity) -> bool:
        bookmark = self._usable(stream, context)
        if bookmark is None or not bookmark.archive.same_archive(archive):
            return True
        # Archives on disk come oldest first: those after a new one are newer, so deliver them too.
        return "archive" in context and context["data_collection_id"] in self._came_from_disk

    def _usable(self, stream: StreamInfo, context: Context) -> Bookmark | None:
        """Return a bookmark, unless its records would come out differently now."""
        bookmark = self._bookmark(stream, context)
        return bookmark if bookmark and bookmark.fingerprint == stream.fingerprint else None

    def _bookmark(self, stream: StreamInfo, context: Context) -> Bookmark | None:
        return None if stream.is_full_run else self._bookmarks.bookmark(stream.name, context)
