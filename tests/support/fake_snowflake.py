"""target-snowflake against fakesnow, which emulates Snowflake with DuckDB.

Run as a program, in the environment of the target, it is the target: its own statements make and
change tables, cast values and merge rows. fakesnow does not know a user's stage (`@~`), which the
target fills with files and reads from: here, a table is the stage.

Usage: ``python -I fake_snowflake.py FOLDER ARGUMENTS``, where the folder gets the databases.
Without ``-I``, Python would take modules of this folder for its own.
"""

from __future__ import annotations

import gzip
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

import fakesnow
from sqlalchemy import text
from target_snowflake.connector import SnowflakeConnector
from target_snowflake.target import TargetSnowflake

if TYPE_CHECKING:
    from collections.abc import Sequence

_MERGE = re.compile(r"(?P<into>merge into .+? using )\((?P<select>select .+?)\)(?P<rest> s on .+)")


class FakeConnector(SnowflakeConnector):  # type: ignore[misc]  # untyped
    """The target's connector, with tables for stages."""

    def put_batches_to_stage(self, sync_id: str, files: Sequence[str]) -> None:
        """Put the lines of files into a table, each with its number."""
        lines = [line for file in files for line in _lines(file)]
        self._run(f"create table {self._table(sync_id)} (number integer, line variant)")
        with self._connect() as connection, connection.begin():
            for number, line in enumerate(lines):
                insert = f"insert into {self._table(sync_id)} select %s, parse_json(%s)"
                connection.exec_driver_sql(insert, (number, line))

    def merge_from_stage(self, *, sync_id: str, **arguments: Any) -> int:
        """Run the target's statement, in two parts: fakesnow cannot merge from such a query."""
        statement, _ = self._get_merge_from_stage_statement(sync_id=sync_id, **arguments)
        stage = rf"'@~/target-snowflake/{re.escape(sync_id)}'\(file_format => [^)]+\)"
        read, times = re.subn(stage, self._table(sync_id), statement.text)
        assert times == 1
        # SEQ8 numbers the lines.
        merge = _MERGE.fullmatch(read.replace("$1:", "line:").replace("SEQ8()", "number"))
        assert merge
        merged = self._table(f"merged-{sync_id}")
        self._run(f"create table {merged} as {merge['select']}")
        self._run(f"{merge['into']}{merged}{merge['rest']}")
        self._run(f"drop table {merged}")
        return 0

    def remove_staged_files(self, sync_id: str) -> None:
        """Drop the table."""
        self._run(f"drop table {self._table(sync_id)}")

    def drop_file_format(self, file_format: str) -> None:
        """Leave it: fakesnow cannot drop it."""

    def _table(self, name: str) -> str:
        return f'{self._schema}."{name}"'

    @property
    def _schema(self) -> str:
        return f"{self.config['database']}.{self.config['schema']}"

    def _run(self, statement: str) -> None:
        with self._connect() as connection, connection.begin():
            # fakesnow makes tables of its own for a merge, in the session's schema.
            connection.execute(text(f"use schema {self._schema}"))
            connection.execute(text(statement))


def _lines(file: str) -> list[str]:
    with gzip.open(urlparse(file).path, "rt", encoding="utf-8") as lines:
        return [line.rstrip("\n") for line in lines]


def main() -> None:
    """Be the target."""
    folder, *arguments = sys.argv[1:]
    Path(folder).mkdir(exist_ok=True)
    TargetSnowflake.default_sink_class.connector_class = FakeConnector
    # All of fakesnow's connections are one, which threads cannot share.
    TargetSnowflake.max_parallelism = 1
    with fakesnow.patch(db_path=folder):
        TargetSnowflake.cli(arguments)


if __name__ == "__main__":
    main()
