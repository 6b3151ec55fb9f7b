"""Many data collections, shared among several runs at once that load into the same tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from tests.support.expected import differences
from tests.support.generations import fresh
from tests.support.meltano import make_project, needs_loaders, reader_environment
from tests.support.snippets import run_script, snippet
from tests.support.stand_in import samples

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.stand_in import StandIn, World
    from tests.support.targets import PostgreSQL

AT_ONCE = snippet("docs/operations.md", "run the shards")
SHARDS = yaml.safe_load(snippet("docs/operations.md", "shards"))

pytestmark = [
    pytest.mark.slow,
    needs_loaders,
    fresh,
]


@pytest.fixture
def project(tmp_path: Path, postgres: PostgreSQL) -> PostgreSQL:
    """A Meltano project with the extractors of docs/operations.md, which loads into PostgreSQL."""
    _, loader = postgres.program()
    make_project(tmp_path, loader, SHARDS)
    return postgres


def test_runs_at_once_with_ids_of_their_own_fill_the_same_tables(
    stand_in: StandIn, world: World, project: PostgreSQL, tmp_path: Path
) -> None:
    batch, collection = world.host(samples.caption_check(3)), world.host(samples.breakfast_diary(6))
    names = [extractor["name"] for extractor in SHARDS["plugins"]["extractors"]]
    told = [extractor["config"] for extractor in SHARDS["plugins"]["extractors"]]
    assert told == [{"collection_ids": [collection.id]}, {"batch_ids": [batch.id]}]

    lookback = {"TAP_PROLIFIC_EXPORT_LOOKBACK_SECONDS": str(10**9)}
    settings = reader_environment(stand_in, tmp_path, **lookback)
    # The first run makes the tables: two that do so at once would get in each other's way.
    first = f"meltano run --state-id-suffix=hourly {names[0]} target-postgres"
    for number, script in enumerate([first, AT_ONCE, AT_ONCE]):
        run_script(script, tmp_path, **settings)
        if number < 2:
            world.submit(collection, samples.breakfast(30 + number))
            world.submit(batch, samples.annotation(30 + number))
    # Incremental runs ask for less than everything, and say so.
    wrong = [said for said in differences(project.rows, world) if "export_filter" not in said]
    assert wrong == []
