"""``files``: one row an uploaded file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_prolific_export import records
from tap_prolific_export.archive import Part
from tap_prolific_export.schema import FILES
from tap_prolific_export.streams.base import OF_LINES, ChildStream
from tap_prolific_export.streams.collections import CollectionsStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.helpers.types import Record

    from tap_prolific_export.delivery import Delivery


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
        rows = records.file_rows(
            delivery.facts,
            delivery.every_response,
            delivery.wants,
            records.answer_columns(delivery.collection, self.run.settings.answer_keys),
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
