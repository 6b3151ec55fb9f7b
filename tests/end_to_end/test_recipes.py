"""The recipes of examples/recipes, as they stand there."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import re
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
import yaml
from meltano.core.plugin.singer.catalog import SelectExecutor, visit

from scripts.bench_tools import markdown
from tests.support.generations import fresh
from tests.support.meltano import needs_loaders
from tests.support.repository import ROOT
from tests.support.snippets import run_script, snippet
from tests.support.stand_in import samples
from tests.support.tap import ids
from tests.support.targets import DuckDB, Warehouse, installed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.stand_in import Hosted, World
    from tests.support.tap import Runner

Row = dict[str, Any]

FOLDER = ROOT / "examples" / "recipes"
PAGE = "examples/recipes/README.md"
SQL = {path.stem: path.read_text("utf-8") for path in FOLDER.glob("*.sql")}
TEXT = (FOLDER / "README.md").read_text("utf-8")
MAPS = yaml.safe_load(snippet(PAGE, "pseudonyms"))
ALIAS = yaml.safe_load(snippet(PAGE, "alias"))
SELECT = yaml.safe_load(snippet(PAGE, "select"))

pytestmark = [
    needs_loaders,
    fresh,
]


def load(runner: Runner, warehouse: Warehouse, *hosted: Hosted) -> None:
    warehouse.load(runner.sync(**ids(*hosted)).text)


def test_choices_are_counted(runner: Runner, warehouse: Warehouse, collection: Hosted) -> None:
    load(runner, warehouse, collection)
    rows = [row for row in warehouse.sql(SQL["counts"]) if row["question"].endswith("drink?")]
    given = [s.expected[None].get("q-drink") for s in collection.submissions.values()]
    labels = {drink["value"]: drink["label"] for drink in samples.DRINKS}
    expected = {labels[value]: given.count(value) for value in set(given) - {None}}
    assert {row["answer"]: row["responses"] for row in rows} == expected
    assert [row["responses"] for row in rows] == sorted(expected.values(), reverse=True)
    answered = len([value for value in given if value is not None])
    for row in rows:
        assert float(row["percent"]) == pytest.approx(100 * row["responses"] / answered, abs=0.05)


def agreement(tasks: list[list[str]]) -> tuple[float, float | None]:
    """Return the share of equal pairs and Krippendorff's alpha, by their definitions.

    Args:
        tasks: Of each, what its annotators have answered.
    """
    units = [answers for answers in tasks if len(answers) > 1]
    pairs = [pair for answers in units for pair in itertools.permutations(answers, 2)]
    observed = sum(
        sum(one != other for one, other in itertools.permutations(answers, 2)) / (len(answers) - 1)
        for answers in units
    )
    every = [answer for answers in units for answer in answers]
    expected = sum(one != other for one, other in itertools.permutations(every, 2)) / (
        len(every) - 1
    )
    share = 100 * sum(one == other for one, other in pairs) / len(pairs)
    return share, 1 - observed / expected if expected else None


@pytest.mark.parametrize("seed", [1, 2])
def test_agreement_is_what_it_is_defined_to_be(
    seed: int, runner: Runner, warehouse: Warehouse, world: World
) -> None:
    chance = random.Random(seed)  # noqa: S311
    batch = world.host(samples.caption_check(0))
    tasks: dict[str, list[str]] = {}
    for number in range(7):
        submission = samples.annotation(number)
        for task in submission.line["tasks"]:
            fits = chance.random() < 0.3
            told = chance.random() < 0.8
            task["responses"] = {"b-fits": {"value": fits}} if told else {}
            if told:
                tasks.setdefault(task["task_id"], []).append(str(fits).lower())
        world.submit(batch, submission)
    load(runner, warehouse, batch)
    share, alpha = agreement([*tasks.values()])
    [row] = warehouse.sql(SQL["agreement"])
    assert float(row["percent_agreement"]) == pytest.approx(share, abs=0.051)
    assert float(row["alpha"]) == pytest.approx(alpha, abs=0.00051)


def table(rows: list[Row], *columns: str) -> str:
    """Return rows, or some of their columns, as the page shows them."""
    names = columns or tuple(name for name in rows[0] if name != "data_collection_id")
    head = [f"{name}:" if isinstance(rows[0][name], int | float) else name for name in names]
    return markdown(head, [[str(row[name]) for name in names] for row in rows])


def outputs(runner: Runner, warehouse: Warehouse, world: World) -> dict[str, str]:
    """Return what the page shows: what the recipes say of what the demo leaves."""
    diary, captions = samples.breakfast_diary(27), samples.caption_check(24)
    load(runner, warehouse, world.host(diary), world.host(captions))
    warehouse.sql(SQL["readable_duckdb"])
    readable = warehouse.sql("SELECT * FROM readable ORDER BY response_id LIMIT 3")
    answers = ("What did you drink?", "What did you eat?", "How many stars?")
    uploads = warehouse.sql(SQL["uploads"])[:3]
    return {
        "agreement": table(warehouse.sql(SQL["agreement"])),
        "counts": table(warehouse.sql(SQL["counts"])),
        "readable": table(readable, "participant_id", *answers),
        "uploads": table(uploads, "path", "size_bytes", "question", "submitted_at"),
    }


def test_the_outputs_that_are_shown_are_those_of_the_demo(
    runner: Runner, tmp_path: Path, world: World
) -> None:
    for name, output in outputs(runner, DuckDB(tmp_path), world).items():
        assert f"<!-- begin {name} -->\n{output}\n<!-- end {name} -->" in TEXT, name


@pytest.mark.slow
def test_the_plot_shows_every_count(runner: Runner, tmp_path: Path, world: World) -> None:
    programs = installed("plot", "matplotlib==3.10.7", f"duckdb=={duckdb.__version__}")
    outputs(runner, DuckDB(tmp_path), world)
    here = {"output/demo.duckdb": tmp_path / "warehouse.duckdb", "counts.svg": tmp_path / "new.svg"}
    run_script(snippet(PAGE, "plot", here), ROOT, programs)
    committed, made = (
        re.findall(r">([^<>]+)</text>", path.read_text("utf-8"))
        for path in (FOLDER / "counts.svg", tmp_path / "new.svg")
    )
    assert made == committed
    for row in DuckDB(tmp_path).sql(SQL["counts"]):
        assert {row["question"], row["answer"]} <= {*made}
        assert f"{row['responses']} ({row['percent']} %)" in made


def test_uploads_stand_beside_their_questions(
    runner: Runner, warehouse: Warehouse, collection: Hosted
) -> None:
    load(runner, warehouse, collection)
    rows = warehouse.sql(SQL["uploads"])
    expected = {
        (f"files/{name}", submission.line["participant_id"])
        for submission in collection.submissions.values()
        for name in submission.uploads
    }
    assert {(row["path"], row["participant_id"]) for row in rows} == expected
    assert {row["question"] for row in rows} == {"Show us your table."}


def test_each_question_has_a_column(
    runner: Runner, warehouse: Warehouse, collection: Hosted
) -> None:
    load(runner, warehouse, collection)
    if isinstance(warehouse, DuckDB):
        warehouse.sql(SQL["readable_duckdb"])
    else:
        warehouse.sql(SQL["readable_postgres"])
        warehouse.sql(f"SELECT make_readable('{collection.id}')")
    rows = warehouse.rows("readable")
    drinks = {row["participant_id"]: row["What did you drink?"] for row in rows}
    labels = {drink["value"]: drink["label"] for drink in samples.DRINKS}
    assert drinks == {
        submission.line["participant_id"]: labels[submission.expected[None]["q-drink"]]
        for submission in collection.submissions.values()
    }
    foods = {row["What did you eat?"] for row in rows}
    assert "Bread, Fruit" in foods


def test_a_view_of_named_questions_follows_the_responses(
    runner: Runner, world: World, collection: Hosted, tmp_path: Path
) -> None:
    warehouse = DuckDB(tmp_path)
    load(runner, warehouse, collection)
    warehouse.sql(SQL["readable_view_duckdb"])
    world.submit(collection, samples.breakfast(20))
    load(runner, warehouse, collection)
    given = {
        s.line["participant_id"]: str(s.expected[None]["q-stars"])
        for s in collection.submissions.values()
    }
    rows = warehouse.rows("readable")
    assert {row["participant_id"]: row["How many stars?"] for row in rows} == given


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
