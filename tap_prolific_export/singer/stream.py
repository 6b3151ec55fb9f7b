"""What all streams share: a run that goes from delivery to delivery, and schemas that grow.

The Singer SDK drives the streams: it walks the parent's partitions (`Run.contexts`, one for each
delivery), and for each runs the children while that delivery is open. Where private names of the
SDK are touched the reason is beside them, and ``tests/test_sdk_canary.py`` watches them.
"""

from __future__ import annotations

import json
import logging
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from singer_sdk import Stream
from singer_sdk.helpers._catalog import get_selected_schema
from singer_sdk.singerlib import Schema
from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE

from tap_prolific_export.errors import (
    DataCollectionError,
    ReplacedError,
)
from tap_prolific_export.rows.schema import COLLECTIONS, RECORD_FORMAT, StreamColumns, merged
from tap_prolific_export.rows.tables import answer_columns
from tap_prolific_export.singer.together import write_together
from tap_prolific_export.singer.writer import RecordBlocks, is_plain
from tap_prolific_export.snapshots.bookmarks import REPLICATION_KEY, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from singer_sdk import Tap
    from singer_sdk.helpers.types import Context, Record
    from singer_sdk.singerlib import Catalog

    from tap_prolific_export.archive.export_archive import Part
    from tap_prolific_export.rows.schema import JsonSchema
    from tap_prolific_export.singer.sync import Run
    from tap_prolific_export.singer.together import LineRows
    from tap_prolific_export.snapshots.snapshot import Snapshot

logger = logging.getLogger("tap-prolific-export")
_Row = TypeVar("_Row")


# Settings that decide which lines are read.
OF_LINES = ("on_bad_line", "max_line_bytes")


