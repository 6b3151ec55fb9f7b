"""target-duckdb 0.8.0 with a loading step that does not guess the format.

The README in this folder describes the bugs of the original.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import target_duckdb
from target_duckdb.db_sync import DbSync, flatten_record

if TYPE_CHECKING:
    from collections.abc import Iterable

# Long answers may exceed DuckDB's default limit of 16 MiB for one JSON object.
MAX_OBJECT_BYTES = 1 << 28


class LosslessDbSync(DbSync):  # type: ignore[misc]  # untyped
    """Loads a batch as JSON Lines with declared types, not as CSV with guessed types."""

    def record_primary_key_string(self, record: dict[str, Any]) -> Any:
        """Return what identifies a record within its batch, or None if the stream has no key.

        The original flattens the whole record for its key, and joins the key's values with commas:
        `a,b` and `c` are then the same key as `a` and `b,c`, and one of the two rows is lost.

        Args:
            record: The record.
        """
        names = self.stream_schema_message["key_properties"]
        return tuple([record[name] for name in names]) if names else None

    def load_rows(self, records: Iterable[dict[str, Any]], count: int, temp_dir: str) -> None:
        """Upsert a batch of records into the stream's table.

        Args:
            records: The records.
            count: The number of records.
            temp_dir: The folder for temporary files.

        Raises:
            RuntimeError: Some records did not reach the temporary table.
        """
        stream = self.stream_schema_message["stream"]
        self.logger.info("Loading %d rows into '%s'", count, self.table_name(stream, False))  # noqa: FBT003
        temp_table = self.table_name(stream, is_temporary=True)
        path = Path(temp_dir, f"{temp_table}.jsonl")
        # Use positions, not names: DuckDB ignores case when it matches JSON keys.
        columns = [f"c{i}" for i in range(len(self.flatten_schema))]
        self.conn.execute(self.create_table_query(table_name=temp_table, is_temporary=True))
        try:
            with path.open("w", encoding="utf-8") as file:
                for record in records:
                    file.write(
                        json.dumps(dict(zip(columns, self._values(record), strict=True))) + "\n"
                    )
            # Read all columns as text; the insert casts them, as it does with CSV.
            types = ", ".join(f"{column}: 'VARCHAR'" for column in columns)
            self.conn.execute(
                f"INSERT INTO {temp_table} SELECT * FROM read_json(?, "  # noqa: S608
                f"format = 'newline_delimited', columns = {{{types}}}, "
                f"maximum_object_size = {MAX_OBJECT_BYTES})",
                [str(path)],
            )
            loaded = self.conn.execute(f"SELECT count(*) FROM {temp_table}").fetchone()[0]  # noqa: S608
            if loaded != count:
                msg = f"{loaded} of {count} rows of {stream} were loaded."
                raise RuntimeError(msg)
            if self.stream_schema_message["key_properties"] and (
                update := self.update_from_temp_table(temp_table)
            ):
                self.conn.execute(update)
            self.conn.execute(self.insert_from_temp_table(temp_table))
        finally:
            self.conn.execute(f"DROP TABLE {temp_table}")
            path.unlink(missing_ok=True)

    def _values(self, record: dict[str, Any]) -> list[Any]:
        """Return the values of a record, in the order of the columns."""
        if self.data_flattening_max_level:
            record = flatten_record(
                record, self.flatten_schema, max_level=self.data_flattening_max_level
            )
        return [
            json.dumps(value) if isinstance(value, (dict, list)) else value
            for value in map(record.get, self.flatten_schema)
        ]


def main() -> None:
    """Run target-duckdb."""
    target_duckdb.DbSync = LosslessDbSync
    target_duckdb.main()


if __name__ == "__main__":
    main()
