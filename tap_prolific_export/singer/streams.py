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
from tap_prolific_export.snapshots.snapshot import Delivery, Tasks

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
        delivery = self.run.delivery
        yield records.collection_row(
            delivery.facts,
            delivery.collection,
            file_count=len(delivery.archive.uploads) if delivery.archive else None,
            archive_bytes=delivery.archive_bytes,
            export_filter=delivery.asked,
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

    def content(self, delivery: Delivery) -> str:
        """Return a digest of the questions: every archive has them all, and they seldom change."""
        return digest(json_text([*delivery.collection.instructions]))

    def rows(self, delivery: Delivery) -> Iterator[Record]:
        """Yield the questions of a delivery."""
        keys = self.run.settings.answer_keys
        yield from records.instruction_rows(delivery.facts, delivery.collection, keys)


class TasksStream(ChildStream):
    """The tasks."""

    columns = TASKS
    parent_stream_type = CollectionsStream
    reads = frozenset({Part.LINES, Part.LINES_BY_TASK})
    shaped_by = (*OF_LINES, "study_id", "start_date")

    def rows(self, delivery: Delivery) -> Iterator[Record]:
        """Yield the tasks of a delivery; a collection has none."""
        for task in delivery.tasks():
            yield task_row(delivery.facts, task)

    def line_rows(self, delivery: Delivery) -> LineRows | None:
        """Return how the tasks are found in lines; what is chosen from goes by itself."""
        return _TaskRows(delivery) if delivery.is_chosen else None


class _TaskRows(LineRows):
    maker = NoTasks()

    def __init__(self, delivery: Delivery) -> None:
        self._facts = delivery.facts
        self._tasks = Tasks(delivery)

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
        if self._prepared_for is self.run.delivery.facts:
            return context
        self._prepared_for = self.run.delivery.facts
        keys = self.run.settings.answer_keys
        needed = answers_schema([self.run.delivery.collection], keys)
        known = self._known()
        new = {name: schema for name, schema in needed.items() if known.get(name) != schema}
        if new and self.run.settings.freeze_schema:
            if left_out := len(new.keys() - known.keys()):
                self.logger.warning(
                    "%s: answers to %d questions that the catalog does not have are left out, as "
                    "freeze_schema is set.",
                    self.run.delivery.collection.ref,
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

    def rows(self, delivery: Delivery) -> Iterator[Record]:
        """Yield the responses of a delivery."""
        rows = _ResponseRows(self, delivery)
        for response in delivery.responses():
            yield from rows.of(response)
        rows.end()

    def line_rows(self, delivery: Delivery) -> LineRows | None:
        """Return how the responses are made of lines; what is hidden or chosen goes by itself."""
        rows = _ResponseRows(self, delivery)
        return rows if delivery.is_chosen and not rows.hides else None


class _ResponseRows(LineRows):
    """Makes the rows of a delivery's responses, and counts them."""

    def __init__(self, stream: ResponsesStream, delivery: Delivery) -> None:
        settings = stream.run.settings
        self._columns = records.answer_columns(delivery.collection, settings.answer_keys)
        self.maker = ResponseRows(delivery.facts, self._columns, delivery.uploads)
        self._hidden = {
            id_
            for id_, column in self._columns.items()
            if not stream._shows(column.key)  # noqa: SLF001
        }
        self._hides_unknown = settings.freeze_schema or not stream.mask["properties", "answers"]
        self._count = 0
        self._misfits = 0
        self._stream = stream
        self._delivery = delivery

    @property
    def hides(self) -> bool:
        """Whether some answers may not appear."""
        return bool(self._hidden) or self._hides_unknown

    def of(self, response: Response) -> Iterator[Record]:
        """Yield the row of a response."""
        row, kept = records.response_row(
            self._delivery.facts,
            response,
            self._columns,
            self._delivery.uploads,
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
                self._delivery.collection.ref,
                self._misfits,
            )


class AnswersStream(ChildStream):
    """The answers."""

    columns = ANSWERS
    parent_stream_type = CollectionsStream
    reads = frozenset({Part.LINES})
    shaped_by = (*OF_LINES, "study_id", "start_date")

    def rows(self, delivery: Delivery) -> Iterator[Record]:
        """Yield the answers of a delivery."""
        rows = _AnswerRows(self, delivery)
        for response in delivery.responses():
            yield from rows.of(response)

    def line_rows(self, delivery: Delivery) -> LineRows | None:
        """Return how the answers are made of lines; what is chosen from goes by itself."""
        return _AnswerRows(self, delivery) if delivery.is_chosen else None


class _AnswerRows(LineRows):
    def __init__(self, stream: AnswersStream, delivery: Delivery) -> None:
        columns = answer_columns(delivery.collection, stream.run.settings.answer_keys)
        self.maker = AnswerRows(delivery.facts, columns, delivery.uploads)
        self._columns = columns
        self._delivery = delivery

    def of(self, response: Response) -> Iterator[Record]:
        """Yield the answers of a response."""
        delivery = self._delivery
        return answer_rows(delivery.facts, response, self._columns, delivery.uploads)

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

    def rows(self, delivery: Delivery) -> Iterator[Record]:
        """Yield the files of a delivery."""
        responses, columns = delivery.every_response, self._columns(delivery)
        return self._rows(
            delivery, lambda _: named_in(responses(), delivery.wants, columns, delivery.uploads)
        )

    def fast_rows(self, delivery: Delivery) -> Iterator[Any]:
        """Yield the files of a delivery, most of them found straight in their lines."""
        if not delivery.is_chosen:
            return self.rows(delivery)
        return self._rows(delivery, lambda _: self._named_in_blocks(delivery))

    def _named_in_blocks(self, delivery: Delivery) -> Iterator[Found]:
        columns, uploads = self._columns(delivery), delivery.uploads
        typed = TypedLines(columns, NamedFiles(columns, uploads))
        for found in delivery.every_response_in_blocks(typed):
            if isinstance(found, Block):
                for files in found.made[0]:
                    yield from files
            else:
                yield from named_in([found], delivery.wants, columns, uploads)

    def _rows(self, delivery: Delivery, named: Find) -> Iterator[Record]:
        rows = file_rows(
            delivery.facts,
            [named, lambda left: begun_with(delivery.every_response(), delivery.wants, left)],
            delivery.uploads,
            # A file that is no response's is no study's either, and does not say when it came.
            strays=delivery.only.study_id is None,
        )
        if self.run.transfers and delivery.archive:
            rows = self.run.transfers.stored(
                rows,
                delivery.archive,
                delivery.facts.data_collection_id,
                str(delivery.collection.ref),
            )
        yield from rows

    def _columns(self, delivery: Delivery) -> dict[str, AnswerColumn]:
        return answer_columns(delivery.collection, self.run.settings.answer_keys)


STREAM_TYPES: tuple[type[ProlificStream], ...] = (
    CollectionsStream,
    InstructionsStream,
    TasksStream,
    ResponsesStream,
    AnswersStream,
    FilesStream,
)
