"""The job as users run it: real Meltano, the tap in an environment of its own, DuckDB."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import duckdb
import pytest

from tests.support.expected import differences, tables_of
from tests.support.generations import idempotent_slow
from tests.support.meltano import needs_loaders, run_job
from tests.support.stand_in.samples import add

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.stand_in import Hosted, StandIn, World


pytestmark = needs_loaders


@idempotent_slow
@pytest.mark.parametrize("lines", ["nested", pytest.param("flat", marks=pytest.mark.slow)])
def test_what_arrives_in_duckdb_equals_what_the_server_holds(  # noqa: PLR0917
    lines: Literal["nested", "flat"],
    stand_in: StandIn,
    world: World,
    collection: Hosted,
    batch: Hosted,
    tmp_path: Path,
) -> None:
    batch.lines = lines
    warehouse = tmp_path / "warehouse.duckdb"
    done = run_job(
        stand_in,
        warehouse,
        TAP_PROLIFIC_EXPORT_COLLECTION_IDS=f'["{collection.id}"]',
        TAP_PROLIFIC_EXPORT_BATCH_IDS=f'["{batch.id}"]',
    )
    assert done.returncode == 0, done.stderr
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        assert differences(tables_of(connection), world) == []


LAST = "SELECT max(exported_at) FROM collections"


@idempotent_slow
@pytest.mark.parametrize("lookback", ["86400", pytest.param("0", marks=pytest.mark.slow)])
def test_a_second_run_brings_what_is_new_and_what_the_lookback_covers(
    lookback: str, stand_in: StandIn, world: World, collection: Hosted, tmp_path: Path
) -> None:
    warehouse = tmp_path / "warehouse.duckdb"
    settings = {
        "TAP_PROLIFIC_EXPORT_COLLECTION_IDS": f'["{collection.id}"]',
        "TAP_PROLIFIC_EXPORT_LOOKBACK_SECONDS": lookback,
    }
    recent = add(world, collection, 52, world.now() - timedelta(hours=20))
    assert run_job(stand_in, warehouse, **settings).returncode == 0
    new = add(world, collection, 56, world.now())
    done = run_job(stand_in, warehouse, **settings)
    assert done.returncode == 0, done.stderr
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        assert [d for d in differences(tables_of(connection), world) if " export" not in d] == []
        for table in ("responses", "answers", "files"):
            just_come = f"SELECT DISTINCT submission_id FROM {table} WHERE exported_at = ({LAST})"  # noqa: S608
            found = {id_ for (id_,) in connection.execute(just_come).fetchall()}
            assert found == ({new, recent} if lookback == "86400" else {new})
        just_come = f"SELECT * FROM instructions WHERE exported_at = ({LAST})"  # noqa: S608
        assert connection.execute(just_come).fetchall() == []


@idempotent_slow
def test_a_failed_run_fails_in_meltano_too(
    stand_in: StandIn, collection: Hosted, tmp_path: Path
) -> None:
    done = run_job(
        stand_in,
        tmp_path / "warehouse.duckdb",
        PROLIFIC_TOKEN="wrong",
        TAP_PROLIFIC_EXPORT_COLLECTION_IDS=f'["{collection.id}"]',
    )
    assert done.returncode != 0
    assert "The token is not valid" in done.stderr
    assert "Traceback" not in done.stderr
