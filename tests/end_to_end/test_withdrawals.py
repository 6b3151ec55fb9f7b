"""How withdrawn responses, which Prolific no longer exports, leave a warehouse: both ways.

By what is in the tables, with the SQL of ``examples/withdrawn``; and by ACTIVATE_VERSION, which a
target acts upon. Real loaders, a real DuckDB and a real PostgreSQL.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tap_prolific_export.tap import TapProlificExport
from tests.support.dbt import Dbt
from tests.support.expected import KEYS, OF_RESPONSES, differences
from tests.support.generations import fresh, idempotent_slow
from tests.support.meltano import needs_loaders, reader_environment, run_elt
from tests.support.repository import ROOT
from tests.support.stand_in import World, samples
from tests.support.tap import full_table, ids, submissions

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.stand_in import Hosted, StandIn
    from tests.support.tap import Output, Runner
    from tests.support.targets import PostgreSQL, Warehouse

SQL = {path.stem: path.read_text("utf-8") for path in (ROOT / "examples/withdrawn").glob("*.sql")}
FIRST_RUN = samples.BEGIN + timedelta(days=5)

Row = dict[str, Any]

pytestmark = needs_loaders


class Runs:
    """Runs of the tap, a day apart by the stand-in's clock, each loaded into a warehouse."""

    def __init__(self, runner: Runner, world: World) -> None:
        self.now = FIRST_RUN - timedelta(days=1)
        self._runner = runner
        self._world = world
        world.clock = lambda: self.now

    def run(
        self,
        warehouse: Warehouse,
        *,
        state: Row | None = None,
        catalog: Row | None = None,
        fails: bool = False,
        loader: Row | None = None,
        **config: Any,
    ) -> Output:
        """Run the tap the next day and load what it wrote, even where it fails."""
        self.now += timedelta(days=1)
        for jobs in self._world.jobs.values():
            jobs.clear()
        sync = self._runner.sync_and_fail if fails else self._runner.sync
        out = sync(catalog, state, **config)
        warehouse.load(out.text, **(loader or {}))
        return out


@pytest.fixture
def runs(runner: Runner, world: World, monkeypatch: pytest.MonkeyPatch) -> Runs:
    made = Runs(runner, world)
    # The version of a run is the second in which it began, and these runs take less than one.
    began = property(lambda _: int(made.now.timestamp() * 1000))
    monkeypatch.setattr(TapProlificExport, "initialized_at", began)
    return made


@pytest.fixture
def lone_annotator(batch: Hosted) -> str:
    """One more annotator, who alone has seen one more task."""
    submission = samples.annotation(77)
    [task] = submission.line["tasks"][1:2]
    task["task_id"] = "task-lone"
    submission.expected = {"task-lone": submission.expected["task-1"]}
    submission.line["tasks"] = [task]
    submission_id: str = submission.line["submission_id"]
    batch.submissions[submission_id] = submission
    return submission_id


def submit(world: World, hosted: Hosted, number: int) -> None:
    """Add a submission that was made so many hours after the sample's first."""
    make = samples.breakfast if hosted.kind == "collections" else samples.annotation
    world.submit(hosted, make(number))


def withdraw(world: World, hosted: Hosted, *numbers: int) -> None:
    make = samples.breakfast if hosted.kind == "collections" else samples.annotation
    for number in numbers:
        world.withdraw(hosted, make(number).line["submission_id"])


def choose_less(hosted: Hosted, number: int) -> None:
    """Have a participant correct an answer: of several foods, only the first was eaten."""
    submission = hosted.submissions[samples.breakfast(number).line["submission_id"]]
    answer = submission.line["responses"]["q-food"]
    assert len(answer["value"]) > 1
    answer["value"] = answer["value"][:1]
    assert submission.expected[None]["q-food"] is not answer["value"]
    submission.expected[None]["q-food"] = answer["value"]


def keys(table: str, rows: list[Row]) -> set[tuple[Any, ...]]:
    return {tuple(row[name] for name in KEYS[table]) for row in rows}


def what_is_missing(warehouse: Warehouse, world: World) -> list[str]:
    """Return what the server holds and the tables do not, whatever else is in them."""
    return [said for said in differences(warehouse.rows, world) if said.endswith("is missing")]


def wrong_among(warehouse: Warehouse, world: World, *, where: str) -> list[str]:
    """Return how those rows of the tables that a condition chooses differ from the server's."""
    return differences(lambda table: warehouse.rows(table, where), world)


def wrong_in_views(warehouse: Warehouse, world: World) -> list[str]:
    def rows(table: str) -> list[Row]:
        return warehouse.rows(f"living_{table}" if table in OF_RESPONSES else table)

    return differences(rows, world)


