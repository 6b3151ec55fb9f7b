"""The life of one export, with a clock and a sleep of the tests."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tap_prolific_export.errors import DataCollectionError
from tap_prolific_export.model import DataCollectionRef, ExportFilter, Kind
from tap_prolific_export.prolific.export_jobs import JobStarter, OwnedJobs, Wanted
from tap_prolific_export.prolific.exports import Export, Exporter
from tests.support.api_clients import POLL_SECONDS, make_api, make_exporter, make_job_starter
from tests.support.clocks import Clock
from tests.support.generations import fresh, idempotent
from tests.support.history import NoHistory
from tests.support.stand_in import Fault, samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_prolific_export.settings import DeleteExports
    from tests.support.clocks import MonotonicClock
    from tests.support.stand_in import Hosted, StandIn, World

NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)


# Filters of listed jobs that narrow an export, or may do so.
NARROWED: dict[str, Any] = {
    "to": {"to": "2026-11-23T12:00:00Z"},
    "to, the others null": {"study_id": None, "from": None, "to": "2026-11-23T12:00:00Z"},
    "to is no time": {"to": "yesterday"},
    "from is no time": {"from": 5},
    "study is no text": {"study_id": ["s"]},
    "unknown": {"cohort": ["s3cret"]},
    "unknown and false": {"include_late": False},
    "unknown and empty": {"cohort": ""},
    "a text": "study_id=s",
    "a list": [{"to": "2026-11-23T12:00:00Z"}],
}


class Making:
    """Makes exporters against the stand-in, on the tests' time."""

    def __init__(self, stand_in: StandIn, time: MonotonicClock) -> None:
        self.history = NoHistory()
        self._stand_in = stand_in
        self._time = time

    def job_starter(self, delete: DeleteExports = "created") -> JobStarter:
        return make_job_starter(make_api(self._stand_in, self._time), delete=delete)

    def exporter(
        self, *, retries: int = 2, max_pending: int = 16, delete: DeleteExports = "created"
    ) -> Exporter:
        return make_exporter(
            make_api(self._stand_in, self._time),
            self.job_starter(delete),
            self._time,
            retries=retries,
            max_pending=max_pending,
        )


@pytest.fixture
def making(stand_in: StandIn, time: MonotonicClock) -> Making:
    return Making(stand_in, time)


@pytest.fixture
def exporter(making: Making) -> Exporter:
    return making.exporter()


def export_of(
    exporter: Exporter,
    ref: DataCollectionRef,
    asked: ExportFilter,
    owned_jobs: OwnedJobs | None = None,
    latest: datetime | None = None,
) -> Export:
    """Export one data collection."""
    [outcome] = exporter.exports([Wanted(ref, asked, latest)], owned_jobs or NoHistory())
    if outcome.error:
        raise outcome.error
    assert outcome.export
    return outcome.export


@pytest.fixture
def ref(batch: Hosted) -> DataCollectionRef:
    return DataCollectionRef(Kind.BATCH, batch.id)


def test_an_export_is_requested_and_polled_until_it_is_complete(
    exporter: Exporter, ref: DataCollectionRef, world: World, time: MonotonicClock
) -> None:
    world.polls_to_generate = 3
    export = export_of(exporter, ref, ExportFilter())
    assert export.url.startswith("http://localhost:")
    assert time.slept == [POLL_SECONDS] * 3
    [job] = world.jobs["batches", ref.id]
    assert export.export_id == job.export_id


def test_an_export_that_is_ready_at_once_needs_no_wait(
    exporter: Exporter, ref: DataCollectionRef, time: MonotonicClock
) -> None:
    export_of(exporter, ref, ExportFilter())
    assert time.slept == []


@idempotent
def test_an_archive_that_is_there_already_needs_no_polling(
    exporter: Exporter, ref: DataCollectionRef, world: World
) -> None:
    world.reuse_seconds = 60
    export_of(exporter, ref, ExportFilter())
    world.requests.clear()
    export = export_of(exporter, ref, ExportFilter())
    assert world.asked("api") == [f"POST /api/v1/data-collection/batches/{ref.id}/export"]
    assert export.export_id is None


def test_a_start_that_is_refused_is_left_out(
    exporter: Exporter, ref: DataCollectionRef, world: World
) -> None:
    world.faults = [Fault("api", "POST .*from=", times=9, status=400)]
    export = export_of(exporter, ref, ExportFilter("study-1", NOON))
    path = f"POST /api/v1/data-collection/batches/{ref.id}/export?study_id=study-1"
    posts = world.asked("api", "POST")
    assert posts == [f"{path}&from=2026-11-23T12%3A00%3A00%2B00%3A00", path]
    assert export.applied.start is None


def test_any_other_refusal_stands(exporter: Exporter, ref: DataCollectionRef, world: World) -> None:
    world.faults = [Fault("api", "POST", times=9, status=400)]
    with pytest.raises(DataCollectionError, match="400"):
        export_of(exporter, ref, ExportFilter("study-1"))
    assert len(world.asked("api", "POST")) == 1


