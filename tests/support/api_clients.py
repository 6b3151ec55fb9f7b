"""The tap's clients of the API, against the stand-in and on a clock that never really waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_prolific_export.prolific.client import ProlificAPI
from tap_prolific_export.prolific.export_jobs import JobStarter
from tap_prolific_export.prolific.exports import Exporter
from tap_prolific_export.settings import Settings
from tap_prolific_export.snapshots.source import SnapshotSource

if TYPE_CHECKING:
    from tap_prolific_export.settings import DeleteExports
    from tests.support.clocks import MonotonicClock
    from tests.support.stand_in import Hosted, StandIn

POLL_SECONDS = 4
TIMEOUT_SECONDS = 600


def make_api(stand_in: StandIn, clock: MonotonicClock, *, timeout: float = 5) -> ProlificAPI:
    """Return a client; only its `timeout` is in real seconds."""
    token = stand_in.world.token
    return ProlificAPI(
        stand_in.api_url,
        token,
        timeout=timeout,
        sleep=clock.sleep,
        monotonic=clock,
        max_retry_after=TIMEOUT_SECONDS,
    )


def make_job_starter(api: ProlificAPI, *, delete: DeleteExports = "created") -> JobStarter:
    return JobStarter(api, delete=delete)


def make_exporter(
    api: ProlificAPI,
    job_starter: JobStarter,
    clock: MonotonicClock,
    *,
    retries: int = 2,
    max_pending: int = 16,
) -> Exporter:
    return Exporter(
        api,
        job_starter,
        poll_interval=POLL_SECONDS,
        timeout=TIMEOUT_SECONDS,
        retries=retries,
        max_pending=max_pending,
        sleep=clock.sleep,
        monotonic=clock,
    )


def make_source(
    stand_in: StandIn, hosted: list[Hosted], clock: MonotonicClock, *, timeout: float = 5
) -> SnapshotSource:
    """Return the source of the snapshots of some collections."""
    config = {
        "api_token": stand_in.world.token,
        "api_url": stand_in.api_url,
        "collection_ids": [each.id for each in hosted],
        "poll_interval_seconds": POLL_SECONDS,
        "export_timeout_seconds": TIMEOUT_SECONDS,
    }
    values = {**vars(Settings.from_config(config, {})), "request_timeout_seconds": timeout}
    return SnapshotSource(Settings(**values), sleep=clock.sleep, monotonic=clock)
