"""The six streams: columns, settings that shape them, rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_prolific_export.archive.export_archive import Block, Part
from tap_prolific_export.archive.safe_json import json_text
from tap_prolific_export.rows import tables as records
from tap_prolific_export.rows.compiled import AnswerRows, NamedFiles, NoTasks, ResponseRows
from tap_prolific_export.rows.files import begun_with, file_rows, named_in
from tap_prolific_export.rows.schema import (
    ANSWERS,
    COLLECTIONS,
    FILES,
    INSTRUCTIONS,
    RESPONSES,
    TASKS,
    JsonSchema,
    answers_schema,
)
from tap_prolific_export.rows.tables import (
    AnswerColumn,
    ExportFacts,
    answer_columns,
    answer_rows,
    task_row,
)
from tap_prolific_export.rows.typed import TypedLines
from tap_prolific_export.singer.stream import OF_LINES, ChildStream, ProlificStream
from tap_prolific_export.singer.together import LineRows
from tap_prolific_export.snapshots.bookmarks import digest
from tap_prolific_export.snapshots.snapshot import Snapshot, Tasks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from singer_sdk.helpers.types import Context, Record

    from tap_prolific_export.rows.files import Find, Found
    from tap_prolific_export.rows.responses import Response


class CollectionsStream(ProlificStream):
    """The data collections."""

    columns = COLLECTIONS
    shaped_by = ("study_id", "start_date")

    @property
    def is_full_run(self) -> bool:
        """Whether the run replaces the table; FULL_TABLE alone is what this stream always is."""
        return self._stream_version is not None

    @property
    def partitions(self) -> Iterator[Context]:  # type: ignore[override]
        """One context a delivery, opened as the SDK comes to it."""
        children = [child for child in self.child_streams if isinstance(child, ProlificStream)]
        return self.run.contexts([self, *children], self.tap_state)

    def get_records(self, context: Context | None) -> Iterator[Record]:  # noqa: ARG002
        """Yield the row of the open delivery."""
        snapshot = self.run.snapshot
        yield records.collection_row(
            snapshot.facts,
            snapshot.collection,
            file_count=len(snapshot.archive.uploads) if snapshot.archive else None,
            archive_bytes=snapshot.archive_bytes,
            export_filter=snapshot.asked,
        )
        # The children have run by now, and the row has been written.
        self.run.progress.close(self)

    def _process_record(
        self,
        record: Record,
        child_context: Context | None = None,
        partition_context: Context | None = None,
    ) -> None:
        # The children run in here, and only they know how many responses there are.
        super()._process_record(record, child_context, partition_context)
        record["exported_response_count"] = self.run.response_count
        full = self.run.progress.full_exported_at()
        record["full_exported_at"] = full and full.isoformat()


class InstructionsStream(ChildStream):
    """The questions."""

    columns = INSTRUCTIONS
    parent_stream_type = CollectionsStream
    shaped_by = ("answer_keys",)

    def content(self, snapshot: Snapshot) -> str:
        """Return a digest of the questions: every archive has them all, and they seldom change."""
        return digest(json_text([*snapshot.collection.instructions]))

    def rows(self, snapshot: Snapshot) -> Iterator[Record]:
        """Yield the questions of a delivery."""
        keys = self.run.settings.answer_keys
        yield from records.instruction_rows(snapshot.facts, snapshot.collection, keys)


class TasksStream(ChildStream):
    """The tasks."""

    columns = TASKS
    parent_stream_type = CollectionsStream
    reads = frozenset({Part.LINES, Part.LINES_BY_TASK})
    shaped_by = (*OF_LINES, "study_id", "start_date")

    def rows(self, snapshot: Snapshot) -> Iterator[Record]:
        """Yield the tasks of a delivery; a collection has none."""
        for task in snapshot.tasks():
            yield task_row(snapshot.facts, task)

    def line_rows(self, snapshot: Snapshot) -> LineRows | None:
        """Return how the tasks are found in lines; what is chosen from goes by itself."""
        return _TaskRows(snapshot) if snapshot.is_unfiltered else None


class _TaskRows(LineRows):
    maker = NoTasks()

    def __init__(self, snapshot: Snapshot) -> None:
        self._facts = snapshot.facts
        self._tasks = Tasks(snapshot)

    def begin(self) -> Iterator[Record]:
        """Yield the tasks of the file by task."""
        return (task_row(self._facts, task) for task in self._tasks.by_task())

    def of(self, response: Response) -> Iterator[Record]:
        """Yield the task of a response."""
        return (task_row(self._facts, task) for task in self._tasks.of(response))

    def of_typed(self, made: Sequence[Any]) -> Sequence[Any]:  # noqa: ARG002  # none has a task
        """Return nothing."""
        return ()


# A schema that grows with every data collection would be written as often, each time longer. From
# this growth on, the questions of all data collections are asked for at once.
FORESEE_AFTER = 4


class ResponsesStream(ChildStream):
    """The responses."""

    _growths = 0
    _prepared_for: ExportFacts | None = None

    columns = RESPONSES
    parent_stream_type = CollectionsStream
    reads = frozenset({Part.LINES})
    shaped_by = (*OF_LINES, "study_id", "start_date", "answer_keys", "freeze_schema")

    def _shape(self) -> list[Any]:
        # With a frozen schema the catalog decides which answers there are.
        frozen = sorted(self._known()) if self.run.settings.freeze_schema else []
        return [*super()._shape(), frozen]

    def preprocess_context(self, context: Context) -> Context:
        """Grow the schema by the questions of the archive; SCHEMA is written after this."""
        if self._prepared_for is self.run.snapshot.facts:
            return context
        self._prepared_for = self.run.snapshot.facts
        keys = self.run.settings.answer_keys
        needed = answers_schema([self.run.snapshot.collection], keys)
        known = self._known()
        new = {name: schema for name, schema in needed.items() if known.get(name) != schema}
        if new and self.run.settings.freeze_schema:
            if left_out := len(new.keys() - known.keys()):
                self.logger.warning(
                    "%s: answers to %d questions that the catalog does not have are left out, as "
                    "freeze_schema is set.",
                    self.run.snapshot.collection.ref,
                    left_out,
                )
        elif new:
            self._growths += 1
            if self._growths == FORESEE_AFTER:
                new |= answers_schema(self.run.foreseen(), keys)
            self.grow({"answers": {"properties": new}})
        return context

    def _known(self) -> JsonSchema:
        """Return the properties of ``answers`` that the schema has so far."""
        answers = self.effective_schema.get("properties", {}).get("answers", {})
        known: JsonSchema = answers.get("properties", {})
        return known

    def _shows(self, key: str) -> bool:
        """Whether a property of ``answers`` is in the schema and selected."""
        return key in self._known() and self.mask["properties", "answers", "properties", key]

    def rows(self, snapshot: Snapshot) -> Iterator[Record]:
        """Yield the responses of a delivery."""
        rows = _ResponseRows(self, snapshot)
        for response in snapshot.responses():
            yield from rows.of(response)
        rows.end()

    def line_rows(self, snapshot: Snapshot) -> LineRows | None:
        """Return how the responses are made of lines; what is hidden or chosen goes by itself."""
        rows = _ResponseRows(self, snapshot)
        return rows if snapshot.is_unfiltered and not rows.hides else None


class _ResponseRows(LineRows):
    """Makes the rows of a delivery's responses, and counts them."""

    def __init__(self, stream: ResponsesStream, snapshot: Snapshot) -> None:
        settings = stream.run.settings
        self._columns = records.answer_columns(snapshot.collection, settings.answer_keys)
        self.maker = ResponseRows(snapshot.facts, self._columns, snapshot.uploads)
        self._hidden = {
            id_
            for id_, column in self._columns.items()
            if not stream._shows(column.key)  # noqa: SLF001
        }
        self._hides_unknown = settings.freeze_schema or not stream.mask["properties", "answers"]
        self._count = 0
        self._misfits = 0
        self._stream = stream
        self._snapshot = snapshot

    @property
    def hides(self) -> bool:
        """Whether some answers may not appear."""
        return bool(self._hidden) or self._hides_unknown

    def of(self, response: Response) -> Iterator[Record]:
        """Yield the row of a response."""
        row, kept = records.response_row(
            self._snapshot.facts,
            response,
            self._columns,
            self._snapshot.uploads,
            hidden=self._hidden,
            hide_unknown=self._hides_unknown,
        )
        self._count += not response.again
        self._misfits += kept
        yield row

    def of_typed(self, made: Sequence[Any]) -> Sequence[Any]:
        """Return the rows of several lines."""
        self._count += len(made)
        return made

    def end(self) -> None:
        """Say how many there were, and of how many answers something had to be kept beside."""
        self._stream.run.response_count = self._count
        if self._misfits:
            self._stream.logger.warning(
                "%s: %d answers did not fit their columns; as they came they stand in "
                "additional_fields, under answers.",
                self._snapshot.collection.ref,
                self._misfits,
            )


