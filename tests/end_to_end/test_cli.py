"""The command line as a process: messages on stdout, everything else on stderr, exit codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.expected import KEYS
from tests.support.processes import run_tap, run_taps
from tests.support.stand_in import StandIn, World, samples
from tests.support.tap import answer_columns, read, schema_of
from tests.support.zips import pack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from subprocess import CompletedProcess

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


@pytest.fixture(scope="module")
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
    names = answer_columns(schema_of(catalog, "responses")).keys()
    # Labels are the default; the digits are those of sha256sum.
    assert {"what_did_you_drink_1cac558e", "does_the_caption_fit_the_picture_620937c3"} <= names


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

# Settings that differ from those that work, and what is said of them.
BAD_INPUT: dict[str, tuple[dict[str, Any], str]] = {
    "no source": (NO_IDS, "No source: set at least one of collection_ids"),
    "no token": ({"api_token": None}, "No token: set api_token"),
    "unknown setting": ({"collection_id": ["x"]}, "Did you mean collection_ids"),
    "BATCH messages": (
        {"batch_config": {"encoding": {"format": "jsonl"}, "storage": {"root": "file://"}}},
        "batch_config: unknown setting. This tap writes no BATCH messages",
    ),
    "empty id": ({"collection_ids": [""]}, "collection_ids: item 1 is empty"),
    "id with a slash": ({"batch_ids": ["a/b"]}, "batch_ids: item 1 is not an id"),
    "id ..": ({"batch_ids": ["ok", ".."]}, "batch_ids: item 2 is not an id"),
    "id with ?": ({"workspace_ids": ["a?b"]}, "workspace_ids: item 1 is not"),
    "id with a space": ({"workspace_ids": ["a b"]}, "workspace_ids: item 1 is not"),
    "no array": ({"collection_ids": "x"}, "collection_ids: must be an array"),
    "path without a file": (
        {**NO_IDS, "archive_paths": ["nowhere/x.zip"]},
        "archive nowhere/x.zip: Cannot be read (No such file or directory).",
    ),
    "no ZIP": (
        {**NO_IDS, "archive_paths": ["config.json"]},
        "archive config.json: The archive is damaged or not a ZIP",
    ),
    "401": ({"api_token": "wrong-token"}, "401 (Authentication"),
    "403": (
        {**NO_IDS, "collection_ids": ["no-access"]},
        "403 (Forbidden: You do not have access to this workspace.)",
    ),
    "403 feature not enabled": (
        {**NO_IDS, "collection_ids": ["not-enabled"]},
        "403 (Forbidden: This feature is not enabled for your workspace.)",
    ),
    "404": (
        {**NO_IDS, "collection_ids": [samples.CAPTIONS]},
        "It is a batch's id: move it to batch_ids.",
    ),
}
WAYS = {"sync": (), "discover": ("--discover",), "test": ("--test",)}


@pytest.fixture(scope="module")
def ended(
    config: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], CompletedProcess[str]]:
    """How the tap ends with each bad input, in each way to run it."""
    keys = [(what, way) for what in BAD_INPUT for way in WAYS]
    runs = [(WAYS[way], {**config, **BAD_INPUT[what][0]}) for what, way in keys]
    done = run_taps(runs, folder=tmp_path_factory.mktemp("bad-input"))
    return dict(zip(keys, done, strict=True))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", BAD_INPUT)
def test_bad_input_gets_a_clear_error_and_nothing_is_emitted(
    what: str, way: str, ended: dict[tuple[str, str], CompletedProcess[str]]
) -> None:
    done = ended[what, way]
    assert done.returncode == 1
    assert BAD_INPUT[what][1] in done.stderr
    assert "Traceback" not in done.stderr
    assert read(done.stdout).of_type("RECORD") == []
    assert SECRET not in done.stderr + done.stdout


@pytest.mark.parametrize("option", ["", "--test"], ids=["sync", "test"])
def test_an_archive_without_responses_names_the_file(option: str, tmp_path: Path) -> None:
    members = {"collection.json": '{"id": "x"}', "files/s1_a.png": ""}
    (tmp_path / "x.zip").write_bytes(pack(members))
    done = run_tap(*filter(None, [option]), config={"archive_paths": ["x.zip"]}, folder=tmp_path)
    assert done.returncode == 1
    assert "archive x.zip: It has neither responses.jsonl nor" in done.stderr
    assert "Traceback" not in done.stderr
    assert read(done.stdout).rows("responses") == []


@pytest.mark.parametrize("name", ["collection.json", "batch.json"])
def test_an_archive_that_nobody_has_answered_is_no_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(pack({name: '{"id": "x"}', "README.md": ""}))
    done = run_tap(config={"archive_paths": ["x.zip"]}, folder=tmp_path)
    assert done.returncode == 0
    assert "WARNING" in done.stderr
    assert "zero responses" in done.stderr
    [row] = read(done.stdout).rows("collections")
    assert (row["data_collection_id"], row["exported_response_count"]) == ("x", 0)
    assert read(done.stdout).rows("responses") == []


@pytest.mark.parametrize("value", ["soon", "4.5", SECRET])
def test_a_number_in_the_environment_that_is_none_is_named(value: str, tmp_path: Path) -> None:
    name = "TAP_PROLIFIC_EXPORT_POLL_INTERVAL_SECONDS"
    done = run_tap("--config=ENV", folder=tmp_path, config=None, **{name: value})
    assert done.returncode == 1
    assert "poll_interval_seconds: must be a whole number" in done.stderr
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
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{", "is no valid JSON."),
        (b'{"bookmarks": {\n', "is no valid JSON."),
        (b'"\xff"', "is no valid JSON."),
        (b"[" * 100_000, "is no valid JSON."),
        (b"[1]", "is no JSON object."),
        (f'"{SECRET}"'.encode(), "is no JSON object."),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_file_that_is_no_json_object_is_named_and_not_quoted(
    option: str, content: bytes, problem: str, config: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "broken.json").write_bytes(content)
    done = run_tap(option, "broken.json", config=config, folder=tmp_path)
    assert done.returncode == 1
    assert f"{option} broken.json: {problem}" in done.stderr
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stderr
    assert done.stdout == ""


def test_a_state_may_come_as_anyone_writes_it(config: dict[str, Any], tmp_path: Path) -> None:
    config = {**config, "batch_ids": []}
    (tmp_path / "empty").write_bytes(b"")
    first = read(run_tap("--state=empty", config=config, folder=tmp_path).stdout)
    assert len(first.rows("responses")) == 4
    line = json.dumps(first.of_type("STATE")[-1])
    meltano = json.dumps({"singer_state": first.state})
    contents = {
        "messages": ("{}\n" + line + "\n").encode(),
        "meltano": meltano.encode(),
        "utf-8 with a mark": meltano.encode("utf-8-sig"),
        "utf-16": meltano.encode("utf-16"),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        done = run_tap("--state", name, config=config, folder=tmp_path)
        assert done.returncode == 0, name
        assert read(done.stdout).rows("responses") == [], name
