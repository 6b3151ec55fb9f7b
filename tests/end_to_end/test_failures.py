"""The last lines of a run in which something failed."""

from __future__ import annotations

import json
import re
import textwrap
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.generations import fresh
from tests.support.processes import run_tap
from tests.support.stand_in import Fault, StandIn, World, samples
from tests.support.tap import read

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.stand_in import Hosted

GONE = "6650d1a2b3c4d5e6f7081999"

LAST_LINES = """\
Failed: 2, as listed below. Delivered: 1.
id                                          what failed                    what to do
------------------------------------------  -----------------------------  -------------------------
collection 6650d1a2b3c4d5e6f7081999         Tried to request an export;    Check the id; there is no
                                            the API answered 404 (Not      batch of this id either.
                                            found: No data collection
                                            matches the given query.).
batch 0f8c1c1e-5a53-4b5b-8d50-6a7c3c1f9b10  Tried to request an export;    Check the id; there is no
                                            the API answered 404 (Not      collection of this id
                                            found: No data collection      either.
                                            matches the given query.).
"""


@pytest.fixture
def config(stand_in: StandIn, collection: Hosted) -> dict[str, Any]:
    """Name three, of which only one is there."""
    stand_in.world.clock = lambda: datetime(2026, 12, 1, tzinfo=timezone.utc)
    return {
        "api_token": stand_in.world.token,
        "api_url": stand_in.api_url,
        "poll_interval_seconds": 1,
        "collection_ids": [collection.id, GONE],
        "batch_ids": [samples.CAPTIONS],
    }


def test_what_failed_is_told_where_it_happens_and_in_a_table_at_the_end(
    config: dict[str, Any], collection: Hosted, tmp_path: Path
) -> None:
    done = run_tap(config=config, folder=tmp_path)
    for what in (f"collection {GONE}", f"batch {samples.CAPTIONS}"):  # a line to search for
        line = rf"ERROR .*{what}: Tried to request an export; the API answered 404"
        assert len(re.findall(line, done.stderr)) == 1
    assert done.returncode == 1
    begin = done.stderr.index("Failed: 2")
    assert done.stderr[begin:] == LAST_LINES
    assert re.search(r"ERROR +\| tap-prolific-export +\| $", done.stderr[:begin])
    assert "Traceback" not in done.stderr
    out = read(done.stdout)
    assert {row["data_collection_id"] for row in out.rows("responses")} == {collection.id}
    assert len(out.rows("responses")) == 8


def test_a_test_run_ends_with_the_table_too(config: dict[str, Any], tmp_path: Path) -> None:
    done = run_tap("--test", config=config, folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith(LAST_LINES)


@fresh
@pytest.mark.parametrize("option", ["", "--discover", "--test", "--test=schema"])
def test_where_nothing_can_be_looked_up_the_table_has_all_of_it(
    option: str, config: dict[str, Any], tmp_path: Path
) -> None:
    config["collection_ids"] = [GONE]
    done = run_tap(*filter(None, [option]), config=config, folder=tmp_path)
    assert done.returncode == 1
    _, _, end = done.stderr.partition("Failed: 2, as listed below. Delivered: 0.\n")
    found = [line.split()[1] for line in end.splitlines()[2:] if line[0] != " "]
    assert found == [GONE, samples.CAPTIONS]
    assert read(done.stdout).messages == []


@fresh
def test_a_structured_log_has_the_table_in_one_message(
    config: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "logging.yaml").write_text(
        textwrap.dedent("""\
            version: 1
            disable_existing_loggers: false
            formatters: {structured: {(): singer_sdk.logging.StructuredFormatter}}
            handlers: {stderr: {class: logging.StreamHandler, formatter: structured}}
            root: {level: INFO, handlers: [stderr]}
        """)
    )
    done = run_tap(config=config, folder=tmp_path, SINGER_SDK_LOG_CONFIG="logging.yaml")
    last = json.loads(done.stderr.splitlines()[-1])
    assert last["level"] == "error"
    assert last["message"] + "\n" == LAST_LINES


def test_the_token_that_became_invalid_is_a_row_of_its_own(
    config: dict[str, Any], world: World, tmp_path: Path
) -> None:
    config["collection_ids"].remove(GONE)
    world.host(samples.caption_check(3))
    world.faults = [Fault("api", "POST .*export", times=9, status=401)]
    done = run_tap(config=config, folder=tmp_path)
    assert done.returncode == 1
    _, _, end = done.stderr.partition("Failed: 1, as listed below. Delivered: 0.\n")
    assert end.splitlines()[2].startswith("the whole run  collection")
    assert "set it as" in end
