"""``collections``: one row a collection or batch, and the parent of all other streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_prolific_export import records
from tap_prolific_export.schema import COLLECTIONS
from tap_prolific_export.streams.base import ProlificStream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from singer_sdk.helpers.types import Context, Record


class CollectionsStream(ProlificStream):
    """The data collections."""

    columns = COLLECTIONS

    @property
    def partitions(self) -> Iterable[dict[str, str]]:  # type: ignore[override]
        """One context a delivery, opened as the SDK comes to it."""
        return self.run.contexts(
            with_archives=any(
                child.selected and getattr(child, "needs_archive", False)
                for child in self.child_streams
            )
        )

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

    def _process_record(
        self,
        record: Record,
        child_context: Context | None = None,
        partition_context: Context | None = None,
    ) -> None:
        # The children run in here, and only they know how many responses there are.
        super()._process_record(record, child_context, partition_context)
        delivery, count = self.run.delivery, self.run.response_count
        record["exported_response_count"] = count
        complete = count is not None and not self.run.delivery_failed
        if complete and delivery.is_of_everything:
            record["full_exported_at"] = record["exported_at"]
