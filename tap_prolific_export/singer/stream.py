"""What the SDK needs of a stream: its catalog entry, and a schema that grows during a run."""

from __future__ import annotations

import json
import logging
from functools import cached_property
from typing import TYPE_CHECKING, Any

from singer_sdk.singerlib import Schema
from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE

from tap_prolific_export.model import sha256_hex
from tap_prolific_export.rows.schema import COLLECTIONS, RECORD_FORMAT, merged, widened
from tap_prolific_export.singer.sdk import SdkStream, applicable_maps
from tap_prolific_export.snapshots.bookmarks import REPLICATION_KEY

if TYPE_CHECKING:
    from singer_sdk import Tap
    from singer_sdk.singerlib import Catalog

    from tap_prolific_export.rows.schema import JsonSchema
    from tap_prolific_export.settings import Settings
    from tap_prolific_export.singer.streams import StreamDefinition

logger = logging.getLogger("tap-prolific-export")

# Most databases take so many columns; PostgreSQL's limit is 1,600, SQL Server's 1,024.
MANY_COLUMNS = 1000


class ProlificStream(SdkStream):
    """One of the six streams; `sync` writes its rows and moves its bookmark."""

    def __init__(
        self, tap: Tap, definition: StreamDefinition, settings: Settings, answers: JsonSchema
    ) -> None:
        """Make the stream; `answers` are known properties of its column of that name, if any."""
        schema = definition.columns.json_schema()
        self._answers_column: JsonSchema = schema["properties"].pop("answers", {})
        if self._answers_column and answers:
            schema = self._grown(
                schema, {"answers": {**self._answers_column, "properties": answers}}
            )
        super().__init__(tap, schema=schema, name=definition.columns.name)
        self.primary_keys = definition.columns.key
        self.replication_key = None if definition.columns is COLLECTIONS else REPLICATION_KEY
        self.definition = definition
        self.reads = definition.reads
        self.settings = settings
        self._is_schema_written = False
        self._is_warned_of_columns = False

    @property
    def is_emitted(self) -> bool:
        """Whether the catalog selects the stream and no stream map removes it."""
        return self.selected and not self.is_dropped

    @property
    def is_full_run(self) -> bool:
        """Whether everything is wanted, whatever earlier runs delivered.

        ``collections`` has no bookmark in Singer's sense and so is always FULL_TABLE: it follows
        the other streams, and is full where the run replaces the tables.
        """
        if self.definition.columns is COLLECTIONS:
            return self.version is not None
        return self.replication_method == REPLICATION_FULL_TABLE

    @cached_property
    def fingerprint(self) -> str:
        """A digest of everything outside the archives that shapes the records."""
        settings = {name: getattr(self.settings, name) for name in self.definition.shaped_by}
        hidden = sorted(crumb for crumb, shown in self.mask.items() if crumb and not shown)
        mapped = applicable_maps(self.config.get("stream_maps") or {}, self.name)
        flat = {n: v for n, v in self.config.items() if n.startswith("flattening_")}
        shape: list[Any] = [settings, hidden, mapped, flat]
        if "freeze_schema" in settings:
            # With a frozen schema the catalog decides which answers there are.
            shape.append(sorted(self.known_answers) if self.settings.freeze_schema else [])
        return sha256_hex(json.dumps([RECORD_FORMAT, shape], sort_keys=True, default=str), 8)

    @property
    def known_answers(self) -> JsonSchema:
        """The properties of ``answers`` that the schema has so far."""
        answers = self.effective_schema.get("properties", {}).get("answers", {})
        known: JsonSchema = answers.get("properties", {})
        return known

    @property
    def has_answers(self) -> bool:
        """Whether any property of ``answers`` is selected."""
        return not self.known_answers.keys() <= {*self.deselected_answers}

    @property
    def deselected_answers(self) -> list[str]:
        """The properties of ``answers`` that the catalog deselects."""
        return [path[-1] for path in self.deselected if path == ("answers", path[-1])]

    def apply_catalog(self, catalog: Catalog) -> None:
        """Apply a catalog that may be older than the schema: add to it what it lacks.

        The SDK drops every property that the catalog does not have, and Meltano passes a catalog
        that it cached in an earlier run. Deselected properties stay deselected.
        """
        if entry := catalog.get_stream(self.name):
            entry.schema = Schema.from_dict(
                self._grown(entry.schema.to_dict(), self.schema["properties"])
            )
        super().apply_catalog(catalog)

    def grow_answers(self, answers: JsonSchema) -> None:
        """Widen the schema of ``answers`` before records that need it."""
        column = {**self._answers_column, "properties": answers}
        self.replace_schema(self._grown(self.effective_schema, {"answers": column}))
        self._is_schema_written = False

    def ensure_schema_is_written(self) -> None:
        """Write SCHEMA if this run has not written it yet, or if it grew since."""
        if not self._is_schema_written:
            if self.known_answers and not self.has_answers:
                self.replace_schema(self.effective_schema)
            self.write_schema()
            self._is_schema_written = True
            self._warn_of_columns()

    def _warn_of_columns(self) -> None:
        """Warn once, before a target says in words of its own that it takes no more columns."""
        count = self.flattened_columns
        if count > MANY_COLUMNS and not self._is_warned_of_columns:
            self._is_warned_of_columns = True
            logger.warning(
                "%s: flattening makes %d columns, and a table has a limit (1,600 in PostgreSQL). "
                "Without flattening, answers is one column; or give each data collection a table "
                "of its own: see docs/targets.md.",
                self.name,
                count,
            )

    @staticmethod
    def _grown(schema: dict[str, Any], properties: JsonSchema) -> dict[str, Any]:
        """Return a schema with more properties.

        Without questions there are no ``answers``: Parquet has no objects without fields.
        """
        known = schema.get("properties", {})
        grown = merged(known, properties)
        answers = [each.get("answers", {}).get("properties", {}) for each in (known, properties)]
        if "answers" in grown and not any(answers):
            del grown["answers"]
        elif "answers" in properties:
            grown["answers"]["properties"] = widened(*answers)
        return {**schema, "properties": grown}
