"""The six streams as data: their columns, what shapes their rows, and how rows are made."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tap_prolific_export.archive.export_archive import BY_TASK, Part
from tap_prolific_export.rows import tables
from tap_prolific_export.rows.catalog_answers import CatalogAnswers, as_written
from tap_prolific_export.rows.files import FileFinder
from tap_prolific_export.rows.schema import (
    ANSWERS,
    COLLECTIONS,
    FILES,
    INSTRUCTIONS,
    RESPONSES,
    TASKS,
    StreamColumns,
)
from tap_prolific_export.snapshots.snapshot import Tasks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tap_prolific_export.rows.labels import AnswerNames
    from tap_prolific_export.rows.responses import Response
    from tap_prolific_export.rows.tables import Row
    from tap_prolific_export.singer.stream import ProlificStream
    from tap_prolific_export.snapshots.snapshot import Snapshot

logger = logging.getLogger("tap-prolific-export")


class LineRows:
    """How the rows of one stream are made of the lines of one snapshot.

    Attributes:
        needs_lines: Whether any row can come of the lines.
        needs_final_ids: Whether no response may come under an id that another one gets later.
    """

    needs_lines = True
    needs_final_ids = False

    def __init__(self, stream: ProlificStream, snapshot: Snapshot, names: AnswerNames) -> None:
        self.stream = stream
        self.snapshot = snapshot
        self.columns = tables.answer_columns(snapshot.collection, names)

    def has_enough(self, limit: int) -> bool:  # noqa: ARG002
        """Whether so many rows are known although none was written."""
        return False

    def begin(self) -> Iterable[Row]:
        """Yield the rows that come before those of any line."""
        return ()

    def see(self, responses: Iterable[Response]) -> None:
        """Look at responses as the lines have them: wanted or not, under ids that may be shared."""

    def of(self, responses: Iterable[Response]) -> Sequence[Row]:
        """Return the rows of wanted responses, each under an id of its own."""
        raise NotImplementedError

    def end(self) -> Iterable[Row]:
        """Yield the rows that come after those of all lines."""
        return ()


class TaskRows(LineRows):
    """``tasks``: one row per annotated datapoint."""

    def __init__(self, stream: ProlificStream, snapshot: Snapshot, names: AnswerNames) -> None:
        super().__init__(stream, snapshot, names)
        self._tasks = Tasks(snapshot)

    def begin(self) -> Iterator[Row]:
        """Yield the tasks of the file by task."""
        return (tables.task_row(self.snapshot.facts, task) for task in self._tasks.by_task())

    def of(self, responses: Iterable[Response]) -> list[Row]:
        """Return the tasks of responses."""
        facts, of = self.snapshot.facts, self._tasks.of
        return [tables.task_row(facts, task) for each in responses for task in of(each)]

    def end(self) -> Iterable[Row]:
        """Warn of lines of the file by task that have no row."""
        if self._tasks.unnamed:
            logger.warning(
                "%s: %d lines of %s name no task, so they have no row in tasks.",
                self.snapshot.collection.ref,
                self._tasks.unnamed,
                BY_TASK,
            )
        return ()


class ResponseRows(LineRows):
    """``responses``: one row per submission, or in a batch per submission and task."""

    def __init__(self, stream: ProlificStream, snapshot: Snapshot, names: AnswerNames) -> None:
        super().__init__(stream, snapshot, names)
        self.count = 0
        known, shown = self.stream.known_answers, self.stream.mask["properties", "answers"]
        self.columns = as_written(self.columns, known)
        self._table = tables.ResponseTable(
            snapshot.facts,
            self.columns,
            snapshot.uploads,
            catalog=CatalogAnswers(known, self.stream.deselected_answers),
            hidden=[
                i for i, column in self.columns.items() if column.key not in known or not shown
            ],
            hide_unknown=self.stream.settings.freeze_schema or not shown,
            has_answers=self.stream.has_answers,
        )

    def of(self, responses: Iterable[Response]) -> list[Row]:
        """Return the rows of responses."""
        rows = self._table.rows(responses)
        self.count += sum(not each.again for each in responses)
        return rows

    def end(self) -> Iterable[Row]:
        """Warn of answers that did not fit their columns."""
        if self._table.misfits:
            logger.warning(
                "%s: %d answers did not fit their columns; as they came they stand in "
                "additional_fields, under answers.",
                self.snapshot.collection.ref,
                self._table.misfits,
            )
        return ()


class AnswerRows(LineRows):
    """``answers``: one row per chosen or given value."""

    needs_final_ids = True  # an upsert of another response's answers leaves the first one's behind

    def __init__(self, stream: ProlificStream, snapshot: Snapshot, names: AnswerNames) -> None:
        super().__init__(stream, snapshot, names)
        self._table = tables.AnswerTable(snapshot.facts, self.columns, snapshot.uploads)

    def of(self, responses: Iterable[Response]) -> list[Row]:
        """Return the rows of the answers of responses."""
        return self._table.rows(responses)


class FileRows(LineRows):
    """``files``: one row per uploaded file, with the answer that names it."""

    def __init__(self, stream: ProlificStream, snapshot: Snapshot, names: AnswerNames) -> None:
        super().__init__(stream, snapshot, names)
        self._finder = FileFinder(self.columns, snapshot.uploads, snapshot.wants)
        self.needs_lines = bool(snapshot.uploads)

    def see(self, responses: Iterable[Response]) -> None:
        """Look for the files of responses."""
        self._finder.add(responses)

    def has_enough(self, limit: int) -> bool:
        """Whether so many files were found."""
        return not self.needs_lines or self._finder.found >= limit

    def of(self, responses: Iterable[Response]) -> tuple[()]:  # noqa: ARG002
        """Return nothing: the first response that names a file need not be the one it is of."""
        return ()

    def end(self) -> Iterator[Row]:
        """Yield the files."""
        # A file of no response belongs to no study, and does not tell when it was uploaded.
        include = self.snapshot.only.study_id is None
        return self._finder.rows(self.snapshot.facts, include_unmatched=include)


@dataclass(frozen=True)
class StreamDefinition:
    """One stream.

    Attributes:
        columns: Its name, key and columns.
        shaped_by: Settings that shape its rows: when one changes, the rows are delivered anew.
        reads: The parts of an archive that its rows are made of, besides the metadata.
        lines: How its rows are made of lines; None for a stream whose rows are not.
    """

    columns: StreamColumns
    shaped_by: tuple[str, ...]
    reads: frozenset[Part] = frozenset()
    lines: type[LineRows] | None = None


_LINES = ("on_bad_line", "max_line_bytes", "study_id", "start_date")
# In the order in which a snapshot's rows are written; the row of `collections` follows them.
DEFINITIONS = (
    StreamDefinition(COLLECTIONS, ("study_id", "start_date")),
    StreamDefinition(INSTRUCTIONS, ("answer_keys",)),
    StreamDefinition(TASKS, _LINES, frozenset({Part.LINES, Part.LINES_BY_TASK}), TaskRows),
    StreamDefinition(
        RESPONSES, (*_LINES, "answer_keys", "freeze_schema"), frozenset({Part.LINES}), ResponseRows
    ),
    StreamDefinition(ANSWERS, _LINES, frozenset({Part.LINES}), AnswerRows),
    StreamDefinition(
        FILES,
        (*_LINES, "files_uri", "files_include", "files_max_bytes"),
        frozenset({Part.LINES, Part.UPLOADS}),
        FileRows,
    ),
)
