"""From the settings to open snapshots: each source is looked up or exported, and opened.

This is the last module that does not know Singer; a notebook can stop here.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from tap_prolific_export.archive.byte_source import open_local
from tap_prolific_export.archive.export_archive import ExportArchive, Limits, archive_ref
from tap_prolific_export.archive.file_name import parse_file_name
from tap_prolific_export.archive.http_source import Downloader, PresignedUrl
from tap_prolific_export.errors import DataCollectionError, GoneError, TapError
from tap_prolific_export.model import DataCollectionRef, ExportFilter, Kind
from tap_prolific_export.prolific.client import ProlificAPI
from tap_prolific_export.prolific.export_jobs import JobStarter, Wanted
from tap_prolific_export.prolific.exports import Exporter, Outcome
from tap_prolific_export.rows import collection as collections
from tap_prolific_export.rows import inference
from tap_prolific_export.rows.responses import responses
from tap_prolific_export.rows.tables import ExportFacts
from tap_prolific_export.snapshots.archive_paths import find_archives
from tap_prolific_export.snapshots.bookmarks import Identity, context_of
from tap_prolific_export.snapshots.snapshot import Snapshot
from tap_prolific_export.times import earlier, utc_text
from tap_prolific_export.uploads.transfer import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from tap_prolific_export.archive.export_archive import Metadata
    from tap_prolific_export.http import Sleep
    from tap_prolific_export.rows.collection import DataCollection
    from tap_prolific_export.settings import Settings
    from tap_prolific_export.snapshots.progress import Progress

_T = TypeVar("_T")

logger = logging.getLogger("tap-prolific-export")

# An API that ignores filters may return an archive that another client requested. Its snapshot is
# then older than `exported_at`, by the time that generating an archive takes.
SNAPSHOT_DOUBT_SECONDS = 3600
# Warn when the API returns the same archive for longer than this.
OLD = timedelta(hours=24)


@dataclass
class Source:
    """Where a snapshot comes from: a data collection of the API, or an archive on disk.

    Attributes:
        ref: The data collection.
        path: The archive.
        is_listed: Whether only its workspace's list names it, not the settings.
        error: Why a workspace cannot be listed.
        outcome: The result of its latest export; None if no export was requested.
    """

    ref: DataCollectionRef | None = None
    path: Path | None = None
    is_listed: bool = False
    error: DataCollectionError | None = None
    outcome: Outcome | None = None


class SnapshotSource:
    """Finds the due snapshots and opens them; calls `count` with the endpoint of every request."""

    def __init__(
        self,
        settings: Settings,
        count: Callable[[str], None] = lambda _: None,
        *,
        sleep: Sleep | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        sleep = sleep or time.sleep
        self._api = ProlificAPI(
            settings.api_url,
            settings.api_token or "",  # without a token, no source needs the API
            timeout=settings.request_timeout_seconds,
            sleep=sleep,
            monotonic=monotonic,
            max_retry_after=settings.export_timeout_seconds,
            count=count,
        )
        self._job_starter = JobStarter(self._api, delete=settings.delete_exports)
        self._exporter = Exporter(
            self._api,
            self._job_starter,
            poll_interval=settings.poll_interval_seconds,
            timeout=settings.export_timeout_seconds,
            retries=settings.export_retries,
            max_pending=settings.max_pending_exports,
            sleep=sleep,
            monotonic=monotonic,
        )
        self._downloader = Downloader(
            timeout=settings.request_timeout_seconds,
            sleep=sleep,
            count=count,
            concurrency=settings.files_concurrency,
            monotonic=monotonic,
            max_retry_after=settings.export_timeout_seconds,
        )
        self._limits = Limits(
            max_line_bytes=settings.max_line_bytes,
            skip_bad_lines=settings.on_bad_line == "skip",
        )
        self._takes = Selection.of(settings).takes if settings.files_uri else lambda *_: False

    def _sources(self, log: Callable[..., None]) -> Iterator[Source]:
        """Yield every source once: archives on disk, oldest first, then the API's.

        In this order the newest rows are the last, which is what a target keeps.
        """
        for path in find_archives(self._settings.archive_paths, log):
            yield Source(path=path)
        named = [DataCollectionRef(Kind.COLLECTION, id_) for id_ in self._settings.collection_ids]
        named += [DataCollectionRef(Kind.BATCH, id_) for id_ in self._settings.batch_ids]
        yield from (Source(ref) for ref in named)
        known = set(named)
        for workspace_id in self._settings.workspace_ids:
            for kind in Kind:
                try:
                    listed = self._api.data_collections(kind, workspace_id)
                except DataCollectionError as error:
                    yield Source(error=error)
                else:
                    yield from (Source(ref, is_listed=True) for ref in listed if ref not in known)
                    known.update(listed)

    def described(
        self, log: Callable[..., None]
    ) -> tuple[list[DataCollection], list[DataCollectionError]]:
        """Return the metadata of every source without exporting anything, and what failed.

        Each failure is logged at once.

        Raises:
            FatalError: The API rejects every request.
        """
        found: list[DataCollection] = []
        failures: list[DataCollectionError] = []
        for source in self._sources(logger.debug):
            try:
                found.append(self._described(source))
            except DataCollectionError as error:
                log("%s", error)
                failures.append(error)
        return found, failures

    def _described(self, source: Source) -> DataCollection:
        if source.error:
            raise source.error
        if source.path:
            with ExitStack() as stack:
                return self._from_path(source.path, stack).collection
        return self._look_up(_require(source.ref)).collection

    def due(self, history: Progress) -> Iterator[Source]:
        """Yield each source once, as soon as its snapshot can be opened without waiting.

        First what is on disk, then the API's: exports in the order in which they are completed.
        If the history says that no archive will be read, no export is requested, but for a legacy
        batch of which the API no longer tells the questions.

        Raises:
            FatalError: The API rejects every request.
        """
        exported = {}
        for source in self._sources(logger.warning):
            if source.ref and history.reads:
                exported[source.ref] = source
            else:
                yield source
        wanted = [self._wanted(ref, history) for ref in exported]
        for outcome in self._exporter.exports(wanted, history):
            source = exported[outcome.wanted.ref]
            source.outcome = outcome
            yield source

    @contextmanager
    def open(self, source: Source, history: Progress) -> Iterator[Snapshot | None]:
        """Open a snapshot; leaving the context closes it and removes its temporary files.

        Yields:
            None where there is nothing that has not been delivered.

        Raises:
            DataCollectionError: This data collection cannot be delivered.
            FatalError: No data collection can be delivered.
        """
        if source.error:
            raise source.error
        with ExitStack() as stack:
            if source.path:
                snapshot = self._from_path(source.path, stack)
                yield None if history.has(snapshot.context, snapshot.identity) else snapshot
                return
            ref = _require(source.ref)
            if not source.outcome:
                described = self._look_up(ref)
                if ref.kind is Kind.COLLECTION or described.collection.instructions:
                    yield described
                    return
                source.outcome = self._export(ref, history)
            yield self._from_latest_export(source, source.outcome, history, stack)

    def discard(self, source: Source, history: Progress) -> None:
        """Delete the tap's own export jobs of a snapshot that is finished."""
        if source.ref:
            self._job_starter.discard(source.ref, history)

    def _look_up(self, ref: DataCollectionRef) -> Snapshot:
        answer = self._api.data_collection(ref)
        collection = collections.parse(ref, answer.body)
        if ref.kind is Kind.BATCH and not collection.instructions:
            collection = collections.with_instructions(
                collection, self._api.batch_instructions(ref)
            )
        return Snapshot(ExportFacts(ref.id, None, answer.date), collection)

    def _wanted(self, ref: DataCollectionRef, history: Progress) -> Wanted:
        context = context_of(ref.id)
        return Wanted(ref, self._from(history.since(context)), history.latest(context))

    def _export(self, ref: DataCollectionRef, history: Progress) -> Outcome:
        """Request one export and wait for it."""
        return next(self._exporter.exports([self._wanted(ref, history)], history))

    def _from_latest_export(
        self, source: Source, outcome: Outcome, history: Progress, stack: ExitStack
    ) -> Snapshot | None:
        while True:
            try:
                return self._from_export(outcome, history, stack)
            except GoneError as error:
                logger.info("%s", error)
                gone = _require(outcome.export)
                outcome = self._exporter.export_again(outcome.wanted, gone, history)
                source.outcome = outcome

    def _from_export(
        self, outcome: Outcome, history: Progress, stack: ExitStack, *, again: bool = False
    ) -> Snapshot | None:
        if outcome.error:
            raise outcome.error
        export, asked = _require(outcome.export), outcome.wanted.asked
        ref, context, latest = export.ref, context_of(export.ref.id), outcome.wanted.latest
        if history.has(context, Identity(export.export_id)):
            self._say_nothing_new(ref, export.asked_at, latest)
            return None
        where = PresignedUrl(export.url, lambda: self._exporter.fresh_url(export))
        before = self._downloader.bytes_read
        opened = stack.enter_context(self._downloader.open(where, str(ref)))
        identity = Identity.of(export.export_id, opened.etag)
        exported_at = export.exported_at(opened.last_modified)
        if history.has(context, identity):
            history.confirm(context, identity, exported_at)
            self._say_nothing_new(ref, export.asked_at, exported_at)
            return None
        if latest and exported_at < latest:
            # Its rows would replace newer ones. Another client requested it before our last
            # request; now that it is complete, the next request starts a new one.
            problem = (
                f"The API handed out an archive of {utc_text(exported_at)}, but one of "
                f"{utc_text(latest)} has been delivered before."
            )
            if again:
                advice = "Run again later; if that does not help, reset this data collection."
                raise DataCollectionError(str(ref), problem, advice)
            logger.info("%s: %s Asking once more.", ref, problem)
            return self._from_export(self._export(ref, history), history, stack, again=True)
        archive = ExportArchive(opened, str(ref), self._limits)
        archive.prefetch(history.reads, self._takes)
        collection = _collection(ref, archive.metadata(), archive)
        since = history.since(context)
        since = since and earlier(since, SNAPSHOT_DOUBT_SECONDS)
        # If the API filtered by time, its choice is taken as it is.
        start = None if export.applied.start else self._from(since).start
        study_id = None if export.applied.study_id == asked.study_id else asked.study_id
        return Snapshot(
            ExportFacts(ref.id, export.export_id, exported_at),
            collection,
            archive,
            opened.size,
            replace(asked, end=export.applied.end, other=export.applied.other),
            ExportFilter(study_id, start),
            identity,
            bytes_read=lambda: self._downloader.bytes_read - before,
        )

    def _from(self, since: datetime | None) -> ExportFilter:
        """Return the filter of an export, given the time from which responses may be new."""
        start = max(filter(None, (since, self._settings.start_date)), default=None)
        return ExportFilter(self._settings.study_id, start)

    @staticmethod
    def _say_nothing_new(ref: DataCollectionRef, now: datetime, of: datetime | None) -> None:
        if of and now - of > OLD:
            logger.warning(
                "%s: nothing new: Prolific hands out the archive of %s again, which is %.0f hours "
                "old. What came since will be in a later one.",
                ref,
                utc_text(of),
                (now - of).total_seconds() / 3600,
            )
        else:
            logger.info("%s: nothing new: what its archive holds has been delivered.", ref)

    def _from_path(self, path: Path, stack: ExitStack) -> Snapshot:
        name = f"archive {path}"
        opened = stack.enter_context(open_local(path))
        archive = ExportArchive(opened, name, self._limits)
        metadata = archive.metadata()
        ref = archive_ref(metadata, path.name)
        if ref is None:
            raise DataCollectionError(
                name,
                "Neither its metadata nor its name tells of which data collection it is.",
                "Name it <id>-export.zip, or <id>-export-<time>.zip as Prolific's own client does.",
            )
        named = parse_file_name(path.name)
        export_id = named.export_id if named and named.id == ref.id else None
        exported_at = archive.newest_member() or opened.last_modified
        return Snapshot(
            ExportFacts(ref.id, export_id, _require(exported_at)),
            _collection(ref, metadata, archive),
            archive,
            opened.size,
            only=self._from(None),
            identity=Identity(etag=f"{opened.size}-{archive.digest()}"),
            on_disk=True,
        )


def _require(thing: _T | None) -> _T:
    if thing is None:  # no setting leads here
        raise TapError("This needs a source that the settings do not name.")
    return thing


def _collection(
    ref: DataCollectionRef, metadata: Metadata, archive: ExportArchive
) -> DataCollection:
    """Return a data collection; infer its questions from the lines if nothing describes them."""
    found = collections.parse(ref, metadata.fields)
    if metadata.problem:
        logger.warning("%s: %s Its rows come without what that would tell.", ref, metadata.problem)
    if found.instructions or archive.lines_name is None:
        return found
    every = (response for block in archive.lines(responses) for response in block)
    if inferred := inference.instructions(every):
        logger.warning(
            "%s: nothing describes its questions: the types of %d columns are made from the "
            "answers at hand; where these are ambiguous, they are text.",
            ref,
            len(inferred),
        )
    return replace(found, instructions=inferred)
