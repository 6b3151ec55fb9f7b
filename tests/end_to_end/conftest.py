"""Fixtures: a real PostgreSQL, and the warehouses that the loaders of the documentation fill."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.postgres import running_postgres
from tests.support.targets import POSTGRES_LOADER, DuckDB, PostgreSQL, Warehouse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.postgres import PostgresServer


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres(postgres_server: PostgresServer, tmp_path: Path) -> PostgreSQL:
    """A database of the test's own."""
    if not POSTGRES_LOADER.exists():
        pytest.skip("needs the loaders' environments, which scripts/setup makes")
    return PostgreSQL(tmp_path, postgres_server)


@pytest.fixture(params=["DuckDB", pytest.param("PostgreSQL", marks=pytest.mark.slow)])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Warehouse:
    """A database of the test's own: a test that takes it runs with both kinds."""
    if request.param == "DuckDB":
        return DuckDB(tmp_path)
    made = request.getfixturevalue("postgres")
    assert isinstance(made, PostgreSQL)
    return made
