"""The six streams as data: their columns, what shapes their rows, and how rows are made."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tap_prolific_export.archive.export_archive import Block, Part
from tap_prolific_export.rows import compiled, tables
from tap_prolific_export.rows.files import file_rows, find_by_answers, find_by_file_name
from tap_prolific_export.rows.schema import (
    ANSWERS,
    COLLECTIONS,
    FILES,
    INSTRUCTIONS,
    RESPONSES,
    TASKS,
    StreamColumns,
)
from tap_prolific_export.rows.typed import TypedLines
from tap_prolific_export.snapshots.snapshot import Tasks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tap_prolific_export.rows.files import NamedFile
    from tap_prolific_export.rows.responses import Response
    from tap_prolific_export.rows.tables import Row
    from tap_prolific_export.rows.typed import Maker
    from tap_prolific_export.singer.stream import ProlificStream
    from tap_prolific_export.snapshots.snapshot import Snapshot
    from tap_prolific_export.uploads.transfer import Transfers

logger = logging.getLogger("tap-prolific-export")


class LineRows:
    """How the rows of one stream are made of the lines of one snapshot.

    Args:
        stream: The stream.
        snapshot: The open snapshot.

    Attributes:
        maker: Makes rows of typed lines.
    """

    maker: Maker

    def __init__(self, stream: ProlificStream, snapshot: Snapshot) -> None:
        self.columns = tables.answer_columns(snapshot.collection, stream.settings.answer_keys)
        self.snapshot = snapshot

    @property
    def takes_typed_lines(self) -> bool:
        """Whether rows can be made of typed lines: nothing is left out of them."""
        return self.snapshot.is_unfiltered

    def begin(self) -> Iterable[Row]:
        """Yield the rows that come before those of any line."""
        return ()

    def of(self, response: Response) -> Iterable[Row]:
        """Yield the rows of one response."""
        raise NotImplementedError

    def of_typed(self, made: Sequence[Any]) -> Sequence[Any]:
        """Return the rows of several typed lines.

        Args:
            made: What `maker` made of each.
        """
        return made

    def end(self) -> None:
        """Finish, after all lines have been read."""

    def rows(self) -> Iterator[Row]:
        """Yield all rows, from a reading of their own."""
        yield from self.begin()
        for response in self.snapshot.responses():
            yield from self.of(response)
        self.end()


class TaskRows(LineRows):
    """``tasks``: one row per annotated datapoint."""

    maker = compiled.NoTasks()

    def __init__(self, stream: ProlificStream, snapshot: Snapshot) -> None:
        super().__init__(stream, snapshot)
        self._tasks = Tasks(snapshot)

    def begin(self) -> Iterator[Row]:
        """Yield the tasks of the file by task."""
        return (tables.task_row(self.snapshot.facts, task) for task in self._tasks.by_task())

    def of(self, response: Response) -> Iterator[Row]:
        """Yield the task of a response."""
        return (tables.task_row(self.snapshot.facts, task) for task in self._tasks.of(response))

    def of_typed(self, made: Sequence[Any]) -> Sequence[Any]:  # noqa: ARG002
        """Return nothing: a typed line has no task."""
        return ()


class ResponseRows(LineRows):
    """``responses``: one row per submission, or in a batch per submission and task.

    Attributes:
        count: How many responses there were.
    """

    def __init__(self, stream: ProlificStream, snapshot: Snapshot) -> None:
        super().__init__(stream, snapshot)
        self.maker = compiled.ResponseRows(snapshot.facts, self.columns, snapshot.uploads)
        self.count = 0
        known, mask = stream.known_answers, stream.mask
        self._hidden = {
            id_
            for id_, column in self.columns.items()
            if column.key not in known
            or not mask["properties", "answers", "properties", column.key]
        }
        self._hides_unknown = stream.settings.freeze_schema or not mask["properties", "answers"]
        self._misfits = 0

    @property
    def takes_typed_lines(self) -> bool:
        """Whether rows can be made of typed lines: no answer may have to be hidden."""
        return super().takes_typed_lines and not self._hidden and not self._hides_unknown

    def of(self, response: Response) -> Iterator[Row]:
        """Yield the row of a response."""
        row, misfits = tables.response_row(
            self.snapshot.facts,
            response,
            self.columns,
            self.snapshot.uploads,
            hidden=self._hidden,
            hide_unknown=self._hides_unknown,
        )
        self.count += not response.again
        self._misfits += misfits
        yield row

    def of_typed(self, made: Sequence[Any]) -> Sequence[Any]:
        """Return the rows of several lines."""
        self.count += len(made)
        return made

    def end(self) -> None:
        """Warn of answers that did not fit their columns."""
        if self._misfits:
            logger.warning(
                "%s: %d answers did not fit their columns; as they came they stand in "
                "additional_fields, under answers.",
                self.snapshot.collection.ref,
                self._misfits,
            )


class AnswerRows(LineRows):
    """``answers``: one row per chosen or given value."""

    def __init__(self, stream: ProlificStream, snapshot: Snapshot) -> None:
        super().__init__(stream, snapshot)
        self.maker = compiled.AnswerRows(snapshot.facts, self.columns, snapshot.uploads)

    def of(self, response: Response) -> Iterator[Row]:
        """Yield the answers of a response."""
        return tables.answer_rows(
            self.snapshot.facts, response, self.columns, self.snapshot.uploads
        )

    def of_typed(self, made: Sequence[Any]) -> Sequence[Any]:
        """Return the answers of several lines."""
        return [row for rows in made for row in rows]


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
    ),
)


def upload_rows(
    stream: ProlificStream, snapshot: Snapshot, transfers: Transfers | None
) -> Iterator[Row]:
    """Yield the rows of ``files``, each once its file is stored, where files are stored.

    Args:
        stream: The stream of files.
        snapshot: The open snapshot.
        transfers: Stores the files; None where they are not stored.

    Raises:
        FilesError: Some files cannot be stored; the rows of the others have been yielded.
    """
    columns = tables.answer_columns(snapshot.collection, stream.settings.answer_keys)

    def named() -> Iterator[NamedFile]:
        if not snapshot.is_unfiltered:
            yield from find_by_answers(
                snapshot.every_response(), snapshot.wants, columns, snapshot.uploads
            )
            return
        typed = TypedLines(columns, compiled.NamedFiles(columns, snapshot.uploads))
        for found in snapshot.every_response_in_blocks(typed):
            if isinstance(found, Block):
                for files in found.made[0]:
                    yield from files
            else:
                yield from find_by_answers([found], snapshot.wants, columns, snapshot.uploads)

    rows = file_rows(
        snapshot.facts,
        [
            lambda _: named(),
            lambda left: find_by_file_name(snapshot.every_response(), snapshot.wants, left),
        ],
        snapshot.uploads,
        # A file of no response belongs to no study, and does not tell when it was uploaded.
        include_unmatched=snapshot.only.study_id is None,
    )
    if transfers and snapshot.archive:
        rows = transfers.stored(
            rows, snapshot.archive, snapshot.facts.data_collection_id, str(snapshot.collection.ref)
        )
    return rows