class AnswersStream(ChildStream):
    """The answers."""

    columns = ANSWERS
    parent_stream_type = CollectionsStream
    reads = frozenset({Part.LINES})
    shaped_by = (*OF_LINES, "study_id", "start_date")

    def rows(self, snapshot: Snapshot) -> Iterator[Record]:
        """Yield the answers of a delivery."""
        rows = _AnswerRows(self, snapshot)
        for response in snapshot.responses():
            yield from rows.of(response)

    def line_rows(self, snapshot: Snapshot) -> LineRows | None:
        """Return how the answers are made of lines; what is chosen from goes by itself."""
        return _AnswerRows(self, snapshot) if snapshot.is_unfiltered else None


class _AnswerRows(LineRows):
    def __init__(self, stream: AnswersStream, snapshot: Snapshot) -> None:
        columns = answer_columns(snapshot.collection, stream.run.settings.answer_keys)
        self.maker = AnswerRows(snapshot.facts, columns, snapshot.uploads)
        self._columns = columns
        self._snapshot = snapshot

    def of(self, response: Response) -> Iterator[Record]:
        """Yield the answers of a response."""
        snapshot = self._snapshot
        return answer_rows(snapshot.facts, response, self._columns, snapshot.uploads)

    def of_typed(self, made: Sequence[Any]) -> Sequence[Any]:
        """Return the answers of several lines."""
        return [row for rows in made for row in rows]


