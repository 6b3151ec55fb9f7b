"""The whole tap against the stand-in, in this process."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal

import pytest
from jsonschema import Draft7Validator

from tap_prolific_export.errors import FatalError
from tests.support.expected import KEYS, OF_RESPONSES, differences
from tests.support.stand_in import Fault, samples
from tests.support.tap import Catalog, answer_columns, deselect, deselect_streams, ids, schema_of
from tests.support.zips import pack, pack_export

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.stand_in import Hosted, World
    from tests.support.tap import Runner
    from tests.support.zips import Date


@pytest.mark.parametrize("lines", ["nested", "flat", "by task"])
@pytest.mark.parametrize("layout", [False, True], ids=["list only", "with layout"])
def test_what_is_emitted_equals_what_is_served(  # noqa: PLR0917
    lines: Literal["nested", "flat", "by task"],
    layout: bool,  # noqa: FBT001
    runner: Runner,
    world: World,
    collection: Hosted,
    batch: Hosted,
) -> None:
    batch.lines = lines
    collection.layout_in_archive = batch.layout_in_archive = layout
    out = runner.sync(**ids(collection, batch))
    if not layout:  # nothing tells of pages then
        for hosted in (collection, batch):
            hosted.layout = []
    assert differences(out.rows, world) == []


def test_every_record_follows_a_schema_that_it_fits_and_that_has_all_its_properties(
    runner: Runner, collection: Hosted, batch: Hosted
) -> None:
    known: dict[str, Any] = {}
    for message in runner.sync(**ids(collection, batch)).messages:
        if message["type"] == "SCHEMA":
            known[message["stream"]] = message["schema"]
        elif message["type"] == "RECORD":
            schema = known[message["stream"]]
            Draft7Validator(schema).validate(message["record"])
            properties = schema["properties"]
            assert message["record"].keys() <= properties.keys()
            answers = message["record"].get("answers", {})
            assert answers.keys() <= properties.get("answers", {}).get("properties", {}).keys()


def test_a_schema_is_written_only_when_it_has_changed(runner: Runner, world: World) -> None:
    hosted = [world.host(samples.breakfast_diary(1, id_=f"diary-{n}")) for n in range(3)]
    out = runner.sync(**ids(*hosted))
    assert len(out.rows("collections")) == 3
    assert len(out.of_type("SCHEMA")) == 6  # one a stream


def test_answer_keys_may_be_readable(runner: Runner, collection: Hosted) -> None:
    out = runner.sync(answer_keys="label", **ids(collection))
    key = "what_did_you_drink_" + hashlib.sha256(b"q-drink").hexdigest()[:8]
    answers = answer_columns(out.schema("responses"))
    assert answers[key] == {"type": ["string", "null"], "title": "What did you drink?"}
    assert {row["answers"][key] for row in out.rows("responses")} == {"tea", "coffee", "other"}
    keys = {row["instruction_id"]: row["answer_key"] for row in out.rows("instructions")}
    assert keys["q-drink"] == key


def test_a_workspace_stands_for_everything_in_it(
    runner: Runner, world: World, collection: Hosted, batch: Hosted
) -> None:
    world.host(samples.breakfast_diary(1, id_="elsewhere", workspace_id="another"))
    out = runner.sync(workspace_ids=[collection.workspace_id], collection_ids=[collection.id])
    found = [row["data_collection_id"] for row in out.rows("collections")]
    assert found == [collection.id, batch.id]


def test_without_responses_no_export_is_requested(
    runner: Runner, world: World, collection: Hosted, batch: Hosted
) -> None:
    catalog = runner.catalog(**ids(collection, batch))
    catalog = deselect_streams(catalog, *OF_RESPONSES)
    world.requests.clear()
    out = runner.sync(catalog, **ids(collection, batch))
    assert len(out.rows("collections")) == 2
    assert len(out.rows("instructions")) == len(collection.instructions) + len(batch.instructions)
    assert {row["exported_response_count"] for row in out.rows("collections")} == {None}
    assert [request.split()[0] for request in world.asked("api")] == ["GET", "GET"]
    assert world.asked("archives") == []


def test_a_legacy_batch_without_a_layout_is_described_by_its_instructions(
    runner: Runner, batch: Hosted
) -> None:
    batch.layout = []
    catalog = runner.catalog(**ids(batch))
    answers = answer_columns(schema_of(catalog, "responses"))
    assert answers.keys() == {"b-fits", "b-wrong", "b-better"}


def test_a_legacy_batch_that_the_api_no_longer_describes_is_described_by_its_archive(
    runner: Runner, world: World, batch: Hosted
) -> None:
    batch.layout = []
    world.faults = [Fault("api", "GET .*/instructions", times=99, status=410)]
    catalog = runner.catalog(**ids(batch))
    assert world.asked("api", "POST") == []
    catalog = deselect_streams(catalog, *OF_RESPONSES)
    out = runner.sync(catalog, **ids(batch))
    assert {row["instruction_id"] for row in out.rows("instructions")} == {
        question["id"] for question in batch.instructions
    }


def test_children_are_emitted_without_their_parent(runner: Runner, collection: Hosted) -> None:
    catalog = deselect(runner.catalog(**ids(collection)), "collections")
    out = runner.sync(catalog, **ids(collection))
    assert len(out.rows("responses")) == len(collection.submissions)
    assert out.of_type("SCHEMA", "collections") == []


def test_discovery_starts_no_export(runner: Runner, world: World, collection: Hosted) -> None:
    runner.catalog(**ids(collection))
    assert world.asked("api") == [f"GET /api/v1/data-collection/collections/{collection.id}"]


def test_with_a_catalog_nothing_is_looked_up(
    runner: Runner, world: World, collection: Hosted
) -> None:
    catalog = runner.catalog(**ids(collection))
    world.requests.clear()
    runner.sync(catalog, **ids(collection))
    path = f"/api/v1/data-collection/collections/{collection.id}"
    assert f"GET {path}" not in world.asked("api")
    assert f"POST {path}/export" in world.asked("api")


class TestACatalogOfAnEarlierDay:
    """Meltano passes a catalog that it has kept."""

    @pytest.fixture
    def catalog(self, runner: Runner, collection: Hosted) -> Catalog:
        return runner.catalog(**ids(collection))

    @pytest.fixture
    def asked_since(self, collection: Hosted) -> str:
        """A question that was added, and answered, after the catalog was made."""
        samples.add_question(collection)
        for submission in collection.submissions.values():
            submission.line["responses"]["q-new"] = {"value": "fine"}
        return "q-new"

    def test_a_new_question_is_not_dropped(
        self, runner: Runner, catalog: Catalog, asked_since: str, collection: Hosted
    ) -> None:
        out = runner.sync(catalog, **ids(collection))
        answers = answer_columns(out.schema("responses"))
        assert answers[asked_since]["title"] == "And today?"
        assert {row["answers"][asked_since] for row in out.rows("responses")} == {"fine"}

    def test_the_schema_grows_as_often_as_it_has_to(
        self, runner: Runner, catalog: Catalog, collection: Hosted, batch: Hosted, world: World
    ) -> None:
        answer_columns(schema_of(catalog, "responses")).clear()
        out = runner.sync(catalog, **ids(collection, batch))
        assert differences(out.rows, world) == []
        schemas = [
            answer_columns(message["schema"]).keys()
            for message in out.of_type("SCHEMA", "responses")
        ]
        assert [len(properties) for properties in schemas] == [9, 12]

    def test_a_column_that_it_lacks_is_not_dropped(
        self, runner: Runner, catalog: Catalog, collection: Hosted
    ) -> None:
        [entry] = [e for e in catalog["streams"] if e["tap_stream_id"] == "responses"]
        del entry["schema"]["properties"]["participant_id"]
        entry["metadata"] = [
            m for m in entry["metadata"] if m["breadcrumb"] != ["properties", "participant_id"]
        ]
        out = runner.sync(catalog, **ids(collection))
        assert all(row["participant_id"] for row in out.rows("responses"))

    @pytest.mark.usefixtures("asked_since")
    def test_what_is_deselected_stays_so(
        self, runner: Runner, catalog: Catalog, collection: Hosted
    ) -> None:
        catalog = deselect(catalog, "responses", "answers", "q-name")
        catalog = deselect(catalog, "responses", "participant_id")
        out = runner.sync(catalog, **ids(collection))
        properties = out.schema("responses")["properties"]
        assert "participant_id" not in properties
        assert "q-name" not in properties["answers"]["properties"]
        for row in out.rows("responses"):
            assert "participant_id" not in row
            assert "q-name" not in row["answers"]
            assert row["answers"]["q-new"] == "fine"

    @pytest.mark.usefixtures("asked_since")
    def test_deselected_answers_hide_new_ones_too(
        self, runner: Runner, catalog: Catalog, collection: Hosted
    ) -> None:
        catalog = deselect(catalog, "responses", "answers")
        out = runner.sync(catalog, **ids(collection))
        assert "answers" not in out.schema("responses")["properties"]
        assert not any("answers" in row for row in out.rows("responses"))


@pytest.mark.parametrize("keys", ["instruction_id", "label"])
def test_stream_maps_flattening_and_deselection_work_together(
    keys: str, runner: Runner, collection: Hosted
) -> None:
    config = {**ids(collection), "answer_keys": keys}
    key = {
        row["instruction_id"]: row["answer_key"]
        for row in runner.sync(**config).rows("instructions")
    }
    catalog = deselect(runner.catalog(**config), "responses", "answers", key["q-name"])
    out = runner.sync(
        catalog,
        **config,
        stream_maps={"responses": {"participant_id": "md5(participant_id)"}},
        flattening_enabled=True,
        flattening_max_depth=2,
    )
    properties = out.schema("responses")["properties"]
    assert properties[f"answers__{key['q-weight']}__value"]["type"] == ["number", "null"]
    assert f"answers__{key['q-name']}" not in properties
    for row, submission in zip(out.rows("responses"), collection.submissions.values(), strict=True):
        digest = hashlib.md5(submission.line["participant_id"].encode(), usedforsecurity=False)
        assert row["participant_id"] == digest.hexdigest()
        assert row[f"answers__{key['q-minutes']}"] == submission.expected[None]["q-minutes"]
        assert row.keys() <= properties.keys()


UUID = "5f8e3c2a-1d4b-4e6f-9a7c-2b0d8f3e1c5a"


class TestArchivesOnDisk:
    @pytest.fixture
    def folder(self, tmp_path: Path, collection: Hosted, batch: Hosted) -> Path:
        for hosted in (collection, batch):
            hosted.save_archive(tmp_path)
        return tmp_path

    def test_a_glob_of_archives_gives_what_the_api_gives(
        self, runner: Runner, folder: Path, world: World, collection: Hosted, batch: Hosted
    ) -> None:
        out = runner.sync(archive_paths=[f"{folder}/*-export-*.zip"], api_token=None)
        assert differences(out.rows, world) == []
        assert world.requests == []
        again = runner.sync(**ids(collection, batch))

        def alike(row: dict[str, Any]) -> str:
            about = {"export_id", "exported_at", "full_exported_at", "modified_at"}
            return json.dumps({k: v for k, v in row.items() if k not in about}, sort_keys=True)

        for stream in KEYS:
            rows, api_rows = out.rows(stream), again.rows(stream)
            assert sorted(map(alike, rows)) == sorted(map(alike, api_rows))

    @pytest.mark.parametrize(
        ("metadata", "name", "id_", "export_id"),
        [
            ("{}", "c1-export.zip", "c1", None),
            ("{}", "c1-export-20261123-090000.zip", "c1", None),
            ("{}", f"c1-export-{UUID}.zip", "c1", UUID),
            ('{"id": "c1"}', f"c1-export-{UUID}.zip", "c1", UUID),
            ('{"id": "c1"}', f"c2-export-{UUID}.zip", "c1", None),
            ('{"id": "c1"}', f"{UUID}.zip", "c1", None),
        ],
    )
    def test_a_file_name_tells_the_ids(  # noqa: PLR0917
        self,
        metadata: str,
        name: str,
        id_: str,
        export_id: str | None,
        runner: Runner,
        tmp_path: Path,
    ) -> None:
        line = '{"submission_id": "s1", "participant_id": "p1", "responses": {}}'
        archive = pack_export(collection=metadata, responses=line)
        (tmp_path / name).write_bytes(archive)
        out = runner.sync(archive_paths=[f"{tmp_path}/*.zip"], api_token=None)
        for stream in ("collections", "responses"):
            [row] = out.rows(stream)
            assert (row["data_collection_id"], row["export_id"]) == (id_, export_id)

    def test_archives_have_state_of_their_own(
        self, runner: Runner, folder: Path, collection: Hosted
    ) -> None:
        out = runner.sync(archive_paths=[f"{folder}/{collection.id}*.zip"], **ids(collection))
        bookmarks = out.of_type("STATE")[-1]["value"]["bookmarks"]
        [path] = folder.glob(f"{collection.id}*.zip")
        for stream in KEYS:
            on_disk, of_api = [each["context"] for each in bookmarks[stream]["partitions"]]
            assert of_api == {"data_collection_id": collection.id}
            assert on_disk.pop("archive").startswith(f"{path.stat().st_size}-")
            assert on_disk == of_api
        assert not any("archive" in row for stream in KEYS for row in out.rows(stream))

    def test_archives_are_delivered_oldest_first_and_dated_by_their_members(
        self, runner: Runner, tmp_path: Path
    ) -> None:
        for name, year in (("b", 2024), ("a", 2026), ("c", 2025)):
            members = {"collection.json": '{"id": "x"}', "responses.jsonl": ""}
            (tmp_path / f"{name}.zip").write_bytes(pack(members, date=(year, 1, 2, 3, 4, 6)))
        out = runner.sync(archive_paths=[f"{tmp_path}/*.zip"], api_token=None)
        assert [row["exported_at"] for row in out.rows("collections")] == [
            f"{year}-01-02T03:04:06+00:00" for year in (2024, 2025, 2026)
        ]

    @pytest.mark.parametrize(
        "date", [(1980, 1, 1, 0, 0, 0), (1980, 1, 1, 12, 1, 0), (1980, 2, 1, 0, 0, 0)]
    )
    def test_where_no_member_has_a_date_the_time_of_the_file_counts(
        self, date: Date, runner: Runner, tmp_path: Path
    ) -> None:
        for name, year in (("b", 2024), ("a", 2026), ("c", 2025)):
            lines = f'{{"submission_id": "s", "year": {year}}}'
            members = {"collection.json": '{"id": "x"}', "responses.jsonl": lines, "files/s": ""}
            path = tmp_path / f"{name}.zip"
            path.write_bytes(pack(members, date=date))
            written = datetime(year, 5, 6, tzinfo=timezone.utc).timestamp()
            os.utime(path, (written, written))
        out = runner.sync(archive_paths=[f"{tmp_path}/*.zip"], api_token=None)
        rows = out.rows("responses")
        assert [row["exported_at"] for row in rows] == [
            f"{year}-05-06T00:00:00+00:00" for year in (2024, 2025, 2026)
        ]
        assert [json.loads(row["additional_fields"])["year"] for row in rows] == [2024, 2025, 2026]
        assert {row["modified_at"] for row in out.rows("files")} == {None}

    def test_of_archives_whose_members_have_one_date_the_newer_file_comes_last(
        self, runner: Runner, tmp_path: Path
    ) -> None:
        for name, year in (("b", 2024), ("a", 2026), ("c", 2025)):
            members = {"collection.json": f'{{"id": "x", "name": "{name}"}}', "responses.jsonl": ""}
            path = tmp_path / f"{name}.zip"
            path.write_bytes(pack(members, date=(2010, 1, 1, 0, 0, 0)))
            written = datetime(year, 5, 6, tzinfo=timezone.utc).timestamp()
            os.utime(path, (written, written))
        out = runner.sync(archive_paths=[f"{tmp_path}/*.zip"], api_token=None)
        assert [row["name"] for row in out.rows("collections")] == ["b", "c", "a"]

    @pytest.mark.parametrize("discovered", [True, False], ids=["run", "with a catalog"])
    @pytest.mark.parametrize("empty", ["drop/*.zip", "drop/**/*.zip", "nowhere/[ab].zip", "dro?"])
    def test_a_glob_may_match_nothing(  # noqa: PLR0917
        self,
        empty: str,
        discovered: bool,  # noqa: FBT001
        runner: Runner,
        folder: Path,
        collection: Hosted,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        (folder / "drop").mkdir()
        good = f"{folder}/{collection.id}*.zip"
        config: dict[str, Any] = {"archive_paths": [f"{folder}/{empty}", good], "api_token": None}
        catalog = None if discovered else runner.catalog(**config)
        out = runner.sync(catalog, **config)
        assert len(out.rows("responses")) == 8
        [warning] = [each.getMessage() for each in caplog.records if each.levelname == "WARNING"]
        assert warning == f"archive_paths: item 1 matches no file: {folder}/{empty}"

    def test_no_archive_at_all_is_no_error(
        self, runner: Runner, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        out = runner.sync(archive_paths=[f"{tmp_path}/*.zip"], api_token=None)
        assert out.of_type("RECORD") == []
        assert out.schema("collections")
        assert "item 1 matches no file" in caplog.text

    def test_a_path_without_a_file_fails_alone(
        self, runner: Runner, folder: Path, collection: Hosted
    ) -> None:
        good = f"{folder}/{collection.id}*.zip"
        config: dict[str, Any] = {"archive_paths": [f"{folder}/x.zip", good], "api_token": None}
        out = runner.sync_and_fail(**config)
        assert f"archive {folder}/x.zip" in out.error
        assert "Cannot be read (No such file or directory)" in out.error
        assert len(out.rows("responses")) == 8
        assert out.state["bookmarks"]["responses"]["partitions"]

    def test_folders_that_a_glob_matches_are_no_archives(
        self, runner: Runner, folder: Path
    ) -> None:
        (folder / "done").mkdir()
        out = runner.sync(archive_paths=[f"{folder}/*"], api_token=None)
        assert len(out.rows("collections")) == 2

    def test_a_name_with_a_bracket_is_a_path_where_there_is_such_a_file(
        self, runner: Runner, folder: Path, collection: Hosted
    ) -> None:
        [path] = folder.glob(f"{collection.id}*.zip")
        path.rename(folder / "export [1].zip")
        out = runner.sync(archive_paths=[f"{folder}/export [1].zip"], api_token=None)
        assert len(out.rows("responses")) == 8

    def test_discovery_reads_the_archives(self, runner: Runner, folder: Path) -> None:
        catalog = runner.catalog(archive_paths=[f"{folder}/*.zip"], api_token=None)
        answers = answer_columns(schema_of(catalog, "responses"))
        assert {"q-stars", "b-fits"} <= answers.keys()


class TestOneStudyOfSeveral:
    @pytest.fixture
    def other_study(self, collection: Hosted) -> str:
        first = next(iter(collection.submissions.values()))
        first.study_id = first.line["study_id"] = "the-other-study"
        return first.study_id

    def test_only_its_responses_are_emitted(
        self, runner: Runner, other_study: str, collection: Hosted
    ) -> None:
        out = runner.sync(study_id=other_study, **ids(collection))
        assert [row["study_id"] for row in out.rows("responses")] == [other_study]
        [row] = out.rows("collections")
        assert row["exported_response_count"] == 1
        assert json.loads(row["export_filter"]) == {"study_id": other_study}

    def test_studies_that_cannot_be_told_apart_are_not_mixed(
        self, runner: Runner, other_study: str, world: World, collection: Hosted
    ) -> None:
        for submission in collection.submissions.values():
            del submission.line["study_id"]
        if world.generation == "fresh":  # the API has chosen them
            out = runner.sync(study_id=other_study, **ids(collection))
            assert len(out.rows("responses")) == 1
        else:
            with pytest.raises(FatalError):
                runner.sync(study_id=other_study, **ids(collection))


class TestFromADateOn:
    def test_the_result_does_not_depend_on_the_generation(
        self, runner: Runner, collection: Hosted, batch: Hosted
    ) -> None:
        start = samples.breakfast(5).submitted_at  # of 8; of the batch's 5 none is as late
        out = runner.sync(start_date=start.isoformat(), **ids(collection, batch))
        wanted = {
            submission.line["submission_id"]
            for submission in collection.submissions.values()
            if submission.submitted_at >= start
        }
        for stream in ("responses", "answers"):
            assert {row["submission_id"] for row in out.rows(stream)} == wanted
        assert len(out.rows("responses")) == 3
        assert {row["submission_id"] for row in out.rows("files")} <= wanted
        assert out.rows("tasks") == []

    def test_what_does_not_say_when_it_was_done_is_kept(
        self, runner: Runner, world: World, collection: Hosted
    ) -> None:
        for submission in collection.submissions.values():
            submission.line["created_at"] = submission.line.pop("submitted_at")
        start = samples.breakfast(5).submitted_at
        out = runner.sync(start_date=start.isoformat(), **ids(collection))
        assert len(out.rows("responses")) == (3 if world.generation == "fresh" else 8)


class TestOneBadDataCollection:
    def test_the_others_are_delivered_and_the_run_fails(
        self,
        runner: Runner,
        world: World,
        collection: Hosted,
        batch: Hosted,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        world.forbidden.add(collection.id)
        out = runner.sync_and_fail(**ids(collection, batch))
        assert re.match(r"Failed: 1,.*Delivered: 1\.", out.error)
        found = {m["record"]["data_collection_id"] for m in out.of_type("RECORD")}
        assert found == {batch.id}
        assert f"collection {collection.id}: Tried to request an export" in caplog.text

    def test_a_token_that_is_not_valid_ends_the_run_at_once(
        self, runner: Runner, world: World, collection: Hosted, batch: Hosted
    ) -> None:
        catalog = runner.catalog(**ids(collection, batch))
        world.requests.clear()
        with pytest.raises(FatalError):
            runner.sync(catalog, api_token="wrong", **ids(collection, batch))
        assert len(world.asked("api")) == 1

    @pytest.mark.parametrize(
        ("archive", "says"),
        [
            (b"no ZIP", "The archive is damaged or not a ZIP"),
            (pack_export(), "It has neither collection.json nor batch.json nor responses.jsonl"),
            (pack_export(collection="{}"), "It has neither responses.jsonl nor"),
            (
                pack_export(collection="{}", responses="{}\n\n{"),
                "responses.jsonl, line 3, is no valid",
            ),
        ],
        ids=["no ZIP", "no metadata", "no responses", "a bad line"],
    )
    def test_a_bad_archive_fails_its_data_collection_only_and_once_for_all_streams(  # noqa: PLR0917
        self,
        archive: bytes,
        says: str,
        runner: Runner,
        world: World,
        collection: Hosted,
        batch: Hosted,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        catalog = runner.catalog(**ids(collection, batch))
        world.faults = [Fault("archives", "", status=200, body=archive)]
        with pytest.raises(FatalError, match=r"Failed: 1,.*Delivered: 1\."):
            runner.sync(catalog, **ids(collection, batch))
        assert caplog.text.count(f"collection {collection.id}: {says}") == 1

    def test_discovery_passes_over_it_with_a_warning(
        self,
        runner: Runner,
        world: World,
        collection: Hosted,
        batch: Hosted,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        world.forbidden.add(collection.id)
        catalog = runner.catalog(**ids(collection, batch))
        assert "b-fits" in answer_columns(schema_of(catalog, "responses"))
        assert f"collection {collection.id}" in caplog.text


def test_answers_that_do_not_fit_are_kept_and_counted(
    runner: Runner, collection: Hosted, caplog: pytest.LogCaptureFixture
) -> None:
    first = next(iter(collection.submissions.values()))
    first.line["responses"]["q-minutes"] = {"value": "a few"}
    with caplog.at_level(logging.WARNING):
        out = runner.sync(**ids(collection))
    [row] = [r for r in out.rows("responses") if r["submission_id"] == first.line["submission_id"]]
    assert row["answers"]["q-minutes"] is None
    assert json.loads(row["additional_fields"]) == {"answers": {"q-minutes": {"value": "a few"}}}
    [warning] = [r.message for r in caplog.records if "did not fit" in r.message]
    assert warning.startswith(f"collection {collection.id}: 1 answers did not fit")
    assert "a few" not in warning
