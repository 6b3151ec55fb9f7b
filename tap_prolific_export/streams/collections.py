"""``collections``: one row a collection or batch, and the parent of all other streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_prolific_export import records
from tap_prolific_export.schema import COLLECTIONS
from tap_prolific_export.streams.base import ProlificStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.helpers.types import Context, Record


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
