"""What all streams share: a run that goes from delivery to delivery, and schemas that grow.

The Singer SDK drives the streams: it walks the parent's partitions (`Run.contexts`, one for each
delivery), and for each runs the children while that delivery is open. Where private names of the
SDK are touched the reason is beside them, and ``tests/test_sdk_canary.py`` watches them.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from singer_sdk import Stream
from singer_sdk.helpers._catalog import get_selected_schema
from singer_sdk.singerlib import Schema

from tap_prolific_export.errors import DataCollectionError, FatalError, TapError
from tap_prolific_export.schema import StreamColumns, merged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from singer_sdk import Tap
    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.singerlib import Catalog

    from tap_prolific_export.collection import DataCollection
    from tap_prolific_export.delivery import Deliveries, Delivery
    from tap_prolific_export.schema import JsonSchema
    from tap_prolific_export.settings import Settings

logger = logging.getLogger("tap-prolific-export")


class Run:
    """One sync: which delivery is open, what has been delivered and what has failed.

    Args:
        settings: What is wanted.
        deliveries: Makes the deliveries.
    """

    def __init__(self, settings: Settings, deliveries: Deliveries) -> None:
        self.settings = settings
        self.failures: list[TapError] = []
        # Of the open delivery: its responses, once all of them have been read, and whether a
        # stream has failed on it, which then fails for all.
        self.response_count: int | None = None
        self.delivery_failed = False
        self._deliveries = deliveries
        self._open: Delivery | None = None
        self._delivered: list[dict[str, str]] | None = None

    @property
    def delivery(self) -> Delivery:
        """The delivery that is open; there is one while a context is being synced."""
        if self._open is None:
            msg = "No delivery is open."
            raise TapError(msg)
        return self._open

    def contexts(self, *, with_archives: bool) -> Iterable[dict[str, str]]:
        """Open each delivery in turn and yield the Singer context of its data collection.

        What cannot be delivered is recorded and passed over. The SDK asks for the partitions
        once more when all is done: then these are the contexts that were delivered.
        """
        if self._delivered is not None:
            return list(self._delivered)
        self._delivered = []
        return self._walk(self._delivered, with_archives=with_archives)

    def _walk(
        self, delivered: list[dict[str, str]], *, with_archives: bool
    ) -> Iterator[dict[str, str]]:
        try:
            for source in self._deliveries.sources():
                try:
                    with self._deliveries.open(source, with_archive=with_archives) as delivery:
                        context = delivery.context
                        self._open = delivery
                        self.response_count = None
                        self.delivery_failed = False
                        yield context
                        if not self.delivery_failed and context not in delivered:
                            delivered.append(context)
                except DataCollectionError as error:
                    self.fail(error)
                finally:
                    self._open = None
        except TapError as error:  # no source can be delivered any more
            self.fail(error)

    def foreseen(self) -> list[DataCollection]:
        """Return what can be told of all data collections, without exporting any.

        What cannot be told fails nothing here: it is said when its turn comes.
        """
        found = []
        try:
            for source in self._deliveries.sources():
                try:
                    found.append(self._deliveries.describe(source))
                except DataCollectionError as error:
                    logger.debug("%s", error)
        except TapError as error:
            logger.debug("%s", error)
        return found

    def fail(self, error: TapError) -> None:
        """Record a failure; the run goes on and `raise_failures` ends it."""
        logger.error("%s", error)
        self.failures.append(error)
        self.delivery_failed = True

    def raise_failures(self) -> None:
        """End a run in which something failed.

        Raises:
            FatalError: Naming how much failed; each failure has been logged.
        """
        if not self.failures:
            return
        delivered = len(self._delivered or ())
        msg = f"Failed: {len(self.failures)}, as said above. Delivered: {delivered}."
        raise FatalError(msg)


class ProlificStream(Stream):
    """A stream whose columns are described in `schema` and may grow while it runs."""

    columns: StreamColumns

    def __init__(self, tap: Tap, run: Run, answers: JsonSchema) -> None:
        """Make the stream.

        Args:
            tap: Its tap.
            run: The sync it takes part in.
            answers: Properties known for ``answers``, for streams that have such a column.
        """
        schema = self.columns.json_schema()
        if "answers" in schema["properties"]:
            schema["properties"]["answers"]["properties"] = dict(answers)
        super().__init__(tap, schema=schema, name=self.columns.name)
        self.primary_keys = self.columns.key
        self.run = run
        self._schema_written = False

    def get_replication_key_signpost(self, context: Context | None = None) -> None:  # noqa: ARG002
        """Return None: the SDK would cap a bookmark to the start of the run."""
        return

    def apply_catalog(self, catalog: Catalog) -> None:
        """Apply a catalog that may be older than we are: what it lacks is added to it.

        The SDK drops every property that the catalog does not have, and Meltano passes one that
        it has kept from an earlier run. What the user deselected stays so.
        """
        if entry := catalog.get_stream(self.name):
            entry.schema = Schema.from_dict(
                self._grown(entry.schema.to_dict(), self.schema["properties"])
            )
        super().apply_catalog(catalog)

    def grow(self, properties: JsonSchema) -> None:
        """Widen the schema before records that need it; SCHEMA is written anew."""
        grown = self._grown(self.effective_schema, properties)
        self._schema = grown
        if self._input_schema is not None:
            self._input_schema = grown
        # The SDK's mapper, and so the SCHEMA message, must follow.
        selected = get_selected_schema(self.name, grown, self.mask)
        self._tap.mapper.register_raw_stream_schema(self.name, selected, self.primary_keys)
        self._stream_maps = None  # cached, with the schema of before
        self._schema_written = False

    @staticmethod
    def _grown(schema: dict[str, Any], properties: JsonSchema) -> dict[str, Any]:
        return {**schema, "properties": merged(schema.get("properties", {}), properties)}

    def _process_record(
        self,
        record: Record,
        child_context: Context | None = None,
        partition_context: Context | None = None,  # noqa: ARG002
    ) -> None:
        # Not the partition's context: the SDK would add to the record what the context has
        # beside the record's own columns, which is an archive's digest.
        super()._process_record(record, child_context, None)

    def _write_schema_message(self) -> None:
        """Write SCHEMA only when it has changed; the SDK would for every context."""
        if not self._schema_written:
            super()._write_schema_message()
            self._schema_written = True


class ChildStream(ProlificStream):
    """A stream of the open delivery's rows."""

    def rows(self, delivery: Delivery) -> Iterator[Record]:
        """Yield the rows of a delivery."""
        raise NotImplementedError

    def get_records(self, context: Context | None) -> Iterator[Record]:
        """Yield the rows; an archive that turns out to be bad fails its data collection only."""
        if self.run.delivery_failed:
            return
        try:
            yield from self.rows(self.run.delivery)
        except DataCollectionError as error:
            self.get_context_state(context).pop("progress_markers", None)
            self.run.fail(error)