def test_what_the_api_has_applied_is_told_by_its_jobs(
    exporter: Exporter, ref: DataCollectionRef, world: World
) -> None:
    asked = ExportFilter("study-1", NOON)
    applied = export_of(exporter, ref, asked).applied
    assert applied == (asked if world.generation == "fresh" else ExportFilter())


@fresh
def test_a_job_that_is_in_no_list_has_chosen_by_time_but_not_certainly_by_study(
    exporter: Exporter, ref: DataCollectionRef, world: World
) -> None:
    world.faults = [Fault("api", "GET .*/export$", times=9, status=200, body=b"[]")]
    export = export_of(exporter, ref, ExportFilter("study-1", NOON))
    assert export.applied == ExportFilter(start=NOON)
    assert export.created_at is None


def test_an_export_that_never_ends_is_given_up_in_time(
    exporter: Exporter, ref: DataCollectionRef, world: World, time: MonotonicClock
) -> None:
    world.polls_to_generate = 10_000
    with pytest.raises(DataCollectionError, match=r"still being generated after 600 s.*timeout"):
        export_of(exporter, ref, ExportFilter())
    assert sum(time.slept) == 600


def test_a_long_wait_says_calmly_that_it_is_alive(
    exporter: Exporter, ref: DataCollectionRef, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.polls_to_generate = 100  # 400 s
    with caplog.at_level(logging.INFO):
        export_of(exporter, ref, ExportFilter())
    waits = [record.message for record in caplog.records if "still being" in record.message]
    said = "still being generated after 60 s; 1 exports pending, 0 yet to be requested."
    assert waits[0] == f"batch {ref.id}: {said}"
    assert len(waits) == 6


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"status": "complete"}, "gives no URL"),
        ({"status": "complete", "url": "http://elsewhere.example/x?a=s3cret"}, "not https"),
        ({"status": "complete", "url": "ftp://localhost/x?a=s3cret"}, "not https"),
        ({"state": "complete"}, "JSON without a status"),
    ],
    ids=["no URL", "http", "ftp", "no status"],
)
def test_an_export_that_cannot_be_had_says_why(
    body: dict[str, str], says: str, exporter: Exporter, ref: DataCollectionRef, world: World
) -> None:
    world.faults = [Fault("api", "GET .*/export/", status=200, body=json.dumps(body).encode())]
    with pytest.raises(DataCollectionError, match=says) as raised:
        export_of(exporter, ref, ExportFilter())
    assert f"batch {ref.id}" in str(raised.value)
    assert "s3cret" not in str(raised.value)


