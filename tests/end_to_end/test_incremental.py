"""Runs that follow each other: what each asks for, what it emits, and what the state says."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tap_prolific_export.archive.http_source import TAIL
from tests.support import tap
from tests.support.clocks import NOW, Clock
from tests.support.expected import OF_RESPONSES, differences
from tests.support.generations import fresh, idempotent
from tests.support.memory_target import MemoryTarget
from tests.support.stand_in import Fault, Submission, World, samples
from tests.support.stand_in.samples import add
from tests.support.tap import Output, Runner, deselect, deselect_streams, entry, ids, submissions
from tests.support.zips import pack, pack_export

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.stand_in import Hosted


@pytest.fixture
def sample(collection: Hosted) -> Hosted:
    """The diary, in which nobody has answered within the last days."""
    assert all(s.submitted_at < NOW - timedelta(days=8) for s in collection.submissions.values())
    return collection


class TestTheDelta:
    def test_the_next_run_emits_what_has_come_since(
        self, runner: Runner, world: World, clock: Clock, sample: Hosted
    ) -> None:
        first = runner.sync(**ids(sample))
        clock.advance(days=2)
        new = add(world, sample, 100, clock.now - timedelta(hours=1))
        clock.advance(minutes=1)
        second = runner.sync(state=first.state, **ids(sample))
        for stream in ("responses", "answers", "files"):
            assert submissions(second, stream) == {new}
        assert second.rows("instructions") == []
        assert len(second.rows("collections")) == 1

    def test_it_asks_from_the_bookmark_less_the_lookback(
        self, runner: Runner, world: World, clock: Clock, sample: Hosted
    ) -> None:
        first = runner.sync(**ids(sample))
        clock.advance(days=2)
        world.requests.clear()
        catalog = runner.catalog(**ids(sample))
        runner.sync(catalog, first.state, lookback_seconds=3600, **ids(sample))
        [post] = world.asked("api", "POST")
        assert post.endswith("/export?from=2026-11-25T11%3A00%3A00%2B00%3A00")

    @pytest.mark.parametrize("lookback", [0, 3600, 86_400])
    def test_what_lies_within_the_lookback_comes_again(
        self, lookback: int, runner: Runner, world: World, clock: Clock, sample: Hosted
    ) -> None:
        ages = [1800, 5400, 82_800, 88_200, 172_800]
        added = {
            add(world, sample, 100 + number, NOW - timedelta(seconds=age)): age
            for number, age in enumerate(ages)
        }
        first = runner.sync(**ids(sample))
        clock.advance(minutes=1)
        second = runner.sync(state=first.state, lookback_seconds=lookback, **ids(sample))
        # Where the API does not choose, another hour is taken: its archive may be that old.
        reach = lookback + (3600 if world.generation == "idempotent" else 0)
        assert submissions(second) == {id_ for id_, age in added.items() if age <= reach}

    def test_a_late_response_comes_with_the_lookback(
        self, runner: Runner, world: World, clock: Clock, sample: Hosted
    ) -> None:
        late = add(world, sample, 100, NOW - timedelta(minutes=5), active=False)
        first = runner.sync(**ids(sample))
        assert late not in submissions(first)
        sample.submissions[late].active_at = clock.now
        clock.advance(hours=3)
        second = runner.sync(state=first.state, **ids(sample))
        assert late in submissions(second)

    def test_a_file_that_nobody_claims_does_not_say_when_it_came(
        self, runner: Runner, world: World, clock: Clock, sample: Hosted
    ) -> None:
        first = runner.sync(**ids(sample))
        clock.advance(days=2)
        new = add(world, sample, 100, clock.now)
        sample.submissions[new].uploads["stray.bin"] = b"stray"
        second = runner.sync(state=first.state, **ids(sample))
        [uploaded] = [name for name in sample.submissions[new].uploads if new in name]
        paths = {row["path"] for row in second.rows("files")}
        assert paths == {f"files/{uploaded}", "files/stray.bin"}

    def test_an_api_that_refuses_from_gives_the_same(
        self, runner: Runner, world: World, clock: Clock, sample: Hosted
    ) -> None:
        first = runner.sync(**ids(sample))
        clock.advance(days=2)
        new = add(world, sample, 100, clock.now)
        world.takes_from = False
        assert submissions(runner.sync(state=first.state, **ids(sample))) == {new}

    @fresh
    def test_what_the_api_has_chosen_stands_by_whatever_time(
        self, runner: Runner, world: World, clock: Clock, sample: Hosted
    ) -> None:
        first = runner.sync(**ids(sample))
        clock.advance(days=2)
        new = add(world, sample, 100, clock.now)
        sample.submissions[new].line["submitted_at"] = "2020-01-01T00:00:00Z"
        assert submissions(runner.sync(state=first.state, **ids(sample))) == {new}

    def test_responses_that_do_not_say_when_they_were_done_are_not_left_out(
        self, runner: Runner, world: World, clock: Clock, sample: Hosted
    ) -> None:
        first = runner.sync(**ids(sample))
        for submission in sample.submissions.values():
            submission.line["created_at"] = submission.line.pop("submitted_at")
        clock.advance(days=2)
        second = runner.sync(state=first.state, **ids(sample))
        everything = world.generation == "idempotent"
        assert submissions(second) == (set(sample.submissions) if everything else set())

    def test_start_date_bounds_what_a_bookmark_does_not(
        self, runner: Runner, clock: Clock, sample: Hosted
    ) -> None:
        start = samples.breakfast(5).submitted_at
        config: dict[str, Any] = {"start_date": start.isoformat(), **ids(sample)}
        first = runner.sync(**config)
        assert len(submissions(first)) == 3
        clock.advance(days=2)
        second = runner.sync(state=first.state, lookback_seconds=10**9, **config)
        assert submissions(second) == submissions(first)

    def test_a_bookmark_that_lies_ahead_of_our_clock_is_not_capped(
        self, runner: Runner, clock: Clock, sample: Hosted
    ) -> None:
        """The SDK would cap it to the start of the run: Prolific's clock may be ahead of ours."""
        clock.advance(days=365)
        state = runner.sync(**ids(sample)).state
        value = entry(state, "responses", sample)["replication_key_value"]
        assert datetime.fromisoformat(value) == clock.now

    def test_an_empty_export_moves_the_bookmark(
        self, runner: Runner, clock: Clock, sample: Hosted
    ) -> None:
        sample.submissions.clear()
        first = runner.sync(**ids(sample))
        clock.advance(hours=1)
        second = runner.sync(state=first.state, **ids(sample))
        for stream in (*OF_RESPONSES, "instructions"):
            value = entry(second.state, stream, sample)["replication_key_value"]
            assert datetime.fromisoformat(value) == clock.now

    def test_with_shared_ids_none_takes_the_others_place(
        self, runner: Runner, world: World, clock: Clock, sample: Hosted
    ) -> None:
        """Only one of two lines of one id is new: it keeps the id that it has beside the other."""
        target = MemoryTarget()
        lines = [{"submission_id": "s", "n": n, "submitted_at": NOW.isoformat()} for n in range(4)]
        for number, line in enumerate(lines):
            line["submitted_at"] = (NOW + timedelta(days=number)).isoformat()
            sample.submissions[f"s{number}"] = Submission(
                line, NOW + timedelta(days=number), "x", active_at=NOW + timedelta(days=number)
            )
        for _ in lines:
            config = {"lookback_seconds": 10**9} if world.generation == "fresh" else {}
            target.load(runner.sync(None, target.state, **config, **ids(sample)).text)
            clock.advance(days=1)
        found = [row for row in target.rows("responses") if row["submission_id"] == "s"]
        assert len(found) == 4
        assert {json.loads(row["additional_fields"])["n"] for row in found} == {0, 1, 2, 3}


