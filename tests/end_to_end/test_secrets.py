"""Everything that the real process writes, searched for what may not be in it.

Tokens, signatures, participants, answers and uploads all bear a mark. Whatever happens, it may
appear in RECORD messages and nowhere else: not in the other messages, nor in the log at DEBUG,
nor in a traceback, nor in a file that is left behind.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.generations import fresh
from tests.support.secrets import (
    LOG,
    MARK,
    TOKEN,
    MarkedStandIn,
    MarkedWorld,
    Scene,
    assert_tells_nothing,
    mark_all,
    mark_submission,
    marked_text,
    marks_in,
    rewritten,
    with_lines,
)
from tests.support.stand_in import Fault, samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


PASTED = f"pasted-{MARK}"
KINDS = ["participant", "submission", "answer", "unit", "why", "upload", "note", "when", "caption"]
HOSTS = ["127.0.0.1", "localhost"]
STRUCTURED = {"SINGER_SDK_LOG_CONFIG": "log.yaml"}


@pytest.fixture(params=["fresh", pytest.param("idempotent", marks=pytest.mark.slow)])
def world(request: pytest.FixtureRequest) -> MarkedWorld:
    return MarkedWorld(request.param)


# For what has nothing to do with the API.


@pytest.fixture
def scene(world: MarkedWorld, tmp_path: Path) -> Iterator[Scene]:
    with MarkedStandIn(world) as stand_in:
        yield Scene(stand_in, tmp_path, {"api_token": TOKEN, "api_url": stand_in.api_url})


def test_a_run_and_the_next_tell_nothing_beside_their_records(
    scene: Scene, world: MarkedWorld
) -> None:
    diary = world.host(mark_all(samples.breakfast_diary(5)))
    captions = world.host(mark_all(samples.caption_check(3)))
    config: dict[str, Any] = {"collection_ids": [diary.id], "batch_ids": [captions.id]}
    config["answer_keys"] = "instruction_id"

    first = scene.run(config=config)
    assert_tells_nothing(first)
    assert first.code == 0
    for kind in KINDS:
        assert f"{kind}-{MARK}" in first.records
    assert "answers did not fit their columns" in first.err
    assert "q-name" in first.told  # SCHEMA tells of questions
    assert "urllib3.connectionpool" in first.err
    assert re.search(r'"GET /exports/\S+\.zip\?<redacted> HTTP/1.1" 20', first.err)
    asked = world.requests
    assert all(MARK in path.partition("?")[2] for server, _, path, _ in asked if server != "api")
    assert {head.get("Authorization") for _, _, _, head in asked} == {f"Token {TOKEN}", None}

    state = {"state.json": json.dumps(first.messages.state)}
    silent = scene.run("--state", "state.json", config=config, files=state)
    assert_tells_nothing(silent)
    assert silent.code == 0
    assert "export requested, of responses from" in silent.err

    catalog = json.loads(scene.run("--discover", config=config).out)
    for entry in catalog["streams"]:
        entry["schema"]["properties"].get("answers", {}).get("properties", {}).pop("q-name", None)
    world.submit(diary, mark_submission(samples.breakfast(80), 80))
    files = {**state, "catalog.json": json.dumps(catalog)}
    options = ("--state", "state.json", "--catalog", "catalog.json")
    config |= {"answer_keys": "label", "freeze_schema": True}
    second = scene.run(*options, config=config, files=files)
    assert_tells_nothing(second)
    assert second.code == 0
    assert marked_text("participant", 80) in second.records
    assert "anew: settings or selection have changed" in second.err
    assert "are left out, as freeze_schema is set" in second.err


def test_nothing_new_tells_nothing(scene: Scene, world: MarkedWorld) -> None:
    world.reuse_seconds = 3600
    diary = world.host(mark_all(samples.breakfast_diary(3)))
    config = {"collection_ids": [diary.id], "stream_maps": {"responses": {"x": "participant_id"}}}
    first = scene.run(config=config)
    assert f'"x":"{marked_text("participant", 2)}"' in first.records
    state = {"state.json": json.dumps(first.messages.state)}
    second = scene.run("--state", "state.json", config=config, files=state)
    assert_tells_nothing(first, second)
    assert second.code == 0
    assert ("nothing new" in second.err) is (world.generation == "idempotent")


def test_discovery_and_a_test_tell_of_questions_only(scene: Scene, world: MarkedWorld) -> None:
    diary = world.host(mark_all(samples.breakfast_diary(3)))
    config = {"collection_ids": [diary.id], "answer_keys": "label"}
    discovered, tested, schema = scene.run_all(
        lambda: scene.run("--discover", config=config),
        lambda: scene.run("--test", config=config),
        lambda: scene.run("--test=schema", config=config),
    )
    assert_tells_nothing(discovered, tested, schema)
    assert "What did you drink?" in discovered.out
    assert "urllib3.connectionpool" in discovered.err
    assert marked_text("participant", 0) in tested.records
    assert '"SCHEMA"' in schema.out


@fresh
def test_about_tells_of_settings_not_of_values(scene: Scene) -> None:
    secrets = {"PROLIFIC_TOKEN": TOKEN, "TAP_PROLIFIC_EXPORT_API_TOKEN": TOKEN}
    options = [["--about"], ["--about", "--format=json"], ["--about", "--format=markdown"]]
    written = scene.run_all(
        *(lambda more=more: scene.run(*more, "--config=ENV", env=secrets) for more in options),
    )
    assert_tells_nothing(*written)
    assert all(each.code == 0 and "api_token" in each.out for each in written)


def envelope(title: Any, detail: Any) -> bytes:
    """Return an error of the API that says everything it heard."""
    return json.dumps(
        {
            "error": {
                "status": 400,
                "title": title,
                "detail": detail,
                "traceback": f"headers = {{'Authorization': 'Token {TOKEN}'}}",
                "additional_information": TOKEN,
            }
        }
    ).encode()


PAGE = f"<html><h1>Bad gateway</h1><pre>Authorization: Token {TOKEN}</pre></html>".encode()
NOW = {"Retry-After": "0"}
ALWAYS = 99


@dataclass(frozen=True)
class Spoilt:
    """One thing that goes wrong, and what is said of it."""

    damage: Fault | Callable[[bytes], bytes]
    says: str


def api(status: int, body: bytes = b"", *, times: int = ALWAYS, **more: Any) -> Fault:
    return Fault("api", "", times, status, body, **more)


API_FAULTS = {
    "refused": Spoilt(
        api(400, envelope("Bad request", {"Authorization": [f"Token {TOKEN} is not good."]})),
        "400 (Bad request: Authorization: Token <redacted> is not good.)",
    ),
    "forbidden": Spoilt(
        api(403, envelope("Forbidden", [f"{{'Authorization': 'Token {TOKEN}'}}", f"k={TOKEN}"])),
        "403 (Forbidden: {'Authorization': 'Token <redacted>'}; k=<redacted>)",
    ),
    "missing": Spoilt(api(404, envelope(TOKEN, TOKEN)), "404 (<redacted>: <redacted>)."),
    "removed": Spoilt(
        api(410, envelope(TOKEN, f"https://me:{TOKEN}@host/{TOKEN}?a={TOKEN}")),
        "410 (<redacted>: https://me:<redacted>@host/<redacted>?<redacted>)",
    ),
    "text": Spoilt(
        api(422, json.dumps({"error": f"not {TOKEN}"}).encode()), "422 (not <redacted>)"
    ),
    "busy": Spoilt(
        api(429, envelope("Slow down", TOKEN), headers=NOW), "429 (Slow down: <redacted>)."
    ),
    "broken": Spoilt(
        api(500, envelope("Oops", {TOKEN: TOKEN}), headers=NOW),
        "500 (Oops: <redacted>: <redacted>).",
    ),
    "page": Spoilt(api(502, PAGE), "502 without the API's error envelope."),
    "gone": Spoilt(api(403, PAGE), "403 without the API's error envelope."),
    "redirect": Spoilt(
        api(302, PAGE, headers={"Location": f"https://{TOKEN}/?{TOKEN}"}),
        "302 without the API's error envelope. Redirects are not followed",
    ),
    "no-json": Spoilt(api(200, PAGE), "200 and a body that is not JSON."),
    "no-object": Spoilt(api(200, json.dumps([TOKEN]).encode()), "answered JSON without a status."),
    "not-https": Spoilt(
        api(
            200,
            json.dumps({"status": "complete", "url": f"http://x.org/?{TOKEN}={TOKEN}"}).encode(),
        ),
        "The archive's URL on x.org is not https",
    ),
    "no-url": Spoilt(
        api(200, json.dumps({"status": "complete", "url": f"//[{TOKEN}"}).encode()),
        "The archive's URL on an unknown host is not https",
    ),
    "reset": Spoilt(api(0), "5 times; no answer from http://127.0.0.1:"),
    "short": Spoilt(api(200, PAGE, body_missing=9), "5 times; no answer from http://127.0.0.1:"),
    "header": Spoilt(
        api(403, headers={f"X-Odd: 1\r\nno header, but: {MARK}\r\nX-Even": "2"}),
        "Failed to parse headers",
    ),
}


def call(method: str, id_: str) -> str:
    """Return a pattern of the request for an export, or of the one for its status."""
    return rf"{method} \S+/{id_}/export" + ("/" if method == "GET" else "$")


@pytest.mark.parametrize("request_", ["POST", "GET"])
def test_an_api_that_repeats_what_it_heard_is_not_quoted(
    request_: str, scene: Scene, world: MarkedWorld
) -> None:
    for id_, spoilt in API_FAULTS.items():
        assert isinstance(spoilt.damage, Fault)
        world.spoil(id_, replace(spoilt.damage, request=call(request_, id_)))
    world.spoil("sound")
    written = scene.run(config={"collection_ids": [*API_FAULTS, "sound"]})
    assert_tells_nothing(written)
    assert written.code == 1
    assert "Delivered: 1." in written.err
    for id_, spoilt in API_FAULTS.items():
        # A job that is not there any more is requested again, until that is enough.
        is_gone = (request_, id_) == ("GET", "missing")
        says = "is gone; earlier attempts: 2" if is_gone else spoilt.says
        assert says in (written.err if id_ == "header" else written.said_of(id_)), id_
        assert any(re.search(call(request_, id_), path) for path in world.asked("api"))


def test_a_secret_is_removed_before_what_holds_it_is_cut(scene: Scene, world: MarkedWorld) -> None:
    faults = {
        "cut": api(400, envelope("Bad request", "x" * 255 + TOKEN)),
        "status": api(200, json.dumps({"status": f"unknown: {TOKEN}"}).encode()),
    }
    for id_, fault in faults.items():
        world.spoil(id_, replace(fault, request=call("POST", id_)))
    written = scene.run(config={"collection_ids": [*faults]})
    assert_tells_nothing(written)
    assert "400 (Bad request: xxx" in written.said_of("cut")
    assert "the unknown status" in written.said_of("status")


def test_a_token_that_is_refused_is_not_repeated(scene: Scene, world: MarkedWorld) -> None:
    world.spoil("diary", api(401, envelope(f"Unknown: {TOKEN}", {"token": [TOKEN]})))
    written = scene.with_each_option(config={"collection_ids": ["diary"]})
    assert_tells_nothing(*written)
    for each in written:
        assert each.code == 1
        assert "401 (Unknown: <redacted>: token: <redacted>)" in each.err


def test_a_look_up_that_repeats_what_it_heard_is_not_quoted(
    scene: Scene, world: MarkedWorld
) -> None:
    spoilt = {"refused", "forbidden", "broken", "page", "no-json", "header"}
    for id_ in spoilt:
        fault = API_FAULTS[id_].damage
        assert isinstance(fault, Fault)
        world.spoil(id_, replace(fault, request=rf"GET \S+/{id_}$"))
    world.spoil("sound")
    written = scene.run("--discover", config={"collection_ids": [*spoilt, "sound"]})
    assert_tells_nothing(written)
    assert '"what_did_you_drink_' in written.out
    for id_ in spoilt:
        said = written.err if id_ == "header" else written.said_of(id_)
        assert API_FAULTS[id_].says in said, id_


def test_jobs_that_can_be_neither_listed_nor_deleted_are_not_quoted(
    scene: Scene, world: MarkedWorld
) -> None:
    echo = envelope("Forbidden", [TOKEN, f"/export?token={TOKEN}"])
    world.spoil("undeletable", replace(api(403, echo), request="DELETE .*/undeletable/"))
    world.spoil("unlisted", replace(api(403, echo), request="GET .*/unlisted/export$"))
    unlisted, undeletable = scene.run_all(
        lambda: scene.run(config={"collection_ids": ["unlisted"]}),
        lambda: scene.run(config={"collection_ids": ["undeletable"]}),
    )
    assert_tells_nothing(unlisted, undeletable)
    assert unlisted.code == undeletable.code == 0
    says = "403 (Forbidden: <redacted>; /export?<redacted>"
    assert says in unlisted.said_of("unlisted")
    assert (says in undeletable.err) is (world.generation == "fresh")


def archives(status: int, body: bytes = b"", **more: Any) -> Fault:
    return Fault("archives", "", ALWAYS, status, body, **more)


def metadata(content: bytes | None) -> Callable[[bytes], bytes]:
    return lambda archive: rewritten(archive, "collection.json", content)


def falsified(archive: bytes) -> bytes:
    """Change an answer, but not its checksum."""
    stored = rewritten(archive, "responses.jsonl", f'{{"note": "answer {MARK}"}}\n'.encode())
    return stored.replace(b'"answer ', b'"Answer ')


def encrypted(archive: bytes) -> bytes:
    """Say of every member that it is encrypted."""
    spoilt = bytearray(archive)
    for begin, flags in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        for found in re.finditer(re.escape(begin), archive):
            spoilt[found.start() + flags] |= 1
    return bytes(spoilt)


ECHO = f"<Error><Resource>?X-Amz-Signature={MARK}</Resource>{MARK}</Error>".encode()
ARCHIVE_FAULTS = {
    "denied": Spoilt(archives(403, ECHO), "it answered 403"),
    "failing": Spoilt(archives(500, ECHO), "it answered 500"),
    "moved": Spoilt(
        archives(307, ECHO, headers={"Location": f"https://localhost/{MARK}?{MARK}={MARK}"}),
        "it answered 307",
    ),
    "reset": Spoilt(archives(0), "it broke off"),
    "short": Spoilt(archives(200, ECHO * 100, body_missing=99), "it broke off"),
    "garbage": Spoilt(lambda _: ECHO, "is damaged or not a ZIP"),
    "header": Spoilt(
        archives(403, headers={f"X-Odd: 1\r\nno header, but: {MARK}\r\nX-Even": "2"}),
        "Failed to parse headers",
    ),
    "truncated": Spoilt(lambda archive: archive[:-40], "is damaged or not a ZIP"),
    "no-json": Spoilt(
        with_lines(f'{{"participant_id": "{MARK}"}}\n{{"responses": "{MARK}\n'.encode()),
        "responses.jsonl, line 2, is no valid JSON",
    ),
    "no-object": Spoilt(
        with_lines(json.dumps(marked_text("answer")).encode()),
        "responses.jsonl, line 1, is no JSON object",
    ),
    "no-unicode": Spoilt(
        with_lines(f'{{"note": "{MARK}\xff"}}'.encode("latin-1")), "line 1, is no valid JSON"
    ),
    "deep": Spoilt(
        with_lines(f'{{"note": {"[" * 9999}"{MARK}"'.encode()), "line 1, is no valid JSON"
    ),
    "falsified": Spoilt(falsified, "responses.jsonl is damaged: its checksum differs"),
    "encrypted": Spoilt(encrypted, "is encrypted"),
}
METADATA_FAULTS = {
    "no-metadata": Spoilt(metadata(None), "It has neither collection.json nor batch.json"),
    "bad-metadata": Spoilt(metadata(f"{{{MARK}".encode()), "collection.json is no valid JSON"),
    "odd-metadata": Spoilt(metadata(f'["{MARK}"]'.encode()), "collection.json holds no JSON obj"),
}


def test_metadata_that_cannot_be_read_is_not_quoted(scene: Scene, world: MarkedWorld) -> None:
    for id_, spoilt in METADATA_FAULTS.items():
        world.spoil(id_, spoilt.damage)
    written = scene.run(config={"collection_ids": [*METADATA_FAULTS]})
    # Whatever is answered has a column then, and that its id: so SCHEMA may name it.
    assert marks_in("\n".join([written.err, *written.files.values()])) == []
    assert written.code == 0
    assert marked_text("answer", 1) in written.records
    for id_, spoilt in METADATA_FAULTS.items():
        assert spoilt.says in written.said_of(id_)


def test_an_archive_with_which_something_is_wrong_is_not_quoted(
    scene: Scene, world: MarkedWorld
) -> None:
    for id_, spoilt in ARCHIVE_FAULTS.items():
        damage = spoilt.damage
        if isinstance(damage, Fault):
            damage = replace(damage, request=rf"/exports/{id_}\.")
        world.spoil(id_, damage)
    world.spoil("sound")
    written = scene.run(config={"collection_ids": [*ARCHIVE_FAULTS, "sound"]})
    assert_tells_nothing(written)
    assert written.code == 1
    assert f"Failed: {len(ARCHIVE_FAULTS)}, " in written.err
    for id_, spoilt in ARCHIVE_FAULTS.items():
        assert spoilt.says in (written.err if id_ == "header" else written.said_of(id_)), id_
        assert any(f"/exports/{id_}." in path for path in world.asked("archives"))
        assert (
            re.search(rf"/exports/{id_}\.\S+\.zip\?<redacted> HTTP", written.err) or id_ == "reset"
        )


def test_archives_on_disk_with_which_something_is_wrong_are_not_quoted(
    scene: Scene, world: MarkedWorld
) -> None:
    whole = archives_of(world)
    scene.folder.joinpath("zips").mkdir()
    damages = {
        id_: s.damage for id_, s in ARCHIVE_FAULTS.items() if not isinstance(s.damage, Fault)
    }
    for id_, damage in damages.items():
        (scene.folder / "zips" / f"{id_}.zip").write_bytes(damage(whole))
    (scene.folder / "zips" / "sound.zip").write_bytes(whole)
    written = scene.run(config={"archive_paths": ["../zips/*.zip"]})
    assert_tells_nothing(written)
    assert f"Failed: {len(damages)}, " in written.err
    for id_ in damages:
        assert f"archive ../zips/{id_}.zip" in written.err
    assert marked_text("answer", 1) in written.records


def archives_of(world: MarkedWorld) -> bytes:
    job = world.start_job(world.spoil("diary"), {})
    assert job
    return job.archive


def test_neither_netrc_nor_a_proxys_password_is_told(scene: Scene, world: MarkedWorld) -> None:
    diary = world.host(mark_all(samples.breakfast_diary(2)))
    password = f"pw-{MARK}"
    machines = [f"machine {host} login me password {password}\n" for host in HOSTS]
    basic = b64encode(f"me:{password}".encode()).decode()
    files = {"netrc": "".join(machines)}
    plain = scene.run(config={"collection_ids": [diary.id]}, files=files, env={"NETRC": "netrc"})
    assert_tells_nothing(plain)
    assert plain.code == 0
    assert basic not in str(world.requests) + plain.told

    echo = envelope("Proxy", f"Proxy-Authorization: Basic {basic}")
    world.faults.append(Fault("api", "POST http://", ALWAYS, 407, echo))
    proxy = scene.stand_in.api_url.replace("://", f"://me:{password}@")
    refused = scene.run(config={"collection_ids": [diary.id]}, env={"HTTP_PROXY": proxy})
    assert_tells_nothing(refused)
    assert "407 (Proxy: Proxy-Authorization: Basic <redacted>)" in refused.err
    assert basic in str(world.requests)
    assert basic not in refused.told


WRONG_PLACES: dict[str, tuple[Any, str]] = {
    "api_token": ([PASTED], "must be a string, not an array."),
    "token": (PASTED, "unknown setting."),
    "api_url": (PASTED, "must be a URL such as"),
    "collection_ids": (PASTED, "must be an array of strings, not a string."),
    "batch_ids": ([f"Token {PASTED}"], "item 1 is not an id"),
    "workspace_ids": ([{PASTED: PASTED}], "item 1 must be a string, not an object."),
    "archive_paths": ({PASTED: PASTED}, "must be an array of strings, not an object."),
    "study_id": (f"Token {PASTED}", "is not an id"),
    "start_date": (PASTED, "must be an ISO 8601 date or time"),
    "lookback_seconds": (PASTED, "must be a whole number, not a string."),
    "answer_keys": (PASTED, "must be one of instruction_id, label."),
    "freeze_schema": (PASTED, "must be true or false, not a string."),
    "stream_maps": (PASTED, "does not fit its schema (type)."),
    "stream_map_config": (PASTED, "does not fit its schema (type)."),
    "flattening_enabled": (PASTED, "does not fit its schema (type)."),
    "flattening_max_depth": (PASTED, "does not fit its schema (type)."),
}


@fresh
def test_what_was_pasted_into_a_wrong_setting_is_not_quoted(scene: Scene) -> None:
    config = {name: value for name, (value, _) in WRONG_PLACES.items()}
    written = scene.with_each_option(config=config)
    assert_tells_nothing(*written)
    for each in written:
        assert each.code == 1
        for name, (_, says) in WRONG_PLACES.items():
            assert f"{name}: {says}" in each.err


@fresh
def test_a_token_that_is_taken_for_a_setting_is_not_repeated(scene: Scene) -> None:
    written = scene.with_each_option(config={TOKEN: "api_token"}, env={"PROLIFIC_TOKEN": TOKEN})
    assert_tells_nothing(*written)
    assert all("<redacted>: unknown setting." in each.err for each in written)


@fresh
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param(
            {
                "collection_ids": [TOKEN, "diary"],
                "study_id": TOKEN,
                "stream_maps": {"responses": {"__filter__": f"'{TOKEN}' != study_id"}},
            },
            r"(?s)filter rule: '<redacted>' .*collection <redacted>: .*/export\?<redacted> HTTP",
            id="ids and a filter",
        ),
        pytest.param({"api_url": f"{{}}/{TOKEN}"}, "/<redacted>/api/v1/", id="url"),
        pytest.param({"archive_paths": [f"{TOKEN}*"]}, r"no file: <redacted>\*", id="path"),
        pytest.param(
            {"stream_maps": {"responses": {"x": f"'{TOKEN}"}}},
            "Failed to parse expression '<redacted>",
            id="map that is no Python",
        ),
        pytest.param(
            {"stream_maps": {"responses": {"x": f"f('{TOKEN}')"}}},
            r"Failed to evaluate simpleeval expressions f\('<redacted>'\)",
            id="map of an unknown function",
        ),
    ],
)
def test_a_token_that_is_taken_for_something_else_is_not_repeated(
    changes: dict[str, Any], says: str, scene: Scene, world: MarkedWorld
) -> None:
    world.spoil("diary")
    if "api_url" in changes:
        changes = {"api_url": changes["api_url"].format(scene.stand_in.api_url)}
    config = {"collection_ids": ["diary"], **changes}
    synced, tested = scene.run_all(
        lambda: scene.run(config=config), lambda: scene.run("--test", config=config)
    )
    assert_tells_nothing(synced, tested)
    assert re.search(says, synced.err)
    assert re.search(says, tested.err)


@fresh
@pytest.mark.parametrize(
    ("variables", "says"),
    [
        pytest.param(
            {"FLATTENING_MAX_DEPTH": PASTED}, "flattening_max_depth: does not fit", id="number"
        ),
        pytest.param({"STREAM_MAPS": PASTED}, "stream_maps: does not fit its schema", id="object"),
        pytest.param(
            {"API_URL": PASTED, "COLLECTION_IDS": f"Token {PASTED},", "START_DATE": PASTED},
            r"(?s)api_url: must be.*collection_ids: item 1 is not an id.*start_date: must",
            id="text",
        ),
    ],
)
def test_what_was_pasted_into_a_wrong_variable_is_not_quoted(
    variables: dict[str, str], says: str, scene: Scene
) -> None:
    named = {f"TAP_PROLIFIC_EXPORT_{name}": value for name, value in variables.items()}
    named["PROLIFIC_TOKEN"] = TOKEN
    written = scene.with_each_option("--config=ENV", env=named)
    assert_tells_nothing(*written)
    for each in written:
        assert re.search(says, each.err)
        assert each.code == (0 if "begins anew" in each.err else 1)


FILES = {
    "cut off": f'{{"x": "{PASTED}',
    "text": json.dumps(PASTED),
    "object": json.dumps({"bookmarks": {PASTED: PASTED}, "streams": [{PASTED: PASTED}]}),
}


@fresh
@pytest.mark.parametrize("content", FILES.values(), ids=list(FILES))
def test_files_that_are_not_what_they_should_be_are_not_quoted(
    content: str, scene: Scene, world: MarkedWorld
) -> None:
    config = {"collection_ids": [world.spoil("diary").id]}
    files = {"file.json": content}
    configured, *others = scene.run_all(
        lambda: scene.run("--config", "file.json", config=config, files=files),
        lambda: scene.run("--state", "file.json", config=config, files=files),
        lambda: scene.run("--catalog", "file.json", config=config, files=files),
    )
    assert_tells_nothing(configured, *others)
    assert configured.code != 0
    assert re.search(r"is no JSON object|: unknown setting\.", configured.err)
    says = "is no valid JSON|is no JSON object|begins anew for another stream|Traceback"
    for each in others:
        assert re.search(says, each.err)
        assert each.code == (0 if "begins anew" in each.err else 1)


def logging_as_json() -> dict[str, str]:
    """Return the file in which the SDK is told to log as JSON, to stderr and to a file."""
    root = {"level": "DEBUG", "handlers": ["stderr", "memory"]}
    handlers = {
        "stderr": {"class": "logging.StreamHandler", "formatter": "structured"},
        "file": {"class": "logging.FileHandler", "filename": LOG, "formatter": "structured"},
        "memory": {"class": "logging.handlers.MemoryHandler", "capacity": 9, "target": "file"},
    }
    formatters = {"structured": {"()": "singer_sdk.logging.StructuredFormatter"}}
    config = {"version": 1, "root": root, "handlers": handlers, "formatters": formatters}
    # YAML, which all JSON is.
    return {"log.yaml": json.dumps({**config, "disable_existing_loggers": False})}


UNFORESEEN = {
    "int(participant_id)": "ValueError",
    "json.loads(answers['q-name'])": "JSONDecodeError",
    "record[submission_id]": "KeyError",
}


@fresh
@pytest.mark.parametrize(("expression", "error"), UNFORESEEN.items(), ids=UNFORESEEN.values())
def test_a_failure_that_nobody_foresaw_quotes_no_participant(
    expression: str, error: str, scene: Scene, world: MarkedWorld
) -> None:
    config = {
        "collection_ids": [world.spoil("diary").id],
        "answer_keys": "instruction_id",
        "stream_maps": {"responses": {"x": expression}},
    }
    synced, tested, structured = scene.run_all(
        lambda: scene.run(config=config),
        lambda: scene.run("--test", config=config),
        lambda: scene.run(config=config, files=logging_as_json(), env=STRUCTURED),
    )
    assert_tells_nothing(synced, tested, structured)
    for each in (synced, tested):
        assert each.code == 1
        assert '"stream":"instructions"' in each.records
        assert "Traceback (most recent call last)" in each.err
        assert f"{error}: <redacted>" in each.err
    logged = [json.loads(line) for line in structured.err.splitlines()]
    assert logged[-1]["exception"]["type"] == error
    assert logged[-1]["exception"]["message"] == "<redacted>"


def test_a_log_of_json_tells_nothing_and_stays_json(scene: Scene, world: MarkedWorld) -> None:
    spoilt = {"forbidden": API_FAULTS["forbidden"], "no-json": ARCHIVE_FAULTS["no-json"]}
    for id_, each in spoilt.items():
        damage = each.damage
        world.spoil(
            id_,
            replace(damage, request=call("POST", id_)) if isinstance(damage, Fault) else damage,
        )
    world.spoil("sound")
    written = scene.run(
        config={"collection_ids": [*spoilt, "sound"]},
        files=logging_as_json(),
        env=STRUCTURED,
    )
    assert_tells_nothing(written)
    assert written.code == 1
    for text in (written.err, written.files[LOG]):
        logged = [json.loads(line) for line in text.splitlines()]
        messages = [str(line["message"]) for line in logged]
        assert any("answers did not fit" in message for message in messages)
        assert any("zip?<redacted> HTTP" in message for message in messages)
        for spoilt_one in spoilt.values():
            assert any(spoilt_one.says in message for message in messages)
