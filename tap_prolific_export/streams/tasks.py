"""``tasks``: one row a datapoint that a batch has annotated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_prolific_export import records
from tap_prolific_export.archive import Part
from tap_prolific_export.compiled import WithoutTasks
from tap_prolific_export.schema import TASKS
from tap_prolific_export.streams.base import OF_LINES, ChildStream
from tap_prolific_export.streams.collections import CollectionsStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.helpers.types import Record

    from tap_prolific_export.delivery import Delivery


class TasksStream(ChildStream):
    """The tasks."""

    columns = TASKS
    parent_stream_type = CollectionsStream
    reads = frozenset({Part.LINES, Part.LINES_BY_TASK})
    shaped_by = (*OF_LINES, "study_id", "start_date")

    def rows(self, delivery: Delivery) -> Iterator[Record]:
        """Yield the tasks of a delivery; a collection has none."""
        for task in delivery.tasks():
            yield records.task_row(delivery.facts, task)

    def fast_rows(self, delivery: Delivery) -> Iterator[Any]:
        """Yield the tasks of a delivery, past most lines that have none."""
        columns = records.answer_columns(delivery.collection, self.run.settings.answer_keys)
        for task in delivery.tasks(WithoutTasks(columns)):
            yield records.task_row(delivery.facts, task)
