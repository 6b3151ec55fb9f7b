"""The job as users run it: real Meltano, the tap in an environment of its own, DuckDB."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import duckdb
import pytest

from tests.stand_in import samples
from tests.warehouse import differences, tables_of

if TYPE_CHECKING:
    from tests.stand_in import Hosted, StandIn, World

ROOT = Path(__file__).resolve().parent.parent
MELTANO = shutil.which("meltano", path=str(Path(sys.executable).parent))
INSTALLED = ROOT / ".meltano" / "loaders" / "target-duckdb" / "venv"

pytestmark = pytest.mark.skipif(
    MELTANO is None or not INSTALLED.exists(),
    reason="needs Meltano and its plugins' environments, which scripts/setup makes",
)


def run_job(
    stand_in: StandIn, warehouse: Path, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run the tap into DuckDB; its state lies beside the warehouse."""
    assert MELTANO
    environment = {
        **os.environ,
        "PROLIFIC_URL": stand_in.api_url,
        "PROLIFIC_TOKEN": stand_in.world.token,
        "TARGET_DUCKDB_PATH": str(warehouse),
        "MELTANO_STATE_BACKEND_URI": f"file://{warehouse.parent}/state",
    }
    return subprocess.run(  # noqa: S603
        [MELTANO, f"--env-file={os.devnull}", "run", "tap-prolific-export", "target-duckdb"],
        cwd=ROOT,
        env=environment | settings,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("lines", ["nested", "flat"])
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


@pytest.mark.parametrize("lookback", ["86400", "0"])
def test_a_second_run_brings_what_is_new_and_what_the_lookback_covers(
    lookback: str, stand_in: StandIn, world: World, collection: Hosted, tmp_path: Path
) -> None:
    warehouse = tmp_path / "warehouse.duckdb"
    settings = {
        "TAP_PROLIFIC_EXPORT_COLLECTION_IDS": f'["{collection.id}"]',
        "TAP_PROLIFIC_EXPORT_LOOKBACK_SECONDS": lookback,
    }
    recent = submitted(world, collection, 52, hours_ago=20)
    assert run_job(stand_in, warehouse, **settings).returncode == 0
    new = submitted(world, collection, 56, hours_ago=0)
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


def submitted(world: World, hosted: Hosted, number: int, *, hours_ago: float) -> str:
    """Add a submission; return its id."""
    submission = samples.breakfast(number)
    submission.submitted_at = world.now() - timedelta(hours=hours_ago)
    submission.line["submitted_at"] = submission.submitted_at.isoformat()
    world.submit(hosted, submission)
    return str(submission.line["submission_id"])


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