@idempotent_slow
def test_the_recipes_hide_list_and_delete_exactly_what_has_been_withdrawn(  # noqa: PLR0917
    runs: Runs,
    warehouse: Warehouse,
    world: World,
    collection: Hosted,
    batch: Hosted,
    lone_annotator: str,
) -> None:
    sources = ids(collection, batch)
    first = runs.run(warehouse, **sources)
    warehouse.sql(SQL["hide"])
    assert wrong_in_views(warehouse, world) == []
    assert warehouse.sql(SQL["orphaned_uploads"]) == []

    withdraw(world, collection, 0, 5)  # 0 and 4 have uploaded a picture each
    withdraw(world, batch, 2)
    world.withdraw(batch, lone_annotator)
    choose_less(collection, 4)
    submit(world, collection, 124)
    submit(world, batch, 124)
    between = runs.run(warehouse, state=first.state, **sources)
    new = (samples.breakfast(124), samples.annotation(124))
    assert submissions(between) == {submission.line["submission_id"] for submission in new}
    # An incremental run tells nothing of what is no longer there, and must hide nothing else.
    for table in OF_RESPONSES:
        assert warehouse.rows(f"living_{table}") == warehouse.rows(table)
    assert what_is_missing(warehouse, world) == []
    assert warehouse.sql(SQL["orphaned_uploads"]) == []

    runs.run(warehouse, **sources)
    assert wrong_in_views(warehouse, world) == []
    for table in OF_RESPONSES:
        assert warehouse.count(table) > warehouse.count(f"living_{table}")

    # As if the uploads were stored, each in a place of its own; and then all in the same.
    warehouse.sql("UPDATE files SET uri = 'store/' || crc32")
    lost = {row["crc32"] for row in warehouse.rows("files")}
    lost -= {row["crc32"] for row in warehouse.rows("living_files")}
    assert len(lost) == 1
    assert warehouse.sql(SQL["orphaned_uploads"]) == [{"uri": f"store/{crc}"} for crc in lost]
    warehouse.sql("UPDATE files SET uri = 'store/one for all'")
    assert warehouse.sql(SQL["orphaned_uploads"]) == []
    warehouse.sql("UPDATE files SET uri = NULL")

    warehouse.sql(SQL["drop"])
    assert differences(warehouse.rows, world) == []
    assert wrong_in_views(warehouse, world) == []


@fresh
@pytest.mark.slow
def test_the_models_of_dbt_have_the_rows_that_the_views_have(  # noqa: PLR0917
    runs: Runs,
    warehouse: Warehouse,
    world: World,
    collection: Hosted,
    batch: Hosted,
    lone_annotator: str,
) -> None:
    dbt = Dbt(warehouse)
    sources = ids(collection, batch)
    models = {table: f"{table}_current" for table in OF_RESPONSES} | {"files": "uploads"}

    def living() -> dict[str, set[tuple[Any, ...]]]:
        """Return the keys of the living rows, which the views and the models must agree on."""
        dbt("build")
        views = {table: keys(table, warehouse.rows(f"living_{table}")) for table in models}
        assert views == {t: keys(t, warehouse.rows(model)) for t, model in models.items()}
        return views

    first = runs.run(warehouse, **sources)
    warehouse.sql(SQL["hide"])
    before = living()
    withdraw(world, collection, 0, 5)
    withdraw(world, batch, 2)
    world.withdraw(batch, lone_annotator)
    choose_less(collection, 4)
    submit(world, collection, 124)

    # The corrected response comes again, and has fewer rows at once.
    look_back: Row = {"lookback_seconds": 90 * 24 * 3600}
    between = runs.run(warehouse, state=first.state, **sources, **look_back)
    now = living()
    corrected = samples.breakfast(4).line["submission_id"]
    surplus = {(collection.id, corrected, "q-food", 2)}
    assert before["answers"] - now["answers"] == surplus

    # Responses come anew when their properties are renamed, and answers do not: none is surplus.
    runs.run(warehouse, state=between.state, answer_keys="label", **sources, **look_back)
    runs.run(warehouse, state=between.state, answer_keys="instruction_id", **sources, **look_back)
    assert living()["answers"] == now["answers"]

    runs.run(warehouse, **sources)
    living()
    assert wrong_in_views(warehouse, world) == []
    warehouse.sql(SQL["drop"])
    assert differences(warehouse.rows, world) == []


