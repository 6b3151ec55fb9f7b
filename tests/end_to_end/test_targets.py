"""What arrives in the targets that users have: real ones, with and without flattening."""

from __future__ import annotations

import ast
import json
import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest

from tap_prolific_export.rows.schema import STREAMS
from tests.support.expected import KEYS
from tests.support.generations import fresh
from tests.support.meltano import needs_loaders
from tests.support.s3 import running_s3
from tests.support.stand_in import samples
from tests.support.tap import ids
from tests.support.targets import (
    Csv,
    DuckDB,
    DuckDBAsItIs,
    JsonLines,
    PostgreSQL,
    PostgreSQLFaster,
    S3JsonLines,
    S3Parquet,
    Snowflake,
    Target,
)
from tests.support.zips import pack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.s3 import S3Server
    from tests.support.stand_in import Hosted, World
    from tests.support.tap import Output, Runner

Row = dict[str, Any]

slow = pytest.mark.slow
FLATTENED = {"flattening_enabled": True, "flattening_max_depth": 2}
TARGETS: dict[str, type[DuckDB | JsonLines | Csv | Snowflake]] = {
    "DuckDB": DuckDB,
    "DuckDB as it is": DuckDBAsItIs,
    "JSON Lines": JsonLines,
    "CSV": Csv,
    "Snowflake": Snowflake,
}
OF_POSTGRES = {"PostgreSQL": PostgreSQL, "PostgreSQL, faster": PostgreSQLFaster}
OF_S3 = {"JSON Lines in S3": S3JsonLines, "Parquet in S3": S3Parquet}
QUICK = ("DuckDB", "JSON Lines", "CSV", "PostgreSQL, faster")
SLOW = sorted({*TARGETS, *OF_POSTGRES, *OF_S3} - {*QUICK})
NEW = {"id": "q-new", "type": "free_text", "description": "And what was new?", "order": 99}

pytestmark = [
    needs_loaders,
    fresh,
]


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    with running_s3() as server:
        yield server


@pytest.fixture(params=[*QUICK, *(pytest.param(name, marks=slow) for name in SLOW)])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    name = request.param
    if of_s3 := OF_S3.get(name):
        return of_s3(tmp_path, request.getfixturevalue("s3_server").new_bucket())
    if of_postgres := OF_POSTGRES.get(name):
        return of_postgres(tmp_path, request.getfixturevalue("postgres_server"))
    return TARGETS[name](tmp_path)


def variants(*quick: str) -> pytest.MarkDecorator:
    """Run a test with either kind of keys, nested and flattened; all but a few are slow."""
    return pytest.mark.parametrize(
        "shape",
        [
            pytest.param(
                {"answer_keys": keys, **flat}, id=name, marks=[] if name in quick else [slow]
            )
            for keys in ("instruction_id", "label")
            for kind, flat in (("nested", {}), ("flattened", FLATTENED))
            if (name := f"{keys}-{kind}")
        ],
    )


def skip_where_refused(target: Target, shape: Row) -> None:
    if not target.takes_objects and "flattening_enabled" not in shape:
        pytest.skip("this target takes flattened records only")


def run(runner: Runner, target: Target, state: Row | None = None, **config: Any) -> Output:
    out = runner.sync(state=state, **config)
    target.load(out.text)
    return out


def wrong(target: Target, *outputs: Output) -> list[str]:
    """Return how the tables differ from what the tap wrote."""
    found = []
    kept = outputs if target.keeps else outputs[-1:]
    for table, key in KEYS.items():
        records = [record for output in kept for record in output.rows(table)]
        expected = {tuple(record[name] for name in key): record for record in records}
        rows = target.rows(table)
        if len(rows) != (len(expected) if target.updates else len(records)):
            found.append(f"{table}: {len(rows)} rows")
        # Of a key that came twice, the last one counts.
        got = {tuple(str(row[target.column(name)]) for name in key): row for row in rows}
        for each, record in expected.items():
            row = got.get(tuple(map(str, each)))
            if row is None:
                found.append(f"{table}: {each} is missing")
                continue
            for name, value in record.items():
                there = row.get(target.column(name), ...)
                if not is_same(value, there, whole_seconds=target.whole_seconds) and not (
                    value in target.empty and there in target.empty
                ):
                    found.append(f"{table}: {name}: {value!r} is {there!r}")
    return found


