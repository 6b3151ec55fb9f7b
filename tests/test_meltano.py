"""The job as users run it: real Meltano, the tap in an environment of its own, DuckDB."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import duckdb
import pytest

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
    """Run the tap into DuckDB with nothing from an earlier run."""
    assert MELTANO
    environment = {
        **os.environ,
        "PROLIFIC_URL": stand_in.api_url,
        "PROLIFIC_TOKEN": stand_in.world.token,
        "TARGET_DUCKDB_PATH": str(warehouse),
    }
    job = [
        "run",
        "--full-refresh",
        "--state-id-suffix=test",
        "tap-prolific-export",
        "target-duckdb",
    ]
    return subprocess.run(  # noqa: S603
        [MELTANO, *job],
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
