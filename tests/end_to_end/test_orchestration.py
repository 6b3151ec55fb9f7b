"""The examples for Airflow and Dagster, each run by its own engine.

By hand, as these are large: run this file with ``-m slow`` and, in the environment,
``ORCHESTRATORS=1``.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.expected import differences
from tests.support.generations import fresh
from tests.support.meltano import make_project, reader_environment
from tests.support.repository import ROOT
from tests.support.snippets import run_script, snippet
from tests.support.stand_in import samples
from tests.support.targets import PostgreSQL, installed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.stand_in import StandIn, World

FOLDER = ROOT / "examples" / "orchestration"
PAGE = "examples/orchestration/README.md"
ENGINES = {
    "airflow": ("apache-airflow==3.3.2", snippet(PAGE, "airflow")),
    "dagster": ("dagster==1.13.29", snippet(PAGE, "dagster")),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not os.environ.get("ORCHESTRATORS"),
        reason="by hand: ORCHESTRATORS=1 installs Airflow and Dagster, of 1 GB",
    ),
    fresh,
]


@pytest.fixture(params=[*ENGINES])
def engine(request: pytest.FixtureRequest) -> tuple[Path, str]:
    """The programs of an engine, and the commands that make it run the example."""
    requirement, commands = ENGINES[request.param]
    return installed(request.param, requirement), commands


def test_each_data_collection_is_loaded_by_a_task_of_its_own(
    engine: tuple[Path, str], stand_in: StandIn, world: World, postgres: PostgreSQL, tmp_path: Path
) -> None:
    names = [f"6650d1a2b3c4d5e6f708192{number}" for number in range(3)]
    diaries = [world.host(samples.breakfast_diary(6, id_=id_)) for id_ in names]
    make_project(tmp_path, postgres.program()[1])
    for plugins in ("extractors", "loaders"):  # as "meltano install" makes them
        (tmp_path / ".meltano" / plugins).mkdir(parents=True)
    programs, commands = engine
    given = reader_environment(stand_in, tmp_path) | {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "DAGSTER_HOME": str(tmp_path),
        "MELTANO_PROJECT_ROOT": str(tmp_path),
        "TAP_PROLIFIC_EXPORT_LOOKBACK_SECONDS": str(10**9),  # the samples are of some days ago
    }

    def load(*ids: str) -> str:
        given["PROLIFIC_COLLECTION_IDS"] = json.dumps(ids)
        return run_script(commands, FOLDER, programs, **given).stdout

    load(diaries[0].id)
    load(*(diary.id for diary in diaries))
    # The row of a data collection tells of its last export, which was of what was new.
    wrong = [said for said in differences(postgres.rows, world) if "collections: " not in said]
    assert wrong == []
    states = [path.name for path in (tmp_path / "state").iterdir()]
    assert sorted(name.rpartition(":")[2] for name in states) == [diary.id for diary in diaries]

    # A task that fails takes no other down, and its run fails, once it has been tried again.
    world.submit(diaries[1], samples.breakfast(60))
    with pytest.raises(AssertionError):
        load("6650d1a2b3c4d5e6f7081929", diaries[1].id)
    loaded = {row["submission_id"] for row in postgres.rows("responses")}
    assert loaded >= {*diaries[1].submissions}