@fresh
def test_the_recipes_hide_nothing_of_a_data_collection_that_has_failed(
    runs: Runs, warehouse: Warehouse, world: World, collection: Hosted, batch: Hosted
) -> None:
    sources = ids(collection, batch)
    runs.run(warehouse, **sources)
    warehouse.sql(SQL["hide"])
    withdraw(world, collection, 0)
    withdraw(world, batch, 0)
    world.forbidden.add(batch.id)
    runs.run(warehouse, fails=True, **sources)
    shown = {"responses": 7 + 5 * 4, "tasks": 4, "files": 1}
    assert {table: warehouse.count(f"living_{table}") for table in shown} == shown


@pytest.mark.parametrize(
    ("full_exported_at", "living"),
    [
        (None, ["before", "unstored", "then", "after"]),
        ("2026-11-20 12:00:00.000001", ["then", "after"]),
    ],
)
def test_only_what_is_older_than_a_complete_export_is_taken_to_be_withdrawn(
    warehouse: Warehouse, full_exported_at: str | None, living: list[str]
) -> None:
    rows = {"before": "12:00:00", "unstored": "12:00:00"}
    rows |= {"then": "12:00:00.000001", "after": "12:00:00.000002"}
    warehouse.sql(
        "CREATE TABLE collections (data_collection_id text, full_exported_at timestamp);"
        # What another data collection's export says is none of ours.
        "INSERT INTO collections VALUES ('other', '2027-01-01 00:00:00');"
    )
    value = f"'{full_exported_at}'" if full_exported_at else "NULL"
    warehouse.sql(f"INSERT INTO collections VALUES ('ours', {value})")  # noqa: S608
    for table in OF_RESPONSES:
        warehouse.sql(
            f"CREATE TABLE {table}"
            " (data_collection_id text, response_id text, exported_at timestamp, uri text)"
        )
        for name, time in rows.items():
            of_row = f"'ours', '{name}', '2026-11-20 {time}', nullif('{name}', 'unstored')"
            warehouse.sql(f"INSERT INTO {table} VALUES ({of_row})")  # noqa: S608
    dead = [{"uri": name} for name in rows if name not in {*living, "unstored"}]
    warehouse.sql(SQL["hide"])
    warehouse.sql("ALTER TABLE answers ADD COLUMN later text")
    warehouse.sql(SQL["hide"])
    assert all("later" in row for row in warehouse.rows("living_answers"))
    assert warehouse.sql(SQL["orphaned_uploads"]) == dead
    for table in OF_RESPONSES:
        assert [row["response_id"] for row in warehouse.rows(f"living_{table}")] == living
    warehouse.sql(SQL["drop"])
    for table in OF_RESPONSES:
        assert [row["response_id"] for row in warehouse.rows(table)] == living


@fresh
@pytest.mark.slow
def test_a_target_marks_what_did_not_come_again_until_it_does(  # noqa: PLR0917
    runs: Runs,
    postgres: PostgreSQL,
    runner: Runner,
    world: World,
    collection: Hosted,
    batch: Hosted,
    lone_annotator: str,
) -> None:
    config = {"emit_activate_version_messages": True, **ids(collection, batch)}
    plain = runner.catalog(**config)
    catalog = full_table(plain)
    first = runs.run(postgres, catalog=catalog, **config)
    activated = [message["stream"] for message in first.of_type("ACTIVATE_VERSION")]
    assert sorted(activated) == sorted(KEYS)
    withdrawn = collection.submissions[samples.breakfast(0).line["submission_id"]]
    withdraw(world, collection, 0, 5)
    world.withdraw(batch, lone_annotator)
    choose_less(collection, 4)
    submit(world, collection, 124)

    # Its rows have no version; they are there, and none of the others is taken to be withdrawn.
    between = runs.run(postgres, catalog=plain, state=first.state, **config)
    assert between.of_type("ACTIVATE_VERSION") == []
    assert submissions(between) == {samples.breakfast(124).line["submission_id"]}
    assert postgres.count("responses", "_sdc_table_version IS NULL") == 1
    assert [postgres.count(table, "_sdc_deleted_at IS NOT NULL") for table in KEYS] == [0] * 6
    assert what_is_missing(postgres, world) == []

    before = {table: keys(table, postgres.rows(table)) for table in KEYS}
    full = runs.run(postgres, catalog=catalog, state=between.state, **config)
    assert wrong_among(postgres, world, where="_sdc_deleted_at IS NULL") == []
    assert {table: keys(table, postgres.rows(table)) for table in KEYS} == before
    marked = [postgres.count(table, "_sdc_deleted_at IS NOT NULL") for table in OF_RESPONSES]
    assert all(marked)

    # It comes again in an incremental run, and stays.
    world.submit(collection, withdrawn)
    again = {"lookback_seconds": 90 * 24 * 3600, **config}
    runs.run(postgres, catalog=plain, state=full.state, **again)
    wrong = wrong_among(postgres, world, where="_sdc_deleted_at IS NULL")
    assert [said for said in wrong if " export" not in said] == []
    runs.run(postgres, catalog=catalog, **config)
    assert wrong_among(postgres, world, where="_sdc_deleted_at IS NULL") == []
    assert postgres.count("files", "_sdc_deleted_at IS NOT NULL") == 0


