"""``answers``: the long form, one row a chosen or given value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_prolific_export import records
from tap_prolific_export.archive import Part
from tap_prolific_export.schema import ANSWERS
from tap_prolific_export.streams.base import OF_LINES, ChildStream
from tap_prolific_export.streams.collections import CollectionsStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.helpers.types import Record

    from tap_prolific_export.delivery import Delivery


class AnswersStream(ChildStream):
    """The answers."""

    columns = ANSWERS
    parent_stream_type = CollectionsStream
    reads = frozenset({Part.LINES})
    shaped_by = (*OF_LINES, "study_id", "start_date")

    def rows(self, delivery: Delivery) -> Iterator[Record]:
        """Yield the answers of a delivery."""
        columns = records.answer_columns(delivery.collection, self.run.settings.answer_keys)
        for response in delivery.responses():
            yield from records.answer_rows(delivery.facts, response, columns, delivery.uploads)
