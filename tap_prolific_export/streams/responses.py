"""``responses``: one row a submission, or in a batch a submission's answers to one task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_prolific_export import records
from tap_prolific_export.schema import RESPONSES, answers_schema
from tap_prolific_export.streams.base import ChildStream
from tap_prolific_export.streams.collections import CollectionsStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.helpers.types import Context, Record

    from tap_prolific_export.delivery import Delivery


class ResponsesStream(ChildStream):
    """The responses."""

    columns = RESPONSES
    parent_stream_type = CollectionsStream
    needs_archive = True

    def preprocess_context(self, context: Context) -> Context:
        """Grow the schema by the questions of the archive; SCHEMA is written after this."""
        keys = self.run.settings.answer_keys
        properties = answers_schema([self.run.delivery.collection], keys)
        self.grow({"answers": {"properties": properties}})
        return context

    def rows(self, delivery: Delivery) -> Iterator[Record]:
        """Yield the responses of a delivery."""
        columns = records.answer_columns(delivery.collection, self.run.settings.answer_keys)
        sizes = delivery.archive.uploads if delivery.archive else {}
        count = misfits = 0
        for response in delivery.responses():
            row, kept = records.response_row(delivery.facts, response, columns, sizes)
            count += 1
            misfits += kept
            yield row
        self.run.response_count = count
        if misfits:
            self.logger.warning(
                "%s: %d answers did not fit their columns; as they came they stand in "
                "additional_fields, under answers.",
                delivery.collection.ref,
                misfits,
            )
