"""One run: which data collection is open, what was delivered and what failed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

from tap_prolific_export.errors import (
    DataCollectionError,
    FilesError,
    RefusedError,
    ReplacedError,
    TapError,
)
from tap_prolific_export.singer.report import failure, skipped
from tap_prolific_export.snapshots.bookmarks import Bookmarks
from tap_prolific_export.snapshots.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from singer_sdk.helpers.types import Context, TapState

    from tap_prolific_export.archive.export_archive import Skipped
    from tap_prolific_export.rows.collection import DataCollection
    from tap_prolific_export.settings import Settings
    from tap_prolific_export.singer.stream import ProlificStream
    from tap_prolific_export.snapshots.snapshot import Snapshot
    from tap_prolific_export.snapshots.source import DueSnapshot, SnapshotSource
    from tap_prolific_export.uploads.transfer import Transfers

# What the API may say of a data collection that was never published, or is gone: with which status
# is not published. Only of one that a workspace lists, and nobody named, is that no failure.
NOT_EXPORTABLE = frozenset({400, 404, 409, 410, 422})


# So often an archive is read that becomes another one while it is.
MAX_READINGS = 4


class Run:
    """One sync: which delivery is open, what has been delivered and what has failed.

    Args:
        settings: What is wanted.
        deliveries: Makes the deliveries.
        checkpoint: Called after each data collection: the state may be written.
        urgent: Called when the state says something that must not be lost.
    """

    def __init__(
        self,
        settings: Settings,
        snapshots: SnapshotSource,
        *,
        checkpoint: Callable[[], None],
        urgent: Callable[[], None],
    ) -> None:
        self.settings = settings
        self.failures: list[TapError] = []
        self.delivered = 0
        self.passed_over = 0
        self._skipped: list[tuple[str, Skipped]] = []
        # Of the open delivery: its responses, once all of them have been read, and whether a
        # stream has failed on it, which then fails for all.
        self.response_count: int | None = None
        self.snapshot_failed = False
        # Stores uploaded files, where they are wanted.
        self.transfers: Transfers | None = None
        self._snapshots = snapshots
        self._checkpoint = checkpoint
        self._urgent = urgent
        self._open: Snapshot | None = None
        self._replaced: ReplacedError | None = None
        self._progress: Progress | None = None

    @property
    def snapshot(self) -> Snapshot:
        """The delivery that is open; there is one while a context is being synced."""
        if self._open is None:
            msg = "No delivery is open."
            raise TapError(msg)
        return self._open

    @property
    def progress(self) -> Progress:
        """What has been delivered; known once the run has begun."""
        if self._progress is None:
            msg = "The run has not begun."
            raise TapError(msg)
        return self._progress

    def contexts(self, streams: Sequence[ProlificStream], state: TapState) -> Iterator[Context]:
        """Open each delivery in turn and yield the Singer context of its data collection.

        What cannot be delivered is recorded and passed over; what has nothing new is passed over.

        Args:
            streams: All streams, the parent first.
            state: The tap's.
        """
        self._progress = Progress(
            Bookmarks(cast(dict[str, Any], state)),
            streams,
            self.settings.lookback_seconds,
            self._urgent,
        )
        progress = self._progress
        try:
            due = self._snapshots.due(with_archive=progress.needs_archives, history=progress)
            for each in due:
                yield from self._walk(each, progress)
                self._checkpoint()
        except TapError as error:  # no source can be delivered any more
            self.fail(error)

    def _walk(self, due: DueSnapshot, progress: Progress) -> Iterator[Context]:
        before = len(self.failures)
        try:
            yield from self._read(due, progress)
            readings = 1
            while self._replaced:
                if readings == MAX_READINGS:
                    raise self._replaced
                logger.info("%s", self._replaced)
                yield from self._read(due, progress, anew=True)
                readings += 1
            if len(self.failures) == before:
                self._snapshots.discard(due, progress)
                self.delivered += 1
        except RefusedError as error:
            if due.source.is_listed and error.status in NOT_EXPORTABLE:
                logger.warning("%s Passed over: it came from its workspace's list.", error)
                self.passed_over += 1
            else:
                self.fail(error)
        except DataCollectionError as error:
            self.fail(error)

    def _read(
        self, due: DueSnapshot, progress: Progress, *, anew: bool = False
    ) -> Iterator[Context]:
        """Open a delivery and have all streams read it, as far as its archive stays what it is."""
        self.response_count = None
        self.snapshot_failed = False
        self._replaced = None
        try:
            with self._snapshots.open(due, progress) as snapshot:
                if snapshot:
                    self._open = snapshot
                    progress.begin(snapshot, anew=anew)
                    yield snapshot.context
                    if snapshot.archive:
                        of = str(snapshot.collection.ref)
                        self._skipped += [(of, each) for each in snapshot.archive.skipped.values()]
        except ReplacedError as error:
            self.begin_anew(error)
        finally:
            self._open = None

    def foreseen(self) -> list[DataCollection]:
        """Return what can be told of all data collections, without exporting any.

        What cannot be told fails nothing here: it is said when its turn comes.
        """
        found = []
        try:
            for source in self._snapshots.sources():
                try:
                    found.append(self._snapshots.describe(source))
                except DataCollectionError as error:
                    logger.debug("%s", error)
        except TapError as error:
            logger.debug("%s", error)
        return found

    def fail(self, error: TapError) -> None:
        """Record a failure; the run goes on and `raise_failures` ends it.

        What fails of a delivery fails all streams that come after, but for files that cannot be
        stored: they keep nobody from the answers.
        """
        logger.error("%s", error)
        self.failures.append(error)
        self.snapshot_failed |= not isinstance(error, FilesError)

    def begin_anew(self, replaced: ReplacedError) -> None:
        """Leave an archive that has become another one; it will be read from its begin."""
        self._replaced = replaced
        self.snapshot_failed = True

    def say_skipped(self) -> None:
        """Log which lines were left out, if any were."""
        if self._skipped:
            logger.warning("%s", skipped(self._skipped))

    def raise_failures(self) -> None:
        """End a run in which something failed.

        Raises:
            FatalError: With a table of what failed.
        """
        if self.failures:
            raise failure(self.failures, self.delivered)


logger = logging.getLogger("tap-prolific-export")
