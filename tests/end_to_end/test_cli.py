"""The command line as a process: messages on stdout, everything else on stderr, exit codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.expected import KEYS
from tests.support.processes import run_tap
from tests.support.stand_in import StandIn, World, samples
from tests.support.tap import answer_columns, read, schema_of
from tests.support.zips import pack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "s3cret-" + "x" * 30


@pytest.fixture(scope="module")
def served() -> Iterator[StandIn]:
    world = World(token=SECRET)
    world.host(samples.breakfast_diary(4))
    world.host(samples.caption_check(2))
    world.host(samples.breakfast_diary(1, id_="no-access"))
    world.forbidden.add("no-access")
    world.host(samples.breakfast_diary(1, id_="not-enabled", workspace_id="other"))
    world.not_enabled.add("other")
    with StandIn(world) as serving:
        yield serving


@pytest.fixture
def config(served: StandIn) -> dict[str, Any]:
    return {
        "api_token": SECRET,
        "api_url": served.api_url,
        "collection_ids": [samples.DIARY],
        "batch_ids": [samples.CAPTIONS],
    }


def test_a_sync_writes_messages_and_nothing_else_to_stdout(
    config: dict[str, Any], tmp_path: Path
) -> None:
    done = run_tap(config=config, folder=tmp_path)
    assert done.returncode == 0
    out = read(done.stdout)
    assert len(out.rows("responses")) == 4 + 2 * len(samples.CAPTION_TEXTS)
    assert len(out.of_type("STATE")) >= 1


def test_settings_come_from_the_environment(served: StandIn, tmp_path: Path) -> None:
    done = run_tap(
        "--config=ENV",
        folder=tmp_path,
        PROLIFIC_TOKEN=SECRET,
        PROLIFIC_URL=served.api_url,
        TAP_PROLIFIC_EXPORT_COLLECTION_IDS=f'["{samples.DIARY}"]',
        TAP_PROLIFIC_EXPORT_POLL_INTERVAL_SECONDS="1",
    )
    assert done.returncode == 0
    assert len(read(done.stdout).rows("collections")) == 1


def test_about_describes_settings_and_capabilities(tmp_path: Path) -> None:
    about = json.loads(run_tap("--about", "--format=json", folder=tmp_path).stdout)
    assert about["name"] == "tap-prolific-export"
    assert about["settings"]["properties"]["api_token"]["secret"] is True
    assert {"catalog", "discover", "state", "stream-maps"} <= set(about["capabilities"])
    assert "batch" not in about["capabilities"]


def test_discover_prints_a_catalog_with_the_questions(
    config: dict[str, Any], tmp_path: Path
) -> None:
    done = run_tap("--discover", config=config, folder=tmp_path)
    assert done.returncode == 0
    catalog = json.loads(done.stdout)
    assert {entry["tap_stream_id"] for entry in catalog["streams"]} == KEYS.keys()
    assert {"q-drink", "b-fits"} <= answer_columns(schema_of(catalog, "responses")).keys()


def test_test_takes_a_record_of_each_stream(config: dict[str, Any], tmp_path: Path) -> None:
    done = run_tap("--test", config=config, folder=tmp_path)
    assert done.returncode == 0
    out = read(done.stdout)
    assert len(out.rows("responses")) == len(out.rows("instructions")) == 1


def test_test_schema_takes_none(config: dict[str, Any], tmp_path: Path) -> None:
    done = run_tap("--test=schema", config=config, folder=tmp_path)
    assert done.returncode == 0
    assert {message["type"] for message in read(done.stdout).messages} == {"SCHEMA"}


NO_IDS: dict[str, Any] = {"collection_ids": None, "batch_ids": None}

BAD_INPUT = [
    pytest.param(NO_IDS, "No source: set at least one of collection_ids", id="no source"),
    pytest.param({"api_token": None}, "No token: set api_token", id="no token"),
    pytest.param({"collection_id": ["x"]}, "Did you mean collection_ids", id="unknown setting"),
    pytest.param({"collection_ids": [""]}, "collection_ids: item 1 is empty", id="empty id"),
    pytest.param({"batch_ids": ["a/b"]}, "batch_ids: item 1 is not an id", id="id with a slash"),
    pytest.param({"batch_ids": ["ok", ".."]}, "batch_ids: item 2 is not an id", id="id .."),
    pytest.param({"workspace_ids": ["a?b"]}, "workspace_ids: item 1 is not", id="id with ?"),
    pytest.param({"workspace_ids": ["a b"]}, "workspace_ids: item 1 is not", id="id with a space"),
    pytest.param({"collection_ids": "x"}, "collection_ids: must be an array", id="no array"),
    pytest.param(
        {**NO_IDS, "archive_paths": ["nowhere/*.zip"]},
        "archive_paths: item 1 matches no file: nowhere/*.zip",
        id="glob without a match",
    ),
    pytest.param(
        {**NO_IDS, "archive_paths": ["config.json"]},
        "archive config.json: The archive is damaged or not a ZIP",
        id="no ZIP",
    ),
    pytest.param({"api_token": "wrong-token"}, "401 (Authentication", id="401"),
    pytest.param(
        {**NO_IDS, "collection_ids": ["no-access"]},
        "403 (Forbidden: You do not have access to this workspace.)",
        id="403",
    ),
    pytest.param(
        {**NO_IDS, "collection_ids": ["not-enabled"]},
        "403 (Forbidden: This feature is not enabled for your workspace.)",
        id="403 feature not enabled",
    ),
    pytest.param(
        {**NO_IDS, "collection_ids": [samples.CAPTIONS]},
        "It is a batch's id: move it to batch_ids.",
        id="404",
    ),
]


@pytest.mark.parametrize(("changes", "says"), BAD_INPUT)
@pytest.mark.parametrize(
    "args", [(), ("--discover",), ("--test",)], ids=["sync", "discover", "test"]
)
def test_bad_input_gets_a_clear_error_and_nothing_is_emitted(
    changes: dict[str, Any],
    says: str,
    args: tuple[str, ...],
    config: dict[str, Any],
    tmp_path: Path,
) -> None:
    done = run_tap(*args, config={**config, **changes}, folder=tmp_path)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert read(done.stdout).of_type("RECORD") == []
    assert SECRET not in done.stderr + done.stdout


@pytest.mark.parametrize("option", ["", "--test"], ids=["sync", "test"])
def test_an_archive_without_responses_names_the_file(option: str, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(pack({"collection.json": '{"id": "x"}'}))
    done = run_tap(*filter(None, [option]), config={"archive_paths": ["x.zip"]}, folder=tmp_path)
    assert done.returncode == 1
    assert "archive x.zip: It has neither responses.jsonl nor" in done.stderr
    assert "Traceback" not in done.stderr
    assert read(done.stdout).rows("responses") == []


@pytest.mark.parametrize("value", [[SECRET], {"token": SECRET}, SECRET + "\n" + SECRET])
def test_a_secret_of_the_wrong_type_is_not_echoed(
    value: Any, config: dict[str, Any], tmp_path: Path
) -> None:
    done = run_tap(config={**config, "api_token": value}, folder=tmp_path)
    assert done.returncode == 1
    assert "api_token: " in done.stderr
    assert SECRET not in done.stderr + done.stdout


@pytest.mark.parametrize("value", ["soon", "4.5", SECRET])
def test_a_number_in_the_environment_that_is_none_is_named(value: str, tmp_path: Path) -> None:
    name = "TAP_PROLIFIC_EXPORT_POLL_INTERVAL_SECONDS"
    done = run_tap("--config=ENV", folder=tmp_path, config=None, **{name: value})
    assert done.returncode == 1
    assert f"poll_interval_seconds: {name} is no whole number." in done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stderr


@pytest.mark.parametrize("content", ["", "[1]", '{"api_token": "' + SECRET], ids=repr)
def test_a_configuration_file_that_is_no_json_object_is_named_not_quoted(
    content: str, tmp_path: Path
) -> None:
    path = tmp_path / "broken.json"
    path.write_text(content)
    done = run_tap("--config", str(path), folder=tmp_path)
    assert done.returncode != 0
    assert "a configuration file is missing or is no JSON object" in done.stderr
    assert SECRET not in done.stderr


@pytest.mark.parametrize("option", ["--state", "--catalog"])
def test_a_file_that_is_no_json_is_an_error(
    option: str, config: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "broken.json"
    path.write_text("{")
    done = run_tap(option, str(path), config=config, folder=tmp_path)
    assert done.returncode == 1
    assert "is no valid JSON" in done.stderr
    assert "Traceback" not in done.stderr


def test_at_debug_neither_token_nor_signature_is_logged(
    config: dict[str, Any], tmp_path: Path
) -> None:
    done = run_tap(config=config, folder=tmp_path, TAP_PROLIFIC_EXPORT_LOGLEVEL="DEBUG")
    assert done.returncode == 0
    assert "urllib3.connectionpool" in done.stderr  # else this test would prove nothing
    assert "/exports/" in done.stderr
    assert SECRET not in done.stderr
    assert "X-Amz-Signature" not in done.stderr
