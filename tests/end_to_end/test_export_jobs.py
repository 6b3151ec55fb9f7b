"""What a run leaves at Prolific and in the state, and what it asks for in workspaces."""

from __future__ import annotations

import io
import json
import logging
from contextlib import redirect_stdout
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tap_prolific_export.errors import FatalError
from tests.support.clocks import Clock
from tests.support.expected import OF_RESPONSES
from tests.support.generations import fresh
from tests.support.stand_in import Fault, World, samples
from tests.support.tap import Runner, deselect_streams, entry, full_table, ids, read, submissions
from tests.support.zips import pack_export

if TYPE_CHECKING:
    from tests.support.stand_in import Hosted


def jobs(world: World, hosted: Hosted) -> list[str]:
    return [job.export_id for job in world.jobs[hosted.kind, hosted.id]]


@fresh
class TestJobsOfOurs:
    def test_a_run_leaves_none(
        self, runner: Runner, world: World, collection: Hosted, batch: Hosted
    ) -> None:
        out = runner.sync(**ids(collection, batch))
        assert jobs(world, collection) == jobs(world, batch) == []
        for hosted in (collection, batch):
            assert "exports" not in entry(out.state, "collections", hosted)

    def test_one_is_in_the_state_before_it_is_waited_for(
        self, runner: Runner, world: World, collection: Hosted
    ) -> None:
        """Else a crash would leave a job that nobody dares to delete."""
        states: list[Any] = []
        with redirect_stdout(io.StringIO()) as out:

            def watch(request: str) -> None:
                if request.startswith("GET") and "/export/" in request:
                    written = read(out.getvalue())
                    states.append((written.state, len(written.of_type("RECORD"))))

            world.watch = watch
            runner.tap(**ids(collection)).sync_all()
        state, records = states[0]
        assert records == 0
        [export_id] = entry(state, "collections", collection)["exports"]
        assert export_id in world.asked("api")[-1]  # and deleted in the end
        assert world.asked("api")[-1].startswith("DELETE")

    def test_what_a_crash_left_goes_with_the_next_success(
        self, runner: Runner, world: World, collection: Hosted
    ) -> None:
        world.faults = [Fault("archives", "", status=400)]
        first = runner.sync_and_fail(**ids(collection))
        [left] = jobs(world, collection)
        assert entry(first.state, "collections", collection)["exports"] == [left]
        second = runner.sync(state=first.state, **ids(collection))
        assert jobs(world, collection) == []
        assert "exports" not in entry(second.state, "collections", collection)

    def test_one_whose_rows_were_not_all_delivered_is_kept(
        self, runner: Runner, world: World, collection: Hosted
    ) -> None:
        archive = pack_export(collection=json.dumps({"id": collection.id}), responses="{}\n{")
        world.faults = [Fault("archives", "", status=200, body=archive)]
        first = runner.sync_and_fail(**ids(collection))
        assert entry(first.state, "collections", collection)["exports"] == jobs(world, collection)

    def test_many_runs_need_no_room(self, runner: Runner, world: World, collection: Hosted) -> None:
        world.max_jobs = 1
        state: dict[str, Any] = {}
        for _ in range(12):
            state = runner.sync(state=state, **ids(collection)).state

    def test_never_means_never(self, runner: Runner, world: World, collection: Hosted) -> None:
        out = runner.sync(delete_exports="never", **ids(collection))
        assert len(jobs(world, collection)) == 1
        assert entry(out.state, "collections", collection)["exports"] == jobs(world, collection)
        assert world.asked("api", "DELETE") == []

    def test_what_never_has_left_is_deleted_once_the_setting_changes(
        self, runner: Runner, world: World, collection: Hosted, caplog: pytest.LogCaptureFixture
    ) -> None:
        config: dict[str, Any] = {"delete_exports": "never", **ids(collection)}
        state: dict[str, Any] = {}
        for number in range(10):
            # Each asks for something else: none of them can be read instead of another.
            state = runner.sync(state=state, study_id=f"s{number}", **config).state
        made = jobs(world, collection)
        assert entry(state, "collections", collection)["exports"] == made[::-1]
        runner.sync_and_fail(state=state, study_id=samples.STUDY, **config)
        assert "10 of them by this tap" in caplog.text
        assert "Set delete_exports to created" in caplog.text
        config["delete_exports"] = "created"
        out = runner.sync(state=state, study_id=samples.STUDY, **config)
        assert submissions(out) == set(collection.submissions)
        assert jobs(world, collection) == []
        assert "exports" not in entry(out.state, "collections", collection)

    def test_a_test_run_leaves_none_either(
        self, runner: Runner, world: World, collection: Hosted
    ) -> None:
        runner.test(**ids(collection))
        assert jobs(world, collection) == []

    def test_a_state_that_says_what_is_no_job_deletes_nothing(
        self, runner: Runner, world: World, collection: Hosted
    ) -> None:
        theirs = world.start_job(collection, {"study_id": "x"})
        assert theirs
        state = runner.sync(**ids(collection)).state
        for wrong in ("x", 5, [5, None], {"a": 1}):
            entry(state, "collections", collection)["exports"] = wrong
            state = runner.sync(state=state, **ids(collection)).state
        assert jobs(world, collection) == [theirs.export_id]