def of(hosted: Hosted) -> dict[str, Any]:
    """Return metadata with questions: without, they would be looked for in the lines."""
    return {"id": hosted.id, "instructions": hosted.instructions}


class TestStreams:
    def test_one_that_is_selected_later_begins_at_the_beginning(
        self, runner: Runner, world: World, clock: Clock, sample: Hosted
    ) -> None:
        everything = runner.catalog(**ids(sample))
        without = deselect(everything, "answers")
        first = runner.sync(without, **ids(sample))
        clock.advance(days=2)
        world.requests.clear()
        second = runner.sync(everything, first.state, **ids(sample))
        assert submissions(second, "answers") == set(sample.submissions)
        assert not any("from=" in request for request in world.asked("api"))

    def test_questions_need_no_export_of_everything(
        self, runner: Runner, world: World, clock: Clock, sample: Hosted
    ) -> None:
        everything = runner.catalog(**ids(sample))
        without = deselect(everything, "instructions")
        first = runner.sync(without, **ids(sample))
        clock.advance(days=2)
        world.requests.clear()
        second = runner.sync(everything, first.state, **ids(sample))
        assert [request for request in world.asked("api") if "from=" in request]
        assert len(second.rows("instructions")) == len(sample.instructions)
        assert second.rows("responses") == []

    def test_the_earliest_bookmark_counts(
        self, runner: Runner, world: World, clock: Clock, sample: Hosted
    ) -> None:
        everything = runner.catalog(**ids(sample))
        first = runner.sync(everything, **ids(sample))
        clock.advance(days=3)
        new = add(world, sample, 100, clock.now - timedelta(days=2))
        without = deselect(everything, "answers")
        second = runner.sync(without, first.state, **ids(sample))
        assert submissions(second) == {new}
        clock.advance(days=3)
        third = runner.sync(everything, second.state, **ids(sample))
        assert submissions(third, "answers") == {new}

    def test_new_questions_come_with_all_others_of_their_collection(
        self, runner: Runner, clock: Clock, sample: Hosted
    ) -> None:
        first = runner.sync(**ids(sample))
        samples.add_question(sample)
        clock.advance(days=2)
        second = runner.sync(state=first.state, **ids(sample))
        assert len(second.rows("instructions")) == len(sample.instructions)

    def test_a_task_that_nobody_has_answered_is_not_left_out(
        self, runner: Runner, world: World, clock: Clock, batch: Hosted
    ) -> None:
        first = runner.sync(**ids(batch))
        text = '{"submission_id": "s", "task_id": "old", "completed_at": "2020-01-01"}'
        by_task = '{"task_id": "new", "submissions": []}\n{"task_id": "old", "n": 1, "tasks": [1]}'
        members = {"responses-by-submission": text, "responses-by-task": by_task}
        clock.advance(days=2)
        world.faults = [
            Fault(
                "archives",
                "",
                status=200,
                body=pack_export(batch=f'{{"id": "{batch.id}"}}', **members),
            )
        ]
        second = runner.sync(state=first.state, **ids(batch))
        assert [row["task_id"] for row in second.rows("tasks")][:1] == ["new"]


