"""What the streams add to the rows: growth, hiding, failing, and how often STATE is written."""

from __future__ import annotations

import json
import logging
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from tap_prolific_export.errors import DataCollectionError
from tap_prolific_export.rows.files import FileFinder
from tap_prolific_export.settings import Settings
from tap_prolific_export.singer.state import INTERVAL_SECONDS, SMALL, ThrottledStateWriter
from tap_prolific_export.singer.sync import foreseen
from tap_prolific_export.snapshots.source import SnapshotSource
from tests.support.stand_in import Fault, samples
from tests.support.tap import answer_columns, deselect, ids
from tests.support.zips import pack_export

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.stand_in import Hosted, World
    from tests.support.tap import Runner


def first_line(hosted: Hosted) -> dict[str, Any]:
    return next(iter(hosted.submissions.values())).line


class TestUploads:
    def test_a_file_that_no_answer_names_belongs_to_the_submission_of_its_name(
        self, runner: Runner, collection: Hosted
    ) -> None:
        line = first_line(collection)
        del line["responses"]["q-photo"]
        out = runner.sync(**ids(collection))
        [row] = [r for r in out.rows("files") if line["submission_id"] in r["path"]]
        assert row["submission_id"] == line["submission_id"]
        assert row["participant_id"] == line["participant_id"]
        assert row["instruction_id"] is None

    def test_a_file_is_found_by_its_name_where_the_answer_has_another_stores_key(
        self, runner: Runner, collection: Hosted
    ) -> None:
        line = first_line(collection)
        name = f"{line['submission_id']}_table 0.png"
        line["responses"]["q-photo"] = {"answer": [{"file_key": f"bucket/2026/{name}"}]}
        out = runner.sync(**ids(collection))
        [row] = [r for r in out.rows("files") if r["path"] == f"files/{name}"]
        assert row["instruction_id"] == "q-photo"
        [answer] = [r for r in out.rows("answers") if r["file_path"] == f"files/{name}"]
        assert "bucket/2026" in answer["raw"]

    def test_a_file_that_nobody_claims_is_a_row_of_its_own(
        self, runner: Runner, collection: Hosted
    ) -> None:
        submission = next(iter(collection.submissions.values()))
        submission.uploads["stray.bin"] = b"stray"
        out = runner.sync(**ids(collection))
        [row] = [r for r in out.rows("files") if r["path"] == "files/stray.bin"]
        assert row["submission_id"] is None
        assert row["size_bytes"] == 5
        assert row["crc32"] == f"{zlib.crc32(b'stray'):08x}"

    def test_in_a_batch_the_answer_tells_the_task(self, runner: Runner, batch: Hosted) -> None:
        submission = next(iter(batch.submissions.values()))
        name = f"{submission.line['submission_id']}_why.webm"
        submission.uploads[name] = b"film"
        submission.line["tasks"][2]["responses"]["b-better"] = {"path": f"files/{name}"}
        out = runner.sync(**ids(batch))
        [row] = out.rows("files")
        assert row["task_id"] == "task-2"
        assert row["instruction_id"] == "b-better"

    def test_with_one_study_wanted_files_of_others_are_left_out(
        self, runner: Runner, collection: Hosted
    ) -> None:
        submission = next(iter(collection.submissions.values()))
        submission.study_id = submission.line["study_id"] = "another"
        out = runner.sync(study_id=samples.STUDY, **ids(collection))
        owners = {row["submission_id"] for row in out.rows("files")}
        assert owners
        assert not owners & {submission.line["submission_id"], None}