class FilesStream(ChildStream):
    """The uploaded files."""

    columns = FILES
    parent_stream_type = CollectionsStream
    reads = frozenset({Part.LINES, Part.UPLOADS})
    shaped_by = (
        *OF_LINES,
        "study_id",
        "start_date",
        "files_uri",
        "files_include",
        "files_max_bytes",
    )
    # What cannot be stored keeps nobody from the answers.
    fails_alone = True

    def rows(self, snapshot: Snapshot) -> Iterator[Record]:
        """Yield the files of a delivery."""
        responses, columns = snapshot.every_response, self._columns(snapshot)
        return self._rows(
            snapshot, lambda _: named_in(responses(), snapshot.wants, columns, snapshot.uploads)
        )

    def fast_rows(self, snapshot: Snapshot) -> Iterator[Any]:
        """Yield the files of a delivery, most of them found straight in their lines."""
        if not snapshot.is_unfiltered:
            return self.rows(snapshot)
        return self._rows(snapshot, lambda _: self._named_in_blocks(snapshot))

    def _named_in_blocks(self, snapshot: Snapshot) -> Iterator[Found]:
        columns, uploads = self._columns(snapshot), snapshot.uploads
        typed = TypedLines(columns, NamedFiles(columns, uploads))
        for found in snapshot.every_response_in_blocks(typed):
            if isinstance(found, Block):
                for files in found.made[0]:
                    yield from files
            else:
                yield from named_in([found], snapshot.wants, columns, uploads)

    def _rows(self, snapshot: Snapshot, named: Find) -> Iterator[Record]:
        rows = file_rows(
            snapshot.facts,
            [named, lambda left: begun_with(snapshot.every_response(), snapshot.wants, left)],
            snapshot.uploads,
            # A file that is no response's is no study's either, and does not say when it came.
            strays=snapshot.only.study_id is None,
        )
        if self.run.transfers and snapshot.archive:
            rows = self.run.transfers.stored(
                rows,
                snapshot.archive,
                snapshot.facts.data_collection_id,
                str(snapshot.collection.ref),
            )
        yield from rows

    def _columns(self, snapshot: Snapshot) -> dict[str, AnswerColumn]:
        return answer_columns(snapshot.collection, self.run.settings.answer_keys)


STREAM_TYPES: tuple[type[ProlificStream], ...] = (
    CollectionsStream,
    InstructionsStream,
    TasksStream,
    ResponsesStream,
    AnswersStream,
    FilesStream,
)
