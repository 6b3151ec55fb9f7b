"""``files``: one row an uploaded file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_prolific_export.archive import Block, Part
from tap_prolific_export.compiled import NamedFiles
from tap_prolific_export.records import answer_columns
from tap_prolific_export.schema import FILES
from tap_prolific_export.streams.base import OF_LINES, ChildStream
from tap_prolific_export.streams.collections import CollectionsStream
from tap_prolific_export.typed import TypedLines
from tap_prolific_export.uploads import begun_with, file_rows, named_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.helpers.types import Record

    from tap_prolific_export.delivery import Delivery
    from tap_prolific_export.records import AnswerColumn
    from tap_prolific_export.uploads import Find, Found


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