class TestNothingNew:
    @idempotent
    def test_an_archive_that_was_delivered_costs_a_post_and_a_look_at_its_end(
        self, runner: Runner, world: World, clock: Clock, collection: Hosted, batch: Hosted
    ) -> None:
        world.reuse_seconds = 10**6
        config = ids(collection, batch)
        catalog = runner.catalog(**config)
        first = runner.sync(catalog, **config)
        world.requests.clear()
        clock.advance(hours=1)
        second = runner.sync(catalog, first.state, **config)
        assert second.of_type("RECORD") == []
        assert {message["stream"] for message in second.of_type("SCHEMA")} == {"collections"}
        # Once a run, whether there is a list of jobs.
        assert [method for _, method, _, _ in world.requests] == [
            "GET",
            "POST",
            "POST",
            "GET",
            "GET",
        ]
        for server, _, _, headers in world.requests:
            assert headers.get("Range") == (None if server == "api" else f"bytes=-{TAIL}")
        assert second.state == first.state

    @idempotent
    def test_one_that_cannot_have_been_delivered_is_fetched_at_once(
        self, runner: Runner, world: World, sample: Hosted
    ) -> None:
        world.reuse_seconds = 10**6
        job = world.start_job(sample, {})
        assert job
        world.poll(job)  # somebody else's, done
        runner.sync(**ids(sample))
        assert len(world.asked("archives")) == 1

    @idempotent
    def test_the_data_collections_own_row_is_judged_too(
        self, runner: Runner, world: World, clock: Clock, sample: Hosted
    ) -> None:
        world.reuse_seconds = 10**6
        catalog = runner.catalog(**ids(sample))
        first = runner.sync(deselect(catalog, "collections"), **ids(sample))
        clock.advance(hours=1)
        second = runner.sync(catalog, first.state, **ids(sample))
        assert {message["stream"] for message in second.of_type("RECORD")} == {"collections"}

    @idempotent
    def test_that_is_judged_for_each_stream(
        self, runner: Runner, world: World, clock: Clock, sample: Hosted
    ) -> None:
        world.reuse_seconds = 10**6
        catalog = runner.catalog(**ids(sample))
        first = runner.sync(deselect(catalog, "files"), **ids(sample))
        clock.advance(hours=1)
        second = runner.sync(catalog, first.state, **ids(sample))
        assert len(second.rows("files")) == 2
        for stream in ("responses", "answers", "instructions", "tasks"):
            assert second.rows(stream) == []
        assert entry(second.state, "responses", sample) == entry(first.state, "responses", sample)

    @idempotent
    @pytest.mark.parametrize("hours", [23, 25])
    def test_when_it_is_old_the_log_says_how_old(  # noqa: PLR0917
        self,
        hours: int,
        runner: Runner,
        world: World,
        clock: Clock,
        sample: Hosted,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        world.reuse_seconds = 10**6
        first = runner.sync(**ids(sample))
        clock.advance(hours=hours)
        with caplog.at_level(logging.INFO):
            runner.sync(state=first.state, **ids(sample))
        [said] = [record for record in caplog.records if "nothing new" in record.message]
        assert said.message.startswith(f"collection {sample.id}: nothing new")
        assert said.levelno == (logging.WARNING if hours == 25 else logging.INFO)
        assert ("25 hours old" in said.message) is (hours == 25)
        assert ("2026-11-25 12:00:00 UTC" in said.message) is (hours == 25)

    @idempotent
    def test_without_an_etag_everything_comes_again(
        self, runner: Runner, world: World, clock: Clock, sample: Hosted
    ) -> None:
        world.reuse_seconds = 10**6
        body = sample.archive()
        world.faults = [Fault("archives", "", times=9, status=200, body=body)]
        first = runner.sync(**ids(sample))
        clock.advance(hours=1)
        assert "etag" not in entry(first.state, "responses", sample)
        second = runner.sync(state=first.state, lookback_seconds=10**9, **ids(sample))
        assert submissions(second) == set(sample.submissions)

    @fresh
    def test_a_new_archive_without_new_responses_is_nearly_silent(
        self, runner: Runner, clock: Clock, collection: Hosted, batch: Hosted
    ) -> None:
        first = runner.sync(**ids(collection, batch))
        clock.advance(hours=1)
        second = runner.sync(state=first.state, **ids(collection, batch))
        assert {message["stream"] for message in second.of_type("RECORD")} == {"collections"}

    @fresh
    def test_a_new_archive_of_the_same_content_moves_the_bookmarks_but_never_back(
        self, runner: Runner, world: World, clock: Clock, sample: Hosted
    ) -> None:
        """A ZIP's dates are of two seconds: within them, it comes out the same."""
        config: dict[str, Any] = {"lookback_seconds": 10**8, **ids(sample)}
        config["delete_exports"] = "never"
        state = runner.sync(**config).state
        clock.advance(seconds=1)
        second = runner.sync(state=state, **config)
        assert second.of_type("RECORD") == []
        for stream in (*OF_RESPONSES, "instructions"):
            found = entry(second.state, stream, sample)
            assert datetime.fromisoformat(found["replication_key_value"]) == clock.now
            assert found["export_id"] == world.jobs["collections", sample.id][0].export_id
        full = {"full_exported_at": NOW.isoformat()}
        assert entry(second.state, "collections", sample).items() >= full.items()
        clock.advance(seconds=-1)
        third = runner.sync(state=second.state, **config)
        for state in (second.state, third.state):
            del entry(state, "collections", sample)["exports"]  # each run leaves a job
        assert third.state == second.state

    def test_an_archive_on_disk_is_delivered_once(
        self, runner: Runner, tmp_path: Path, collection: Hosted
    ) -> None:
        path = collection.save_archive(tmp_path)
        config: dict[str, Any] = {"archive_paths": [str(path)], "api_token": None}
        first = runner.sync(**config)
        assert submissions(first) == set(collection.submissions)
        assert runner.sync(state=first.state, **config).of_type("RECORD") == []

    def test_an_older_archive_on_disk_has_newer_ones_follow_it(
        self, runner: Runner, tmp_path: Path
    ) -> None:
        def put(year: int) -> None:
            line = json.dumps({"submission_id": "s", "responses": {}, "year": year})
            members = {"collection.json": '{"id": "x"}', "responses.jsonl": line}
            path = tmp_path / f"x-export-{year}.zip"
            path.write_bytes(pack(members, date=(year, 1, 2, 3, 4, 6)))

        config: dict[str, Any] = {"archive_paths": [f"{tmp_path}/*.zip"], "api_token": None}
        put(2024)
        put(2026)
        first = runner.sync(**config)
        put(2025)
        second = runner.sync(state=first.state, **config)
        years = [json.loads(row["additional_fields"])["year"] for row in second.rows("responses")]
        assert years == [2025, 2026]


class TestChangedSettings:
    @pytest.mark.parametrize(
        ("change", "anew"),
        [
            ({"answer_keys": "label"}, ("responses", "instructions")),
            ({"start_date": "2026-11-16T10:00:00Z"}, OF_RESPONSES),
            ({"study_id": samples.STUDY}, OF_RESPONSES),
            ({"freeze_schema": True}, ("responses",)),
            ({"stream_maps": {"files": {"x": "'x'"}}}, ("files",)),
            (
                {"stream_maps": {"respons*": {"participant_id": "md5(participant_id)"}}},
                ("responses",),
            ),
            ({"lookback_seconds": 60}, ()),
            ({"request_timeout_seconds": 61}, ()),
        ],
        ids=str,
    )
    @idempotent
    def test_what_they_shape_is_delivered_anew_and_the_log_says_so(  # noqa: PLR0917
        self,
        change: dict[str, Any],
        anew: tuple[str, ...],
        runner: Runner,
        world: World,
        clock: Clock,
        sample: Hosted,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        world.reuse_seconds = 10**6
        first = runner.sync(**ids(sample))
        clock.advance(minutes=1)
        with caplog.at_level(logging.INFO):
            second = runner.sync(state=first.state, **change, **ids(sample))
        emitted = {message["stream"] for message in second.of_type("RECORD")}
        assert emitted - {"collections"} == {*anew} - {"tasks"}  # a collection has none
        said = [record.message for record in caplog.records if "anew" in record.message]
        assert len(said) == bool(anew)
        for stream in anew:
            assert stream in said[0]

    def test_a_column_that_is_selected_later_is_delivered_for_all(
        self, runner: Runner, clock: Clock, sample: Hosted
    ) -> None:
        catalog = runner.catalog(**ids(sample))
        without = deselect(catalog, "responses", "answers", "q-name")
        first = runner.sync(without, **ids(sample))
        clock.advance(days=2)
        second = runner.sync(catalog, first.state, **ids(sample))
        assert all("q-name" in row["answers"] for row in second.rows("responses"))
        assert submissions(second) == set(sample.submissions)

    def test_a_new_question_is_no_change(
        self, runner: Runner, clock: Clock, sample: Hosted
    ) -> None:
        first = runner.sync(**ids(sample))
        samples.add_question(sample)
        clock.advance(days=2)
        assert runner.sync(state=first.state, **ids(sample)).rows("responses") == []


class TestWhatTheStateSays:
    def test_a_bookmark_names_the_archive(
        self, runner: Runner, world: World, clock: Clock, sample: Hosted
    ) -> None:
        state = runner.sync(delete_exports="never", **ids(sample)).state
        [job] = world.jobs["collections", sample.id]
        found = entry(state, "responses", sample)
        assert found["replication_key"] == "exported_at"
        assert datetime.fromisoformat(found["replication_key_value"]) == clock.now
        assert found["export_id"] == job.export_id
        assert len(found["etag"]) == 32
        assert len(found["fingerprint"]) == 8
        assert "progress_markers" not in found

    def test_it_is_small(self, runner: Runner, world: World) -> None:
        made = [
            world.host(samples.breakfast_diary(1, id_=f"0f8c1c1e-5a53-4b5b-8d50-6a7c3c1f9b{n}"))
            for n in range(10, 13)
        ]
        line = runner.sync(**ids(*made)).text.splitlines()[
            -1
        ]  # without white space, as the SDK writes it
        bookmarks = json.loads(line)["value"]["bookmarks"]
        assert {len(stream["partitions"]) for stream in bookmarks.values()} == {len(made)}
        assert len(bookmarks) == 6
        assert len(line) < 300 * len(made) * 6
        for stream in bookmarks.values():
            for partition in stream["partitions"]:
                assert len(json.dumps(partition, separators=(",", ":"))) < 300

    def test_it_does_not_hold_a_file_on_disk_s_name(
        self, runner: Runner, tmp_path: Path, collection: Hosted
    ) -> None:
        path = collection.save_archive(tmp_path)
        state = runner.sync(archive_paths=[str(path)], api_token=None).state
        assert str(tmp_path) not in json.dumps(state)

    @pytest.mark.parametrize(
        "change",
        [
            {"replication_key_value": "soon"},
            {"replication_key_value": None},
            {"replication_key": "something_else"},
            {"fingerprint": 5},
            {"fingerprint": None},
        ],
        ids=str,
    )
    def test_what_it_does_not_say_clearly_is_not_relied_on(
        self, change: dict[str, Any], runner: Runner, clock: Clock, sample: Hosted
    ) -> None:
        state = runner.sync(**ids(sample)).state
        entry(state, "responses", sample).update(change)
        clock.advance(days=2)
        second = runner.sync(state=state, **ids(sample))
        assert submissions(second) == set(sample.submissions)

    def test_a_partition_that_stands_in_it_twice_begins_anew(
        self, runner: Runner, clock: Clock, sample: Hosted
    ) -> None:
        state = runner.sync(**ids(sample)).state
        partitions = state["bookmarks"]["responses"]["partitions"]
        partitions.append(partitions[0] | {"replication_key_value": "2030-01-01T00:00:00+00:00"})
        clock.advance(days=2)
        second = runner.sync(state=state, **ids(sample))
        assert submissions(second) == set(sample.submissions)
        assert len(second.state["bookmarks"]["responses"]["partitions"]) == 1

    def test_resetting_one_data_collection_is_removing_its_partitions(
        self, runner: Runner, clock: Clock, collection: Hosted, batch: Hosted
    ) -> None:
        state = runner.sync(**ids(collection, batch)).state
        for stream in state["bookmarks"].values():
            stream["partitions"] = [
                partition
                for partition in stream["partitions"]
                if partition["context"]["data_collection_id"] != collection.id
            ]
        clock.advance(days=2)
        second = runner.sync(state=state, **ids(collection, batch))
        assert submissions(second) == set(collection.submissions)

    def test_a_state_of_another_tap_s_making_is_no_obstacle(
        self, runner: Runner, sample: Hosted
    ) -> None:
        state = {
            "bookmarks": {
                "responses": {"partitions": [{"context": {"x": [1]}}, {}], "starting": 1},
                "elsewhere": {"replication_key_value": 5},
            }
        }
        assert submissions(runner.sync(state=state, **ids(sample))) == set(sample.submissions)


class TestFailures:
    def test_only_what_failed_is_done_again(
        self, runner: Runner, world: World, clock: Clock, collection: Hosted, batch: Hosted
    ) -> None:
        config = ids(collection, batch)
        world.faults = [Fault("archives", "", status=400)]
        first = runner.sync_and_fail(**config)
        clock.advance(days=2)
        second = runner.sync(state=first.state, **config)
        assert submissions(second) == set(collection.submissions)

    def test_a_bookmark_does_not_move_past_a_stream_that_failed(
        self, runner: Runner, world: World, clock: Clock, collection: Hosted
    ) -> None:
        """Rows have been emitted before the bad line is reached."""
        catalog = deselect(runner.catalog(**ids(collection)), "tasks")
        lines = '{"submission_id": "s", "responses": {}}\n{'
        archive = pack_export(collection=json.dumps(of(collection)), responses=lines)
        world.faults = [Fault("archives", "", status=200, body=archive)]
        first = runner.sync_and_fail(catalog, **ids(collection))
        assert submissions(first) == {"s"}
        assert entry(first.state, "instructions", collection)
        for stream in ("responses", "answers", "files"):
            assert not first.state["bookmarks"].get(stream, {}).get("partitions")
        clock.advance(days=2)
        second = runner.sync(catalog, first.state, **ids(collection))
        assert submissions(second, "answers") == set(collection.submissions)

    def test_an_archive_older_than_what_was_delivered_is_refused(
        self,
        runner: Runner,
        world: World,
        clock: Clock,
        sample: Hosted,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        state = runner.sync(**ids(sample)).state
        clock.advance(days=-1)
        world.jobs["collections", sample.id].clear()
        second = runner.sync_and_fail(None, state, **ids(sample))
        assert second.of_type("RECORD") == []
        for stream in OF_RESPONSES:
            assert second.state["bookmarks"][stream] == state["bookmarks"][stream]
        assert "handed out an archive of 2026-11-24 12:00:00 UTC, but one of" in caplog.text

    @fresh
    def test_a_job_of_somebody_else_s_that_is_older_is_asked_for_once_more(
        self, runner: Runner, world: World, clock: Clock, sample: Hosted
    ) -> None:
        """The API joins a request to a job of the same filter that is still being generated."""
        catalog = runner.catalog(**ids(sample))
        without = deselect(catalog, "answers")
        state = runner.sync(without, **ids(sample)).state
        world.start_job(sample, {})
        clock.advance(seconds=10)
        second = runner.sync(without, state, **ids(sample))
        third = runner.sync(catalog, second.state, **ids(sample))
        assert submissions(third, "answers") == set(sample.submissions)

    def test_test_mode_moves_no_bookmark(self, runner: Runner, collection: Hosted) -> None:
        written = runner.test(**ids(collection))
        assert len(written.rows("responses")) == 1
        for stream in ("collections", "responses"):
            assert not written.state["bookmarks"].get(stream, {}).get("partitions")


class TestFullExports:
    """`full_exported_at`: rows with an older `exported_at` have been withdrawn."""

    def full(self, out: Output) -> str | None:
        [row] = out.rows("collections")
        value: str | None = row["full_exported_at"]
        return value

    def test_it_stays_as_it_is_in_the_rows_of_later_runs(
        self, runner: Runner, clock: Clock, sample: Hosted
    ) -> None:
        first = runner.sync(**ids(sample))
        clock.advance(days=2)
        second = runner.sync(state=first.state, **ids(sample))
        assert self.full(second) == self.full(first) == NOW.isoformat()
        assert entry(second.state, "collections", sample)["full_exported_at"] == NOW.isoformat()

    def test_a_run_without_a_state_moves_it(
        self, runner: Runner, clock: Clock, sample: Hosted
    ) -> None:
        runner.sync(**ids(sample))
        clock.advance(days=2)
        assert self.full(runner.sync(**ids(sample))) == clock.now.isoformat()

    def test_a_failed_stream_keeps_it(
        self, runner: Runner, world: World, clock: Clock, sample: Hosted
    ) -> None:
        first = runner.sync(**ids(sample))
        state = first.state
        for stream in OF_RESPONSES:
            del state["bookmarks"][stream]
        clock.advance(days=2)
        lines = '{"submission_id": "s", "responses": {}}\n{'
        archive = pack_export(collection=json.dumps(of(sample)), responses=lines)
        world.faults = [Fault("archives", "", status=200, body=archive)]
        assert self.full(runner.sync_and_fail(None, state, **ids(sample))) == NOW.isoformat()

    def test_a_stream_that_was_left_out_of_it_begins_anew(
        self, runner: Runner, clock: Clock, sample: Hosted
    ) -> None:
        """Else its rows, older than the full export, would look withdrawn for good."""
        catalog = runner.catalog(**ids(sample))
        first = runner.sync(catalog, **ids(sample))
        state = first.state
        del state["bookmarks"]["responses"]  # so that the next export is of everything
        clock.advance(days=2)
        without = deselect(catalog, "answers")
        second = runner.sync(without, state, **ids(sample))
        assert self.full(second) == clock.now.isoformat()
        clock.advance(days=2)
        third = runner.sync(catalog, second.state, **ids(sample))
        assert submissions(third, "answers") == set(sample.submissions)

    @idempotent
    def test_one_stream_alone_does_not_move_it(
        self, runner: Runner, world: World, clock: Clock, sample: Hosted
    ) -> None:
        world.reuse_seconds = 10**6
        world.generate_seconds = 600
        catalog = runner.catalog(**ids(sample))
        without = deselect(catalog, "answers")
        first = runner.sync(without, **ids(sample))
        clock.advance(hours=1)
        second = runner.sync(catalog, first.state, **ids(sample))
        assert len(second.rows("answers")) > 0
        assert self.full(second) == self.full(first)
        full = self.full(first) or "none"
        assert all(row["exported_at"] >= full for row in second.rows("answers"))

    def test_an_archive_on_disk_takes_it_back(
        self, runner: Runner, tmp_path: Path, clock: Clock, sample: Hosted
    ) -> None:
        """Its rows are older than the full export, and may be of responses that still live."""
        first = runner.sync(**ids(sample))
        assert self.full(first)
        path = sample.save_archive(tmp_path)
        clock.advance(days=2)
        second = runner.sync(state=first.state, archive_paths=[str(path)], **ids(sample))
        assert [row["full_exported_at"] for row in second.rows("collections")] == [None, None]
        clock.advance(days=2)
        third = runner.sync(state=second.state, **ids(sample))
        assert self.full(third) is None


class TestActivateVersion:
    @pytest.fixture
    def full_table(self, runner: Runner, collection: Hosted, batch: Hosted) -> dict[str, Any]:
        return tap.full_table(runner.catalog(**ids(collection, batch)))

    def test_one_message_a_stream_follows_all_its_records(
        self, runner: Runner, full_table: dict[str, Any], collection: Hosted, batch: Hosted
    ) -> None:
        config = {"emit_activate_version_messages": True, **ids(collection, batch)}
        first = runner.sync(full_table, **config)
        second = runner.sync(full_table, first.state, **config)  # a state changes nothing
        for out in (first, second):
            records = out.of_type("RECORD")
            [version] = {message["version"] for message in records}
            types = [message["type"] for message in out.messages]
            activations = out.of_type("ACTIVATE_VERSION")
            assert {m["stream"] for m in activations} == {m["stream"] for m in records}
            assert len(activations) == 6
            assert {message["version"] for message in activations} == {version}
            last = max(place for place, type_ in enumerate(types) if type_ == "RECORD")
            assert types.index("ACTIVATE_VERSION") > last
            assert types[-1] == "STATE"
            assert submissions(out) == {*collection.submissions, *batch.submissions}

    def test_a_full_run_sends_no_from(
        self, runner: Runner, world: World, full_table: dict[str, Any], collection: Hosted
    ) -> None:
        first = runner.sync(full_table, **ids(collection))
        world.requests.clear()
        second = runner.sync(full_table, first.state, **ids(collection))
        assert submissions(second) == set(collection.submissions)
        assert not any("from=" in request for request in world.asked("api"))
        assert second.of_type("ACTIVATE_VERSION") == []
        assert not any("version" in message for message in second.of_type("RECORD"))

    @pytest.mark.parametrize(
        "narrowing", [{"study_id": samples.STUDY}, {"start_date": "2026-01-01"}], ids=str
    )
    def test_nothing_is_activated_where_rows_are_left_out(
        self,
        narrowing: dict[str, Any],
        runner: Runner,
        full_table: dict[str, Any],
        collection: Hosted,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        config = {"emit_activate_version_messages": True, **narrowing, **ids(collection)}
        out = runner.sync(full_table, **config)
        assert out.of_type("ACTIVATE_VERSION") == []
        assert (
            "No ACTIVATE_VERSION will be sent, and the target will remove nothing: " in caplog.text
        )
        assert f"{next(iter(narrowing))} is set" in caplog.text

    def test_nor_with_archives_on_disk(
        self, runner: Runner, full_table: dict[str, Any], tmp_path: Path, collection: Hosted
    ) -> None:
        path = collection.save_archive(tmp_path)
        config = {"emit_activate_version_messages": True, **ids(collection)}
        out = runner.sync(full_table, archive_paths=[str(path)], **config)
        assert out.of_type("ACTIVATE_VERSION") == []

    def test_nor_where_one_stream_is_incremental(
        self,
        runner: Runner,
        full_table: dict[str, Any],
        collection: Hosted,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        [files] = [e for e in full_table["streams"] if e["tap_stream_id"] == "files"]
        files["replication_method"] = "INCREMENTAL"
        config = {"emit_activate_version_messages": True, **ids(collection)}
        assert runner.sync(full_table, **config).of_type("ACTIVATE_VERSION") == []
        assert "files is not FULL_TABLE in the catalog" in caplog.text
        without = deselect(full_table, "files")
        activated = runner.sync(without, **config).of_type("ACTIVATE_VERSION")
        assert len(activated) == 5

    def test_nor_where_one_data_collection_fails(
        self,
        runner: Runner,
        world: World,
        full_table: dict[str, Any],
        collection: Hosted,
        batch: Hosted,
    ) -> None:
        world.faults = [Fault("archives", "", status=400)]
        config = {"emit_activate_version_messages": True, **ids(collection, batch)}
        assert runner.sync_and_fail(full_table, **config).of_type("ACTIVATE_VERSION") == []

    def test_nor_where_there_is_no_data_collection_at_all(
        self, runner: Runner, full_table: dict[str, Any]
    ) -> None:
        config: dict[str, Any] = {"workspace_ids": ["empty"]}
        config["emit_activate_version_messages"] = True
        assert runner.sync(full_table, **config).of_type("ACTIVATE_VERSION") == []

    @idempotent
    def test_what_is_activated_has_been_emitted(
        self, runner: Runner, world: World, batch: Hosted
    ) -> None:
        """A legacy batch that the API no longer describes needs its archive for its one row."""
        batch.layout = []
        world.reuse_seconds = 10**6
        world.faults = [Fault("api", "GET .*/instructions", times=99, status=410)]
        catalog = runner.catalog(**ids(batch))
        catalog = deselect_streams(catalog, *OF_RESPONSES, "instructions")
        config: dict[str, Any] = {"emit_activate_version_messages": True, **ids(batch)}
        state: dict[str, Any] = {}
        for _ in range(2):
            out = runner.sync(catalog, state, **config)
            state = out.state
            assert len(out.rows("collections")) == len(out.of_type("ACTIVATE_VERSION")) == 1

    def test_a_renamed_stream_is_activated_under_its_new_name(
        self, runner: Runner, full_table: dict[str, Any], collection: Hosted
    ) -> None:
        maps = {"responses": {"__alias__": "answers_of_people"}}
        config = {"emit_activate_version_messages": True, "stream_maps": maps, **ids(collection)}
        out = runner.sync(full_table, **config)
        activated = {message["stream"] for message in out.of_type("ACTIVATE_VERSION")}
        others = {"collections", "instructions", "tasks", "answers", "files"}
        assert activated == {*others, "answers_of_people"}


def test_everything_is_there_after_a_few_runs(
    runner: Runner, world: World, clock: Clock, collection: Hosted, batch: Hosted
) -> None:
    target = MemoryTarget()
    for number in range(100, 104):
        target.load(runner.sync(None, target.state, **ids(collection, batch)).text)
        for hosted in (collection, batch):
            add(world, hosted, number, clock.now)
        clock.advance(days=2)
    target.load(runner.sync(None, target.state, **ids(collection, batch)).text)
    assert target.loaded["responses"] == 1 + len(samples.CAPTION_TEXTS)
    wrong = [d for d in differences(target.rows, world) if " export" not in d]
    assert wrong == []
