"""``tasks``: one row a datapoint that a batch has annotated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_prolific_export.archive import Part
from tap_prolific_export.compiled import NoTasks
from tap_prolific_export.delivery import Tasks
from tap_prolific_export.records import task_row
from tap_prolific_export.schema import TASKS
from tap_prolific_export.streams.base import OF_LINES, ChildStream
from tap_prolific_export.streams.collections import CollectionsStream
from tap_prolific_export.streams.together import LineRows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from singer_sdk.helpers.types import Record

    from tap_prolific_export.delivery import Delivery
    from tap_prolific_export.lines import Response


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
        return _Rows(delivery) if delivery.is_chosen else None


class _Rows(LineRows):
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