def is_same(value: Any, found: Any, *, whole_seconds: bool) -> bool:
    """Whether a value is what the tap wrote, in the form in which a target has it."""
    if isinstance(value, (dict, list)) and isinstance(found, str):
        # target-csv writes objects as Python does, and its numbers.
        is_json = found[:2] not in {"{'", "[{", "['"} or '"' in found[:3]
        python = re.sub(r"Decimal\('(.*?)'\)", r"\1", found)
        found = json.loads(found) if is_json else ast.literal_eval(python)
    if isinstance(found, str) and isinstance(value, (bool, int, float)):
        return str(value) == found or float(found) == value
    if isinstance(value, str) and (time := time_of(value)):
        return (time.replace(microsecond=0) if whole_seconds else time) == time_of(found)
    return bool(value == found)


def time_of(value: Any) -> datetime | None:
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


@variants("label-flattened")
def test_all_that_the_tap_writes_is_in_the_tables(
    target: Target, shape: Row, runner: Runner, collection: Hosted, batch: Hosted
) -> None:
    skip_where_refused(target, shape)
    output = run(runner, target, **shape, **ids(collection, batch))
    assert len(output.rows("responses")) > 10
    assert wrong(target, output) == []


@variants("instruction_id-nested")
def test_new_rows_corrected_rows_and_then_a_new_question_arrive(
    target: Target, shape: Row, runner: Runner, world: World, collection: Hosted
) -> None:
    skip_where_refused(target, shape)
    config = {**shape, **ids(collection), "lookback_seconds": 10**9}
    first = run(runner, target, **config)
    assert wrong(target, first) == []

    corrected = samples.breakfast(2).line["submission_id"]
    collection.submissions[corrected].line["responses"]["q-name"] = {"value": "a corrected answer"}
    world.submit(collection, samples.breakfast(20))
    second = run(runner, target, first.state, **config)
    assert "a corrected answer" in json.dumps(response(second, corrected))
    assert len(second.rows("responses")) == len(first.rows("responses")) + 1
    assert wrong(target, first, second) == []

    collection.instructions.append(NEW)
    submission = samples.breakfast(21)
    submission.line["responses"]["q-new"] = {"value": "a new answer"}
    world.submit(collection, submission)
    third = run(runner, target, second.state, **config)
    record = response(third, submission.line["submission_id"])
    assert "a new answer" in json.dumps(record)
    assert wrong(target, first, second, third) == []


def response(output: Output, submission_id: str) -> Row:
    """Return the only row of a submission in `responses`."""
    rows = output.rows("responses")
    [record] = [row for row in rows if row["submission_id"] == submission_id]
    return record


@slow
def test_parquet_takes_a_number_within_an_object_only_flattened(
    s3_server: S3Server, runner: Runner, collection: Hosted, tmp_path: Path
) -> None:
    target = S3Parquet(tmp_path, s3_server.new_bucket())
    with pytest.raises(AssertionError, match="Could not convert Decimal"):
        run(runner, target, **ids(collection))


def lose_validation(hosted: Hosted, id_: str) -> None:
    """Make a question for a number one for a text."""
    items = [item for page in hosted.layout for item in page["page_items"]]
    for item in (*items, *hosted.instructions):
        if item.get("id") == id_:
            item.pop("validation", None)


@pytest.mark.parametrize("way_out", ["nested", "alter", "freeze"])
def test_postgresql_takes_a_question_that_becomes_text_as_the_documentation_says(
    way_out: str, postgres: PostgreSQL, runner: Runner, world: World, collection: Hosted
) -> None:
    flat = {} if way_out == "nested" else FLATTENED
    config = {**flat, **ids(collection), "lookback_seconds": 10**9}
    catalog = runner.catalog(**config)
    first = run(runner, postgres, **config)
    lose_validation(collection, "q-minutes")
    submission = samples.breakfast(20)
    submission.line["responses"]["q-minutes"] = {"value": "a few"}
    world.submit(collection, submission)
    if way_out == "freeze":
        second = runner.sync(catalog, first.state, freeze_schema=True, **config)
        record = response(second, submission.line["submission_id"])
        assert record["answers__q-minutes"] is None
        assert "a few" in record["additional_fields"]
    else:
        second = runner.sync(state=first.state, **config)
    if way_out == "alter":
        with pytest.raises(AssertionError, match="Altering columns is not supported"):
            postgres.load(second.text)
        postgres.sql('ALTER TABLE responses ALTER COLUMN "answers__q-minutes" TYPE text')
    postgres.load(second.text)
    assert wrong(postgres, first, second) == []