class ProlificStream(Stream):
    """A stream whose columns are described in `schema` and may grow while it runs.

    Its bookmarks are `Progress`'s: the SDK's own would move with every record, at the cost of a
    walk through all partitions, and not at all where there is no record.
    """

    columns: StreamColumns
    reads: frozenset[Part] = frozenset()
    # Settings that shape the records: when one changes, what was delivered is delivered anew.
    shaped_by: tuple[str, ...] = ()

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
        self._fingerprint: str | None = None

    @property
    def is_full_run(self) -> bool:
        """Whether the catalog wants everything, whatever has been delivered before."""
        return self.replication_method == REPLICATION_FULL_TABLE

    @property
    def fingerprint(self) -> str:
        """A digest that changes with whatever shapes the records."""
        if self._fingerprint is None:
            shape = [RECORD_FORMAT, self._shape()]
            self._fingerprint = digest(json.dumps(shape, sort_keys=True, default=str))
        return self._fingerprint

    def _shape(self) -> list[Any]:
        """Return everything outside of the archives that shapes the records."""
        settings = {name: getattr(self.run.settings, name) for name in self.shaped_by}
        hidden = sorted(crumb for crumb, shown in self.mask.items() if crumb and not shown)
        maps = self.config.get("stream_maps") or {}
        mapped = {name: maps[name] for name in (self.name, "__else__") if name in maps}
        flat = {n: v for n, v in self.config.items() if n.startswith("flattening_")}
        return [settings, hidden, mapped, flat]

    def use_version(self, version: int) -> None:
        """Have every RECORD carry a version, for `activate_version`."""
        self._stream_version = version

    def activate_version(self) -> None:
        """Tell the target that the rows of this run's version are all that there are."""
        if self._stream_version is not None:
            self._write_activate_version_message(self._stream_version)

    # The SDK's own ways of keeping state, all of which `Progress` replaces:

    @property
    def emit_activate_version_messages(self) -> bool:
        """False: the SDK would send one for each data collection, before its records."""
        return False

    def get_replication_key_signpost(self, context: Context | None = None) -> None:  # noqa: ARG002
        """Return None: the SDK would cap a bookmark to the start of the run."""
        return

    def get_context_state(self, context: Context | None) -> dict[str, Any]:  # noqa: ARG002
        """Return nothing that would be kept."""
        return {}

    def finalize_state_progress_markers(self, state: dict[str, Any] | None = None) -> None:
        """Leave the state as it is: there are no progress markers."""

    def _write_starting_replication_value(self, context: Context | None) -> None:
        """Write none into the state."""

    def _increment_stream_state(
        self, latest_record: Record, *, context: Context | None = None
    ) -> None:
        """Leave the bookmark where it is until the last record has been emitted."""

    def _write_state_message(self) -> None:
        """Write none: `Run` has the state written once for each data collection."""

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

    def __init__(self, tap: Tap, run: Run, answers: JsonSchema) -> None:
        """Make the stream; see `ProlificStream`."""
        super().__init__(tap, run, answers)
        self.replication_key = REPLICATION_KEY

    def rows(self, snapshot: Snapshot) -> Iterator[Record]:
        """Yield the rows of a delivery."""
        raise NotImplementedError

    def content(self, snapshot: Snapshot) -> str | None:  # noqa: ARG002
        """Return a digest of all rows, where that is cheap and every archive has all of them."""
        return None

    @property
    def is_pending(self) -> bool:
        """Whether the stream has yet to deliver what is open."""
        return not self.run.snapshot_failed and self.run.progress.is_pending(self)

    def fast_rows(self, snapshot: Snapshot) -> Iterator[Any]:
        """Yield the rows of a delivery as msgspec encodes them."""
        return self.rows(snapshot)

    def line_rows(self, snapshot: Snapshot) -> LineRows | None:  # noqa: ARG002  # theirs who can
        """Return how the rows are made of the lines of the responses, if all of them are."""
        return None

    def get_records(self, context: Context | None) -> Iterator[Record]:  # noqa: ARG002
        """Yield the rows; an archive that turns out to be bad fails its data collection only."""
        if self.is_pending:
            with self._noted(self):
                yield from self._new(self.rows)

    def _sync_records(
        self, context: Context | None = None, *, write_messages: bool = True
    ) -> Generator[dict[str, Any], Any, Any]:
        """Write the records ourselves where the SDK would add nothing but time; see `fast`."""
        if not write_messages or not is_plain(self):
            yield from super()._sync_records(context, write_messages=write_messages)
        elif self.is_pending:
            self._write_records(context)

    def _write_records(self, context: Context | None) -> None:
        """Write the rows of what is open, and those of streams that are made of the same lines."""
        made = self._together(context)
        streams = [*made] or [self]
        with ExitStack() as stack:
            every = [
                stack.enter_context(stream._writing(context))  # noqa: SLF001  # one of us
                for stream in streams
            ]
            with self._noted(*streams):
                if made:
                    snapshot = self.run.snapshot
                    columns = answer_columns(snapshot.collection, self.run.settings.answer_keys)
                    both = zip(made.values(), every, strict=True)
                    write_together(snapshot, columns, [*both])
                else:
                    for row in self._new(self.fast_rows):
                        every[0].write([row])
                for blocks in every:
                    blocks.flush()

    def _together(self, context: Context | None) -> dict[ChildStream, LineRows]:
        """Return the streams that can be read with this one, which is the first, and how."""
        found: dict[ChildStream, LineRows] = {}
        # In the order in which the SDK runs them; those of the tap are in that of their names.
        for stream in self._tap.streams[COLLECTIONS.name].child_streams:
            if not isinstance(stream, ChildStream) or self not in {*found, stream}:
                continue
            if stream is not self:
                if not is_plain(stream) or not stream.is_pending:
                    continue
                if context:  # the SDK will do so when their turn comes, which is too late
                    stream.preprocess_context(context)
            if rows := stream.line_rows(self.run.snapshot):
                stream._write_schema_message()  # noqa: SLF001  # one of us
                found[stream] = rows
        return found

    @contextmanager
    def _writing(self, context: Context | None) -> Iterator[RecordBlocks]:
        """Write records past the SDK, counted and timed as it does."""
        with self.get_record_counter() as counter, self.get_sync_timer() as timer:
            counter.with_context(context)
            timer.with_context(context)
            with RecordBlocks(self.name, self._stream_version, counter.increment) as blocks:
                yield blocks

    def _new(self, rows: Callable[[Snapshot], Iterator[_Row]]) -> Iterator[_Row]:
        """Yield the rows of what is open, unless all of them have been said before."""
        content = self.content(self.run.snapshot)
        if content is None or not self.run.progress.said_before(self, content):
            yield from rows(self.run.snapshot)

    @contextmanager
    def _noted(self, *streams: ChildStream) -> Iterator[None]:
        """Note what becomes of the streams' rows of what is open."""
        snapshot, progress = self.run.snapshot, self.run.progress
        try:
            yield
            contents = [stream.content(snapshot) for stream in streams]
        except ReplacedError as error:
            self.run.begin_anew(error)
        except DataCollectionError as error:
            self.run.fail(error)
        else:
            for stream, content in zip(streams, contents, strict=True):
                progress.complete(stream, content)
