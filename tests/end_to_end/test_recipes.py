"""The recipes of examples/recipes, as they stand there."""

from __future__ import annotations

import hashlib
import json
import re
from copy import deepcopy
from typing import TYPE_CHECKING

import duckdb
import pytest
import yaml
from meltano.core.plugin.singer.catalog import SelectExecutor, visit

from tests.support.dbt import Dbt
from tests.support.generations import fresh
from tests.support.meltano import needs_loaders
from tests.support.repository import ROOT
from tests.support.snippets import run_script, snippet
from tests.support.stand_in import samples
from tests.support.tap import ids
from tests.support.targets import DuckDB, installed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.stand_in import Hosted, World
    from tests.support.tap import Runner

FOLDER = ROOT / "examples" / "recipes"
PAGE = "examples/recipes/README.md"
MAPS = yaml.safe_load(snippet(PAGE, "pseudonyms"))
ALIAS = yaml.safe_load(snippet(PAGE, "alias"))
SELECT = yaml.safe_load(snippet(PAGE, "select"))

pytestmark = [
    needs_loaders,
    fresh,
]


@pytest.mark.slow
def test_the_plot_shows_every_count(runner: Runner, tmp_path: Path, world: World) -> None:
    warehouse = DuckDB(tmp_path)
    dbt = Dbt(warehouse)
    programs = installed("plot", "matplotlib==3.10.7", f"duckdb=={duckdb.__version__}")
    diary, captions = samples.breakfast_diary(27), samples.caption_check(24)
    warehouse.load(runner.sync(**ids(world.host(diary), world.host(captions))).text)
    dbt("run", "--select", "+choice_counts")
    here = {"output/demo.duckdb": tmp_path / "warehouse.duckdb", "counts.svg": tmp_path / "new.svg"}
    run_script(snippet(PAGE, "plot", here), ROOT, programs)
    committed, made = (
        re.findall(r">([^<>]+)</text>", path.read_text("utf-8"))
        for path in (FOLDER / "counts.svg", tmp_path / "new.svg")
    )
    assert made == committed
    for row in warehouse.rows("choice_counts"):
        assert {row["question"], row["answer"]} <= {*made}
        assert f"{row['responses']} ({row['percent']} %)" in made


def test_participants_are_one_pseudonym_in_all_tables(runner: Runner, collection: Hosted) -> None:
    out = runner.sync(**MAPS["config"], **ids(collection))
    salt = MAPS["config"]["stream_map_config"]["salt"]
    expected = {
        hashlib.md5(f"{salt}{s.line['participant_id']}".encode()).hexdigest()  # noqa: S324
        for s in collection.submissions.values()
    }
    for stream in ("responses", "answers"):
        assert {row["participant_id"] for row in out.rows(stream)} == expected
    assert {row["participant_id"] for row in out.rows("files")} <= expected
    written = json.dumps(out.messages)
    assert not [s for s in collection.submissions.values() if s.line["participant_id"] in written]


def test_a_data_collection_has_a_table_of_its_own(runner: Runner, collection: Hosted) -> None:
    config = ALIAS["config"]
    assert config.pop("collection_ids") == [collection.id]
    out = runner.sync(**config, **ids(collection))
    assert len(out.rows("breakfast_responses")) == 8
    assert out.rows("responses") == []


def test_only_some_questions_are_told(runner: Runner, collection: Hosted) -> None:
    catalog = deepcopy(runner.catalog(**ids(collection)))
    visit(catalog, SelectExecutor(SELECT["select"]))  # as Meltano does it
    out = runner.sync(catalog, **ids(collection))
    told = {name for row in out.rows("responses") for name in row["answers"]}
    assert told == {question["id"] for question in collection.instructions} - {"q-name", "q-photo"}
    assert out.rows("answers") == []
    assert "Porridge" not in json.dumps(out.of_type("RECORD", "responses"))