class TestTasks:
    def test_a_task_without_a_submission_comes_from_the_file_by_task(
        self, runner: Runner, world: World, batch: Hosted
    ) -> None:
        lines = {"responses-by-submission": "", "responses-by-task": '{"task_id": "t", "n": 1}'}
        world.faults = [Fault("archives", "", status=200, body=pack_export(batch="{}", **lines))]
        out = runner.sync(**ids(batch))
        [row] = out.rows("tasks")
        assert (row["task_id"], row["datapoint"]) == ("t", None)
        assert json.loads(row["additional_fields"]) == {"n": 1}

    def test_lines_of_the_file_by_task_that_name_no_task_are_counted_in_a_warning(
        self,
        runner: Runner,
        world: World,
        batch: Hosted,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        by_task = '{"task_id": "t"}\n{"n": 1}\n{"task_id": ""}\n'
        lines = {"responses-by-submission": "", "responses-by-task": by_task}
        world.faults = [Fault("archives", "", status=200, body=pack_export(batch="{}", **lines))]
        out = runner.sync(**ids(batch))
        assert [row["task_id"] for row in out.rows("tasks")] == ["t"]
        assert "2 lines of responses-by-task.jsonl name no task" in caplog.text

    def test_other_data_of_the_same_task_is_not_lost(
        self, runner: Runner, world: World, batch: Hosted
    ) -> None:
        line = '{"submission_id": "%s", "task_id": "t", "metadata": {"n": %d}}\n'
        text = line % ("a", 1) + line % ("b", 1) + line % ("c", 2)
        archive = pack_export(batch="{}", **{"responses-by-submission": text})
        world.faults = [Fault("archives", "", status=200, body=archive)]
        out = runner.sync(**ids(batch))
        assert [row["datapoint"] for row in out.rows("tasks")] == ['{"n":1}', '{"n":2}']


def test_two_lines_of_one_submission_are_both_kept(
    runner: Runner, world: World, collection: Hosted
) -> None:
    text = "".join(f'{{"submission_id": "s", "responses": {{"q-name": "{n}"}}}}\n' for n in "1212")
    metadata = json.dumps({"instructions": collection.instructions})
    archive = pack_export(collection=metadata, responses=text)
    world.faults = [Fault("archives", "", status=200, body=archive)]
    out = runner.sync(**ids(collection))
    found = {row["response_id"]: row["answers"]["q-name"] for row in out.rows("responses")}
    assert found.keys() == {"s", "s:2"}
    assert {*found.values()} == {"1", "2"}
    long = {row["response_id"]: row["value"] for row in out.rows("answers")}
    assert long == found
    [row] = out.rows("collections")
    assert row["exported_response_count"] == 2


class TestWhatIsHidden:
    @pytest.fixture
    def misfit(self, collection: Hosted) -> str:
        """A value that does not fit its column, and may not leave by another."""
        first_line(collection)["responses"]["q-minutes"] = {"value": "PRIVATE"}
        return "PRIVATE"

    def test_a_deselected_answer_is_in_no_other_column(
        self, runner: Runner, misfit: str, collection: Hosted
    ) -> None:
        catalog = runner.catalog(**ids(collection))
        catalog = deselect(catalog, "responses", "answers", "q-minutes")
        out = runner.sync(catalog, **ids(collection))
        assert misfit not in json.dumps(out.rows("responses"))
        assert misfit in json.dumps(out.rows("answers"))  # a stream of its own

    def test_without_answers_at_all_none_is_in_another_column(
        self, runner: Runner, misfit: str, collection: Hosted
    ) -> None:
        first_line(collection)["responses"]["unknown"] = {"value": misfit}
        catalog = deselect(runner.catalog(**ids(collection)), "responses", "answers")
        catalog = deselect(catalog, "answers")
        assert misfit not in json.dumps(runner.sync(catalog, **ids(collection)).messages)

    def test_a_frozen_schema_takes_no_new_question(
        self, runner: Runner, collection: Hosted, caplog: pytest.LogCaptureFixture
    ) -> None:
        catalog = runner.catalog(**ids(collection))
        samples.add_question(collection)
        first_line(collection)["responses"]["q-new"] = {"value": "PRIVATE"}
        catalog = deselect(catalog, "answers")
        with caplog.at_level(logging.WARNING):
            out = runner.sync(catalog, freeze_schema=True, **ids(collection))
        assert "q-new" not in answer_columns(out.schema("responses"))
        assert "PRIVATE" not in json.dumps(out.rows("responses"))
        assert "answers to 1 questions that the catalog does not have are left out" in caplog.text
        assert len(out.rows("responses")) == len(collection.submissions)


ROW = ("RECORD", "collections")


class TestWhenAllWasDelivered:
    """`full_exported_at` says so; rows that are older have been withdrawn since."""

    def test_an_export_of_everything_says_when(self, runner: Runner, collection: Hosted) -> None:
        [row] = runner.sync(**ids(collection)).rows("collections")
        assert row["full_exported_at"] == row["exported_at"]

    @pytest.mark.parametrize(
        "narrowed", [{"study_id": samples.STUDY}, {"start_date": "2026-01-01"}], ids=str
    )
    def test_a_narrowed_export_does_not(
        self, narrowed: dict[str, Any], runner: Runner, collection: Hosted
    ) -> None:
        [row] = runner.sync(**narrowed, **ids(collection)).rows("collections")
        assert row["full_exported_at"] is None

    def test_nor_does_one_on_which_a_later_stream_has_failed(
        self,
        runner: Runner,
        batch: Hosted,
        world: World,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def fail(*_: Any, **__: Any) -> Any:
            raise DataCollectionError("x", "Broken.", "")

        monkeypatch.setattr(FileFinder, "rows", fail)
        [row] = runner.sync_and_fail(**ids(batch)).rows("collections")
        assert row["exported_response_count"] == 5 * len(samples.CAPTION_TEXTS)
        assert row["full_exported_at"] is None
        assert len(world.jobs["batches", batch.id]) == 1

    def test_nor_does_one_of_which_the_responses_were_not_read(
        self, runner: Runner, collection: Hosted
    ) -> None:
        catalog = deselect(runner.catalog(**ids(collection)), "responses")
        [row] = runner.sync(catalog, **ids(collection)).rows("collections")
        assert row["full_exported_at"] is None


def test_a_schema_is_not_written_again_for_each_of_many(runner: Runner, world: World) -> None:
    hosted = []
    for number in range(12):
        made = world.host(samples.breakfast_diary(1, id_=f"diary-{number}"))
        for question in made.instructions:
            question["id"] += f"-{number}"
        made.layout = []
        for submission in made.submissions.values():
            line = submission.line
            line["responses"] = {f"{k}-{number}": v for k, v in line["responses"].items()}
        made.layout = [{"id": "p", "order": 0, "page_items": made.instructions}]
        hosted.append(made)
    catalog = runner.catalog(**ids(hosted[0]))
    out = runner.sync(catalog, **ids(*hosted))
    sizes = [len(answer_columns(m["schema"])) for m in out.of_type("SCHEMA", "responses")]
    assert sizes == [9, 18, 27, 36, 108]
    for row in out.rows("responses"):
        assert len(row["answers"]) >= 8


def test_looking_ahead_fails_nothing(runner: Runner, world: World, collection: Hosted) -> None:
    config = {"collection_ids": [collection.id], "workspace_ids": ["w"]}
    settings = Settings.from_config({**runner.config, **config})
    source = SnapshotSource(settings)
    world.faults = [Fault("api", "workspace_id=w", times=99, status=403)]
    assert len(foreseen(source)) == 1
    world.faults = [Fault("api", "", times=99, status=401)]
    assert foreseen(source) == []


class Written:
    """A state writer on a clock that the test moves, and what it wrote."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.states: list[Any] = []
        self.now = 100.0
        self.state = state
        self.writer = ThrottledStateWriter(state, self._write, lambda: self.now)

    def _write(self, state: Mapping[str, Any]) -> None:
        self.states.append(json.loads(json.dumps(state)))

    def numbers(self) -> list[int]:
        return [state["bookmarks"]["responses"]["number"] for state in self.states]


def test_state_is_written_at_most_every_ten_seconds_and_when_told() -> None:
    bookmark = {"number": 1}
    written = Written({"bookmarks": {"responses": bookmark}})  # it changes deep inside
    written.writer.checkpoint()
    assert written.states == []
    written.now += INTERVAL_SECONDS
    bookmark["number"] = 2
    written.writer.checkpoint()
    bookmark["number"] = 3
    written.writer.checkpoint()
    assert written.numbers() == [2]
    bookmark["number"] = 4
    written.writer.flush()
    written.writer.flush()
    assert written.numbers() == [2, 4]


@pytest.mark.parametrize("streams", [1, 2])
def test_what_must_not_be_lost_is_written_at_once_unless_the_state_is_large(streams: int) -> None:
    """With a thousand data collections, each of them would have all written anew."""

    def state_of(partitions: int, *, changed: bool) -> Any:
        each = {"partitions": [{"changed": changed}] * (partitions // streams)}
        return {"bookmarks": {f"stream-{number}": each for number in range(streams)}}

    written = Written(state_of(SMALL, changed=False))
    written.writer.write_soon()
    assert len(written.states) == 1
    written.state.update(state_of(SMALL + streams, changed=True))
    written.writer.write_soon()
    assert len(written.states) == 1
    written.now += INTERVAL_SECONDS
    written.writer.write_soon()
    assert len(written.states) == 2
