"""Many data collections, shared among several runs at once that load into the same tables."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.stand_in import samples
from tests.targets import POSTGRES_LOADER, ROOT, PostgreSQL
from tests.test_meltano import MELTANO
from tests.warehouse import differences

if TYPE_CHECKING:
    from tests.postgres import Server
    from tests.stand_in import StandIn, World

OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
[SHARDS] = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", OPERATIONS, re.DOTALL))

pytestmark = [
    pytest.mark.skipif(
        not (MELTANO and POSTGRES_LOADER.exists()),
        reason="needs Meltano and the loaders' environments, which scripts/setup makes",
    ),
    pytest.mark.parametrize("world", ["fresh"], indirect=True),
]


@pytest.fixture
def project(tmp_path: Path, server: Server) -> PostgreSQL:
    """A Meltano project with the extractors of docs/operations.md, which loads into PostgreSQL."""
    target = PostgreSQL(tmp_path, server)
    _, loader = target.program()
    [base] = yaml.safe_load((ROOT / "meltano.yml").read_text("utf-8"))["plugins"]["extractors"]
    # Where both are installed already, for these tests.
    base = {**base, "executable": str(Path(sys.executable).with_name("tap-prolific-export"))}
    del base["pip_url"]
    loads = {"name": "target-postgres", "namespace": "target_postgres", "config": loader}
    loads["executable"] = str(POSTGRES_LOADER)
    plugins = {"extractors": [base, *SHARDS["plugins"]["extractors"]], "loaders": [loads]}
    project = {
        "send_anonymous_usage_stats": False,
        "cli": {"disable_version_check": True},
        "default_environment": "dev",
        "environments": [{"name": "dev"}],
        "plugins": plugins,
    }
    (tmp_path / "meltano.yml").write_text(yaml.safe_dump(project))
    return target


def test_runs_at_once_with_ids_of_their_own_fill_the_same_tables(
    stand_in: StandIn, world: World, project: PostgreSQL, tmp_path: Path
) -> None:
    batch, collection = world.host(samples.caption_check(3)), world.host(samples.breakfast_diary(6))
    names = [extractor["name"] for extractor in SHARDS["plugins"]["extractors"]]
    told = [extractor["config"] for extractor in SHARDS["plugins"]["extractors"]]
    assert told == [{"collection_ids": [collection.id]}, {"batch_ids": [batch.id]}]

    def start(name: str) -> subprocess.Popen[bytes]:
        with (tmp_path / f"{name}.log").open("wb") as output:
            return subprocess.Popen(  # noqa: S603
                [str(MELTANO), "run", "--state-id-suffix=hourly", name, "target-postgres"],
                cwd=tmp_path,
                env={
                    **os.environ,
                    "PROLIFIC_URL": stand_in.api_url,
                    "PROLIFIC_TOKEN": world.token,
                    "TAP_PROLIFIC_EXPORT_LOOKBACK_SECONDS": str(10**9),
                },
                stdout=output,
                stderr=output,
            )

    # The first run makes the tables: two that do so at once would get in each other's way.
    for together in (names[:1], names):
        running = [start(name) for name in together]
        codes = [process.wait() for process in running]
        logs = [(tmp_path / f"{name}.log").read_text() for name in together]
        assert not any(codes), logs
        world.submit(collection, samples.breakfast(30 + len(together)))
        world.submit(batch, samples.annotation(30 + len(together)))
    for process in [start(name) for name in names]:
        assert process.wait() == 0
    # Incremental runs ask for less than everything, and say so.
    wrong = [said for said in differences(project.rows, world) if "export_filter" not in said]
    assert wrong == []