@fresh
class TestJobsOfOthers:
    """The answer to our request is lost just when another user starts a narrowed job."""

    END = (samples.BEGIN + timedelta(hours=2)).isoformat()
    NARROWED: tuple[dict[str, Any], ...] = (
        {"to": END},
        {"study_id": None, "from": None, "to": END},
        {"cohort": "early"},
    )

    @pytest.mark.parametrize("listed", NARROWED)
    def test_every_response_arrives(
        self,
        listed: dict[str, Any],
        runner: Runner,
        world: World,
        collection: Hosted,
    ) -> None:
        catalog = runner.catalog(**ids(collection))

        def start_theirs(request: str) -> None:
            if request.startswith("POST") and not jobs(world, collection):
                theirs = world.start_job(collection, {"to": self.END})
                assert theirs
                theirs.filter = listed
                narrowed = len(world.selected(collection, {"to": self.END}))
                assert 0 < narrowed < len(collection.submissions)

        world.watch = start_theirs
        again = {"Retry-After": "0"}
        world.faults = [Fault("api", "POST", status=502, headers=again)]
        out = runner.sync(catalog, **ids(collection))
        assert submissions(out) == set(collection.submissions)
        [row] = out.rows("collections")
        assert row["export_filter"] is None
        assert row["full_exported_at"] == row["exported_at"]

    @pytest.mark.parametrize("listed", NARROWED)
    def test_nothing_looks_withdrawn_where_our_own_job_is_listed_as_narrowed(  # noqa: PLR0917  # fixtures
        self,
        listed: dict[str, Any],
        runner: Runner,
        world: World,
        collection: Hosted,
        clock: Clock,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        assert clock.now > datetime.fromisoformat(self.END)
        catalog = full_table(runner.catalog(**ids(collection)))

        def narrow(_: str) -> None:
            for job in world.jobs[collection.kind, collection.id]:
                job.filter = listed

        world.watch = narrow
        out = runner.sync(catalog, emit_activate_version_messages=True, **ids(collection))
        [row] = out.rows("collections")
        narrowed = {name: value for name, value in listed.items() if value}
        assert set(json.loads(row["export_filter"])) == set(narrowed)
        assert row["full_exported_at"] is None
        assert out.of_type("ACTIVATE_VERSION") == []
        assert "which was not asked for" in caplog.text


@pytest.mark.parametrize("reuse", [0, 10**6])
def test_a_url_that_expires_before_it_is_used_is_replaced(
    reuse: int, runner: Runner, world: World, collection: Hosted
) -> None:
    """As it does while the rows of others are emitted."""
    clock = Clock()
    world.clock = clock
    world.reuse_seconds = reuse
    if reuse:  # the older generation hands out what is there, and names no job
        job = world.start_job(collection, {})
        assert job
        world.poll(job)
    world.url_seconds = 60
    expired: list[bool] = []
    serve = world.fault

    def look(server: str, request: str) -> Fault | None:
        if server == "archives" and not expired:
            clock.advance(hours=1)
            expired.append(True)
        return serve(server, request)

    world.fault = look  # type: ignore[method-assign]
    out = runner.sync(**ids(collection))
    assert submissions(out) == set(collection.submissions)
    assert len(world.asked("archives")) == 2


class TestWorkspaces:
    @pytest.fixture
    def draft(self, world: World) -> Hosted:
        return world.host(samples.breakfast_diary(1, id_="draft"))

    @pytest.mark.parametrize("status", [400, 404, 409, 422])
    def test_one_that_was_never_published_or_is_gone_is_a_warning(  # noqa: PLR0917
        self,
        status: int,
        runner: Runner,
        world: World,
        collection: Hosted,
        draft: Hosted,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        catalog = runner.catalog(workspace_ids=[samples.WORKSPACE])
        world.faults = [Fault("api", "POST .*/draft/", times=9, status=status)]
        with caplog.at_level(logging.WARNING):
            out = runner.sync(catalog, workspace_ids=[samples.WORKSPACE])
        assert submissions(out) == set(collection.submissions)
        [warning] = [r for r in caplog.records if f"collection {draft.id}" in r.message]
        assert warning.levelno == logging.WARNING
        assert "Passed over" in warning.message

    def test_but_not_of_one_that_was_named(
        self, runner: Runner, world: World, draft: Hosted
    ) -> None:
        catalog = runner.catalog(**ids(draft))
        world.faults = [Fault("api", "POST .*/draft/", times=9, status=404)]
        with pytest.raises(FatalError):
            runner.sync(catalog, workspace_ids=[samples.WORKSPACE], **ids(draft))

    def test_nothing_is_activated_where_one_is_passed_over(
        self, runner: Runner, world: World, collection: Hosted, draft: Hosted
    ) -> None:
        catalog = full_table(runner.catalog(**ids(collection)))
        config: dict[str, Any] = {"workspace_ids": [samples.WORKSPACE]}
        config["emit_activate_version_messages"] = True
        assert len(runner.sync(catalog, **config).of_type("ACTIVATE_VERSION")) == 6
        world.faults = [Fault("api", f"POST .*/{draft.id}/", times=9, status=404)]
        assert runner.sync(catalog, **config).of_type("ACTIVATE_VERSION") == []

    def test_one_that_cannot_be_listed_holds_nobody_up(
        self, runner: Runner, world: World, collection: Hosted, caplog: pytest.LogCaptureFixture
    ) -> None:
        catalog = runner.catalog(**ids(collection))
        world.faults = [Fault("api", "workspace_id=forbidden", times=9, status=403)]
        workspaces = ["forbidden", samples.WORKSPACE]
        out = runner.sync_and_fail(catalog, workspace_ids=workspaces)
        assert out.error.startswith("Failed: 2")
        assert submissions(out) == set(collection.submissions)
        assert "workspace forbidden: Tried to list its collections" in caplog.text

    def test_all_are_found_where_the_list_has_no_count(
        self, runner: Runner, world: World, collection: Hosted
    ) -> None:
        catalog = runner.catalog(**ids(collection))
        world.page_size, world.counts, world.takes_limit = 2, False, False
        made = {world.host(samples.breakfast_diary(1, id_=f"d{n}")).id for n in range(4)}
        out = runner.sync(catalog, workspace_ids=[samples.WORKSPACE])
        found = {row["data_collection_id"] for row in out.rows("collections")}
        assert found == {collection.id} | made

    def test_one_that_appears_during_the_run_waits_for_the_next(
        self, runner: Runner, world: World, collection: Hosted
    ) -> None:
        def watch(request: str) -> None:
            if "POST" in request and ("collections", "late") not in world.hosted:
                world.host(samples.breakfast_diary(1, id_="late"))

        world.watch = watch
        config: dict[str, Any] = {"workspace_ids": [samples.WORKSPACE]}
        catalog = runner.catalog(**ids(collection))
        first = runner.sync(catalog, **config)
        found = {row["data_collection_id"] for row in first.rows("collections")}
        assert found == {collection.id}
        second = runner.sync(catalog, first.state, **config)
        assert "late" in {row["data_collection_id"] for row in second.rows("collections")}

    def test_without_responses_one_that_is_gone_is_passed_over_too(
        self, runner: Runner, world: World, collection: Hosted, draft: Hosted
    ) -> None:
        catalog = runner.catalog(workspace_ids=[samples.WORKSPACE])
        catalog = deselect_streams(catalog, *OF_RESPONSES)
        world.faults = [Fault("api", f"GET .*/{draft.id}$", times=9, status=404)]
        out = runner.sync(catalog, workspace_ids=[samples.WORKSPACE])
        assert [row["data_collection_id"] for row in out.rows("collections")] == [collection.id]


def test_the_sdks_metrics_count_what_was_sent(
    runner: Runner,
    world: World,
    collection: Hosted,
    batch: Hosted,
    caplog: pytest.LogCaptureFixture,
) -> None:
    catalog = runner.catalog(**ids(collection, batch))
    world.requests.clear()
    world.faults = [Fault("archives", "", status=400)]
    with caplog.at_level(logging.INFO):
        runner.sync_and_fail(catalog, **ids(collection, batch))
    points = [
        json.loads(record.message.partition("METRIC: ")[2])
        for record in caplog.records
        if "http_request_count" in record.message
    ]
    counted = {point["tags"]["endpoint"]: point["value"] for point in points}
    assert sum(counted.values()) == len(world.requests)
    assert counted["POST /data-collection/collections/{id}/export"] == 1
    assert counted["GET /archive"] == 2
    assert all(collection.id not in endpoint for endpoint in counted)
