"""Real targets, and what is in their tables: each in an environment of its own."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import json
import os
import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from tests.support import processes
from tests.support.postgres import USER
from tests.support.repository import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.support.postgres import PostgresServer

LOADERS = ROOT / ".meltano" / "loaders"
DUCKDB_LOADER = LOADERS / "target-duckdb/venv/bin/target-duckdb-lossless"
POSTGRES_LOADER = LOADERS / "target-postgres/venv/bin/target-postgres"

Row = dict[str, Any]


def installed(name: str, *requirements: str) -> Path:
    """Return the folder of a target's programs, in an environment that is made once.

    It skips the test where the packages cannot be had.
    """
    made_of = hashlib.sha256(repr((sys.version, requirements)).encode()).hexdigest()[:8]
    folder = LOADERS / f"tests-{name}-{made_of}"
    done = folder / "installed"
    LOADERS.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # other tests may want it at the same time
        if not done.exists():
            _install(folder, requirements)
            done.touch()
    return folder / "bin"


def _install(folder: Path, requirements: tuple[str, ...]) -> None:
    # Without a pip of its own, which takes longer to install than some targets.
    venv = ("-m", "venv", "--clear", "--without-pip", folder)
    processes.output(sys.executable, *venv, cwd=ROOT)
    pip = ("-m", "pip", f"--python={folder / 'bin/python'}", "install", "--quiet")
    made = processes.run(sys.executable, *pip, *requirements, cwd=ROOT)
    if made.returncode:
        pytest.skip(f"{' '.join(requirements)} cannot be installed: {made.stderr[-300:]}")


class Target(ABC):
    """A target, and where it puts rows.

    Attributes:
        updates: Whether rows of one key are one row.
        keeps: Whether the rows of earlier runs stay.
        empty: What it does not tell apart.
    """

    updates = True
    keeps = True
    empty: tuple[Any, ...] = ()

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, written: str, **config: Any) -> None:
        """Load what the tap wrote."""
        program, settings = self.program()
        path = self.folder / "target.json"
        path.write_text(json.dumps({**settings, **config}))
        command = (program, f"--config={path}")
        processes.output(*command, cwd=self.folder, env={**os.environ, "TZ": "UTC"}, stdin=written)

    @abstractmethod
    def program(self) -> tuple[Path, Row]:
        """Return the target's program and its settings."""

    @abstractmethod
    def rows(self, table: str) -> list[Row]:
        """Return the rows of a table."""

    def column(self, name: str) -> str:
        """Return what a column is called."""
        return name


class Warehouse(Target):
    """A database."""

    @abstractmethod
    def sql(self, text: str) -> list[Row]:
        """Run SQL and return the rows, if there are any."""

    def rows(self, table: str, where: str = "true") -> list[Row]:
        """Return the rows of a table for which a condition holds."""
        return self.sql(f"SELECT * FROM {table} WHERE {where}")  # noqa: S608

    def count(self, table: str, where: str = "true") -> int:
        """Return how many rows there are."""
        return len(self.rows(table, where))


class DuckDB(Warehouse):
    """target-duckdb, mended: see examples/duckdb_loader."""

    def program(self) -> tuple[Path, Row]:
        return DUCKDB_LOADER, {"path": str(self._path), "default_target_schema": "main"}

    @property
    def _path(self) -> Path:
        return self.folder / "warehouse.duckdb"

    def sql(self, text: str) -> list[Row]:
        with duckdb.connect(str(self._path)) as connection:
            cursor = connection.execute(text)
            return named(cursor.description or (), cursor.fetchall())

    def column(self, name: str) -> str:
        return name.lower()


class DuckDBAsItIs(DuckDB):
    """target-duckdb 0.8.0, with the one duckdb that reads its batches aright."""

    empty = (None, "")

    def program(self) -> tuple[Path, Row]:
        if sys.version_info >= (3, 13):
            pytest.skip("duckdb 1.0.0 has no wheels for Python 3.13 and later")
        programs = installed("duckdb", "target-duckdb==0.8.0", "duckdb==1.0.0")
        _, config = super().program()
        return programs / "target-duckdb", config


class PostgreSQL(Warehouse):
    """meltanolabs-target-postgres."""

    def __init__(self, folder: Path, server: PostgresServer) -> None:
        super().__init__(folder)
        self._server = server
        self._database = server.new_database()

    def program(self) -> tuple[Path, Row]:
        return POSTGRES_LOADER, {
            "host": "127.0.0.1",
            "port": self._server.port,
            "user": USER,
            "password": "none is asked for",
            "database": self._database,
            "default_target_schema": "public",
        }

    def sql(self, text: str) -> list[Row]:
        with self._server.connect(self._database) as connection:
            cursor = connection.execute(text.encode())
            return named(cursor.description, cursor.fetchall()) if cursor.description else []


class JsonLines(Target):
    """target-jsonl: a file for each stream that has rows, to which each run adds."""

    updates = False

    def program(self) -> tuple[Path, Row]:
        programs = installed("jsonl", "target-jsonl==0.1.4")
        config = {"destination_path": str(self.folder), "do_timestamp_file": False}
        return programs / "target-jsonl", config

    def rows(self, table: str) -> list[Row]:
        path = self.folder / f"{table}.jsonl"
        lines = path.read_bytes().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]


class Csv(Target):
    """meltanolabs-target-csv: a file for each stream, of the last run."""

    updates = False
    keeps = False
    empty = (None, "")

    def program(self) -> tuple[Path, Row]:
        programs = installed("csv", "meltanolabs-target-csv==0.5.0")
        return programs / "target-csv", {"output_path": str(self.folder / "csv")}

    def rows(self, table: str) -> list[Row]:
        with (self.folder / "csv" / f"{table}.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


def named(columns: Iterable[Any], rows: Iterable[tuple[Any, ...]]) -> list[Row]:
    """Return rows by the names of their columns."""
    names = [column[0] for column in columns]
    return [dict(zip(names, row, strict=True)) for row in rows]