def test_each_data_collection_can_have_a_table_of_its_own(
    postgres: PostgreSQL, runner: Runner, collection: Hosted, batch: Hosted
) -> None:
    for hosted, table in ((collection, "responses_breakfast"), (batch, "responses_captions")):
        config: Row = {**FLATTENED, "stream_maps": {"responses": {"__alias__": table}}}
        output = runner.sync(**config, **ids(hosted))
        postgres.load(output.text)
        [row, *_] = postgres.rows(table)
        questions = {each["id"] for each in hosted.instructions}
        names = {name.split("__")[1] for name in row if name.startswith("answers__")}
        assert names == questions


# Text that JSON can hold, but neither jsonb nor a text column of PostgreSQL.
ODD = {
    "caption": "a\0b",
    "half\ud800": ["\udc00\ud83d", "\U0001f600", "\\u0000"],
    "\0": {"\\u0000": "\0"},
}
QUESTION = {
    "id": "q\0",
    "type": "free_text",
    "options": [ODD],
    "unit_options": [ODD],
    "validation": ODD,
    "accepted_file_types": ["\0"],
    "more": ODD,
}


def save_odd_archive(folder: Path) -> None:
    """Write an archive in which all that becomes JSON text holds odd text."""
    metadata = {
        "id": "c1",
        "task_details": ODD,
        "datasets": [ODD],
        "batch_items": [ODD],
        "instructions": [QUESTION, {**QUESTION, "id": "q"}],
        "more": ODD,
    }
    task = {"task_id": "t", "datapoint": ODD, "more": ODD}
    answers = {"q": {"value": "\0", "extra": ODD}, "q\0": {"value": "\ud800"}, "gone": ODD}
    line = {"submission_id": "s", "tasks": [{**task, "responses": answers}], "\0": "\ud800"}
    by_task = {**task, "submissions": []}
    members = {
        "batch.json": json.dumps(metadata),
        "responses-by-submission.jsonl": json.dumps(line),
        "responses-by-task.jsonl": json.dumps(by_task),
    }
    (folder / "odd.zip").write_bytes(pack(members))


def test_every_json_text_casts_to_jsonb(
    postgres: PostgreSQL, runner: Runner, tmp_path: Path
) -> None:
    save_odd_archive(tmp_path)
    run(runner, postgres, archive_paths=[str(tmp_path / "odd.zip")], api_token=None)
    for stream in STREAMS:
        for column in (each.name for each in stream.columns if each.type == "json"):
            cast = f"SELECT {column}::jsonb::text FROM {stream.name} WHERE {column} IS NOT NULL"  # noqa: S608
            if column != "export_filter":  # what the API was asked for
                assert postgres.sql(cast), column
    [task] = postgres.sql(
        "SELECT datapoint::jsonb ->> 'caption' AS caption, "
        "datapoint::jsonb -> 'half\\ud800' AS halves FROM tasks"
    )
    assert task == {"caption": r"a\u0000b", "halves": [r"\udc00\ud83d", "\U0001f600", r"\u0000"]}
    extra = postgres.sql(
        "SELECT additional_fields::jsonb #>> '{answers,q,value}' AS answer, "
        "additional_fields::jsonb ->> '\\u0000' AS field FROM responses"
    )
    assert extra == [{"answer": r"\u0000", "field": r"\ud800"}]
    raw = "SELECT raw::jsonb ->> 'value' AS told, value FROM answers WHERE instruction_id = 'q'"
    assert postgres.sql(raw) == [{"told": r"\u0000", "value": "\ufffd"}]
