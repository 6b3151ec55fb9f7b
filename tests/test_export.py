"""The life of one export, with a clock and a sleep of the tests."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from tap_prolific_export.api import DataCollectionRef, ExportFilter, Kind, ProlificAPI
from tap_prolific_export.errors import DataCollectionError
from tap_prolific_export.export import Export, Exporter
from tests.stand_in import Fault

if TYPE_CHECKING:
    from tests.stand_in import Hosted, StandIn, World

POLL = 4


class Time:
    """A monotonic clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def exporter(stand_in: StandIn, time: Time) -> Exporter:
    api = ProlificAPI(stand_in.api_url, stand_in.world.token, timeout=5, sleep=time.sleep)
    return Exporter(api, poll_interval=POLL, timeout=600, sleep=time.sleep, monotonic=time)


@pytest.fixture
def ref(batch: Hosted) -> DataCollectionRef:
    return DataCollectionRef(Kind.BATCH, batch.id)


def test_an_export_is_requested_and_polled_until_it_is_complete(
    exporter: Exporter, ref: DataCollectionRef, world: World, time: Time
) -> None:
    world.polls_to_generate = 3
    export = exporter.export(ref, ExportFilter())
    assert export.url.startswith("http://localhost:")
    assert time.slept == [POLL] * 3
    [job] = world.jobs["batches", ref.id]
    assert export.export_id == job.export_id


def test_an_export_that_is_ready_at_once_needs_no_wait(
    exporter: Exporter, ref: DataCollectionRef, time: Time
) -> None:
    exporter.export(ref, ExportFilter())
    assert time.slept == []


@pytest.mark.parametrize("world", ["idempotent"], indirect=True)
def test_an_archive_that_is_there_already_needs_no_polling(
    exporter: Exporter, ref: DataCollectionRef, world: World
) -> None:
    world.reuse_seconds = 60
    exporter.export(ref, ExportFilter())
    world.requests.clear()
    export = exporter.export(ref, ExportFilter())
    assert world.asked("api") == [f"POST /api/v1/data-collection/batches/{ref.id}/export"]
    assert export.export_id is None


def test_a_start_that_is_refused_is_left_out(
    exporter: Exporter, ref: DataCollectionRef, world: World
) -> None:
    world.faults = [Fault("api", "POST .*from=", times=9, status=400)]
    export = exporter.export(ref, ExportFilter("study-1", NOON))
    path = f"POST /api/v1/data-collection/batches/{ref.id}/export?study_id=study-1"
    posts = [request for request in world.asked("api") if request.startswith("POST")]
    assert posts == [f"{path}&from=2026-11-23T12%3A00%3A00%2B00%3A00", path]
    assert export.applied.start is None


def test_any_other_refusal_stands(exporter: Exporter, ref: DataCollectionRef, world: World) -> None:
    world.faults = [Fault("api", "POST", times=9, status=400)]
    with pytest.raises(DataCollectionError, match="400"):
        exporter.export(ref, ExportFilter("study-1"))
    assert len(world.asked("api")) == 1


def test_what_the_api_has_applied_is_told_by_its_jobs(
    exporter: Exporter, ref: DataCollectionRef, world: World
) -> None:
    asked = ExportFilter("study-1", NOON)
    applied = exporter.export(ref, asked).applied
    assert applied == (asked if world.generation == "fresh" else ExportFilter())


def test_an_export_that_never_ends_is_given_up_in_time(
    exporter: Exporter, ref: DataCollectionRef, world: World, time: Time
) -> None:
    world.polls_to_generate = 10_000
    with pytest.raises(DataCollectionError, match=r"still being generated after 600 s.*timeout"):
        exporter.export(ref, ExportFilter())
    assert sum(time.slept) == 600


def test_a_long_wait_says_calmly_that_it_is_alive(
    exporter: Exporter, ref: DataCollectionRef, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.polls_to_generate = 100  # 400 s
    with caplog.at_level(logging.INFO):
        exporter.export(ref, ExportFilter())
    waits = [record.message for record in caplog.records if "still being" in record.message]
    assert waits[0] == f"batch {ref.id}: still being generated after 60 s."
    assert len(waits) == 6


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"status": "failed"}, "export job .* failed"),
        ({"status": "paused"}, "unknown status 'paused'"),
        ({"status": "complete"}, "gives no URL"),
        ({"status": "complete", "url": "http://elsewhere.example/x?a=s3cret"}, "not https"),
        ({"status": "complete", "url": "ftp://localhost/x?a=s3cret"}, "not https"),
        ({"state": "complete"}, "JSON without a status"),
    ],
    ids=["failed", "unknown status", "no URL", "http", "ftp", "no status"],
)
def test_an_export_that_cannot_be_had_says_why(
    body: dict[str, str], says: str, exporter: Exporter, ref: DataCollectionRef, world: World
) -> None:
    world.faults = [Fault("api", "GET .*/export/", status=200, body=json.dumps(body).encode())]
    with pytest.raises(DataCollectionError, match=says) as raised:
        exporter.export(ref, ExportFilter())
    assert f"batch {ref.id}" in str(raised.value)
    assert "s3cret" not in str(raised.value)


def test_a_job_without_a_name_cannot_be_waited_for(
    exporter: Exporter, ref: DataCollectionRef, world: World
) -> None:
    world.faults = [Fault("api", "POST", status=202, body=b'{"status": "generating"}')]
    with pytest.raises(DataCollectionError, match="names no job"):
        exporter.export(ref, ExportFilter())


def test_exported_at_is_the_jobs_creation_where_the_api_tells(
    exporter: Exporter, ref: DataCollectionRef, world: World
) -> None:
    export = exporter.export(ref, ExportFilter())
    [job] = world.jobs["batches", ref.id]
    if world.generation == "fresh":
        assert export.exported_at(None) == job.created_at
    else:
        assert export.created_at is None
        assert export.exported_at(None) <= job.created_at


NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)


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