@fresh
def test_a_target_deletes_what_did_not_come_again(  # noqa: PLR0917
    runs: Runs,
    postgres: PostgreSQL,
    runner: Runner,
    world: World,
    collection: Hosted,
    batch: Hosted,
) -> None:
    config = {"emit_activate_version_messages": True, **ids(collection, batch)}
    hard: Row = {"loader": {"hard_delete": True}}
    # A catalog that lacks the batch's questions: the schema of responses changes on the way, and
    # the target has two batches of rows of the same version.
    plain = runner.catalog(collection_ids=[collection.id])
    catalog = full_table(plain)
    first = runs.run(postgres, catalog=catalog, **config, **hard)
    assert len(first.of_type("SCHEMA", "responses")) > 1
    assert differences(postgres.rows, world) == []

    withdraw(world, collection, 0, 5)
    withdraw(world, batch, 2)
    choose_less(collection, 4)
    submit(world, batch, 124)
    between = runs.run(postgres, catalog=plain, state=first.state, **config, **hard)
    assert submissions(between) == {samples.annotation(124).line["submission_id"]}
    assert what_is_missing(postgres, world) == []
    assert postgres.count("files") == 2  # the first picture has been withdrawn, but is there

    runs.run(postgres, catalog=catalog, state=between.state, **config, **hard)
    assert differences(postgres.rows, world) == []

    # A data collection that is no longer wanted goes as a whole.
    runs.run(postgres, catalog=catalog, **{**config, "batch_ids": []}, **hard)
    del world.hosted[batch.kind, batch.id]
    assert differences(postgres.rows, world) == []


@fresh
def test_a_target_removes_nothing_where_a_data_collection_has_failed(  # noqa: PLR0917
    runs: Runs,
    postgres: PostgreSQL,
    runner: Runner,
    world: World,
    collection: Hosted,
    batch: Hosted,
) -> None:
    config = {"emit_activate_version_messages": True, **ids(collection, batch)}
    hard: Row = {"loader": {"hard_delete": True}}
    catalog = full_table(runner.catalog(**config))
    runs.run(postgres, catalog=catalog, **config, **hard)
    before = {table: keys(table, postgres.rows(table)) for table in KEYS}
    withdraw(world, collection, 0)
    world.forbidden.add(batch.id)
    failed = runs.run(postgres, catalog=catalog, fails=True, **config, **hard)
    assert failed.rows("responses")
    assert failed.of_type("ACTIVATE_VERSION") == []
    assert {table: keys(table, postgres.rows(table)) for table in KEYS} == before

    world.forbidden.clear()
    runs.run(postgres, catalog=catalog, **config, **hard)
    assert differences(postgres.rows, world) == []


@fresh
@pytest.mark.slow
def test_in_meltano_a_full_refresh_hides_and_only_full_table_removes(
    stand_in: StandIn, world: World, collection: Hosted, postgres: PostgreSQL, tmp_path: Path
) -> None:
    _, loader = postgres.program()
    environment = {
        **reader_environment(stand_in, tmp_path),
        "TAP_PROLIFIC_EXPORT_COLLECTION_IDS": json.dumps([collection.id]),
        "TAP_PROLIFIC_EXPORT_EMIT_ACTIVATE_VERSION_MESSAGES": "true",
        "TARGET_POSTGRES_HARD_DELETE": "true",
        **{f"TARGET_POSTGRES_{name.upper()}": str(value) for name, value in loader.items()},
    }

    def run(*options: str, **more: str) -> str:
        arguments = (*options, "tap-prolific-export", "target-postgres")
        done = run_elt(*arguments, **environment | more)
        assert done.returncode == 0, done.stderr
        return done.stderr

    run()
    postgres.sql(SQL["hide"])
    before = {table: keys(table, postgres.rows(table)) for table in KEYS}
    withdraw(world, collection, 0, 5)
    assert "No ACTIVATE_VERSION will be sent" in run("--full-refresh")
    assert {table: keys(table, postgres.rows(table)) for table in KEYS} == before
    assert wrong_in_views(postgres, world) == []

    everything = json.dumps({"*": {"replication-method": "FULL_TABLE"}})
    assert "No ACTIVATE_VERSION" not in run(TAP_PROLIFIC_EXPORT__METADATA=everything)
    assert differences(postgres.rows, world) == []
