"""The loop: for each due snapshot, for each stream: schema, rows, bookmark."""

from __future__ import annotations

import logging
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from tap_prolific_export.archive.safe_json import json_text
from tap_prolific_export.errors import (
    DataCollectionError,
    FilesError,
    RefusedError,
    ReplacedError,
    TapError,
)
from tap_prolific_export.model import sha256_hex
from tap_prolific_export.rows import tables
from tap_prolific_export.rows.labels import AnswerNames
from tap_prolific_export.rows.recognition import Recognition
from tap_prolific_export.rows.schema import (
    COLLECTIONS,
    FILES,
    INSTRUCTIONS,
    RESPONSES,
    answers_schema,
    holds,
    widened,
)
from tap_prolific_export.singer.report import delivered_line, failure, skipped, totals_line
from tap_prolific_export.singer.streams import ResponseRows
from tap_prolific_export.singer.writer import RecordWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from singer_sdk import metrics

    from tap_prolific_export.archive.export_archive import Skipped
    from tap_prolific_export.rows.collection import DataCollection
    from tap_prolific_export.rows.responses import Response
    from tap_prolific_export.rows.tables import Row
    from tap_prolific_export.settings import Settings
    from tap_prolific_export.singer.metrics import RunMetrics
    from tap_prolific_export.singer.state import ThrottledStateWriter
    from tap_prolific_export.singer.stream import ProlificStream
    from tap_prolific_export.singer.streams import LineRows
    from tap_prolific_export.snapshots.progress import Progress
    from tap_prolific_export.snapshots.snapshot import Snapshot
    from tap_prolific_export.snapshots.source import SnapshotSource, Source
    from tap_prolific_export.uploads.transfer import Transfers

logger = logging.getLogger("tap-prolific-export")

# The API may refuse a data collection that was never published, or is gone; with which status is
# not documented. That is no failure for one that only a workspace's list names.
NOT_EXPORTABLE = frozenset({400, 404, 409, 410, 422})
# How often an archive is read that is replaced while it is being read.
MAX_READINGS = 4
# A schema that grew with every data collection would be written as often, each time longer. From
# this growth on, the questions of all data collections are looked up at once.
FORESEE_AFTER = 4