class TestUnknownStatuses:
    @pytest.mark.parametrize("word", ["queued", "Generating", "COMPLETE", "paused for a while"])
    def test_a_job_is_waited_for_and_it_is_said_once(  # noqa: PLR0917
        self,
        word: str,
        making: Making,
        ref: DataCollectionRef,
        world: World,
        collection: Hosted,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        world.generating, world.polls_to_generate = word, 3
        refs = [ref, DataCollectionRef(Kind.COLLECTION, collection.id)]
        exports = making.exporter().exports([Wanted(each) for each in refs], making.history)
        assert all(outcome.export for outcome in exports)
        [said] = [record for record in caplog.records if "unknown status" in record.message]
        assert f"the unknown status {word!r}" in said.message
        assert f"{refs[0]}: " in said.message

    def test_one_that_does_not_end_is_named(
        self, exporter: Exporter, ref: DataCollectionRef, world: World, time: MonotonicClock
    ) -> None:
        world.generating, world.polls_to_generate = "queued", 10_000
        with pytest.raises(DataCollectionError, match=r"'queued'.*600 s.*timeout") as raised:
            export_of(exporter, ref, ExportFilter())
        assert f"batch {ref.id}: Export job" in str(raised.value)
        assert sum(time.slept) == 600

    def test_the_last_one_is_named(
        self, exporter: Exporter, ref: DataCollectionRef, world: World
    ) -> None:
        world.polls_to_generate = 10_000
        body = json.dumps({"status": "on hold"}).encode()
        late = Fault("api", "GET .*/export/", first=20, times=999, status=200, body=body)
        world.faults = [late]
        with pytest.raises(DataCollectionError, match="'on hold'"):
            export_of(exporter, ref, ExportFilter())

    def test_a_long_one_is_not_quoted(
        self,
        exporter: Exporter,
        ref: DataCollectionRef,
        world: World,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        world.generating, world.polls_to_generate = f"wait for {world.token * 9}", 10_000
        with pytest.raises(DataCollectionError, match="a long text") as raised:
            export_of(exporter, ref, ExportFilter())
        assert world.token not in str(raised.value) + caplog.text

    def test_it_may_turn_into_a_failure(
        self, making: Making, ref: DataCollectionRef, world: World
    ) -> None:
        world.generating, world.polls_to_generate = "queued", 10_000
        failed = json.dumps({"status": "failed"}).encode()
        world.faults = [Fault("api", "GET .*/export/", first=2, status=200, body=failed)]
        with pytest.raises(DataCollectionError, match="failed; earlier attempts: 0"):
            export_of(making.exporter(retries=0), ref, ExportFilter())

    def test_without_a_job_there_is_nothing_to_wait_for(
        self, exporter: Exporter, ref: DataCollectionRef, world: World
    ) -> None:
        world.faults = [Fault("api", "POST", status=202, body=b'{"status": "queued"}')]
        with pytest.raises(DataCollectionError, match="unknown status 'queued', but names no job"):
            export_of(exporter, ref, ExportFilter())

    @fresh
    def test_a_lost_answer_may_have_started_such_a_job(
        self, exporter: Exporter, ref: DataCollectionRef, world: World
    ) -> None:
        world.generating, world.polls_to_generate = "queued", 2
        world.faults = [Fault("api", "POST", status=502, after=True)]
        export = export_of(exporter, ref, ExportFilter())
        assert [job.export_id for job in world.jobs["batches", ref.id]] == [export.export_id]
        assert len(world.asked("api", "POST")) == 1

    @fresh
    def test_no_room_is_made_by_deleting_such_a_job(
        self,
        exporter: Exporter,
        making: Making,
        ref: DataCollectionRef,
        world: World,
        batch: Hosted,
    ) -> None:
        world.generating, world.polls_to_generate = "queued", 9
        made = [world.start_job(batch, {"study_id": f"s{number}"}) for number in range(10)]
        for job in made:
            making.history.take(ref, job.export_id if job else "")
        with pytest.raises(DataCollectionError, match="All places"):
            export_of(exporter, ref, ExportFilter(), making.history)
        assert world.asked("api", "DELETE") == []


def test_a_job_without_a_name_cannot_be_waited_for(
    exporter: Exporter, ref: DataCollectionRef, world: World
) -> None:
    world.faults = [Fault("api", "POST", status=202, body=b'{"status": "generating"}')]
    with pytest.raises(DataCollectionError, match="names no job"):
        export_of(exporter, ref, ExportFilter())


def test_exported_at_is_the_jobs_creation_where_the_api_tells(
    exporter: Exporter, ref: DataCollectionRef, world: World
) -> None:
    world.clock = clock = Clock()
    world.watch = lambda _: clock.advance(minutes=1)  # responses may come while it is generated
    world.polls_to_generate = 2
    export = export_of(exporter, ref, ExportFilter())
    [job] = world.jobs["batches", ref.id]
    if world.generation == "fresh":
        assert export.exported_at(None) == job.created_at
    else:
        assert export.created_at is None
        assert export.exported_at(None) <= job.created_at


@pytest.mark.parametrize(
    ("created", "modified", "expected"),
    [
        pytest.param(NOON, NOON - timedelta(hours=1), NOON, id="the job's creation"),
        pytest.param(None, None, NOON, id="our request"),
        pytest.param(None, NOON + timedelta(1), NOON, id="our request, before the archive"),
        pytest.param(None, NOON - timedelta(1), NOON - timedelta(1), id="an older archive"),
    ],
)
def test_exported_at_is_never_later_than_the_snapshot(
    created: datetime | None, modified: datetime | None, expected: datetime
) -> None:
    ref = DataCollectionRef(Kind.BATCH, "b")
    export = Export(ref, "https://x", None, NOON, created, ExportFilter())
    assert export.exported_at(modified) == expected


@fresh
class TestNarrowedJobs:
    """What the list of jobs says of the job that our own request has started."""

    @pytest.fixture
    def lists(self, world: World, ref: DataCollectionRef) -> Callable[[dict[str, Any]], None]:
        """Return a function that sets what filter the list shows for the job."""

        def list_as(listed: dict[str, Any]) -> None:
            def change(request: str) -> None:
                if "GET" in request:
                    for job in world.jobs["batches", ref.id]:
                        job.filter = {**job.filter, **listed}

            world.watch = change

        return list_as

    def test_an_end_in_the_past_dates_the_snapshot(
        self,
        exporter: Exporter,
        ref: DataCollectionRef,
        lists: Callable[[dict[str, Any]], None],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        lists({"to": "2020-01-02T03:04:05Z"})
        export = export_of(exporter, ref, ExportFilter("s", NOON))
        end = datetime(2020, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
        assert export.applied == ExportFilter("s", NOON, end)
        assert export.exported_at(NOON) == end
        assert f"{export.export_id} is narrowed by to, which was not asked for" in caplog.text

    def test_an_end_after_the_request_narrows_nothing(
        self,
        exporter: Exporter,
        ref: DataCollectionRef,
        lists: Callable[[dict[str, Any]], None],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        lists({"to": "2999-01-02T03:04:05Z"})
        assert export_of(exporter, ref, ExportFilter()).applied == ExportFilter()
        assert caplog.text == ""

    @pytest.mark.parametrize("listed", [{"cohort": "s3cret"}, {"to": "then"}, {"from": "then"}])
    def test_what_is_unknown_is_said_and_drops_no_row(
        self,
        listed: dict[str, Any],
        exporter: Exporter,
        ref: DataCollectionRef,
        lists: Callable[[dict[str, Any]], None],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        lists(listed)
        export = export_of(exporter, ref, ExportFilter("s", NOON))
        assert export.applied == ExportFilter("s", NOON, other=tuple(listed.items()))
        assert f"narrowed by {next(iter(listed))}, which was not asked for" in caplog.text
        assert "s3cret" not in caplog.text

    @pytest.mark.parametrize(
        ("asked", "listed"),
        [
            (ExportFilter(), {"study_id": "s"}),
            (ExportFilter("s"), {"study_id": "t"}),
            (ExportFilter(), {"from": "2020-01-02T03:04:05Z"}),
            (ExportFilter(start=NOON), {"from": "2026-11-23T12:00:01Z"}),
        ],
    )
    def test_less_than_was_asked_for_is_an_error(
        self,
        asked: ExportFilter,
        listed: dict[str, Any],
        exporter: Exporter,
        ref: DataCollectionRef,
        lists: Callable[[dict[str, Any]], None],
    ) -> None:
        lists(listed)
        with pytest.raises(DataCollectionError, match="narrower than what was asked for") as raised:
            export_of(exporter, ref, asked)
        [(name, value)] = listed.items()
        assert f"{name} {value}" in str(raised.value)

    def test_more_than_was_asked_for_is_not(
        self, exporter: Exporter, ref: DataCollectionRef, lists: Callable[[dict[str, Any]], None]
    ) -> None:
        lists({"study_id": None, "from": "2026-11-23T11:00:00Z"})
        export = export_of(exporter, ref, ExportFilter("s", NOON))
        assert export.applied == ExportFilter(start=NOON - timedelta(hours=1))


class TestOverlap:
    """Exports are generated at the same time, on a clock that the stand-in shares."""

    SECONDS = 30

    @pytest.fixture
    def refs(self, world: World, time: MonotonicClock) -> list[DataCollectionRef]:
        world.clock = lambda: NOON + timedelta(seconds=time.now)
        world.takes_time = True
        world.generate_seconds = self.SECONDS
        made = [world.host(samples.breakfast_diary(1, id_=f"d{n}")) for n in range(16)]
        return [DataCollectionRef(Kind.COLLECTION, each.id) for each in made]

    def test_sixteen_take_as_long_as_one(
        self, exporter: Exporter, refs: list[DataCollectionRef], time: MonotonicClock, world: World
    ) -> None:
        began = time.now
        outcomes = list(exporter.exports([Wanted(ref) for ref in refs], NoHistory()))
        assert {outcome.wanted.ref for outcome in outcomes if outcome.export} == set(refs)
        assert self.SECONDS <= time.now - began <= self.SECONDS + POLL_SECONDS
        first_look = world.asked("api").index(asked_for_job(world)[0])
        posts = [request.startswith("POST") for request in world.asked("api")[:first_look]]
        assert sum(posts) == len(refs)

    def test_at_most_so_many_are_pending(
        self, making: Making, refs: list[DataCollectionRef], world: World, time: MonotonicClock
    ) -> None:
        exporter = making.exporter(max_pending=4)
        began = time.now
        for _ in exporter.exports([Wanted(ref) for ref in refs], NoHistory()):
            pending = [job for jobs in world.jobs.values() for job in jobs]
            assert sum(job.status == "generating" for job in pending) <= 4
        assert time.now - began <= 4 * (self.SECONDS + POLL_SECONDS)

    def test_no_job_is_looked_at_more_often_than_the_interval_allows(
        self, exporter: Exporter, refs: list[DataCollectionRef], world: World, time: MonotonicClock
    ) -> None:
        looks: dict[str, list[float]] = {}

        def look(request: str) -> None:
            if "GET" in request and request.count("/") == 7:
                looks.setdefault(request, []).append(time.now)

        world.watch = look
        list(exporter.exports([Wanted(ref) for ref in refs], NoHistory()))
        assert len(looks) == len(refs)
        for times in looks.values():
            assert len(times) > 2
            gaps = [after - before for before, after in pairwise(times)]
            assert min(gaps) >= POLL_SECONDS

    def test_they_come_in_the_order_in_which_they_are_completed(
        self, exporter: Exporter, refs: list[DataCollectionRef], world: World, time: MonotonicClock
    ) -> None:
        late, *others = refs
        world.start_job(world.hosted["collections", refs[1].id], {})
        time.now += 20  # somebody else has asked for the second, twenty seconds ago
        world.slow[late.id] = 100
        found = [o.wanted.ref for o in exporter.exports([Wanted(r) for r in refs], NoHistory())]
        assert found == [*others, late]

    def test_others_go_on_while_one_is_worked_upon(
        self, exporter: Exporter, refs: list[DataCollectionRef], time: MonotonicClock
    ) -> None:
        began = time.now
        for outcome in exporter.exports([Wanted(ref) for ref in refs], NoHistory()):
            assert outcome.export
            time.now += 10
        # The rows of all take 160 s, the waiting for all no more than the waiting for one.
        assert time.now - began <= self.SECONDS + POLL_SECONDS + 16 * 10

    def test_one_that_is_refused_holds_nobody_up(
        self, exporter: Exporter, refs: list[DataCollectionRef], world: World
    ) -> None:
        world.forbidden.add(refs[3].id)
        outcomes = list(exporter.exports([Wanted(ref) for ref in refs], NoHistory()))
        assert [outcome.wanted.ref for outcome in outcomes if outcome.error] == [refs[3]]
        assert sum(outcome.export is not None for outcome in outcomes) == 15


def asked_for_job(world: World) -> list[str]:
    return [r for r in world.asked("api", "GET") if r.count("/") == 7]


class TestJobs:
    FAILED = json.dumps({"status": "failed"}).encode()

    def test_one_that_failed_is_requested_again(
        self, exporter: Exporter, ref: DataCollectionRef, world: World
    ) -> None:
        world.faults = [Fault("api", "GET .*/export/", times=2, status=200, body=self.FAILED)]
        assert export_of(exporter, ref, ExportFilter()).url
        assert len(world.asked("api", "POST")) == 3

    def test_one_that_vanished_too(
        self, exporter: Exporter, ref: DataCollectionRef, world: World
    ) -> None:
        world.faults = [Fault("api", "GET .*/export/", status=404)]
        assert export_of(exporter, ref, ExportFilter()).url
        assert len(world.asked("api", "POST")) == 2

    @pytest.mark.parametrize("retries", [0, 1, 2])
    def test_but_not_for_ever(
        self, retries: int, making: Making, ref: DataCollectionRef, world: World
    ) -> None:
        world.faults = [Fault("api", "GET .*/export/", times=99, status=200, body=self.FAILED)]
        with pytest.raises(DataCollectionError, match=f"failed; earlier attempts: {retries}"):
            export_of(making.exporter(retries=retries), ref, ExportFilter())
        assert len(world.asked("api", "POST")) == 1 + retries

    def test_the_failed_ones_leave_no_job_behind(
        self, exporter: Exporter, ref: DataCollectionRef, world: World
    ) -> None:
        world.max_jobs = 1
        world.faults = [Fault("api", "GET .*/export/", times=2, status=200, body=self.FAILED)]
        assert export_of(exporter, ref, ExportFilter()).url


@fresh
def test_a_list_that_is_refused_says_nothing_of_the_next(
    making: Making, world: World, batch: Hosted, collection: Hosted
) -> None:
    world.faults = [Fault("api", f"GET .*/{batch.id}/export$", times=9, status=403)]
    refs = [
        DataCollectionRef(Kind.BATCH, batch.id),
        DataCollectionRef(Kind.COLLECTION, collection.id),
    ]
    list(making.exporter().exports([Wanted(ref) for ref in refs], making.history))
    assert making.history.ours(refs[0]) == []
    assert len(making.history.ours(refs[1])) == 1


@fresh
class TestTenPlaces:
    @pytest.fixture
    def others(self, world: World, batch: Hosted) -> list[str]:
        """Nine jobs of somebody else's, with filters of their own."""
        made = [world.start_job(batch, {"study_id": f"s{number}"}) for number in range(9)]
        for job in made:
            assert job
            world.poll(job)
        return [job.export_id for job in made if job]

    def there(self, world: World, batch: Hosted) -> list[str]:
        return [job.export_id for job in world.jobs["batches", batch.id]]

    def test_a_job_of_ours_is_noted_at_once_and_deleted_once_done_with(  # noqa: PLR0917
        self,
        exporter: Exporter,
        making: Making,
        ref: DataCollectionRef,
        world: World,
        batch: Hosted,
        others: list[str],
    ) -> None:
        history = making.history
        export = export_of(exporter, ref, ExportFilter(), history)
        assert history.ours(ref) == [export.export_id]
        making.job_starter().discard(ref, history)
        assert sorted(self.there(world, batch)) == sorted(others)
        assert history.ours(ref) == []

    def test_never_is_never(
        self, making: Making, ref: DataCollectionRef, world: World, batch: Hosted
    ) -> None:
        history = making.history
        export = export_of(making.exporter(delete="never"), ref, ExportFilter(), history)
        making.job_starter(delete="never").discard(ref, history)
        assert history.ours(ref) == self.there(world, batch) == [export.export_id]
        assert world.asked("api", "DELETE") == []

    @pytest.fixture
    def taken_by_ours(
        self, making: Making, ref: DataCollectionRef, batch: Hosted, others: list[str], world: World
    ) -> str:
        """Fill the last place with a narrowed job of ours, and return its id."""
        exporter = making.exporter(delete="never")
        export = export_of(exporter, ref, ExportFilter("ours"), making.history)
        assert len(self.there(world, batch)) == len(others) + 1
        return str(export.export_id)

    def test_with_never_the_error_tells_how_to_free_them(
        self,
        taken_by_ours: str,
        making: Making,
        ref: DataCollectionRef,
        world: World,
        batch: Hosted,
    ) -> None:
        with pytest.raises(DataCollectionError) as raised:
            export_of(making.exporter(delete="never"), ref, ExportFilter(), making.history)
        said = str(raised.value)
        assert "taken, 1 of them by this tap: " in said
        assert f"{taken_by_ours} of" in said
        assert "Set delete_exports to created, and the tap deletes its own" in said
        assert "none by this tap" not in said
        assert taken_by_ours in self.there(world, batch)
        assert world.asked("api", "DELETE") == []

    def test_and_with_created_they_are_freed(  # noqa: PLR0917
        self,
        taken_by_ours: str,
        exporter: Exporter,
        making: Making,
        ref: DataCollectionRef,
        world: World,
        batch: Hosted,
        others: list[str],
    ) -> None:
        export = export_of(exporter, ref, ExportFilter(), making.history)
        assert set(self.there(world, batch)) == {*others, export.export_id}
        assert making.history.ours(ref) == [export.export_id] != [taken_by_ours]

    def test_a_job_that_is_read_instead_says_how_to_free_them(  # noqa: PLR0917
        self,
        making: Making,
        ref: DataCollectionRef,
        world: World,
        batch: Hosted,
        others: list[str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        exporter = making.exporter(delete="never")
        first = export_of(exporter, ref, ExportFilter(), making.history)
        again = export_of(exporter, ref, ExportFilter(), making.history)
        assert again.export_id == first.export_id
        assert "taken, 1 of them by this tap. Reading job" in caplog.text
        assert "Set delete_exports to created" in caplog.text
        assert len(self.there(world, batch)) == len(others) + 1

    def test_those_that_are_gone_are_forgotten(
        self, making: Making, ref: DataCollectionRef, world: World, batch: Hosted
    ) -> None:
        exporter = making.exporter(delete="never")
        first = export_of(exporter, ref, ExportFilter(), making.history)
        second = export_of(exporter, ref, ExportFilter("s"), making.history)
        assert making.history.ours(ref) == [first.export_id, second.export_id]
        del world.jobs["batches", batch.id][1]  # somebody deletes the first
        third = export_of(exporter, ref, ExportFilter("t"), making.history)
        assert making.history.ours(ref) == [second.export_id, third.export_id]

    def test_a_list_that_is_not_shown_forgets_none(
        self, making: Making, ref: DataCollectionRef, world: World
    ) -> None:
        exporter = making.exporter(delete="never")
        first = export_of(exporter, ref, ExportFilter(), making.history)
        world.faults = [Fault("api", "GET .*/export$", times=9, status=403)]
        export_of(exporter, ref, ExportFilter("s"), making.history)
        assert making.history.ours(ref) == [first.export_id]

    def test_a_job_that_somebody_else_has_started_is_not_ours(
        self,
        exporter: Exporter,
        making: Making,
        ref: DataCollectionRef,
        world: World,
        batch: Hosted,
    ) -> None:
        world.polls_to_generate = 1
        theirs = world.start_job(batch, {})
        assert theirs
        export = export_of(exporter, ref, ExportFilter(), making.history)
        assert export.export_id == theirs.export_id
        assert making.history.ours(ref) == []

    @pytest.mark.parametrize("status", [400, 403, 409, 422, 429])
    def test_where_all_places_are_taken_ours_are_freed(  # noqa: PLR0917
        self,
        status: int,
        exporter: Exporter,
        making: Making,
        ref: DataCollectionRef,
        world: World,
        batch: Hosted,
        others: list[str],
        time: MonotonicClock,
    ) -> None:
        ours = world.start_job(batch, {"study_id": "ours"})
        assert ours
        world.poll(ours)
        making.history.take(ref, ours.export_id)
        world.refuses_with = status
        export = export_of(exporter, ref, ExportFilter("s", NOON), making.history)
        assert making.history.ours(ref) == [export.export_id]
        assert set(self.there(world, batch)) == {*others, export.export_id}
        assert time.slept == []

    def test_one_of_ours_that_is_being_generated_is_left_alone(  # noqa: PLR0917
        self,
        exporter: Exporter,
        making: Making,
        ref: DataCollectionRef,
        world: World,
        batch: Hosted,
        others: list[str],
    ) -> None:
        world.polls_to_generate = 9
        ours = world.start_job(batch, {"study_id": "ours"})
        assert ours
        making.history.take(ref, ours.export_id)
        with pytest.raises(DataCollectionError, match="1 of them by this tap: ") as raised:
            export_of(exporter, ref, ExportFilter(), making.history)
        assert "delete_exports" not in str(raised.value)  # that would change nothing
        assert set(self.there(world, batch)) == {*others, ours.export_id}
        assert world.asked("api", "DELETE") == []

    @pytest.mark.parametrize("latest", [None, NOON - timedelta(hours=1)])
    def test_else_the_newest_of_everything_will_do(  # noqa: PLR0917
        self,
        latest: datetime | None,
        exporter: Exporter,
        ref: DataCollectionRef,
        world: World,
        batch: Hosted,
        others: list[str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        world.clock = lambda: NOON
        theirs = world.start_job(batch, {})
        assert theirs
        world.poll(theirs)
        export = export_of(exporter, ref, ExportFilter("s", NOON), latest=latest)
        assert (export.export_id, export.created_at) == (theirs.export_id, NOON)
        assert export.applied == ExportFilter()
        assert "all places for export jobs are taken" in caplog.text
        assert theirs.export_id in caplog.text
        assert len(self.there(world, batch)) == 1 + len(others)

    def test_the_newest_that_is_complete(
        self, exporter: Exporter, ref: DataCollectionRef, world: World, batch: Hosted
    ) -> None:
        world.max_jobs = 99
        made = []
        for number in range(12):
            world.clock = lambda number=number: NOON + timedelta(hours=number)  # type: ignore[misc]
            job = world.start_job(batch, {})
            assert job
            made.append(job)
            if number < 11:  # the last is still being generated
                world.poll(job)
        world.polls_to_generate = 9
        made[-1].polls_left = 9
        world.max_jobs = 10
        export = export_of(exporter, ref, ExportFilter("s"))
        assert export.export_id == made[-2].export_id

    @pytest.mark.parametrize("listed", NARROWED.values(), ids=NARROWED)
    def test_but_not_one_that_may_be_narrowed(  # noqa: PLR0917
        self,
        listed: Any,
        exporter: Exporter,
        ref: DataCollectionRef,
        world: World,
        batch: Hosted,
        others: list[str],
    ) -> None:
        theirs = world.start_job(batch, {})
        assert theirs
        world.poll(theirs)
        theirs.filter = listed
        with pytest.raises(DataCollectionError, match="All places") as raised:
            export_of(exporter, ref, ExportFilter())
        assert theirs.export_id in str(raised.value)
        assert "s3cret" not in str(raised.value)
        assert len(others) == len(world.jobs["batches", ref.id]) - 1

    def test_but_not_one_that_is_older_than_what_was_delivered(
        self,
        exporter: Exporter,
        ref: DataCollectionRef,
        world: World,
        batch: Hosted,
        others: list[str],
    ) -> None:
        world.clock = lambda: NOON
        theirs = world.start_job(batch, {})
        assert theirs
        world.poll(theirs)
        with pytest.raises(DataCollectionError) as raised:
            export_of(exporter, ref, ExportFilter(), latest=NOON)
        said = str(raised.value)
        assert "409 (Conflict: Too many exports exist" in said
        assert said.count("Tried to request an export") == 1
        assert "taken, none of them by this tap: " in said
        for export_id in (*others, theirs.export_id):
            assert export_id in said
        assert "study_id s3" in said
        assert "2026-11-23 12:00:00 UTC" in said
        assert "curl -X DELETE" in said
        assert world.token not in said
        assert len(self.there(world, batch)) == 10

    @pytest.mark.parametrize(
        "body",
        [
            {"message": "Conflict", "detail": "Delete one of the 10 exports"},
            {"type": "limit", "message": "Delete one of the 10 exports", "issues": []},
            {"detail": "Delete one of the 10 exports"},
        ],
        ids=["message and detail", "issues", "detail"],
    )
    def test_the_limit_is_told_by_any_shape_of_error(  # noqa: PLR0917
        self,
        body: dict[str, Any],
        exporter: Exporter,
        ref: DataCollectionRef,
        world: World,
        batch: Hosted,
        others: list[str],
    ) -> None:
        world.start_job(batch, {"study_id": "s"})
        text = json.dumps(body).encode()
        world.faults = [Fault("api", "POST", times=9, status=400, body=text)]
        with pytest.raises(DataCollectionError, match=r"10 exports\)\..* All places") as raised:
            export_of(exporter, ref, ExportFilter())
        assert others[0] in str(raised.value)

    def test_a_job_that_cannot_be_deleted_stays_ours(
        self,
        exporter: Exporter,
        making: Making,
        ref: DataCollectionRef,
        world: World,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        export = export_of(exporter, ref, ExportFilter(), making.history)
        world.faults = [Fault("api", "DELETE", status=409)]
        making.job_starter().discard(ref, making.history)
        assert making.history.ours(ref) == [export.export_id]
        assert "delete export job" in caplog.text
        making.job_starter().discard(ref, making.history)
        assert making.history.ours(ref) == []


class TestLostAnswers:
    """The API has started a job, but its answer did not arrive."""

    @pytest.mark.parametrize("status", [0, 500, 502])
    def test_the_job_is_not_started_twice(
        self, status: int, exporter: Exporter, making: Making, ref: DataCollectionRef, world: World
    ) -> None:
        world.polls_to_generate = 1
        world.faults = [Fault("api", "POST", status=status, after=True)]
        export = export_of(exporter, ref, ExportFilter("s", NOON), making.history)
        [job] = world.jobs["batches", ref.id]
        assert export.export_id == job.export_id
        if world.generation == "fresh":
            assert len(world.asked("api", "POST")) == 1
            assert making.history.ours(ref) == []  # somebody else may have asked for the same
        else:
            assert len(world.asked("api", "POST")) == 2  # a repeat is safe

    @fresh
    def test_a_job_of_another_filter_is_not_taken_for_it(
        self,
        exporter: Exporter,
        making: Making,
        ref: DataCollectionRef,
        world: World,
        batch: Hosted,
    ) -> None:
        world.faults = [Fault("api", "POST", status=502)]
        world.watch = lambda request: (
            world.start_job(batch, {"study_id": "theirs"}) if "POST" in request else None
        )
        export = export_of(exporter, ref, ExportFilter("s"), making.history)
        assert making.history.ours(ref) == [export.export_id]
        assert len(world.asked("api", "POST")) == 2

    @fresh
    @pytest.mark.parametrize("listed", NARROWED.values(), ids=NARROWED)
    @pytest.mark.parametrize("asked", [ExportFilter(), ExportFilter("s", NOON)], ids=["all", "s"])
    def test_a_job_that_is_narrowed_otherwise_is_not_taken_for_it(  # noqa: PLR0917
        self,
        asked: ExportFilter,
        listed: Any,
        exporter: Exporter,
        making: Making,
        ref: DataCollectionRef,
        world: World,
        batch: Hosted,
    ) -> None:
        def start_another(request: str) -> None:
            if "POST" in request and not world.jobs["batches", ref.id]:
                theirs = world.start_job(batch, {"study_id": "theirs"})
                assert theirs
                as_asked = asked.as_query() if isinstance(listed, dict) else {}
                theirs.filter = {**as_asked, **listed} if isinstance(listed, dict) else listed

        world.faults = [Fault("api", "POST", status=502)]
        world.watch = start_another
        export = export_of(exporter, ref, asked, making.history)
        assert making.history.ours(ref) == [export.export_id]
        assert export.export_id == world.jobs["batches", ref.id][0].export_id
        assert len(world.asked("api", "POST")) == 2

    @fresh
    @pytest.mark.parametrize(
        "listed",
        [
            None,
            {},
            {"study_id": None, "from": None, "to": None},
            {"study_id": "", "from": "", "to": ""},
            {"cohort": None},
        ],
    )
    def test_what_is_null_narrows_nothing(
        self, listed: Any, exporter: Exporter, ref: DataCollectionRef, world: World, batch: Hosted
    ) -> None:
        def start_another(request: str) -> None:
            if "POST" in request:
                theirs = world.start_job(batch, {})
                assert theirs
                theirs.filter = listed

        world.faults = [Fault("api", "POST", status=502)]
        world.watch = start_another
        export = export_of(exporter, ref, ExportFilter())
        assert [export.export_id] == [job.export_id for job in world.jobs["batches", ref.id]]
        assert len(world.asked("api", "POST")) == 1

    @fresh
    def test_nor_is_one_that_was_there_before(
        self,
        exporter: Exporter,
        making: Making,
        ref: DataCollectionRef,
        world: World,
        batch: Hosted,
    ) -> None:
        before = world.start_job(batch, {"study_id": "s"})
        assert before
        world.poll(before)
        world.faults = [Fault("api", "POST", status=502)]
        export = export_of(exporter, ref, ExportFilter("s"), making.history)
        assert export.export_id != before.export_id

    def test_an_api_that_never_answers_is_given_up(
        self, exporter: Exporter, ref: DataCollectionRef, world: World, time: MonotonicClock
    ) -> None:
        world.faults = [Fault("api", "POST", times=99, status=0)]
        with pytest.raises(DataCollectionError, match=r"Tried to request an export, 5 times; no"):
            export_of(exporter, ref, ExportFilter())
        assert len(world.asked("api", "POST")) == 5
        assert len(time.slept) == 4


class TestFreshURLs:
    def test_a_job_is_asked_again(self, exporter: Exporter, ref: DataCollectionRef) -> None:
        export = export_of(exporter, ref, ExportFilter())
        assert exporter.fresh_url(export) != export.url

    @idempotent
    def test_without_a_job_the_archive_is_requested_again(
        self, exporter: Exporter, ref: DataCollectionRef, world: World
    ) -> None:
        world.reuse_seconds = 60
        export_of(exporter, ref, ExportFilter())
        export = export_of(exporter, ref, ExportFilter())
        assert export.export_id is None
        assert exporter.fresh_url(export) != export.url
        world.reuse_seconds = 0
        world.polls_to_generate = 9
        with pytest.raises(DataCollectionError, match="has no new one"):
            exporter.fresh_url(export)
