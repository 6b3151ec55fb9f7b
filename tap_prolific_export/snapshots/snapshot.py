"""One snapshot of a data collection: its open export, and which responses are wanted."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tap_prolific_export.archive.safe_json import json_text
from tap_prolific_export.errors import DataCollectionError, ReplacedError
from tap_prolific_export.model import EVERYTHING, ExportFilter
from tap_prolific_export.rows.deduplicate import SeenIds, distinct
from tap_prolific_export.rows.line_decoder import LineDecoder, can_be_typed
from tap_prolific_export.rows.line_ids import decode_ids, ids_in
from tap_prolific_export.rows.responses import Response, Task, responses, tasks
from tap_prolific_export.rows.upload_keys import UploadKeys
from tap_prolific_export.snapshots.bookmarks import Identity, context_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tap_prolific_export.archive.export_archive import ExportArchive, FastWay, Upload
    from tap_prolific_export.rows.answers import AnswerColumn
    from tap_prolific_export.rows.collection import DataCollection
    from tap_prolific_export.rows.tables import ExportFacts
    from tap_prolific_export.snapshots.bookmarks import Context

logger = logging.getLogger("tap-prolific-export")


@dataclass(frozen=True)
class Snapshot:
    """One data collection, ready to be read.

    Attributes:
        facts: What every row says about the export.
        collection: Its metadata and questions.
        archive: Its export; None where it was only looked up.
        archive_bytes: Size of the archive.
        asked: What narrowed the export; None where nothing can have.
        only: What is still to be chosen from the responses, as the API has not done so.
        identity: Which archive it is.
        on_disk: Whether it lies on disk.
        bytes_read: Returns how many bytes of its archive were fetched so far.
    """

    facts: ExportFacts
    collection: DataCollection
    archive: ExportArchive | None = None
    archive_bytes: int | None = None
    asked: ExportFilter | None = None
    only: ExportFilter = EVERYTHING
    identity: Identity = field(default_factory=Identity)
    on_disk: bool = False
    bytes_read: Callable[[], int] = lambda: 0

    @property
    def context(self) -> Context:
        """The key of its state: archives on disk have state of their own."""
        archive = self.identity.etag if self.on_disk else None
        return context_of(self.facts.data_collection_id, archive)

    @property
    def is_of_everything(self) -> bool:
        """Whether the export is certainly unfiltered; unknown, so False, for an archive on disk."""
        return self.asked == EVERYTHING

    @property
    def may_be_narrowed(self) -> bool:
        """Whether the export may lack responses that were asked for."""
        return self.asked is not None and bool(self.asked.end or self.asked.other)

    @property
    def is_unfiltered(self) -> bool:
        """Whether everything in the archive is wanted."""
        return self.only == EVERYTHING

    @property
    def uploads(self) -> Mapping[str, Upload]:
        """The uploaded files in the archive, by path."""
        return self.archive.uploads if self.archive else {}

    def responses(
        self,
        see: Callable[[list[Response]], None] = lambda _: None,
        columns: Mapping[str, AnswerColumn] | None = None,
        *,
        final_ids: bool = False,
    ) -> Iterator[list[Response]]:
        """Yield the responses that are wanted, each under an id of its own, in blocks.

        Args:
            see: Is shown all responses of the archive, as its lines have them, once.
            columns: If given, usual answers to these questions are typed as they are decoded.
            final_ids: Whether to read all ids first, so that no response is replaced by another.

        Raises:
            DataCollectionError: The archive is damaged, or its responses cannot be told apart
                by study although only one study is wanted.
        """
        if (archive := self.archive) is None:
            return
        first = [self._first_reading(see, columns or {})]

        def read() -> Iterator[list[Response]]:
            return first.pop() if first else self.every_response()

        # Make ids unique before filtering: an id must not depend on the filter.
        wants = None if self.is_unfiltered else self.wants
        ids = self._ids if final_ids else None
        yield from distinct(read, wants, lambda: archive.left, ids)

    def _ids(self) -> Iterator[list[str]]:
        """Yield the ids of all responses in blocks, as their lines have them."""
        try:
            yield from self.archive.lines(ids_in, decode_ids) if self.archive else ()
        except ReplacedError:
            raise
        except DataCollectionError as error:  # raised again where the line's turn comes
            logger.debug("%s", error)

    def every_response(self, decode: FastWay[Response] | None = None) -> Iterator[list[Response]]:
        """Yield all responses of the archive in blocks, as its lines have them.

        Raises:
            DataCollectionError: The archive is damaged.
        """
        if archive := self.archive:
            keys = UploadKeys(self.uploads, lambda: archive.lines(responses))
            for block in archive.lines(responses, decode):
                yield keys.resolved(block)

    def _first_reading(
        self, see: Callable[[list[Response]], None], columns: Mapping[str, AnswerColumn]
    ) -> Iterator[list[Response]]:
        decode = LineDecoder(columns, self.uploads).decode if can_be_typed(columns) else None
        for block in self.every_response(decode):
            see(block)
            yield block

    def wants(self, response: Response) -> bool:
        """Whether a response is wanted.

        Raises:
            DataCollectionError: It does not say of which study it is, and one is wanted.
        """
        if self.only.study_id:
            if response.study_id is None:
                raise DataCollectionError(
                    str(self.collection.ref),
                    "study_id is set, but neither has the API chosen the responses nor do they "
                    "say of which study they are.",
                    "Unset study_id to get the responses of all studies.",
                )
            if response.study_id != self.only.study_id:
                return False
        # Keep responses without a time: rather too much than too little.
        if self.only.start is None or response.done_at is None:
            return True
        return response.done_at >= self.only.start


class Tasks:
    """The tasks of a snapshot, each once, and again if it comes with other data.

    Attributes:
        unnamed: How many lines of the file by task name no task.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.unnamed = 0
        self._snapshot = snapshot
        self._seen = SeenIds()  # ids of tasks, and ids with data

    def by_task(self) -> Iterator[Task]:
        """Yield the tasks of the file by task first: it may say more than the lines.

        Raises:
            DataCollectionError: As `Snapshot.responses`.
        """
        for found in self._wanted():
            if self._is_new(found.id, found.datapoint):
                yield found

    def of(self, response: Response) -> Iterator[Task]:
        """Yield the task of a response, if it is wanted and new.

        Raises:
            DataCollectionError: As `Snapshot.wants`.
        """
        if response.task_id is None or not self._snapshot.wants(response):
            return
        datapoint = (response.as_it_came or response).datapoint
        if self._is_new(response.task_id, datapoint):
            yield Task(response.task_id, datapoint, {})

    def _is_new(self, id_: str, datapoint: Any) -> bool:
        """Whether a task is new, or comes with other data than before."""
        ids = [id_] if datapoint is None else [id_, f"{id_} {json_text(datapoint)}"]
        archive = self._snapshot.archive
        return len(self._seen.add_all(ids, archive.left if archive else 0)) < len(ids)

    def _wanted(self) -> Iterator[Task]:
        """Yield the wanted tasks of the file by task."""
        snapshot = self._snapshot
        blocks = snapshot.archive.lines_by_task(self._read) if snapshot.archive else ()
        found = (each for block in blocks for each in block)
        if snapshot.is_unfiltered:
            yield from found
            return
        every = (response for block in snapshot.every_response() for response in block)
        answered = {response.task_id for response in filter(snapshot.wants, every)}
        for each in found:
            # A task without answers belongs to no study and has no time.
            if each.id in answered or not (each.answered or snapshot.only.study_id):
                yield each

    def _read(self, line: dict[str, Any], as_it_came: dict[str, Any] | None) -> list[Task]:
        found = tasks(line, as_it_came)
        self.unnamed += not found
        return found
