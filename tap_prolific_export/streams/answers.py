"""``answers``: the long form, one row a chosen or given value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_prolific_export import records
from tap_prolific_export.archive import Part
from tap_prolific_export.compiled import AnswerRows
from tap_prolific_export.schema import ANSWERS
from tap_prolific_export.streams.base import OF_LINES, ChildStream
from tap_prolific_export.streams.collections import CollectionsStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.helpers.types import Record

    from tap_prolific_export.delivery import Delivery
    from tap_prolific_export.records import AnswerColumn


class AnswersStream(ChildStream):
    """The answers."""

    columns = ANSWERS
    parent_stream_type = CollectionsStream
    reads = frozenset({Part.LINES})
    shaped_by = (*OF_LINES, "study_id", "start_date")

    def rows(self, delivery: Delivery) -> Iterator[Record]:
        """Yield the answers of a delivery."""
        columns = self._columns(delivery)
        for response in delivery.responses():
            yield from records.answer_rows(delivery.facts, response, columns, delivery.uploads)

    def fast_rows(self, delivery: Delivery) -> Iterator[Any]:
        """Yield the answers of a delivery, most of them straight from their lines."""
        if not delivery.is_chosen:
            yield from self.rows(delivery)
            return
        columns = self._columns(delivery)
        made = AnswerRows(delivery.facts, columns, delivery.uploads)
        for found in delivery.responses_in_blocks(made):
            if isinstance(found, list):
                yield [row for rows in found for row in rows]
            else:
                yield from records.answer_rows(delivery.facts, found, columns, delivery.uploads)

    def _columns(self, delivery: Delivery) -> dict[str, AnswerColumn]:
        return records.answer_columns(delivery.collection, self.run.settings.answer_keys)