class Sync:
    """One run: delivers every due snapshot to every stream.

    Args:
        streams: All streams, in the order in which a snapshot's rows are written.
        progress: What earlier runs delivered; its bookmarks move in this run.
        transfers: Stores uploaded files; None where they are not stored.
        limit: Deliver only so many snapshots, and as many records of each stream (``--test``).
    """

    def __init__(
        self,
        settings: Settings,
        source: SnapshotSource,
        streams: Sequence[ProlificStream],
        progress: Progress,
        state: ThrottledStateWriter,
        *,
        run_metrics: RunMetrics,
        transfers: Transfers | None,
        limit: int | None,
    ) -> None:
        self._settings = settings
        self._source = source
        self._streams = [stream for stream in streams if stream.is_emitted]
        self._collections = next((s for s in self._streams if s.name == COLLECTIONS.name), None)
        self._progress = progress
        self._state = state
        self._metrics = run_metrics
        self._transfers = transfers
        self._limit = limit
        # Before any schema grows.
        known = [
            name for each in streams if each.name == RESPONSES.name for name in each.known_answers
        ]
        self._names = AnswerNames(settings.answer_keys, known, is_frozen=settings.freeze_schema)
        self._drops_streams = any(each.selected and each.is_dropped for each in streams)
        self._failures: list[TapError] = []
        self._skipped: list[tuple[str, Skipped]] = []
        self._outcomes: Counter[str] = Counter()
        self._rows: Counter[str] = Counter()
        self._counters: dict[str, metrics.Counter] = {}
        self._has_empty_snapshot = False
        self._has_narrowed_snapshot = False
        self._began = time.time()
        self._growths = 0

    def run(self) -> None:
        """Deliver everything that is due.

        Raises:
            FatalError: Something failed; the error holds a table of what, and why.
        """
        if not self._streams:
            logger.warning("Nothing to deliver: no stream is selected, or stream_maps drop all.")
        with self._metrics:
            self._deliver_all()
        if self._skipped:
            logger.warning("%s", skipped(self._skipped))
        outcomes, seconds = self._outcomes, time.time() - self._began
        logger.info("%s", totals_line(outcomes, len(self._failures), self._rows, seconds))
        if self._failures:
            raise failure(self._failures, outcomes["delivered"] + outcomes["unchanged"])
        self._activate_versions()

    def _activate_versions(self) -> None:
        """Tell the target to remove what did not come again, if that is certainly gone."""
        if all(stream.version is None for stream in self._streams):
            return
        doubts = {
            "nothing was delivered": not self._outcomes["delivered"],
            "a data collection was passed over": self._outcomes["passed over"],
            "lines were skipped": self._skipped,
            "an archive has no responses": self._has_empty_snapshot,
            "an export may be narrowed": self._has_narrowed_snapshot,
            "stream_maps drop a stream": self._drops_streams,
        }
        if reasons := [reason for reason, holds in doubts.items() if holds]:
            logger.warning(
                "No ACTIVATE_VERSION is sent, and the target removes nothing: %s.",
                "; ".join(reasons),
            )
            return
        for stream in self._streams:
            stream.write_activate_version()

    def _deliver_all(self) -> None:
        try:
            if self._collections:  # even where nothing is due: its table is made
                self._collections.ensure_schema_is_written()
            for each in self._source.due(self._progress) if self._streams else ():
                self._deliver(each)
                self._state.checkpoint()
                if self._outcomes["delivered"] == self._limit:
                    return
        except TapError as error:  # no data collection can be delivered any more
            self._fail(error)

    def _deliver(self, due: Source) -> None:
        """Deliver one snapshot, unless it holds nothing new; record what became of it."""
        failures = len(self._failures)
        try:
            outcome = self._read(due)
            if len(self._failures) == failures:
                self._source.discard(due, self._progress)
        except RefusedError as error:
            if not (due.is_listed and error.status in NOT_EXPORTABLE):
                self._fail(error)
                return
            logger.warning("%s Passed over: it came from its workspace's list.", error)
            outcome = "passed over"
        except DataCollectionError as error:
            self._fail(error)
            return
        if len(self._failures) == failures:
            self._outcomes[outcome] += 1

    def _read(self, due: Source) -> str:
        """Open a snapshot and write its rows; start over if its archive is replaced meanwhile."""
        for reading in range(1, MAX_READINGS + 1):
            try:
                with self._source.open(due, self._progress) as snapshot:
                    if snapshot is None:
                        return "unchanged"
                    self._progress.begin(snapshot, anew=reading > 1)
                    self._write_snapshot(snapshot)
                    return "delivered"
            except ReplacedError as error:
                if reading == MAX_READINGS:
                    raise
                logger.info("%s: %s Starting over.", error.what, error.problem)
        raise AssertionError  # the loop returns or raises

    def _write_snapshot(self, snapshot: Snapshot) -> None:
        before, failures = self._rows.copy(), len(self._failures)
        pending = [each for each in self._streams if self._progress.is_pending(each)]
        for stream in self._streams:
            self._grow_schema(stream, snapshot)
            stream.ensure_schema_is_written()
        lines = [
            make(each, snapshot, self._names) for each in pending if (make := each.definition.lines)
        ]
        try:
            self._write_rows(pending, lines, snapshot)
        except ReplacedError:
            raise
        except DataCollectionError as error:  # no stream can go on with this snapshot
            self._fail(error)
        response_count = next(
            (
                rows.count
                for rows in lines
                if isinstance(rows, ResponseRows) and not self._progress.is_pending(rows.stream)
            ),
            None,
        )
        if archive := snapshot.archive:
            ref = str(snapshot.collection.ref)
            self._skipped += [(ref, each) for each in archive.skipped.values()]
            self._has_empty_snapshot |= archive.has_lines is False
            if archive.is_unanswered:
                logger.warning("%s: zero responses: its archive holds only its metadata.", ref)
        self._has_narrowed_snapshot |= snapshot.may_be_narrowed
        self._write_collection(snapshot, response_count)
        if len(self._failures) == failures:
            logger.info("%s", delivered_line(snapshot, self._rows - before))

    def _write_rows(
        self, pending: Sequence[ProlificStream], lines: Sequence[LineRows], snapshot: Snapshot
    ) -> None:
        """Write the rows of all pending streams but `collections`."""
        for stream in pending:
            if stream.name == INSTRUCTIONS.name:
                self._write_instructions(stream, snapshot)
        with ExitStack() as stack:
            writers = [(rows, stack.enter_context(self._writing(rows.stream))) for rows in lines]
            self._write_lines(writers, snapshot)
            for rows, writer in writers:
                try:
                    for row in self._last_rows(rows):
                        writer.write([row])
                except FilesError as error:  # it does not hold up other streams
                    self._fail(error)
                    continue
                writer.flush()
                self._complete(rows.stream)

    def _write_lines(
        self, writers: Sequence[tuple[LineRows, RecordWriter]], snapshot: Snapshot
    ) -> None:
        """Write what is made of the lines, which are read once for all streams."""
        for rows, writer in writers:
            for row in islice(rows.begin(), self._limit):
                writer.write([row])
        if not any(rows.needs_lines for rows, _ in writers):
            return

        for block in self._responses([rows for rows, _ in writers], snapshot):
            for rows, writer in writers:
                if not writer.is_full:
                    writer.write(rows.of(block))
            if self._limit and all(w.is_full or r.has_enough(self._limit) for r, w in writers):
                return

    def _responses(
        self, streams: Sequence[LineRows], snapshot: Snapshot
    ) -> Iterator[list[Response]]:
        """Yield the responses that are wanted, having shown all of them to the streams."""
        columns = next(
            (rows.columns for rows in streams if isinstance(rows, ResponseRows)),
            streams[0].columns,
        )
        recognition = Recognition(columns)

        def see(block: list[Response]) -> None:
            recognition.add(block)
            for rows in streams:
                rows.see(block)

        final_ids = any(rows.needs_final_ids for rows in streams)
        yield from snapshot.responses(see, columns, final_ids=final_ids)
        if unrecognised := recognition.unrecognised:
            logger.warning(
                "%s: no answer to any of its %d questions was recognised (%s). As they came, the "
                "answers stand in responses.additional_fields. Please report the fields' names.",
                snapshot.collection.ref,
                len(columns),
                unrecognised,
            )

    def _last_rows(self, rows: LineRows) -> Iterable[Row]:
        """Return the rows that follow those of the lines; `files` waits until they are stored."""
        last, snapshot = islice(rows.end(), self._limit), rows.snapshot
        if rows.stream.name != FILES.name or not self._transfers or not snapshot.archive:
            return last
        id_, ref = snapshot.facts.data_collection_id, str(snapshot.collection.ref)
        return self._transfers.stored(last, snapshot.archive, id_, ref)

    def _complete(self, stream: ProlificStream, content: str | None = None) -> None:
        """Move a stream's bookmark, unless only some of its rows were written."""
        if self._limit is None:
            self._progress.complete(stream, content)

    def _write_instructions(self, stream: ProlificStream, snapshot: Snapshot) -> None:
        """Write all questions, unless they are what was delivered last: they seldom change."""
        questions = snapshot.collection.instructions
        kept = self._names.kept(questions)
        content = sha256_hex(json_text([*questions, *([kept] if kept else [])]), 8)
        if not self._progress.has_content(stream, content):
            with self._writing(stream) as writer:
                writer.write(
                    tables.instruction_rows(snapshot.facts, snapshot.collection, self._names)
                )
        self._complete(stream, content)

    def _write_collection(self, snapshot: Snapshot, response_count: int | None) -> None:
        """Write the row of `collections`, which follows all others, and close the snapshot."""
        archive = snapshot.archive
        is_whole = not self._drops_streams and (
            archive is None or (archive.has_lines is not False and not archive.skipped)
        )
        if stream := self._collections:
            full = self._progress.full_exported_at(is_whole=is_whole)
            row = tables.collection_row(
                snapshot.facts,
                snapshot.collection,
                file_count=len(archive.uploads) if archive else None,
                archive_bytes=snapshot.archive_bytes,
                export_filter=snapshot.asked,
            )
            row["exported_response_count"] = response_count
            row["full_exported_at"] = full and full.isoformat()
            with self._writing(stream) as writer:
                writer.write([row])
        if self._limit is None:
            self._progress.close(stream, is_whole=is_whole)

    def _grow_schema(self, stream: ProlificStream, snapshot: Snapshot) -> None:
        """Add the snapshot's questions to the schema of ``answers``, if the stream has it."""
        if stream.definition.lines is not ResponseRows:
            return
        known = stream.known_answers
        needed = answers_schema([snapshot.collection], self._names)
        new = {
            name: schema
            for name, schema in needed.items()
            if name not in known or not holds(known[name], schema)
        }
        if new and self._settings.freeze_schema:
            if left_out := len(new.keys() - known.keys()):
                logger.warning(
                    "%s: answers to %d questions that the catalog does not have are left out, as "
                    "freeze_schema is set.",
                    snapshot.collection.ref,
                    left_out,
                )
        elif new:
            self._growths += 1
            if self._growths == FORESEE_AFTER:
                new = widened(new, answers_schema(foreseen(self._source), self._names))
            stream.grow_answers(new)

    @contextmanager
    def _writing(self, stream: ProlificStream) -> Iterator[RecordWriter]:
        """Yield what writes a stream's records, and write what is left of them at the end."""
        writer = RecordWriter(stream, partial(self._count, stream), self._limit)
        try:
            yield writer
        finally:
            writer.flush()

    def _count(self, stream: ProlificStream, records: int) -> None:
        """Count records for the log and for the SDK's metrics: one of each per stream and run."""
        counter = self._counters.get(stream.name)
        if counter is None:
            timer = self._metrics.enter_context(stream.get_sync_timer())
            timer.start_time = self._began
            counter = self._metrics.enter_context(stream.get_record_counter())
            self._counters[stream.name] = counter
        counter.increment(records)
        self._rows[stream.name] += records

    def _fail(self, error: TapError) -> None:
        """Record a failure; the run goes on, and ends with a table of all failures."""
        logger.error("%s", error)
        self._failures.append(error)


def foreseen(source: SnapshotSource) -> list[DataCollection]:
    """Return what is known of all data collections; a failure is reported when its turn comes."""
    try:
        return source.described(logger.debug)[0]
    except TapError as error:
        logger.debug("%s", error)
        return []
